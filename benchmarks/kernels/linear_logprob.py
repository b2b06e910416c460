"""Compares our log-probs and losses from hidden states with other ways: time, peak memory, and distance from the floor.

    python -m benchmarks.kernels.linear_logprob --device cpu
    python -m benchmarks.kernels.linear_logprob --device cuda --shape 16384 4096 128256 bfloat16

Every provider gets the same inputs and must return the same outputs and gradients; one that is wrong is not timed. Providers
take turns, round by round, in one process. CPU memory is measured in a process of its own for each.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.csv_file import write_csv
from benchmarks.kernels.compare import Effort, compare, ours_once
from benchmarks.kernels.inputs import HiddenKind, Shape, make_inputs
from benchmarks.kernels.measure import floor
from benchmarks.kernels.providers import KERNELS, Kernel, our_names
from benchmarks.kernels.report import Row, Setting, print_table
from benchmarks.machine import device_name, free, versions

RESULTS = Path(__file__).parents[1] / "results"
SHAPES = {
    "cpu": [Shape(1024, 256, 32768, torch.float32), Shape(7168, 1024, 151936, torch.bfloat16)],
    "cuda": [Shape(n, 2560, 151936, torch.bfloat16) for n in (7168, 16384, 65536)],
}
QUICK_SHAPES = {
    "cpu": [Shape(256, 128, 8192, torch.float32)],
    "cuda": [Shape(4096, 1024, 32768, torch.bfloat16)],
}
EFFORTS = {"cpu": Effort(least=3, rounds=7, seconds=8.0), "cuda": Effort(least=3, rounds=20, seconds=10.0)}
QUICK_EFFORTS = {"cpu": Effort(least=3, rounds=7, seconds=1.0), "cuda": Effort(least=3, rounds=10, seconds=2.0)}
LONG = 1e12  # operations of three products, beyond which a CPU runs only our own, and once
CHECKED_ROWS = 256  # in such a case
KINDS: tuple[HiddenKind, ...] = ("random", "trained-like")
CPU_KERNELS: tuple[Kernel, ...] = ("logprob+entropy", "ce", "policy loss")  # "logprob" would say nothing new


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit status."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    if options.device == "cuda" and not torch.cuda.is_available():
        console.print("No CUDA device here: nothing was measured.", style="bold red")
        return 1
    rows = _measure(options, console)
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"linear_logprob-{options.device}"
    write_csv(rows, stem.with_suffix(".csv"))
    console.print(f"wrote {stem.with_suffix('.csv')}")
    if importlib.util.find_spec("matplotlib") is None:
        console.print("no plot: matplotlib is not installed")
        return 0
    from benchmarks.kernels.plot import plot

    plot(rows, frozenset(chain.from_iterable(map(our_names, KERNELS))), stem.with_suffix(".png"))
    console.print(f"wrote {stem.with_suffix('.png')}")
    return 0


def _measure(options: argparse.Namespace, console: Console) -> list[Row]:
    device = options.device
    shapes = options.shape or (QUICK_SHAPES if options.quick else SHAPES)[device]
    effort = (QUICK_EFFORTS if options.quick else EFFORTS)[device]
    kernels = options.kernel or (CPU_KERNELS if device == "cpu" else KERNELS)
    name, packages = device_name(device), versions()
    console.print(f"{name}; {packages}; load average {os.getloadavg()[0]:.1f}")
    rows: list[Row] = []
    for shape in shapes:
        settings = [Setting(shape, kind, name, packages) for kind in KINDS]
        if device == "cpu" and 3 * shape.unit > LONG:
            tables = _ours_once(settings[-1], kernels)
        else:
            tables = chain.from_iterable(_compared(setting, kernels, device, effort) for setting in settings)
        for table in tables:
            print_table(console, table, our_names(table[0].kernel))
            rows += table
    return rows


def _compared(setting: Setting, kernels: Sequence[Kernel], device: str, effort: Effort) -> Iterator[list[Row]]:
    inputs = make_inputs(setting.shape, setting.hidden, device)
    for kernel in kernels:
        yield compare(setting, kernel, inputs, effort, peak_memory=setting.hidden == KINDS[-1])
    del inputs
    free()


def _ours_once(setting: Setting, kernels: Sequence[Kernel]) -> Iterator[list[Row]]:
    bare = floor(make_inputs(setting.shape, setting.hidden, "cpu", old=False))
    some = make_inputs(replace(setting.shape, tokens=CHECKED_ROWS), setting.hidden, "cpu")
    for kernel in kernels:
        yield ours_once(setting, kernel, some, {mode: [milliseconds] for mode, milliseconds in bare.items()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=found, help=f"here: {found}")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the CSV file and the plot")
    parser.add_argument("--quick", action="store_true", help="a small shape, within a minute")
    parser.add_argument("--kernel", action="append", choices=KERNELS, help="only this one; may be given several times")
    parser.add_argument(
        "--shape",
        action=_ShapeAction,
        nargs=4,
        metavar=("N", "H", "V", "DTYPE"),
        help="instead of the usual shapes: tokens, features, vocabulary, and a dtype such as bfloat16; may be repeated",
    )
    return parser


class _ShapeAction(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        n, h, v, dtype = values
        if dtype not in ("float32", "bfloat16", "float16") or not all(
            size.isdigit() and int(size) for size in (n, h, v)
        ):
            parser.error(f"--shape takes three sizes and float32, bfloat16 or float16, not {' '.join(values)}")
        shape = Shape(int(n), int(h), int(v), getattr(torch, dtype))
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), shape])


if __name__ == "__main__":
    sys.exit(main())
