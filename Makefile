# Two commands set everything up on a machine with Python 3.11 and make: `make demo`, `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Byte code is compiled when a module is first used: half the time of a cold install.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--constraint constraints.txt

.PHONY: demo test check clean

demo: $(VENV)/.installed-all
	$(BIN)/isthmus demo

test: $(VENV)/.installed-dev
	scripts/test

check: $(VENV)/.installed-dev
	scripts/check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-all: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing Isthmus and the demo's models and pictures into $(VENV) …"
	$(PIP) --editable '.[all]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing Isthmus and its development tools into $(VENV) …"
	$(PIP) --editable '.[all,dev]'
	@touch $@ $(VENV)/.installed-all

clean:
	rm -rf $(VENV) demo-output
