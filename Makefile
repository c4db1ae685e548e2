# make demo, make test: each sets itself up in .venv and builds only what has changed.
# Another Python: make PYTHON=python3.12 test. Start over: make clean.
# CBP_DEBUG=1 make test, CBP_SANITIZE=1 make test: the same with that build, beside it.

PYTHON ?= python3
TESTS ?= tests
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 8
FLAVOUR := $(if $(filter 1,$(CBP_DEBUG)),-debug)$(if $(filter 1,$(CBP_SANITIZE)),-sanitize)
VENV := .venv$(FLAVOUR)
BIN := $(VENV)/bin
WHEEL := build/wheel$(FLAVOUR)
ROOT := $(CURDIR)

# The sanitizers' library has to be in the process before Python is.
ifeq ($(CBP_SANITIZE),1)
UNDER := LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} \
	-print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1
endif

# What a wheel is made of.
SOURCES := pyproject.toml setup.py README.md LICENSE $(shell find src \
	\( -name '*.py' -o -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' \
	-o -name '*.h' -o -path '*/simd/*.c' -o -name py.typed -o -path '*/inspection/page/*' \))

.PHONY: help demo test lint bench clean
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/demo.stamp ## train on handwritten digits: build/demo.png, build/demo.html
	@$(BIN)/python examples/demo.py build/demo.png

# From a directory without sources, so that only the installed package can be found.
# Without SCIPY_ARRAY_API scikit-learn skips one of its checks of an estimator.
test: $(VENV)/test.stamp ## run the tests against the installed package
	@outside=$$(mktemp -d) && trap 'rm -rf "$$outside"' EXIT && cd "$$outside" && \
	SCIPY_ARRAY_API=1 $(UNDER) "$(ROOT)/$(BIN)/python" -P -m pytest -c "$(ROOT)/pyproject.toml" \
		--doctest-modules --pyargs cbp $(addprefix "$(ROOT)"/,$(TESTS)) $(PYTEST_ARGS)

# cython-lint calls pycodestyle by its name, hence the PATH.
lint: $(VENV)/lint.stamp ## check style and format of Python and Cython
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(ROOT)/$(BIN):$$PATH" $(BIN)/cython-lint src

bench: $(VENV)/installed.stamp ## measure the speed, beside the peers in .venv
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

clean: ## remove every .venv and all that was built
	rm -rf .venv .venv-* build dist src/*.egg-info
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

# What setuptools left of an earlier build could hold files that are sources no more.
$(WHEEL)/built.stamp: $(SOURCES) $(VENV)/created.stamp
	@echo "Building the wheel ..."
	@rm -rf build/lib* build/temp* build/bdist* build/cython* $(WHEEL)
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(WHEEL) .
	@touch $@

# Twice: the first brings what cbp depends on, the second replaces an equal version.
$(VENV)/installed.stamp: $(WHEEL)/built.stamp
	@echo "Installing it with its dependencies ..."
	@$(BIN)/python -m pip install --quiet $(WHEEL)/*.whl
	@$(BIN)/python -m pip install --quiet --no-deps --force-reinstall $(WHEEL)/*.whl
	@touch $@

$(VENV)/demo.stamp $(VENV)/test.stamp: $(VENV)/%.stamp: $(VENV)/installed.stamp
	@echo "Installing what make $* needs ..."
	@$(BIN)/python -m pip install --quiet "$$(ls $(WHEEL)/*.whl)[$*]"
	@touch $@

# Read from pyproject.toml, because linting should not wait for a build.
$(VENV)/lint.stamp: pyproject.toml $(VENV)/created.stamp
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("$<", "rb"))["project"]; \
	print(*project["optional-dependencies"]["lint"], sep="\n")' \
	| $(BIN)/python -m pip install --quiet -r /dev/stdin
	@touch $@
