# make demo   install into .venv, then the method end to end on the mini world (runs/demo)
# make test   install into .venv, then the tests
# make coverage  the tests again, one after another, and which lines they reach
# make bench  the kernels beside other ways, timed on the device at hand (benchmarks/results)
# make check  what must pass before a commit: ruff, mypy, tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test coverage bench check lint install

demo: $(VENV)/installed
	@if [ -e runs/demo ]; then mv runs/demo "runs/demo-$$(date +%Y%m%d-%H%M%S)"; fi
	$(BIN)/int-lightning run -c configs/mini/run.yaml --out runs/demo

test: $(VENV)/installed
	$(BIN)/pytest --numprocesses 2 --dist loadfile

coverage: $(VENV)/installed
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=85

bench: $(VENV)/installed
	$(BIN)/python benchmarks/linear_logprob.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml install.sh
	bash install.sh $(PYTHON) $(VENV)
	@touch $@
