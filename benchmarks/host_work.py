"""GRPO's host work between engine and micro-batch: seconds and memory on one of eight ranks and one core.

    python -m benchmarks.host_work

Nothing is sampled or scored: token ids, log-probs and texts are random. Gathering is simulated without a network: as in
``all_gather_object``, this rank pickles its own items once and unpickles those of all ranks. ``checkpoint`` makes the state of
rows that wait, saves it to a file, loads it with ``weights_only`` and makes rows of it again. Each part runs in a process of its
own, whose memory is its peak, inputs included, less what it held before the inputs were made.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.csv_file import write_csv
from benchmarks.machine import Neighbours, device_name, version_of
from int_lightning.grpo.groups import GroupConfig, loss_rows
from int_lightning.grpo.stream import WaitingStep
from int_lightning.learn.micro_batches import TrainingRow
from int_lightning.learn.step_stream import Layout
from int_lightning.types import Group, Provenance, Rollout, Sampling

RANKS, GROUP = 8, 8
PROMPT, LONGEST, SHORTEST = 256, 16_384, 7_168  # tokens; the latter two with the prompt
VOCABULARY = 151_936
WAITING = 128  # rows of the second of two optimiser steps
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Rollouts:
    """A set of rollouts to work on: how many, and the tokens of the shortest and the longest."""

    name: str
    count: int
    shortest: int
    longest: int


SETS = {
    "even": Rollouts("256 x 16,384 tokens", 256, LONGEST, LONGEST),
    "uneven": Rollouts("128 x 7,168 to 16,384 tokens", 128, SHORTEST, LONGEST),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table and of the CSV file; ``mib`` is the peak of the process, inputs included."""

    rollouts: str
    part: str
    seconds: float
    least: float
    most: float
    mib: float
    repeats: int
    device: str
    versions: str
    note: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes the CSV file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "host-work-cpu.csv")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, width=150)
    found = []
    for name in SETS:
        for part in PARTS:
            with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                line = alone.submit(measured, name, part, options.repeats).result()
            found.append(line)
            console.print(f"{line.rollouts}, {part}: {line.seconds:.3f} s, {line.mib:,.0f} MiB")
    write_csv(found, options.out)
    show(console, found)
    console.print(f"wrote {options.out}")


def measured(name: str, part: str, repeats: int) -> Line:
    """The seconds and the memory of a part's repeats, in this process."""
    torch.set_num_threads(1)
    rollouts, neighbours, seconds = SETS[name], Neighbours(), []
    held = psutil.Process().memory_info().rss
    with tempfile.TemporaryDirectory() as folder:
        work = PARTS[part](rollouts, Path(folder))
        forget_peak()
        for _ in range(repeats):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
        mib = (peak() - held) / MIB
    return Line(
        rollouts.name,
        part,
        statistics.median(seconds),
        min(seconds),
        max(seconds),
        mib,
        repeats,
        device_name("cpu"),
        "; ".join(f"{package} {version_of(package)}" for package in ("torch", "numpy")),
        neighbours.note(),
    )


def forget_peak() -> None:
    """Sets the peak of this process's memory to what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most that this process has held since, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return 1024 * int(kib)


def gather_groups(of: Rollouts, _: Path) -> Callable[[], object]:
    """All ranks' groups, as the stream gathers them."""
    groups = made_groups(of)
    return gathering([groups[rank::RANKS] for rank in range(RANKS)])


def make_rows(of: Rollouts, _: Path) -> Callable[[], object]:
    """The rows of all groups."""
    groups = made_groups(of)
    return lambda: loss_rows(groups, GroupConfig(), with_engine_logprobs=True)


def gather_scores(of: Rollouts, _: Path) -> Callable[[], object]:
    """The log-probs of all rows that each rank scored, once."""
    rows = made_rows(of)
    return gathering([[(i, rows[i].old_logprobs) for i in range(rank, len(rows), RANKS)] for rank in range(RANKS)])


def balance_and_collate(of: Rollouts, _: Path) -> Callable[[], object]:
    """One optimiser step on all rows: this rank's packed micro-batches."""
    rows = made_rows(of)
    layout = Layout(0, LONGEST, packed=True, rank=0, world_size=RANKS)
    return lambda: layout.step(rows, count=1.0, metrics={})


def checkpoint(of: Rollouts, folder: Path) -> Callable[[], object]:
    """The state of a step that waits, saved and loaded."""
    waiting = WaitingStep(made_rows(replace(of, count=min(WAITING, of.count))), 1.0, {})

    def work() -> object:
        torch.save(waiting.state_dict(), folder / "state.pt")
        return WaitingStep.from_state(torch.load(folder / "state.pt", weights_only=True))

    return work


PARTS: dict[str, Callable[[Rollouts, Path], Callable[[], object]]] = {
    "gather groups": gather_groups,
    "make rows": make_rows,
    "gather scores": gather_scores,
    "balance and collate": balance_and_collate,
    "checkpoint": checkpoint,
}


def gathering(parts: Sequence[list[Any]]) -> Callable[[], object]:
    """What this rank does to gather all ranks' parts, the first of which is its own."""
    pickled = [pickle.dumps(part) for part in parts]

    def work() -> object:
        sent = [pickle.dumps(parts[0]), *pickled[1:]]
        return list(chain.from_iterable(map(pickle.loads, sent)))

    return work


def made_groups(of: Rollouts) -> list[Group]:
    """Groups of random rollouts, half of them right."""
    random = np.random.default_rng(0)
    groups = []
    for start in range(0, of.count, GROUP):
        prompt = random.integers(VOCABULARY, size=PROMPT).tolist()
        rollouts = [made_rollout(f"p{start}", i, prompt, of, random) for i in range(GROUP)]
        rewards = [float(i % 2) for i in range(GROUP)]
        groups.append(Group(f"p{start}", rollouts, rewards, [reward - 0.5 for reward in rewards]))
    return groups


def made_rollout(problem: str, sample: int, prompt: list[int], of: Rollouts, random: np.random.Generator) -> Rollout:
    """A rollout with four characters of text for each token."""
    length = int(random.integers(of.shortest, of.longest, endpoint=True)) - PROMPT
    return Rollout(
        f"{problem}/grpo/0/{sample}",
        problem,
        sample,
        list(prompt),
        random.integers(VOCABULARY, size=length).tolist(),
        random.standard_normal(length, dtype=np.float32).tolist(),
        random.bytes(2 * length).hex(),
        "stop",
        "42",
        bool(sample % 2),
        Provenance("model", "step 0", "vllm", "solve@1f2e3d4c", Sampling(of.longest), sample, [0]),
    )


def made_rows(of: Rollouts) -> list[TrainingRow]:
    """Rows that were scored by trainer and reference, as with several updates on a batch and a KL term."""
    rows = loss_rows(made_groups(of), GroupConfig(), with_engine_logprobs=True)
    return [replace(row, old_logprobs=row.engine_logprobs, reference_logprobs=row.engine_logprobs) for row in rows]


def show(console: Console, found: Sequence[Line]) -> None:
    """The table, with a sum of each set's parts up to the micro-batches."""
    table = Table(title=f"GRPO's host work on one of {RANKS} ranks: {found[0].device}", title_justify="left")
    for column in ("rollouts", "part", "seconds", "least to most", "MiB"):
        table.add_column(column, justify="left" if column in ("rollouts", "part") else "right", no_wrap=True)
    for lines in by_set(found):
        for line in lines:
            spread = f"{line.least:.3f} to {line.most:.3f}"
            table.add_row(line.rollouts, line.part, f"{line.seconds:.3f}", spread, f"{line.mib:,.0f}")
        before = sum(line.seconds for line in lines if line.part != "checkpoint")
        table.add_row(
            lines[0].rollouts, "all but the checkpoint", f"{before:.3f}", "", "", style="bold", end_section=True
        )
    console.print(table)
    for note in dict.fromkeys(line.note for line in found if line.note):
        console.print(f"[dim]{note}[/]")


def by_set(found: Sequence[Line]) -> Iterator[list[Line]]:
    """The lines of each set."""
    for name in dict.fromkeys(line.rollouts for line in found):
        yield [line for line in found if line.rollouts == name]


if __name__ == "__main__":
    main()
