"""Bars of time and memory from a benchmark's rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.kernels.report import Row

FLOOR = "three bare products"
BARE = (FLOOR, "four bare products", "copy of 1 GiB")
OURS, OTHERS = "#2a7f62", "#9aa5b1"


def plot(rows: Sequence[Row], ours: frozenset[str], path: Path) -> None:
    """One line of panels for each shape and kind of hidden states, with a panel for each kernel: milliseconds of ``full``,
    with the bare products as a dashed line, and below them GiB where it was measured.

    Args:
        rows: All rows of a benchmark.
        ours: Names of our providers.
        path: Where the PNG goes.
    """
    rows = [row for row in rows if row.mode == "full" and row.p50 is not None]
    settings = list(dict.fromkeys((row.N, row.H, row.V, row.dtype, row.hidden) for row in rows))
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    panels = [panel for panel in product(settings, ("ms", "GiB")) if _any(rows, *panel)]
    figure, grid = plt.subplots(
        len(panels), len(kernels), figsize=(5.5 * len(kernels), 2.9 * len(panels)), squeeze=False, layout="constrained"
    )
    for line, (setting, metric) in zip(grid, panels, strict=True):
        for axes, kernel in zip(line, kernels, strict=True):
            here = [row for row in rows if (_setting(row), row.kernel, row.metric) == (setting, kernel, metric)]
            floor = [row.p50 or 0.0 for row in here if row.provider == FLOOR]
            _bars(axes, [row for row in here if row.provider not in BARE], ours)
            if metric == "ms" and floor:
                axes.axvline(floor[0], color="black", linestyle="--", linewidth=1)
            n, h, v, dtype, hidden = setting
            axes.set_title(f"{kernel}\nN {n}, H {h}, V {v}, {dtype}, {hidden}", fontsize=8)
            axes.set_xlabel(
                f"ms, forward and backward; dashed: {FLOOR}" if metric == "ms" else "GiB beyond the inputs", fontsize=8
            )
    figure.suptitle(rows[0].device, fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _setting(row: Row) -> tuple[int, int, int, str, str]:
    return row.N, row.H, row.V, row.dtype, row.hidden


def _any(rows: Sequence[Row], setting: tuple[int, int, int, str, str], metric: str) -> bool:
    return any(_setting(row) == setting and row.metric == metric for row in rows)


def _bars(axes: Axes, rows: Sequence[Row], ours: frozenset[str]) -> None:
    names = [_label(row) for row in rows]
    values = [row.p50 or 0.0 for row in rows]
    colours = [_colour(row, ours) for row in rows]
    axes.bar_label(axes.barh(names, values, color=colours), fmt="%.3g", padding=2, fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _label(row: Row) -> str:
    return f"{row.provider}\n({row.note})" if row.note else row.provider


def _colour(row: Row, ours: frozenset[str]) -> str:
    return OURS if row.provider in ours else OTHERS
