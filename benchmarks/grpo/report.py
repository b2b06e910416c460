"""What the comparison found: lines of a CSV file and of a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from benchmarks import fits
from benchmarks.fits import OURS, TRL, fastest, first_note
from benchmarks.machine import GIB

LENGTH_TOLERANCE, REWARD_TOLERANCE = 0.05, 0.05


@dataclass(frozen=True, slots=True)
class Fit(fits.Fit):
    """One fit: ``trained`` and ``tokens`` are those of all completions; lists have an item for each step, the warm-up's first.

    ``generate`` are the seconds of sampling and rewards, ``sync`` those in which the engine got new weights (none where model
    and engine are one), ``zero_advantage`` the share of groups whose rewards agree, ``first_step`` the seconds from the command
    to the end of its first step.
    """

    first_step: float
    lengths: list[float]
    rewards: list[float]
    zero_advantage: list[float]
    generate: list[float]
    sync: list[float]

    @property
    def steps(self) -> int:
        """Steps that were measured."""
        return len(self.tokens) - 1

    @property
    def speed(self) -> float:
        """Steps per minute."""
        return 60 * self.steps / self.seconds

    @property
    def length(self) -> float:
        """Mean tokens of a completion."""
        return statistics.mean(self.lengths[1:])

    @property
    def parts(self) -> tuple[float, float, float]:
        """Seconds of a step: sampling and rewards, sync, and the rest, which is training."""
        generate, sync = (sum(seconds[1:]) / self.steps for seconds in (self.generate, self.sync))
        return generate, sync, self.seconds / self.steps - generate - sync


@dataclass(frozen=True, slots=True)
class Setting:
    """What all fits of a reward share."""

    device: str
    model: str
    problems: str
    reward: str
    prompts: int
    group: int
    max_tokens: int
    threads: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Setting):
    """One line of the CSV file: medians over the repeats, of each fit's means over its steps.

    ``steps_per_core_minute`` counts the time that cores worked for the process, which other processes disturb less than the
    clock's. ``speed_ratio`` and ``memory_ratio`` are ours over the fastest of TRL's ways, in the same rounds.
    """

    provider: str
    way: str
    steps_per_minute: float
    least: float
    most: float
    steps_per_core_minute: float
    seconds_generate: float
    seconds_sync: float
    seconds_train: float
    seconds_to_first_step: float
    tokens_per_step: float
    tokens_per_completion: float
    mean_reward: float
    zero_advantage: float
    gib: float
    speed_ratio: float | None
    memory_ratio: float | None
    repeats: int
    versions: str
    note: str


def check_same_work(found: Sequence[Fit]) -> None:
    """Compares completions and rewards of the first step, which all sample from the same weights.

    Raises:
        SystemExit: if one differs by more than chance.
    """
    length = statistics.mean(fit.lengths[0] for fit in found)
    reward = statistics.mean(fit.rewards[0] for fit in found)
    for fit in found:
        if abs(fit.lengths[0] - length) > LENGTH_TOLERANCE * length or abs(fit.rewards[0] - reward) > REWARD_TOLERANCE:
            raise SystemExit(
                f"{fit.provider}, {fit.way}: completions of {fit.lengths[0]:.1f} tokens, rewards of {fit.rewards[0]:.3f} in "
                f"the first step, where the mean of all is {length:.1f} and {reward:.3f}: these are not the same fits"
            )


def lines(found: Sequence[Fit], setting: Setting) -> list[Line]:
    """One for each way."""
    by_way: dict[tuple[str, str], list[Fit]] = {}
    for fit in found:
        by_way.setdefault((fit.provider, fit.way), []).append(fit)
    best = {fit.round: fit for fit in by_way[TRL, fastest(found, TRL)]}
    return [_line(of_way, best, setting) for of_way in by_way.values()]


def _line(found: Sequence[Fit], best: dict[int, Fit], setting: Setting) -> Line:
    median = statistics.median
    first, ours = found[0], found[0].provider == OURS
    speeds, peak = [fit.speed for fit in found], median(fit.peak for fit in found)
    generate, sync, train = (median(part) for part in zip(*(fit.parts for fit in found), strict=True))
    return Line(
        **asdict(setting),
        provider=first.provider,
        way=first.way,
        steps_per_minute=median(speeds),
        least=min(speeds),
        most=max(speeds),
        steps_per_core_minute=median(60 * fit.steps / fit.processor_seconds for fit in found),
        seconds_generate=generate,
        seconds_sync=sync,
        seconds_train=train,
        seconds_to_first_step=median(fit.first_step for fit in found),
        tokens_per_step=median(fit.trained / fit.steps for fit in found),
        tokens_per_completion=median(fit.length for fit in found),
        mean_reward=median(statistics.mean(fit.rewards[1:]) for fit in found),
        zero_advantage=median(statistics.mean(fit.zero_advantage[1:]) for fit in found),
        gib=peak / GIB,
        speed_ratio=median(fit.speed / best[fit.round].speed for fit in found) if ours else None,
        memory_ratio=peak / median(fit.peak for fit in best.values()) if ours else None,
        repeats=len(found),
        versions=first.versions,
        note=first_note(found),
    )


def print_table(console: Console, found: Sequence[Line]) -> None:
    """A line for each way, ours in bold."""
    first = found[0]
    table = Table(
        title=f"GRPO of {first.model} on {first.problems}, {first.prompts} x {first.group} rollouts, reward: {first.reward}",
        title_justify="left",
        title_style="bold",
    )
    columns = ("", "steps/min", "least to most", "a core min", "sample, sync, train", "tokens", "zero adv.")
    for column in (*columns, "1st step", "GiB", "speed", "memory"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for line in found:
        parts = (line.seconds_generate, line.seconds_sync, line.seconds_train)
        table.add_row(
            f"{line.provider}: {line.way}",
            f"{line.steps_per_minute:.1f}",
            f"{line.least:.1f} to {line.most:.1f}" if line.repeats > 1 else "",
            f"{line.steps_per_core_minute:.1f}",
            ", ".join(f"{seconds:.2f}" for seconds in parts) + " s",
            f"{line.tokens_per_step:,.0f}",
            f"{line.zero_advantage:.0%}",
            f"{line.seconds_to_first_step:.1f} s",
            f"{line.gib:.2f}",
            "" if line.speed_ratio is None else f"{line.speed_ratio:.2f}x",
            "" if line.memory_ratio is None else f"{line.memory_ratio:.2f}x",
            style="bold green" if line.provider == OURS else None,
        )
    console.print(table)
    for note in dict.fromkeys(f"{line.provider}, {line.way}: {line.note}" for line in found if line.note):
        console.print(f"[dim]{note}[/]")
