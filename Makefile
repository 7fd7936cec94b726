# Needs Python >= 3.11, make and git; everything else goes into .venv. Names are relative: the clone may be moved, and
# its path may hold spaces.
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.installed
# DVC runs `python src/cli.py ...`: the environment's python comes first.
RUN := PATH="$$PWD/.venv/bin:$$PATH"

.PHONY: repro study benchmark-sets test lint bench profile setup

repro: $(STAMP)  ## every table and plot, and the pages that show them
	$(RUN) $(PY) -m dvc repro
	$(PY) src/cli.py readme

study: $(STAMP)  ## make study NAME=hybrid (or stopping, super_resolution, theory, training): a wide experiment, after make repro
	$(RUN) $(PY) -m dvc repro studies/$(NAME)/dvc.yaml
	$(PY) src/cli.py readme

benchmark-sets: $(STAMP)  ## make benchmark-sets SETS=/path: the field's test sets by their published protocols; two hours
	DUALPRIOR_SETS="$(SETS)" $(RUN) $(PY) -m dvc repro studies/standard_sets/dvc.yaml
	$(PY) src/cli.py readme

test: lint  ## everything that continuous integration checks
	$(RUN) OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
	$(PY) src/cli.py readme --check

lint: $(STAMP)
	$(PY) -m ruff check .
	PYTHONPATH=src $(PY) -c "from importlinter.cli import lint_imports_command; lint_imports_command()" --no-cache

bench: $(STAMP)  ## speed, against the machine's own limits
	$(PY) benchmarks/speed.py

profile: $(STAMP)  ## make profile NAME=smoke
	$(PY) src/cli.py profile $(NAME)

setup: $(STAMP)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d is too old; give one of 3.11 or later, as in: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Installing the pinned packages into .venv (some minutes, once)"
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $@
