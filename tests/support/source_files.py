"""Files of problems, and what reading them gives."""

from __future__ import annotations

import csv
import json
import random
from itertools import product
from pathlib import Path

from int_lightning.sources.reading import read
from int_lightning.sources.source_config import Quarantined, SourceConfig

ROW = {"problem": "2 + 2?", "solution": "2 + 2 = 4", "answer": "4"}
WORDS = list(map("".join, product("bdfgklmnprstvz", ("ane", "obi", "ulla", "est", "inor", "aph", "um"))))


def write(path: Path, *rows: object) -> str:
    """Writes one row a line: text as it is, anything else as JSON. Returns the path."""
    with path.open("w") as file:
        for row in rows:
            print(row if isinstance(row, str) else json.dumps(row), file=file)
    return str(path)


def write_csv(path: Path, *rows: list[str]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def outcome(source: SourceConfig | str) -> list[tuple[int, str] | str]:
    """The id of each problem; row and kind of each quarantined row."""
    found: list[tuple[int, str] | str] = []
    for item in read(source):
        found.append((item.row, item.kind) if isinstance(item, Quarantined) else item.id)
    return found


def random_text(seed: int, words: int = 40) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words)) + f" {seed}?"


def write_problems(path: Path, problems: list[str], answers: list[str] | None = None, **columns: str) -> str:
    rows = [{"problem": p, "solution": "s", "answer": "1", **columns} for p in problems]
    for row, answer in zip(rows, answers or [], strict=bool(answers)):
        row["answer"] = answer
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
