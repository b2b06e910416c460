"""What a benchmark found: rows of a CSV file, and tables in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.kernels.inputs import HiddenKind, Shape
from benchmarks.kernels.providers import Kernel


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the CSV file. Where nothing was measured, the quantiles are None and ``note`` says why.

    ``metric`` is ms, GiB, TFLOP/s, percent of floor, or error. TFLOP/s count the products that every way needs, one in
    ``forward`` and three in ``full``, and not those that it repeats; percent of floor is the time of these products alone,
    measured in the same rounds, over the way's.
    """

    kernel: Kernel
    provider: str
    mode: str
    metric: str
    N: int
    H: int
    V: int
    dtype: str
    hidden: str
    p20: float | None
    p50: float | None
    p80: float | None
    repeats: int
    device: str
    versions: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rows of one part of a benchmark share."""

    shape: Shape
    hidden: HiddenKind
    device: str
    versions: str

    def row(
        self, kernel: Kernel, provider: str, mode: str, metric: str, samples: Sequence[float] = (), note: str = ""
    ) -> Row:
        """A row with the 20th, 50th and 80th percentile of samples."""
        p20, p50, p80 = _quantiles(samples) if samples else (None, None, None)
        s = self.shape
        return Row(
            kernel, provider, mode, metric, s.tokens, s.width, s.vocabulary, s.dtype_name, self.hidden,
            p20, p50, p80, len(samples), self.device, self.versions, note,
        )  # fmt: skip


def _quantiles(samples: Sequence[float]) -> list[float]:
    levels = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    return torch.tensor(samples, dtype=torch.float64).quantile(levels).tolist()


def print_table(console: Console, rows: Sequence[Row], ours: Sequence[str]) -> None:
    """One table: a line for each provider, our own in bold; "vs naive 2.00x" is twice as fast as naive.

    Args:
        rows: Those of one setting and kernel.
        ours: Names of our providers; all others are compared with the first.
    """
    first = rows[0]
    shape = f"N {first.N}, H {first.H}, V {first.V}, {first.dtype}"
    table = Table(
        title=f"{first.kernel}: {shape}, {first.hidden} hidden states", title_justify="left", title_style="bold"
    )
    for column in (
        "",
        "forward",
        "backward",
        "full ms",
        "p20-p80",
        "vs naive",
        "vs ours",
        "floor",
        "TFLOP/s",
        "GiB",
        "error",
    ):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    full = {row.provider: row.p50 for row in rows if (row.mode, row.metric) == ("full", "ms")}
    for provider in dict.fromkeys(row.provider for row in rows):
        of = {(row.mode, row.metric): row for row in rows if row.provider == provider}
        table.add_row(
            provider,
            *(_number(of.get((mode, "ms")), _milliseconds) for mode in ("forward", "backward", "full")),
            _spread(of.get(("full", "ms"))),
            _speed(full.get("naive"), full.get(provider)),
            _speed(full.get(ours[0]), full.get(provider)),
            _number(of.get(("full", "percent of floor")), "{:.0f}%".format),
            _number(of.get(("full", "TFLOP/s")), "{:.3g}".format),
            _number(of.get(("full", "GiB")), "{:.2f}".format),
            _number(of.get(("full", "error")), "{:.0e}".format),
            style="bold green" if provider in ours else None,
        )
        for note in dict.fromkeys(row.note for row in of.values() if row.note):
            table.add_row(f"  [dim]{escape(note)}[/]")
    console.print(table)


def _number(row: Row | None, form: Callable[[float], str]) -> str:
    return "" if row is None or row.p50 is None else form(row.p50)


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _spread(row: Row | None) -> str:
    if row is None or row.p20 is None or row.p80 is None or row.repeats == 1:
        return ""
    return f"{_milliseconds(row.p20)}-{_milliseconds(row.p80)}"


def _speed(other: float | None, own: float | None) -> str:
    """How many times as fast as the other."""
    return "" if other is None or own is None else f"{other / own:.2f}x"
