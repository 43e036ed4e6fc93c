# Everything a fresh clone needs: `make demo` and `make test` set themselves up.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.PHONY: setup demo test lint bench contracts readme lock clean

setup: .venv/runtime.stamp node_modules/.stamp

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "rebalancer needs Python 3.11 or newer: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/runtime.stamp: requirements.lock pyproject.toml | .venv/bin/python
	@echo "setting up .venv (runtime) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/runtime.stamp
	@echo "setting up .venv (development) ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

node_modules/.stamp: package-lock.json
	@echo "setting up node_modules (Anvil and the official contract artifacts) ..."
	@npm ci --omit=dev --loglevel=error --no-progress
	@touch $@

# The benchmarks' peers come on top.
node_modules/.bench.stamp: node_modules/.stamp
	@npm ci --loglevel=error --no-progress
	@touch node_modules/.stamp $@

demo: setup
	@$(BIN)/rebalancer demo

lint: setup .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -q -n 2 --dist loadfile --ignore=tests/contracts
	@$(BIN)/python -c 'import ape' 2>/dev/null || echo "LEFT OUT: contract tests, there is no Ape for this Python"
	@! $(BIN)/python -c 'import ape' 2>/dev/null || $(BIN)/pytest -q -p ape.pytest.plugin tests/contracts

bench: setup .venv/dev.stamp node_modules/.bench.stamp
	@$(MAKE) --no-print-directory .cache/bench-venv/.stamp >&2 \
		|| echo "the packages to compare with cannot be installed; their figures are null" >&2
	@$(BIN)/python -m scripts.bench

.cache/bench-venv/.stamp: requirements-bench.lock
	@echo "setting up .cache/bench-venv (packages to compare with) ..."
	@$(BIN)/python -m venv .cache/bench-venv
	@.cache/bench-venv/bin/python -m pip --disable-pip-version-check --quiet install \
		--require-hashes -r requirements-bench.lock
	@touch $@

contracts: setup .venv/dev.stamp
	@$(BIN)/python -m scripts.compile_contracts

readme: setup
	@$(BIN)/python -m scripts.readme

lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group dev pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group build -c requirements-dev.lock pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements-bench.in -o requirements-bench.lock

clean:
	rm -rf .venv node_modules .build .cache *.egg-info
