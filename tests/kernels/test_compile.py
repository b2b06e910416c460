"""Every Triton kernel compiles for Hopper, with or without a GPU in the machine, and keeps its numbers in registers."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from itertools import product

import pytest

DTYPES = ("bf16", "fp16", "fp32")
KERNELS = ("statistics_kernel", "gradients_kernel")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_every_variant_compiles_for_hopper_and_spills_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "int_lightning_kernels.compile_check", "--arch", "90"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    pattern = r"(\w+) +logits (\w+) +(.*\S) +(plain|all options) +sm_90 +registers +(\d+) +spilled (\S+) bytes"
    found = [re.match(pattern, line) for line in lines]
    assert all(found), done.stdout
    variants = [match.groups() for match in found if match]
    compiled = {(kernel, dtype, options) for kernel, dtype, _, options, _, _ in variants}
    assert compiled == set(product(KERNELS, DTYPES, ("plain", "all options")))
    assert len({variant[:4] for variant in variants}) == len(variants) >= 12
    assert all(16 <= int(registers) <= 255 for *_, registers, _ in variants)
    assert all(spilled == "0" for *_, spilled in variants)


def test_every_kernel_of_the_package_is_one_that_is_compiled() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from int_lightning_kernels import triton_rows

    assert {name for name in vars(triton_rows) if name.endswith("_kernel")} == set(KERNELS)
