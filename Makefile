# Two commands: `make demo` and `make test`, both on a fresh clone, as is `make docs`. Everything
# lives in .venv.

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt

BIN := .venv/bin
RUNS := .venv/runs
INSTALLED := .venv/installed

.DEFAULT_GOAL := test
.PHONY: demo docs test test-long check format

demo: $(RUNS)
	$(BIN)/python examples/demo.py

# The site, with its gallery run, then the examples on its pages. Any warning is an error.
docs: SPHINX := $(BIN)/python -m sphinx -W --keep-going -d docs/_build/doctrees docs
docs: $(INSTALLED)
	$(SPHINX) docs/_build/html
	$(SPHINX) -b doctest docs/_build/doctest
	@echo "docs/_build/html/index.html"

# pytest runs one worker per core, so each keeps to one thread.
test test-long: export OMP_NUM_THREADS := 1

test: check
	$(BIN)/pytest -n 2

test-long: check
	$(BIN)/pytest -n 2 -m "long or not long" --timeout 3600

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src
	$(BIN)/codespell

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# torch goes first, so that a CPU build, where pip offers one, is there before anything asks for
# torch.
$(RUNS): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "physgan needs Python 3.11 or later, $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	         "Name another: make PYTHON=python3.12 test" >&2; exit 1; }
	@echo "Installing into .venv, once: some minutes."
	@$(PYTHON) -m venv .venv || { \
	    echo "No virtual environment: on Debian, apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) torch
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[all]' scikit-image
	@touch $@

# What testing and writing take beside that.
$(INSTALLED): $(RUNS)
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[all,dev,docs]'
	@touch $@
