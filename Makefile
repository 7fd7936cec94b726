# Needs Python >= 3.11, make and git; everything else goes into .venv.
PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# DVC runs `python src/cli.py ...`: the environment's python comes first.
export PATH := $(BIN):$(PATH)

.PHONY: repro study-stopping study-hybrid report test lint bench profile setup

repro: $(STAMP)  ## every table and plot, and the README that shows them
	$(BIN)/dvc repro
	$(BIN)/python src/cli.py readme

study-stopping: $(STAMP)  ## the wide study of stopping rules; over an hour, and 14 GB of kept fits
	$(BIN)/dvc repro studies/stopping/dvc.yaml
	$(BIN)/python src/cli.py readme

study-hybrid: $(STAMP)  ## the wide study of the hybrid; about two hours
	$(BIN)/dvc repro studies/hybrid/dvc.yaml
	$(BIN)/python src/cli.py readme

report: $(STAMP)  ## report/report.md and report/report.html, from the metrics; after make repro
	$(BIN)/dvc repro --single-item studies/report/dvc.yaml:laws studies/report/dvc.yaml:frames studies/report/dvc.yaml:render

test: lint  ## everything that continuous integration checks
	$(BIN)/python -m pytest
	$(BIN)/python src/cli.py readme --check

lint: $(STAMP)
	$(BIN)/ruff check .
	PYTHONPATH=src $(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## speed, against the machine's own limits
	PYTHONPATH=src $(BIN)/python benchmarks/speed.py

profile: $(STAMP)  ## make profile NAME=smoke
	$(BIN)/python src/cli.py profile $(NAME)

setup: $(STAMP)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d is too old; give one of 3.11 or later, as in: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Installing the pinned packages into .venv (some minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $@
