"""Sources -> problems: streamed and tolerant of bad rows for pools, whole and strict for evaluation sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from int_lightning.mini.world import is_mini, load_source
from int_lightning.sources.fields import (
    RowError,
    from_gsm8k,
    guessed_columns,
    has_column,
    row_id,
    statement,
    to_problem,
)
from int_lightning.sources.generated import gym_rows, hub_rows
from int_lightning.sources.lines import SourceRow
from int_lightning.sources.row_files import file_rows
from int_lightning.sources.source_config import FIELDS, Quarantined, SourceConfig, Sources
from int_lightning.types import Problem, UserError

_PROOF_OF_ABSENCE = 100  # rows without a column that show that the source does not have it

NumberedItem = tuple[int, Problem | Quarantined]
"""A row's number, from 1, and what it was read as."""


def read(source: SourceConfig | str) -> Iterator[Problem | Quarantined]:
    """The problems of a source, row by row and in order; a row that cannot be used is quarantined, and reading continues.

    A problem without an id is numbered: ``train-000012`` is the 13th row of ``train.jsonl``.

    Raises:
        UserError: at once for a source that does not exist or is of an unknown kind; after 100 rows, or at the end, for a
            column that none of them has.
    """
    return (item for _, item in _numbered(as_source(source)))


def load_problems(
    source: SourceConfig | Sources | str, limit: int | None = None, require_solution: bool = True
) -> list[Problem]:
    """All problems of sources that must not have a bad row, such as an evaluation set.

    Args:
        source: Anything that ``Sources.of`` takes; several sources are read one after the other. Files have the columns
            ``problem``, ``solution``, ``answer`` and optionally ``id``, or GSM8K's ``question`` and ``answer`` (worked solution,
            ``####``, final answer).
        limit: Number of problems to keep, from the first; later rows are not read.
        require_solution: Refuse a problem without a reference solution, if the source requires one too.

    Raises:
        UserError: for the first row that cannot be used, naming source, row (from 1, a CSV's header not counted) and key.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: give at least 1, or leave it out for all problems")
    problems: dict[str, Problem] = {}
    for one in Sources.of(source):
        own = replace(one, require_solution=one.require_solution and require_solution)
        left = None if limit is None else limit - len(problems)
        for problem in _strict(own, left):
            id, n = problem.id, 1
            while id in problems:  # in an earlier source
                id, n = f"{problem.id}~{n + 1}", n + 1
            problems[id] = replace(problem, id=id)
    if not problems:
        raise UserError(f"{source}: no problems in it: give a file with at least one row")
    return list(problems.values())


def _strict(source: SourceConfig, limit: int | None) -> list[Problem]:
    problems: list[Problem] = []
    first_row: dict[str, int] = {}
    for row, item in islice(_numbered(source), limit):
        if isinstance(item, Quarantined):
            raise UserError(str(item))
        if item.id in first_row:
            raise UserError(
                f"{source.path}: rows {first_row[item.id]} and {row} both have id {item.id!r}: "
                "make ids unique, or remove the key to have them numbered"
            )
        first_row[item.id] = row
        problems.append(item)
    return problems


def statements(source: SourceConfig | str) -> Iterator[tuple[str, str]]:
    """Id and text of every problem of a source; its answers are not read. This is what keeps a benchmark out of a pool.

    Raises:
        UserError: as ``read`` does, and for a row whose text cannot be read.
    """
    source = as_source(source)
    if is_mini(source.path):
        yield from ((p.id, p.problem) for p in load_source(source.path))
        return
    stem, rows = _open(source)
    for index, (number, row) in enumerate(rows):
        try:
            if isinstance(row, str):
                raise RowError(row)
            row = row if source.columns else from_gsm8k(row)
            yield row_id(row, source) or f"{stem}-{index:06d}", statement(row, source)
        except RowError as reason:
            raise UserError(f"{source.path}: row {number}: {reason}") from reason


def as_source(source: SourceConfig | str) -> SourceConfig:
    """The source itself, or a path as a source with our own columns."""
    return SourceConfig(source) if isinstance(source, str) else source


def _numbered(source: SourceConfig) -> Iterator[NumberedItem]:
    if is_mini(source.path):
        return enumerate(load_source(source.path), 1)
    return _problems(source, *_open(source))


def _problems(source: SourceConfig, stem: str, rows: Iterator[SourceRow]) -> Iterator[NumberedItem]:
    absent, seen, last = source.needed, 0, dict[str, object]()
    for index, (number, row) in enumerate(rows):
        default_id = f"{stem}-{index:06d}"
        if isinstance(row, str):
            yield number, Quarantined(source.path, number, default_id, row)
            continue
        row = row if source.columns else from_gsm8k(row)
        if absent:
            absent, seen, last = [c for c in absent if not has_column(row, c)], seen + 1, dict(row)
            if seen >= _PROOF_OF_ABSENCE:
                break
        try:
            yield number, to_problem(row, source, default_id)
        except RowError as reason:
            yield number, Quarantined(source.path, number, default_id, str(reason))
    if absent and seen:
        raise UserError(_lacking(source, absent, seen, last))


def _lacking(source: SourceConfig, absent: list[str], rows: int, last: dict[str, object]) -> str:
    guess = guessed_columns(last, source)
    without = ", or, for a solution, set require_solution to false" if source.column("solution") in absent else ""
    return (
        f"{source.path}: none of the first {rows} rows has {' or '.join(map(repr, absent))}: the last one has "
        f"{', '.join(map(str, last)) or 'nothing'}; name the right ones in columns{guess and f', such as {guess}'}{without}"
    )


def _open(source: SourceConfig) -> tuple[str, Iterator[SourceRow]]:
    """What the ids of numbered problems begin with, and the rows."""
    kind, _, name = source.path.partition(":")
    optional = [source.column(field) for field in FIELDS]
    if kind == "hf":
        return name.partition(":")[0].rpartition("/")[2], hub_rows(source.path, source.needed, optional)
    if kind == "gym":
        return name.partition(":")[0], gym_rows(source.path)
    path = Path(source.path)
    return path.name.removesuffix(".gz").rpartition(".")[0], file_rows(path, source.needed, optional)
