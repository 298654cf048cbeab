# Every target sets up what it needs by itself (scripts/setup); nothing has to be run before.

DIR ?=
BENCH ?=
TESTS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup test lint format demo bench rows clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## Install what is missing: RabbitMQ's programs (as root) and .venv
	@scripts/setup dev

test: lint ## Check style and types, then run the tests (TESTS="tests/unit -k name" runs some)
	@scripts/setup dev systemd
	$(BIN)/python -m pytest $(TESTS)

lint: setup ## Check style and types
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/support tests/conftest.py examples

format: setup ## Write files the way the style check wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: setup ## Index the files below DIR (default /usr/share/doc) through a broker and workers of the demo's own
	@$(BIN)/python -m examples.file_index $(if $(DIR),'$(DIR)')

bench: ## Measure amqtask beside its peers (BENCH="..." are more arguments)
	@scripts/setup dev,bench
	@$(BIN)/python -m benchmarks $(BENCH)

rows: setup ## Write docs/reference/rows.md: which tests prove which feature
	@mkdir -p docs/reference
	@$(BIN)/python -m tests.support.rows > docs/reference/rows.md

clean: ## Remove .venv, caches and build products
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
