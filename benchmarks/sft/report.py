"""What the comparison found: lines of a CSV file and of a table, and the operations that a model needs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from transformers import PretrainedConfig

from benchmarks.fits import OURS, TRL, Fit, fastest, first_note
from benchmarks.machine import GIB
from int_lightning.learn.micro_batches import TrainingRow

PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}  # dense bfloat16 operations a second


@dataclass(frozen=True, slots=True)
class Setting:
    """What all fits of a run share. ``operations`` are those that a trained token needs, forward and backward."""

    device: str
    model: str
    lengths: str
    batch_size: int
    steps: int
    operations: float


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the CSV file: medians over the repeats; where nothing was measured, None, and ``note`` says why.

    ``tokens_per_core_second`` counts the time that cores worked for the process, which other processes disturb less than the
    clock's. ``tflops`` count what the model needs, not what a way repeats or wastes on padding, and ``mfu`` is their share of
    the device's peak. ``speed_ratio`` and ``memory_ratio`` are ours over the fastest of TRL's ways, in the same
    rounds.
    """

    provider: str
    way: str
    model: str
    dtype: str
    lengths: str
    batch_size: int
    steps: int
    tokens_per_second: float | None = None
    least: float | None = None
    most: float | None = None
    tokens_per_core_second: float | None = None
    gib: float | None = None
    tflops: float | None = None
    mfu: float | None = None
    speed_ratio: float | None = None
    memory_ratio: float | None = None
    loss: float | None = None
    repeats: int = 0
    device: str = ""
    versions: str = ""
    note: str = ""


def operations(config: PretrainedConfig, rows: Sequence[TrainingRow]) -> float:
    """Those of a forward and a backward pass for each trained token: products with the weights, the head's only where a token
    is trained, and causal attention within rows."""
    wide = config.num_attention_heads * config.head_dim
    narrow = config.num_key_value_heads * config.head_dim
    layer = config.hidden_size * (2 * wide + 2 * narrow + 3 * config.intermediate_size)
    tokens = sum(len(row.token_ids) for row in rows)
    trained = sum(int((row.weights[1:] > 0).sum()) for row in rows)
    squares = sum(len(row.token_ids) ** 2 for row in rows)
    body = config.num_hidden_layers * (6 * layer * tokens + 6 * wide * squares)
    return body / trained + 6 * config.hidden_size * config.vocab_size


def disagreement(fits: Sequence[Fit]) -> float:
    """The largest difference of losses between the first fit and the others: of the whole run's mean and, where a way begins
    with the same rows, of the first step's.

    Raises:
        SystemExit: if one trained on other tokens, or if none began with the same rows.
    """
    first, *others = fits
    if wrong := [f"{fit.provider}, {fit.way}" for fit in others if sum(fit.tokens) != sum(first.tokens)]:
        raise SystemExit(f"trained on other tokens than {first.provider}, {first.way}: {'; '.join(wrong)}")
    alike = [fit for fit in others if fit.provider != first.provider and fit.tokens[0] == first.tokens[0]]
    if not alike:
        raise SystemExit("no way of TRL's begins with the same rows: nothing says that the losses are the same")
    return max(
        *(abs(fit.loss - first.loss) for fit in others), *(abs(fit.losses[0] - first.losses[0]) for fit in alike)
    )


def lines(fits: Sequence[Fit], setting: Setting, dtype: str) -> list[Line]:
    """One for each way."""
    best = {fit.round: fit for fit in fits if (fit.provider, fit.way) == (TRL, fastest(fits, TRL))}
    out = []
    for provider, way in dict.fromkeys((fit.provider, fit.way) for fit in fits):
        found = [fit for fit in fits if (fit.provider, fit.way) == (provider, way)]
        speeds = [fit.speed for fit in found]
        speed, peak = statistics.median(speeds), statistics.median(fit.peak for fit in found)
        rate = speed * setting.operations
        peak_rate = next((peak for gpu, peak in PEAKS.items() if gpu in setting.device), None)
        ours = provider == OURS
        out.append(
            Line(
                provider, way, setting.model, dtype, setting.lengths, setting.batch_size, setting.steps,
                tokens_per_second=speed,
                least=min(speeds),
                most=max(speeds),
                tokens_per_core_second=statistics.median(f.trained / f.processor_seconds for f in found),
                gib=peak / GIB,
                tflops=rate / 1e12,
                mfu=rate / peak_rate if peak_rate else None,
                speed_ratio=statistics.median(fit.speed / best[fit.round].speed for fit in found) if ours else None,
                memory_ratio=peak / statistics.median(fit.peak for fit in best.values()) if ours else None,
                loss=found[0].loss,
                repeats=len(found),
                device=setting.device,
                versions=found[0].versions,
                note=first_note(found),
            )
        )  # fmt: skip
    return out


def print_table(console: Console, found: Sequence[Line]) -> None:
    """A line for each way, ours in bold."""
    first = found[0]
    table = Table(
        title=f"SFT of {first.model}, {first.dtype}, rows of {first.lengths} tokens, {first.batch_size} a step",
        title_justify="left",
        title_style="bold",
    )
    for column in (
        "",
        "trained tokens/s",
        "least to most",
        "a core second",
        "GiB",
        "TFLOP/s",
        "MFU",
        "speed",
        "memory",
        "loss",
    ):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for line in found:
        table.add_row(
            f"{line.provider}: {line.way}",
            _number(line.tokens_per_second, "{:,.1f}"),
            f"{_number(line.least, '{:,.1f}')} to {_number(line.most, '{:,.1f}')}" if line.repeats > 1 else "",
            _number(line.tokens_per_core_second, "{:,.1f}"),
            _number(line.gib, "{:.2f}"),
            _number(line.tflops, "{:.3g}"),
            _number(line.mfu, "{:.1%}"),
            _number(line.speed_ratio, "{:.2f}x"),
            _number(line.memory_ratio, "{:.2f}x"),
            _number(line.loss, "{:.4f}"),
            style="bold green" if line.provider == OURS else None,
        )
    console.print(table)
    for note in dict.fromkeys(f"{line.provider}, {line.way}: {line.note}" for line in found if line.note):
        console.print(f"[dim]{note}[/]")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
