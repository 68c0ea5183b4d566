# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt

# Thousands of test processes would each compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help run test soak check lint bench samples wheel clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

run: $(VENV)/.for-running ## Set up, then run the main job offline on the sample documents
	$(BIN)/invoices run --samples

test: $(VENV)/.for-working ## Set up, then run all tests
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

soak: $(VENV)/.for-working ## Set up, then run the exhaustive sweeps whole; a figure per sweep; about an hour
	TEST_SOAK=1 $(BIN)/python -m pytest -m "sweep or soak" --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: lint ## Lint, types, import rules and the fast tests
	$(BIN)/python -m pytest tests/unit --quiet

lint: $(VENV)/.for-working ## Lint, types and import rules
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

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.for-running: $(VENV)/bin/uv pyproject.toml constraints.txt
	@echo "Setting up $(VENV): about a minute, the first time only"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.for-working: $(VENV)/bin/uv pyproject.toml constraints.txt
	@echo "Setting up $(VENV) with the tools for tests: about a minute, the first time only"
	@$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.for-running $@
