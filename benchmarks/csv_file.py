"""Rows of a benchmark as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any


def write_csv(rows: Sequence[Any], path: Path) -> None:
    """A header of the fields of the rows' dataclass, then a line for each row; numbers with five significant digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(rows[0]))
        for row in rows:
            writer.writerow(map(_short, astuple(row)))


def _short(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value
