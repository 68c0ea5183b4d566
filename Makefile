# The front door. `make` alone lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test check lint bench samples wheel clean

help: ## List the doors
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

run: $(VENV)/.for-running ## Set up, then run the main job offline on the sample documents
	$(BIN)/invoices run --samples

test: $(VENV)/.for-working ## Set up, then run all tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

check: lint ## Lint, types, floor plan and the fast tests
	$(BIN)/python -m pytest tests/unit --quiet

lint: $(VENV)/.for-working ## Lint, types and floor plan
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.for-working ## Measure: documents per second, memory, the share of each stage
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

samples: $(VENV)/.for-running ## Make the sample documents anew (the same bytes each time)
	$(BIN)/python -m sandbox make-samples data/samples

wheel: $(VENV)/.for-working ## Build the wheel and try it in an environment of its own
	$(BIN)/python -m tests.wheel

clean: ## Remove the environment and everything that can be made again; data/ stays
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.for-running: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Setting up $(VENV): a minute or two, the first time only"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.for-working: $(VENV)/.for-running
	@$(PIP) --editable '.[dev]'
	@touch $@
