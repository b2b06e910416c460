"""Rows that are not in files: datasets streamed from the hub, and tasks that reasoning-gym generates."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from int_lightning.sources.lines import SourceRow
from int_lightning.sources.parquet_values import converted, shortest_floats
from int_lightning.sources.row_files import project
from int_lightning.types import UserError

_GYM_COUNT = 500
_GYM_SEED = 0


def hub_rows(path: str, needed: Sequence[str], optional: Sequence[str]) -> Iterator[SourceRow]:
    """The rows of ``hf:ID[:CONFIG[:SPLIT]]``, streamed.

    Raises:
        UserError: if the datasets library is not installed, the dataset cannot be opened, or the connection breaks.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{path}: needs the datasets library: pip install 'int-lightning[hub]'") from error
    _, name, config, split, *more = [*path.split(":"), "", "", ""]
    if not name or any(more):
        raise UserError(f"{path}: write hf:ID, hf:ID:CONFIG or hf:ID:CONFIG:SPLIT (hf:ID::SPLIT without a config)")
    try:
        dataset = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
    except Exception as error:
        raise UserError(
            f"{path}: cannot be opened ({_first_line(error)}): check the name, config and split and the connection, or "
            "download the dataset and give its file"
        ) from error
    converters = shortest_floats(dataset.features.arrow_schema) if dataset.features else {}
    if dataset.column_names and (columns := project(dataset.column_names, needed, optional)):
        dataset = dataset.select_columns(columns)
    return ((number, converted(row, converters)) for number, row in _streamed(path, dataset))


def _streamed(path: str, dataset: Iterator) -> Iterator[tuple[int, dict[str, object]]]:
    number = 0
    try:
        for number, row in enumerate(dataset, 1):
            yield number, row
    except Exception as error:
        raise UserError(
            f"{path}: reading stopped after row {number} ({_first_line(error)}): run again, or download the dataset and "
            "give its file"
        ) from error


def gym_rows(path: str) -> Iterator[SourceRow]:
    """Generated problems of ``gym:TASK[:COUNT]``, the same ones every time.

    They have an answer but no solution. Answers are graded like any other: choose tasks with one right answer.

    Raises:
        UserError: if reasoning-gym is not installed or has no such task.
    """
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise UserError(f"{path}: needs the reasoning-gym library: pip install 'int-lightning[gym]'") from error
    _, task, *rest = path.split(":")
    count = rest[0] if rest else str(_GYM_COUNT)
    if len(rest) > 1 or not (count.isdecimal() and int(count)):
        raise UserError(f"{path}: write gym:TASK or gym:TASK:COUNT")
    if task not in DATASETS:
        near = ", ".join(difflib.get_close_matches(task, DATASETS, n=5, cutoff=0.3)) or "basic_arithmetic"
        raise UserError(f"{path}: reasoning-gym has no task {task!r}: did you mean one of {near}?")
    dataset = reasoning_gym.create_dataset(task, size=int(count), seed=_GYM_SEED)
    return ((i + 1, {"problem": e["question"], "answer": e["answer"]}) for i, e in enumerate(dataset))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
