# Two commands matter: `make demo` and `make test`. Both install what they need into .venv, and nowhere else.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
CONSTRAINTS := .ci/constraints.txt
NOTEBOOK ?= notebooks/01_quickstart.ipynb
# JupyterLab refuses to run as root, as in most containers, unless it is told that this is meant.
LAB_ARGS ?= $(if $(filter 0,$(shell id -u)),--allow-root)
PYTEST_ARGS ?=

.PHONY: help demo test lint parity clean
.NOTPARALLEL:

help:
	@echo "make demo   install everything and open $(NOTEBOOK) in JupyterLab"
	@echo "make test   install everything and run the tests, those in a browser too"
	@echo "make lint   ruff, mypy and import-linter"
	@echo "make parity compare the numbers with TransformerLens's, in an environment of its own"

# JupyterLab prints the notebook's address, for where no browser can open. (Given as a file to open, it would not.)
demo: $(VENV)/.installed-demo
	$(PY) -c "from layerwidget.model.demo import demo_folder; demo_folder()"
	$(PY) -m jupyterlab --ServerApp.root_dir=$(dir $(NOTEBOOK)) --LabApp.default_url=/lab/tree/$(notdir $(NOTEBOOK)) $(LAB_ARGS)

test: $(VENV)/.installed-test
	$(PY) -m tests.browser.chromium
	$(PY) -c "from layerwidget.model.demo import demo_folder; demo_folder()"
	$(PY) -m tests.parts $(PYTEST_ARGS)

lint: $(VENV)/.installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

parity:
	$(MAKE) VENV=.venv-parity .venv-parity/.installed-parity
	.venv-parity/bin/python -m pytest tests/parity -o filterwarnings=

# Installed again only when what is to be installed has changed.
$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS)
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check -q -c $(CONSTRAINTS) -e ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) .venv-parity .bench build dist tests/output
