# Two commands set everything up on a machine with Python 3.11 and make: `make demo`, `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# tflite-runtime needs numpy 1, which the development tools have left behind: a device of its own.
OLD := .venv-tflite
# uv installs much faster; pip knows mirrors and certificates that uv may not know.
UV := $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --constraint constraints.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
install = $(UV) --editable '.[$(EXTRAS)]' || \
	$(PIP) --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'

# Real networks whose packages would draw in torch or TensorFlow: their files are read, not imported.
LONE := silero-vad==6.2.3 basic-pitch==0.4.0 rapidocr-onnxruntime==1.4.4
install_lone = $(UV) --no-deps $(LONE) || $(PIP) --no-compile --no-deps $(LONE)

.PHONY: demo test check clean

demo: $(VENV)/.installed-all
	$(BIN)/isthmus demo

test: $(VENV)/.installed-dev $(OLD)/.installed
	scripts/test

check: $(VENV)/.installed-dev
	scripts/check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	@$(PIP) --constraint constraints.txt uv

$(VENV)/.installed-all: EXTRAS := all
$(VENV)/.installed-all: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing Isthmus and the demo's models and pictures into $(VENV) …"
	@$(install)
	@touch $@

$(VENV)/.installed-dev: EXTRAS := all,wire-bench,dev
$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing Isthmus and its development tools into $(VENV) …"
	@$(install)
	@$(install_lone)
	@touch $@ $(VENV)/.installed-all

$(OLD)/.installed: pyproject.toml | $(VENV)/.installed-dev
	@echo "installing a device with tflite-runtime into $(OLD) …"
	@$(PYTHON) -m venv $(OLD)
	@$(BIN)/uv pip install --quiet --system-certs --python $(OLD)/bin/python --editable '.[edge-tflite]' || \
		$(OLD)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[edge-tflite]'
	@touch $@

clean:
	rm -rf $(VENV) $(OLD) demo-output
