"""Compiles every Triton kernel for a GPU that the machine need not have, and prints the resources of each.

    python -m int_lightning_kernels.compile_check --arch 90

Registers per thread, bytes spilled (stack and local memory) and shared memory, read from the compiled code. The exit status
is 1 if anything spills.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from itertools import product

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from int_lightning_kernels import triton_rows

WIDTHS = {151_936: "whole vocabulary", 2_048: "narrow slab"}


def main() -> int:
    """Compiles each kernel for each dtype of logits, with and without the optional parts, and prints a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", type=int, default=90, help="compute capability without the dot, 90 for Hopper")
    arch = parser.parse_args().arch
    spilled = False
    for kernel, dtype, full, size in product(
        (triton_rows.statistics_kernel, triton_rows.gradients_kernel), ("bf16", "fp16", "fp32"), (False, True), WIDTHS
    ):
        used = compile_for(kernel, dtype, full, size, arch)
        spilled |= used["STACK"] + used["LOCAL"] > 0
        print(
            f"{kernel.__name__:18} logits {dtype}  {WIDTHS[size]:16}  {'all options' if full else 'plain':11}  sm_{arch}  "
            f"registers {used['REG']:>3}  spilled {used['STACK'] + used['LOCAL']} bytes  shared {used['SHARED']} bytes"
        )
    return 1 if spilled else 0


def compile_for(kernel: JITFunction, dtype: str, full: bool, size: int, arch: int) -> dict[str, int]:
    """Resources of one compiled variant: REG, STACK, LOCAL, SHARED ... ``full`` has bias, temperature, softcap and, for
    gradients, an entropy term."""
    pointers = {
        "logits": f"*{dtype}",
        "targets": "*i64",
        "inverse_temperature": "*fp32" if full else "constexpr",
        "bias": f"*{dtype}" if full else "constexpr",
        "slope": "*fp32" if full else "constexpr",
        "softcap": "fp32",
        **dict.fromkeys(("out", "maximum", "total", "at_target", "constant"), "*fp32"),
        **dict.fromkeys(("n", "size", "stride", "offset"), "i32"),
        **dict.fromkeys(("capped", "with_weighted", "block"), "constexpr"),
    }
    signature = {name: pointers[name] for name in kernel.arg_names}
    given = {"capped": full, "with_weighted": True, "block": triton_rows.block_of(size)}
    constants = {name: given.get(name) for name, kind in signature.items() if kind == "constexpr"}
    compiled = triton.compile(
        ASTSource(kernel, signature, {(kernel.arg_names.index(k),): v for k, v in constants.items()}),
        target=GPUTarget("cuda", arch, 32),
        options={"num_warps": triton_rows.warps_of(size), "enable_fp_fusion": True},
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    line = next(line for line in report.splitlines() if "REG:" in line)
    return {name: int(value) for name, value in re.findall(r"([A-Z]+):(\d+)", line)}


if __name__ == "__main__":
    sys.exit(main())
