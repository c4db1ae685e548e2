# make demo, make test: each sets itself up in .venv, where the package is installed
# editable, with its extensions compiled in place; only what has changed is compiled.
# A choice of tests: make test TESTS=tests/kernels PYTEST_ARGS="-k sparse".
# Another Python: make PYTHON=python3.12 test. Start over: make clean.
# CBP_DEBUG=1 make test, CBP_SANITIZE=1 make test: a wheel of that build, in a .venv-...

PYTHON ?= python3
TESTS ?= tests
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 8
FLAVOUR := $(if $(filter 1,$(CBP_SANITIZE)),sanitize,$(if $(filter 1,$(CBP_DEBUG)),debug))
VENV := .venv$(addprefix -,$(FLAVOUR))
BIN := $(VENV)/bin
ROOT := $(CURDIR)
# The whole suite has the examples in docstrings as well.
EXAMPLES := $(if $(filter tests,$(TESTS)),--doctest-modules --pyargs cbp)

# The sanitizers' library has to be in the process before Python is.
ifeq ($(CBP_SANITIZE),1)
UNDER := LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} \
	-print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1
endif

# What is compiled, and how; and what else a wheel is made of.
COMPILED := setup.py $(shell find src \
	-name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.c')
SOURCES := $(COMPILED) pyproject.toml README.md LICENSE $(shell find src \
	-name '*.py' -o -name '*.pyi' -o -name py.typed -o -path '*/inspection/page/*')

.PHONY: help demo test exhaustive lint bench clean
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/demo.stamp ## train on handwritten digits: build/demo.png, build/demo.html
	@$(BIN)/python examples/demo.py build/demo.png

# Without SCIPY_ARRAY_API scikit-learn skips one of its checks of an estimator.
PYTEST = SCIPY_ARRAY_API=1 $(UNDER) $(BIN)/python -P -m pytest

test: $(VENV)/test.stamp ## run the tests
	@$(PYTEST) $(EXAMPLES) $(TESTS) $(PYTEST_ARGS)

exhaustive: $(VENV)/test.stamp ## run the tests of every combination, which take long
	@$(PYTEST) -m exhaustive $(TESTS) $(PYTEST_ARGS)

# cython-lint calls pycodestyle by its name, hence the PATH.
lint: $(VENV)/lint.stamp ## check style and format of Python and Cython
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(ROOT)/$(BIN):$$PATH" $(BIN)/cython-lint src

bench: $(VENV)/installed.stamp ## measure the speed, beside the peers in .venv
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

clean: ## remove every .venv and all that was built
	rm -rf .venv .venv-* build dist src/*.egg-info
	find src -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: a stamp says that its step was done with these prerequisites ---------

# Written so that Python 2 can parse it: an old interpreter must reach the message.
define PREREQUISITES
import sys
if sys.version_info < (3, 11):
    sys.exit("cbp needs Python >= 3.11; $(PYTHON) is %d.%d. "
             "Name a newer one: make PYTHON=python3.12" % sys.version_info[:2])
import os, shutil, sysconfig
try:
    import ensurepip, venv
except ImportError:
    sys.exit("$(PYTHON) cannot make virtual environments; "
             "on Debian and Ubuntu: apt-get install python3-venv")
compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
if not shutil.which(compiler):
    sys.exit("cbp needs a C compiler; there is no %s. Install one (Debian, Ubuntu: "
             "apt-get install gcc libc6-dev; macOS: xcode-select --install) "
             "or name yours: CC=clang make ..." % compiler)
header = os.path.join(sysconfig.get_path("include"), "Python.h")
if not os.path.exists(header):
    sys.exit("cbp needs the C headers of $(PYTHON); there is no %s. "
             "On Debian and Ubuntu: apt-get install python3-dev" % header)
endef
export PREREQUISITES

$(VENV)/created.stamp:
	@command -v $(PYTHON) >/dev/null || { echo "cbp needs Python >= 3.11; there is no" \
		"$(PYTHON). Name yours: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c "$$PREREQUISITES"
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# Python compiles what it imports, which is a small part of what is installed.
QUICKLY := --quiet --no-compile

# pip_install TABLE: what stands there in pyproject.toml
pip_install = $(BIN)/python -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))$(1), sep="\n")' \
	| $(BIN)/python -m pip install $(QUICKLY) -r /dev/stdin

$(VENV)/builder.stamp: pyproject.toml $(VENV)/created.stamp
	@$(call pip_install,["build-system"]["requires"])
	@touch $@

# The stamp that is to be made names the extra in pyproject.toml.
EXTRA = $(patsubst %,[%],$(filter-out installed,$*))

ifeq ($(FLAVOUR),)
$(VENV)/compiled.stamp: $(COMPILED) $(VENV)/builder.stamp
	@echo "Compiling what has changed ..."
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

# The version stands in __init__.py.
$(VENV)/installed.stamp $(VENV)/demo.stamp $(VENV)/test.stamp: $(VENV)/%.stamp: \
		pyproject.toml src/cbp/__init__.py $(VENV)/builder.stamp | $(VENV)/compiled.stamp
	@echo "Installing what make $* needs ..."
	@$(BIN)/python -m pip install $(QUICKLY) --no-build-isolation --editable ".$(EXTRA)"
	@touch $@
else
# What setuptools left of an earlier build could hold files that are sources no more.
WHEEL := build/$(FLAVOUR)/wheel
$(WHEEL)/built.stamp: $(SOURCES) $(VENV)/builder.stamp
	@echo "Building the wheel ..."
	@rm -rf build/$(FLAVOUR)/lib* $(WHEEL)
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation \
		--wheel-dir $(WHEEL) .
	@touch $@

# Twice: the first brings what cbp depends on, the second replaces an equal version.
$(VENV)/installed.stamp $(VENV)/demo.stamp $(VENV)/test.stamp: $(VENV)/%.stamp: \
		$(WHEEL)/built.stamp
	@echo "Installing it with what make $* needs ..."
	@$(BIN)/python -m pip install $(QUICKLY) "$$(ls $(WHEEL)/*.whl)$(EXTRA)"
	@$(BIN)/python -m pip install $(QUICKLY) --no-deps --force-reinstall $(WHEEL)/*.whl
	@touch $@
endif

$(VENV)/lint.stamp: pyproject.toml $(VENV)/created.stamp
	@$(call pip_install,["project"]["optional-dependencies"]["lint"])
	@touch $@
