# Aliases of salesops and pytest commands; the README gives the same commands for machines without make.
# PYTHON chooses the interpreter of a new .venv; PYTEST_ARGS adds options to test and campaign.

PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo "$$name" && break; done)
PYTEST_ARGS ?=
PIP = .venv/bin/python -m pip --disable-pip-version-check -qq
INSTALLED = .venv/.installed
# The browser tests' own tools; without npm those tests say so and are skipped.
BROWSER_TOOLS = $(if $(shell command -v npm),node_modules/.installed)

.PHONY: help review test campaign lab lint bench
.DEFAULT_GOAL := help

help:
	@echo "make review    run the quarterly review on the sample data and publish it in reports/"
	@echo "make test      tests, docstring examples and every notebook, cell by cell"
	@echo "make campaign  long statistical, fault and browser tests"
	@echo "make lab       open JupyterLab"
	@echo "make lint      style, types and import rules"
	@echo "make bench     measure speed and memory"

review: $(INSTALLED)
	.venv/bin/salesops run params/quarterly_review.yml

test: $(INSTALLED) $(BROWSER_TOOLS)
	.venv/bin/pytest -m "not campaign" -n 2 --dist loadscope --doctest-modules --nbval-lax --nbval-current-env \
		$(PYTEST_ARGS) tests salesops_kit notebooks

campaign: $(INSTALLED) $(BROWSER_TOOLS) .venv/.spark
	.venv/bin/pytest -m campaign $(PYTEST_ARGS) tests

lab: $(INSTALLED)
	.venv/bin/jupyter lab

lint: $(INSTALLED)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

bench: $(INSTALLED)
	.venv/bin/python -m tests.bench

# An environment that another tool made (uv leaves pip out) is filled, never replaced.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found: make PYTHON=/path/to/python"; exit 1; }
	@echo "Installing requirements.lock into .venv (some minutes, once)"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps -e .
	@touch $@

.venv/.spark: requirements-spark.lock $(INSTALLED)
	@$(PIP) install --require-hashes -r requirements-spark.lock && touch $@

node_modules/.installed: package.json package-lock.json
	@npm ci --silent && touch $@ || echo "npm ci failed: the browser tests that need its tools are skipped"
