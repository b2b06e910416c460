"""How many pairs of answers the grader compares in a minute: those of a JSONL file, and new ones made from them.

    python -m benchmarks.grading pairs.jsonl

A cold grader starts its workers and loads its libraries; a warm one has graded other pairs before. No grader sees a pair twice: a
variant of a file has other numbers in the same places of both answers.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from int_lightning.console import say, show_table
from int_lightning.grading.command import read_pairs
from int_lightning.grading.grader import Grader

Pairs = list[tuple[str, str]]
_NUMBER = re.compile(r"(?<![\d.^_{])\d{1,4}(?![\d.}])")


def main() -> None:
    """Measures and prints a table; ``--out`` also writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    pairs = list(dict.fromkeys((pair.pred, pair.gold) for pair in read_pairs(given.file)[0]))
    files = {given.file.name: [pairs] * given.repeats}
    files["variants of it"] = [variant(pairs, seed) for seed in range(given.repeats)]
    rows = []
    for name, versions in files.items():
        cold = [measure_cold(version, given.workers) for version in versions]
        warm = [measure_warm(version, variant(version, 1000 + i), given.workers) for i, version in enumerate(versions)]
        for start, runs in (("cold", cold), ("warm", warm)):
            rows.append({"pairs": name, "start": start, "distinct": len(pairs), **summary(runs)})
    machine = f"{processor()}, {psutil.cpu_count()} cores, {given.workers} workers, load {psutil.getloadavg()[0]:.1f}"
    columns = ["pairs", "start", "distinct", "a minute", "least", "most", "a minute on two whole cores"]
    show_table(f"Grading on {machine}", columns, [list(map(shown, row.values())) for row in rows])
    say(
        "Medians. The last column is 120 s over the processor time of a pair, which other work on the machine does not change."
    )
    if given.out:
        given.out.write_text(json.dumps({"machine": machine, "repeats": given.repeats, "rows": rows}, indent=2) + "\n")


def shown(value: int | str) -> str:
    """A cell of the table."""
    return f"{value:,}" if isinstance(value, int) else value


def variant(pairs: Pairs, seed: int) -> Pairs:
    """The pairs with every number of up to four digits changed, a number in the same way in both answers."""
    draw = random.Random(seed)
    changed = []
    for pred, gold in pairs:
        numbers = sorted({*_NUMBER.findall(pred), *_NUMBER.findall(gold)} - {"0", "1"})
        others = {number: str(int(number) + draw.randrange(1, 900)) for number in numbers}
        changed.append((replaced(pred, others), replaced(gold, others)))
    return changed


def replaced(answer: str, others: dict[str, str]) -> str:
    """The answer with other numbers for its numbers."""
    return _NUMBER.sub(lambda number: others.get(number[0], number[0]), answer)


def measure_cold(pairs: Pairs, workers: int) -> tuple[float, float]:
    """Pairs a minute of a grader that has yet to start its workers: by the clock, and by processor time on two cores."""
    with Grader(workers) as grader:
        return _measure(grader, pairs)


def measure_warm(pairs: Pairs, before: Pairs, workers: int) -> tuple[float, float]:
    """The same for a grader that has graded other pairs; pairs without numbers, the same in both, are only measured."""
    measured = set(pairs)
    others = [pair for pair in before if pair not in measured]
    with Grader(workers) as grader:
        grader.equivalent([pred for pred, _ in others], [gold for _, gold in others])
        return _measure(grader, pairs)


def _measure(grader: Grader, pairs: Pairs) -> tuple[float, float]:
    began, used = time.perf_counter(), _processor_seconds()
    grader.equivalent([pred for pred, _ in pairs], [gold for _, gold in pairs])
    wall, busy = time.perf_counter() - began, _processor_seconds() - used
    if not busy:
        raise SystemExit(f"{len(pairs)} pairs are too few to time: give a file with more")
    return len(pairs) / wall * 60, len(pairs) / busy * 120


def _processor_seconds() -> float:
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [me, *me.children()])


def summary(runs: Sequence[tuple[float, float]]) -> dict[str, int]:
    """Median, least and most pairs a minute, and the median on two cores without other work."""
    rates = [rate for rate, _ in runs]
    whole = statistics.median(rate for _, rate in runs)
    return {
        "per_minute": round(statistics.median(rates)),
        "least": round(min(rates)),
        "most": round(max(rates)),
        "per_minute_whole_cores": round(whole),
    }


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else "unknown processor"


if __name__ == "__main__":
    main()
