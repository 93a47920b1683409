# make demo: install, simulate a subject, run the notebooks, build the book.    make test: install, run the tests.
.PHONY: demo group test lint book lab subjects zoo
PYTHON ?= python3.11
LAB ?=
RUNS ?= subj01,subj02,subj05,subj07
GROUP ?= demo,sim02,sim05,sim07
LAB_FILES = JUPYTER_PATH="$(CURDIR)/profiles/lab" JUPYTER_CONFIG_PATH="$(CURDIR)/profiles/lab" \
  JUPYTERLAB_WORKSPACES_DIR="$(CURDIR)/.venv/workspaces"
ENV = PATH="$(CURDIR)/.venv/bin:$$PATH" NSDLIB_HOME="$(CURDIR)"

demo: .venv/ready
	@$(ENV) snakemake --profile profiles/local --config runs=demo
	@$(ENV) nsdlib book

group: .venv/ready
	@$(ENV) snakemake --profile profiles/local --config runs=$(GROUP); done=$$?; $(ENV) nsdlib book && exit $$done

test: .venv/ready
	@$(ENV) pytest -q

lint: .venv/ready
	@$(ENV) ruff format --check . && $(ENV) ruff check .

book: .venv/ready
	@$(ENV) nsdlib book

lab: .venv/ready
	@$(ENV) $(LAB_FILES) JUPYTER_PREFER_ENV_PATH=1 jupyter lab --ServerApp.root_dir=notebooks $(LAB)

subjects: .venv/ready
	@$(ENV) snakemake --profile profiles/local --config runs=$(RUNS)

zoo: .venv/ready
	@$(ENV) python -m zoo.training

.venv/ready: requirements.lock pyproject.toml
	@echo "Installing into .venv: some 270 packages, a few minutes" && $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e . && touch $@
