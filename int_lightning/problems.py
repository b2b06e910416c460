"""Where problems come from: files with reference solutions, GSM8K as published, and the mini world."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from int_lightning.grading import check_gold
from int_lightning.types import Problem, UserError

_CALCULATION = re.compile(r"<<[^>]*>>")
_FINAL = "####"

Row = tuple[int, Mapping[str, object]]


def load_problems(source: str, limit: int | None = None, require_solution: bool = True) -> list[Problem]:
    """The problems of a source, in its order.

    Args:
        source: A ``.jsonl``, ``.jsonl.gz``, ``.parquet`` or ``.csv`` file with the columns ``problem``, ``solution``,
            ``answer`` and optionally ``id``, or GSM8K's ``question`` and ``answer`` (worked solution, ``####``, final
            answer); or ``mini:SPLIT`` or ``mini:SPLIT:COUNT`` for the built-in world.
        limit: Keep the first so many problems; rows after them are not read.
        require_solution: Refuse a problem without a reference solution.

    Raises:
        UserError: naming file, row (from 1, a CSV's header not counted) and key, for what is not a problem set.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: give at least 1, or leave it out for all problems")
    if source == "mini" or source.startswith("mini:"):
        return _from_mini(source, limit)
    path = Path(source)
    if not path.is_file():
        raise UserError(f"{source}: no such file: give a path to .jsonl, .jsonl.gz, .parquet or .csv, or mini:SPLIT")
    problems: list[Problem] = []
    first_row: dict[str, int] = {}
    for index, (number, row) in enumerate(islice(_rows(path), limit)):
        problem = _to_problem(row, source, number, f"{_stem(path)}-{index:06d}", require_solution)
        if problem.id in first_row:
            raise UserError(
                f"{source}: rows {first_row[problem.id]} and {number} both have id {problem.id!r}: "
                "make ids unique, or remove the key and they are numbered"
            )
        first_row[problem.id] = number
        problems.append(problem)
    if not problems:
        raise UserError(f"{source}: no problems in it: give a file with at least one row")
    return problems


def _from_mini(source: str, limit: int | None) -> list[Problem]:
    from int_lightning.mini.world import load_split

    _, _, rest = source.partition(":")
    split, _, count = rest.partition(":")
    if count and not (count.isdecimal() and int(count)):
        raise UserError(f"{source}: {count!r} is not a number of problems: write mini:{split}:200")
    sizes = [size for size in (int(count) if count else None, limit) if size is not None]
    return load_split(split, min(sizes, default=None))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0]


def _rows(path: Path) -> Iterator[Row]:
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".jsonl"):
            yield from _json_rows(path)
        elif path.suffix == ".parquet":
            yield from _parquet_rows(path)
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as lines:
                yield from enumerate(csv.DictReader(lines), 1)
        else:
            raise UserError(f"{path}: unknown kind of file: give .jsonl, .jsonl.gz, .parquet or .csv")
    except (UnicodeDecodeError, OSError, EOFError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}): give an intact UTF-8 file") from error


def _json_rows(path: Path) -> Iterator[Row]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}: row {number} is not JSON ({error}): write one object a line") from error
            if not isinstance(row, dict):
                raise UserError(f"{path}: row {number} is a {type(row).__name__}: write one JSON object a line")
            yield number, row


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(path).iter_batches()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file ({error}): export it again, or give .jsonl") from error
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _to_problem(
    row: Mapping[str, object], source: str, number: int, default_id: str, require_solution: bool
) -> Problem:
    where = f"{source}: row {number}"
    if "question" in row and "problem" not in row:
        problem = _text(row, "question", where)
        solution, mark, answer = _text(row, "answer", where).rpartition(_FINAL)
        solution = _CALCULATION.sub("", solution).strip()
        if mark:
            answer = answer.replace(",", "")
        solution_key = f"worked solution before {_FINAL} in key 'answer'"
    else:
        problem = _text(row, "problem", where)
        solution = _text(row, "solution", where).strip() if require_solution or row.get("solution") is not None else ""
        answer = _text(row, "answer", where)
        solution_key = "text in key 'solution'"
    if not problem.strip():
        raise UserError(f"{where}: the problem text is empty: fill it in or remove the row")
    if require_solution and not solution:
        raise UserError(
            f"{where}: no reference solution: interventions are found by comparing with one; "
            f"give {solution_key}, or remove the row"
        )
    if not answer.strip():
        raise UserError(
            f"{where}: key 'answer' has no final answer: attempts cannot be graded; fill it in or remove the row"
        )
    try:
        check_gold(answer)
    except UserError as error:
        raise UserError(f"{where}: key 'answer': {error}") from error
    given = row.get("id")
    return Problem(
        id=default_id if given is None else _text(row, "id", where).strip() or default_id,
        problem=problem.strip(),
        solution=solution,
        answer=answer.strip(),
        source=source,
    )


def _text(row: Mapping[str, object], key: str, where: str) -> str:
    if key not in row:
        found = ", ".join(map(str, row)) or "none"
        raise UserError(f"{where}: key {key!r} is missing (it has: {found}): rename or add that field")
    value = row[key]
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = "null" if value is None else type(value).__name__
        raise UserError(f"{where}: key {key!r} is a {kind}: write a string or a number")
    return str(value)
