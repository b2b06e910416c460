"""Attempts with a labelled first wrong step: files in ProcessBench's format, and the mini world's."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from int_lightning.json_lines import json_lines, readable
from int_lightning.mini import world
from int_lightning.oracles.base import Attempt
from int_lightning.steps import SEPARATOR
from int_lightning.types import Problem, Provenance, Rollout, Sampling, UserError

NO_ERROR = -1
"""Label of an attempt without a wrong step."""

_SAMPLING = Sampling()  # of the provenance: how a given attempt was sampled is unknown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LabelledAttempt:
    """An attempt with the index of its first wrong step, ``NO_ERROR`` if there is none. Its rollout has text and no tokens."""

    subset: str
    attempt: Attempt
    label: int


def load_labelled_attempts(
    sources: Mapping[str, str], references: str | None = None, limit: int | None = None
) -> list[LabelledAttempt]:
    """The attempts of a benchmark.

    Args:
        sources: A name and a source for each subset: a file in ProcessBench's format, a JSON list or JSON lines, either also
            as .gz, with ``id``, ``problem``, ``steps``, ``label``, ``final_answer_correct`` and optionally ``generator``; or
            ``mini:SPLIT`` or ``mini:SPLIT:COUNT``, attempts at the mini world's problems, every other one with an error.
        references: A file of the same kinds with ``id``, ``reference_solution`` and ``answer`` of every problem, which
            ProcessBench itself does not give; not needed where the sources' own rows have the latter two.
        limit: Keep only the first ``limit`` erroneous and the first ``limit`` right attempts of each subset.

    Raises:
        UserError: naming file, row and key, if a source is not such a benchmark.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: give at least 1, or leave it out for all attempts")
    solutions = {} if references is None else dict(_references(Path(references)))
    items: dict[str, LabelledAttempt] = {}
    for subset, source in sources.items():
        taken: Counter[bool] = Counter()
        for item in (
            _from_mini(subset, source) if world.is_mini(source) else _from_file(subset, Path(source), solutions)
        ):
            taken[item.label == NO_ERROR] += 1
            if limit is not None and taken[item.label == NO_ERROR] > limit:
                continue
            if items.setdefault(item.attempt.rollout.id, item) is not item:
                name = item.attempt.problem.id
                raise UserError(
                    f"{source}: id {name!r} is there twice: make ids unique over all files of the benchmark"
                )
    return list(items.values())


def _from_mini(subset: str, source: str) -> Iterator[LabelledAttempt]:
    for i, problem in enumerate(world.load_source(source)):
        text, rng = problem.problem, random.Random(f"first-error/{problem.id}")
        chain = world.Chain(int(text[0]), tuple(zip(text[1::2], map(int, text[2::2]), strict=True)))
        steps, error = world.attempt(chain, rng, flaw=0.0), None
        while i % 2 and error is None:
            steps = world.attempt(chain, rng, flaw=0.8, slip=0.12)
            error = world.first_error(chain, steps)
        correct = steps[-1] == f"\\boxed{{{problem.answer}}}"
        label = NO_ERROR if error is None else error[0]
        yield LabelledAttempt(subset, _attempt(problem, steps, correct, "mini"), label)


def _from_file(subset: str, path: Path, references: Mapping[str, tuple[str, str]]) -> Iterator[LabelledAttempt]:
    for number, row in _rows(path):
        where = f"{path}: row {number}"
        name = _value(row, "id", str, where)
        if "reference_solution" in row:
            solution, answer = _reference(row, where)
        elif name in references:
            solution, answer = references[name]
        else:
            raise UserError(
                f"{where}: no reference solution for {name!r}: oracles compare with one; give a file of references with "
                "this id, or the keys 'reference_solution' and 'answer' here"
            )
        steps = _value(row, "steps", list, where)
        if not steps or not all(isinstance(step, str) and step.strip() for step in steps):
            raise UserError(f"{where}: key 'steps' is not a list of non-empty texts: cut the attempt into steps")
        label = _value(row, "label", int, where)
        if not NO_ERROR <= label < len(steps):
            raise UserError(
                f"{where}: key 'label' is {label}: give the index of the first wrong step, 0 to {len(steps) - 1}, or -1"
            )
        correct = _value(row, "final_answer_correct", bool, where)
        problem = Problem(name, _value(row, "problem", str, where), solution, answer, str(path))
        yield LabelledAttempt(subset, _attempt(problem, steps, correct, str(row.get("generator", ""))), label)


def _attempt(problem: Problem, steps: list[str], correct: bool, generator: str) -> Attempt:
    steps = [*(step + SEPARATOR for step in steps[:-1]), steps[-1]]
    provenance = Provenance(generator, "", "given", "", _SAMPLING, 0)
    id, tokens, logprobs = f"{problem.id}/given", np.array([], np.int32), np.array([], np.float32)
    text = "".join(steps)
    rollout = Rollout(id, problem.id, 0, tokens, tokens, logprobs, text, "stop", "", correct, provenance)
    return Attempt(problem, rollout, steps)


def _references(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    for number, row in _rows(path):
        where = f"{path}: row {number}"
        yield _value(row, "id", str, where), _reference(row, where)


def _reference(row: Mapping[str, Any], where: str) -> tuple[str, str]:
    return _value(row, "reference_solution", str, where), _value(row, "answer", str, where)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a JSON list or of JSON lines, counted from 1."""
    is_list = path.name.removesuffix(".gz").endswith(".json")
    rows = list(_listed(path) if is_list else json_lines(path))
    if not rows:
        raise UserError(f"{path}: nothing in it: give a file with at least one row")
    yield from rows


def _listed(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a JSON list, counted from 1."""
    with readable(path) as file:
        text = file.read()
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not JSON ({error}): give a JSON list as .json, or an object a line as .jsonl"
        ) from error
    if not isinstance(rows, list):
        raise UserError(f"{path}: not a list of rows but a {type(rows).__name__}: give a JSON list, or lines as .jsonl")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}: row {number} is a {type(row).__name__}: write a JSON object")
        yield number, row


def _value(row: Mapping[str, Any], key: str, kind: type[T], where: str) -> T:
    if key not in row:
        raise UserError(f"{where}: key {key!r} is missing (it has: {', '.join(row) or 'none'}): rename or add it")
    value = row[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{where}: key {key!r} is of type {type(value).__name__}: write {kind.__name__}")
    if isinstance(value, str) and not value.strip():
        raise UserError(f"{where}: key {key!r} is empty: fill it in or remove the row")
    return value
