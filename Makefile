# Everything happens in .venv with the exact versions of uv.lock. Needs Python ≥ 3.11 and make.
PYTHON ?= python3
UV_PIN := uv>=0.9,<1
export UV_PROJECT_ENVIRONMENT := .venv
export UV_LINK_MODE ?= copy
EXTRAS := --extra claude --extra codex --extra gateway --extra vectors --extra testing
# uv is taken from PATH, else put into .venv from the package index.
UV = $(shell command -v uv || echo .venv/bin/uv)
BIN := .venv/bin

.PHONY: help setup demo install test test-local-llm check format bench train routing docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

.venv/pyvenv.cfg:
	$(PYTHON) -c 'import sys; sys.exit("PAIOS needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	command -v uv >/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check '$(UV_PIN)'

setup: .venv/pyvenv.cfg ## everything a developer needs, in .venv
	$(UV) sync --quiet --locked --group dev $(EXTRAS) --inexact --compile-bytecode

.demo-setup: .venv/pyvenv.cfg
	@$(UV) sync --quiet --locked --no-dev --inexact

demo: .demo-setup ## answer real questions over these documents: no key, no network, no model
	@sh docs/demo.sh $(BIN)/ai

install: ## put `ai` on your PATH, with all brains
	$(PYTHON) -m venv .venv 2>/dev/null || true
	command -v uv >/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check '$(UV_PIN)'
	$(UV) tool install --force --python $(PYTHON) '.[claude,codex,gateway,vectors]'
	@$(UV) tool update-shell >/dev/null 2>&1 || true
	@echo "Installed. Open a new terminal and type: ai doctor"

check: setup ## style, types, architecture, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

test: check ## the checks and every test
	$(BIN)/pytest -n 2

test-local-llm: setup ## a real GGUF model in process (builds llama.cpp: about 7 minutes)
	$(UV) sync --quiet --locked --group dev $(EXTRAS) --extra local-llm --group local-llm --inexact
	$(BIN)/pytest tests/brains/test_local.py -m local_llm

format: setup ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: setup ## train the router's classifier anew (training/README.md)
	$(UV) sync --quiet --locked --group dev --group training $(EXTRAS) --inexact
	$(BIN)/python -m training.train

routing: setup ## measure the router beside two baselines, and write docs/reference/routing-measured.md
	$(UV) sync --quiet --locked --group dev --group training $(EXTRAS) --inexact
	$(BIN)/python -m training.evaluate

bench: setup ## measure, and write docs/reference/performance.md
	$(BIN)/python -m bench

docs: setup ## make the reference pages anew
	$(BIN)/python docs/generate.py

clean: ## remove what was made
	rm -rf .venv .demo .mypy_cache .ruff_cache .import_linter_cache .hypothesis
