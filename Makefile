# make demo: install, simulate a subject, run the notebooks, build the book.    make test: install, run the tests.
# make complete: the demo with its networks trained to their end (40 minutes; repeated, it goes on), whose results the project ships.
.PHONY: demo complete group test lint book lab subjects zoo
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11; do $$p -c "import ensurepip" 2>/dev/null && echo $$p && break; done)
LACK = No python3.13, 3.12 or 3.11 that runs and has its venv: apt-get install python3 python3-venv, or make PYTHON=/path/to/one.
UV = UV_PYTHON_DOWNLOADS=never .venv/bin/uv pip install --quiet --python .venv/bin/python
TESTS ?=
LAB ?=
ZOO ?=
RUNS ?= subj01,subj02,subj05,subj07
GROUP ?= demo,sim02,sim05,sim07
LAB_FILES = JUPYTER_PATH="$(CURDIR)/profiles/lab" JUPYTER_CONFIG_PATH="$(CURDIR)/profiles/lab" \
  JUPYTERLAB_WORKSPACES_DIR="$(CURDIR)/.venv/workspaces"
# Modules are compiled once, whatever the shell says of it: a kernel starts in half the time. How threads wait: nsdlib/run/engine.py.
ENV = PATH="$(CURDIR)/.venv/bin:$$PATH" NSDLIB_HOME="$(CURDIR)" PYTHONDONTWRITEBYTECODE= GOMP_SPINCOUNT=$${GOMP_SPINCOUNT-1000}

demo: .venv/ready
	@$(ENV) snakemake --profile profiles/local --config runs=demo
	@$(ENV) nsdlib book

complete: .venv/ready
	@$(ENV) snakemake --profile profiles/local --config runs=complete && $(ENV) nsdlib ship complete
	@$(MAKE) --no-print-directory demo

group: .venv/ready
	@$(ENV) snakemake --profile profiles/local --config runs=$(GROUP); done=$$?; $(ENV) nsdlib book && exit $$done

test: .venv/ready
	@$(ENV) pytest -q -n logical --maxprocesses 8 --dist loadscope --no-loadscope-reorder $(TESTS)

lint: .venv/ready
	@$(ENV) ruff format --check . && $(ENV) ruff check .

book: .venv/ready
	@$(ENV) nsdlib book

lab: .venv/ready
	@$(ENV) $(LAB_FILES) JUPYTER_PREFER_ENV_PATH=1 jupyter lab --ServerApp.root_dir=notebooks $(LAB)

subjects: .venv/ready
	@$(ENV) snakemake --profile profiles/local --config runs=$(RUNS)

zoo: .venv/ready
	@$(ENV) python -m zoo.training $(ZOO)

.venv/ready: requirements.lock pyproject.toml
	@python="$(PYTHON)"; [ "$$python" ] || { echo "$(LACK)"; exit 1; }; echo "Installing some 290 packages into .venv, a few minutes" && $$python -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock uv
	@$(UV) --requirement requirements.lock && $(UV) --no-deps --editable . && touch $@
