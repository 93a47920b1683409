this.form.style.setProperty('--at', this.value)
