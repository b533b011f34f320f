# Everything happens in .venv; `make PYTHON=python3.12 …` picks another Python (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MARK := $(VENV)/.installed

.PHONY: demo test test-slow test-kernel lint fix types docs bench bench-quick bench-joules bench-envs train-all install clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(MARK): pyproject.toml hatch_build.py runtime/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'error: greenup needs Python 3.11 or newer'; echo 'hint: make PYTHON=python3.11 …'; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt hatchling build editables
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation -e ./runtime
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

install: $(MARK)  ## create .venv and install greenup and its tools

demo: $(MARK)  ## run the whole loop on real data: train, compress, push, measure, report
	$(BIN)/greenup build-and-push examples/acsf1.toml --device local

test: $(MARK)  ## run the default tests
	$(BIN)/python -m pytest -m 'not slow and not kernel'

test-slow: $(MARK)  ## run the slow tests
	$(BIN)/python -m pytest -m slow

test-kernel: $(MARK)  ## run the tests on emulated machines with a real kernel's sensors; prepare with .ci/kernel
	$(BIN)/python -m pytest -m kernel

lint: $(MARK)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(MARK)  ## repair what can be repaired by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(MARK)  ## write the generated parts of docs/ again
	$(BIN)/python docs/generate.py

train-all: $(MARK)  ## train what `bench` needs, in the background; start it again at any time, it goes on
	$(BIN)/python benchmarks/train_all.py

bench-envs: $(MARK)  ## environments of what greenup is compared with: Olive, MLServer
	$(BIN)/python benchmarks/environments.py olive mlserver

bench: $(MARK) bench-envs  ## the goals' tables, and as JSON in greenup-out/; hours, unless `make train-all` went before
	$(BIN)/python benchmarks/compression.py --classics
	$(BIN)/python benchmarks/paper.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/records.py --json greenup-out/records.json
	$(MAKE) bench-joules

bench-joules: $(MARK)  ## truth of joules, cost of sampling
	$(BIN)/python benchmarks/truth.py --json greenup-out/truth.json
	$(BIN)/python benchmarks/sampler.py --json greenup-out/sampler.json

bench-quick: $(MARK) bench-envs  ## the same with few epochs and short bursts: shows that all runs, no figures
	$(BIN)/python benchmarks/compression.py --quick --classics
	$(BIN)/python benchmarks/paper.py --quick
	$(BIN)/python benchmarks/serving.py --quick
	$(BIN)/python benchmarks/records.py --rounds 3 --seconds 1 --json greenup-out/records-quick.json
	$(BIN)/python benchmarks/truth.py --quick --json greenup-out/truth-quick.json
	$(BIN)/python benchmarks/sampler.py --json greenup-out/sampler-quick.json

clean:  ## remove what was installed and built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache greenup-out
