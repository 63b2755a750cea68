# `make train` and `make test` are all that a newcomer needs; `make` alone lists the rest.
#
#   PYTHON=python3.12   the interpreter of the local environment
#   ARGS="..."          further arguments of the command that a target runs
#   RUN=runs/name       where `make train` writes
#   WORKERS=2           processes of the tests

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=
RUN ?= runs/digits-$(shell date +%Y%m%d-%H%M%S)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
LOCKED := $(PIP) install --require-hashes
PYTEST := $(BIN)/python -m pytest --quiet -n $(WORKERS)
UV := $(BIN)/python -m uv --quiet
BENCHMARKS := import_time linear_work eager_step train_step elementary fit_digits

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help train test test-slow test-peers bench lock clean distclean

help:
	@echo 'make train       train a network on handwritten digits'
	@echo 'make test        style, types, layering, and all tests but the slow ones'
	@echo 'make test-slow   the slow tests'
	@echo 'make test-peers  comparisons with PyTorch, JAX, autograd and scikit-learn'
	@echo 'make bench       measure this machine'
	@echo 'make lock        renew the locked dependencies in requirements/'
	@echo 'make clean       remove what tools left behind; make distclean: and $(VENV)'

train: $(VENV)/.package
	@$(BIN)/wengert train digits --out '$(RUN)' $(ARGS)

test: $(VENV)/.test
	@echo 'Style'
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@echo 'Types'
	@$(BIN)/mypy --no-error-summary
	@echo 'Layering'
	@$(BIN)/lint-imports --no-logo >$(VENV)/layering.log || { cat $(VENV)/layering.log; exit 1; }
	@echo 'Tests'
	@$(PYTEST) -m 'not slow and not peers' $(ARGS)

test-slow: $(VENV)/.test
	@$(PYTEST) -m 'slow and not peers' $(ARGS)

test-peers: $(VENV)/.peers
	@$(PYTEST) -m peers $(ARGS)

bench: $(VENV)/.peers
	@set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name $(ARGS); done

# The environment, step by step. Each step leaves a stamp, so that it is not repeated.

# One that was moved here, or that has another Python than the one asked for, is made anew.
HERE := $(shell grep -qF '$(CURDIR)/$(VENV)' $(VENV)/pyvenv.cfg 2>/dev/null && $(BIN)/python --version)
ASKED := $(if $(filter command,$(origin PYTHON)),$(shell $(PYTHON) --version 2>/dev/null || echo none))
ifneq ($(HERE),$(or $(ASKED),$(HERE),any))
.PHONY: $(VENV)/pyvenv.cfg
endif

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo 'Wengert needs Python 3.11 or newer, and $(PYTHON) is' \
	        "$$($(PYTHON) --version 2>/dev/null || echo not there)." \
	        'Name another one: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/build.txt requirements/train.txt $(VENV)/pyvenv.cfg
	@echo 'Installing what Wengert needs (about 100 MB, once)'
	@$(LOCKED) -r requirements/build.txt -r requirements/train.txt
	@touch $@

$(VENV)/.package: pyproject.toml $(VENV)/.runtime
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.package
	@echo 'Installing what the tests need'
	@$(LOCKED) -r requirements/test.txt
	@touch $@

$(VENV)/.peers: requirements/peers.txt requirements/torch.txt $(VENV)/.test
	@echo 'Installing PyTorch, JAX, autograd and scikit-learn (some minutes, once)'
	@$(LOCKED) -r requirements/peers.txt
	@$(PIP) install -r requirements/torch.txt
	@touch $@

# One version for all Pythons and systems (universal), with the hashes of all its files.
COMPILE := $(UV) pip compile --universal --python-version 3.11 --fork-strategy fewest \
    --prerelease disallow --generate-hashes --no-emit-index-url --no-header --upgrade

lock: $(VENV)/pyvenv.cfg
	@$(PIP) install 'uv>=0.9'
	@$(COMPILE) -o requirements/train.txt pyproject.toml
	@$(COMPILE) -o requirements/test.txt -c requirements/train.txt pyproject.toml --group test
	@$(COMPILE) -o requirements/peers.txt -c requirements/test.txt pyproject.toml --group peers
	@$(COMPILE) -o requirements/build.txt -c requirements/test.txt --group build

clean:
	@rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf $(VENV)
