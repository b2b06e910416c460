"""One row -> one problem: where each field is found and what it may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from int_lightning.grading.answers import check_gold
from int_lightning.grading.boxes import extract_answer
from int_lightning.sources.lines import MAX_FIELD
from int_lightning.sources.source_config import FIELDS, SourceConfig
from int_lightning.types import Problem, UserError

_CALCULATION = re.compile(r"<<[^<>]*>>")  # GSM8K's annotations: <<2*600=1200>>
_FINAL = "####"
_LINE_ENDS = (r"\\", r"\noindent")
_ALIASES = {
    "id": ["problem_id", "unique_id", "uuid", "idx", "index"],
    "problem": [
        "question",
        "problem_statement",
        "problem_text",
        "statement",
        "prompt",
        "query",
        "input",
        "instruction",
    ],
    "solution": ["solutions", "reasoning", "rationale", "explanation", "reference_solution", "worked_solution", "cot"],
    "answer": [
        "final_answer",
        "short_answer",
        "gold_answer",
        "gold",
        "ground_truth",
        "expected_answer",
        "target",
        "output",
    ],
}
# Line ends and white space at the start of a reversed text, which takes linear time; from the left, backtracking does not.
_BACKWARDS = re.compile(r"(?:\s|" + "|".join(re.escape(end[::-1]) for end in _LINE_ENDS) + ")*")


class RowError(Exception):
    """Why a row cannot be used."""


def to_problem(row: Mapping[str, object], source: SourceConfig, default_id: str) -> Problem:
    """The problem of a row.

    Raises:
        RowError: if the problem, its answer or, where required, its reference solution is missing or cannot be used.
    """
    problem, answer, solution = statement(row, source), _answer(row, source), ""
    if source.require_solution or _is_given(row, source, "solution"):
        solution = _text(row, source, "solution")
    if source.require_solution and not solution:
        raise RowError(
            "no reference solution: interventions are found by comparing with one; give the worked solution in key "
            f"{source.column('solution')!r} (in GSM8K, before {_FINAL}), remove the row, or set require_solution to false"
        )
    return Problem(row_id(row, source) or default_id, problem, solution, answer, source.path)


def row_id(row: Mapping[str, object], source: SourceConfig) -> str:
    """The row's own id, "" if it has none."""
    return _text(row, source, "id") if _is_given(row, source, "id") else ""


def statement(row: Mapping[str, object], source: SourceConfig) -> str:
    """The problem's text, without the source's prefix and suffix.

    Raises:
        RowError: if the text is missing, or nothing is left of it.
    """
    text = _text(row, source, "problem")
    if source.prefix and (wrapped := _words(source.prefix).match(text)):
        text = text[wrapped.end() :].strip()
    if source.suffix and (wrapped := _words(source.suffix, r"\Z").search(text)):
        text = text[: wrapped.start()].strip()
    if not text:
        raise RowError("the problem text is empty: fill it in or remove the row")
    return text


def has_column(row: Mapping[str, object], path: str) -> bool:
    """Whether a dotted path leads to a value, which may be null."""
    try:
        _look_up(row, path)
    except KeyError:
        return False
    return True


def from_gsm8k(row: Mapping[str, object]) -> Mapping[str, object]:
    """A row of GSM8K as published (``question``; ``answer`` with worked solution, ####, final answer) in our columns; any other
    row unchanged."""
    if "question" not in row or "problem" in row or "answer" not in row:
        return row
    answer, solution = row["answer"], row.get("solution", "")
    if isinstance(answer, str) and _FINAL in answer:
        solution, _, answer = answer.rpartition(_FINAL)
        solution, answer = _CALCULATION.sub("", solution), answer.replace(",", "")
    return {"id": row.get("id"), "problem": row["question"], "solution": solution, "answer": answer}


def _is_given(row: Mapping[str, object], source: SourceConfig, name: str) -> bool:
    column = source.column(name)
    return has_column(row, column) and _look_up(row, column) is not None


def _answer(row: Mapping[str, object], source: SourceConfig) -> str:
    answer, column = _text(row, source, "answer"), source.column("answer")
    if answer.count(r"\boxed") == 1:
        answer = extract_answer(answer) or answer
    if not answer:
        raise RowError(f"key {column!r} has no final answer: attempts cannot be graded; fill it in or remove the row")
    try:
        check_gold(answer)
    except UserError as error:
        raise RowError(f"key {column!r} does not parse: {error}") from error
    return answer


def _text(row: Mapping[str, object], source: SourceConfig, name: str) -> str:
    """A string or number as text, without the TeX that ends its last line; a list of one string counts as that string."""
    column = source.column(name)
    try:
        value = _look_up(row, column)
    except KeyError:
        found = ", ".join(map(str, row)) or "none"
        cure = guessed_columns(row, source) or f"columns: {{{name}: ...}}"
        raise RowError(
            f"key {column!r} is missing: it has {found}; rename or add that field, or name another, {cure}"
        ) from None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    text = _plain(value, f"key {column!r}", f"columns: {{{name}: {column}.{_inner(value)}}}")
    if len(text) > MAX_FIELD:
        raise RowError(f"key {column!r} is too long: {len(text)} characters, more than {MAX_FIELD}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"key {column!r} is not UTF-8: at character {error.start}; save the file as UTF-8") from error
    text = text.strip()
    if text.endswith(_LINE_ENDS) and (end := _BACKWARDS.match(text[::-1])):
        return text[: len(text) - end.end()]
    return text


def _plain(value: object, key: str, cure: str) -> str:
    """A string, or a number as people write it: 12 for 12.0."""
    match value:
        case str():
            return value
        case None:
            raise RowError(f"{key} is null: write a string or a number")
        case bool():
            raise RowError(f'{key} is a bool: write the answer as text, such as "yes" or "no"')
        case int():
            return str(value)
        case float() | Decimal():
            if math.isnan(value):
                raise RowError(f"{key} is null: write a string or a number")
            if math.isinf(value):
                raise RowError(f"{key} is infinite: write a string or a number")
            exact = Decimal(str(value))
            return str(int(exact)) if exact == int(exact) else f"{exact.normalize():f}"
        case list() if value:
            parts = "1 part" if len(value) == 1 else f"{len(value)} parts"
            raise RowError(f"{key} is a list: of {parts}, where one text or number is needed; name it, {cure}")
        case dict() if value:
            parts = ", ".join(map(str, value))
            raise RowError(f"{key} is a dict: with {parts}, where one text or number is needed; name it, {cure}")
        case _:
            raise RowError(f"{key} is a {type(value).__name__}: write a string or a number")


def _inner(value: object) -> object:
    """The first part of a list or dict, as a dotted path names it."""
    if isinstance(value, dict) and value:
        first, *_ = value
        return first
    return 0


def guessed_columns(row: Mapping[str, object], source: SourceConfig) -> str:
    """A guess at the columns that a row lacks, such as ``columns: {problem: Question}``; "" if there is nothing to guess.

    Columns are guessed from common names, and an answer from a solution that holds a box.
    """
    missing = [name for name in FIELDS if not has_column(row, source.column(name))]
    taken = {source.column(name) for name in FIELDS if name not in missing}
    free = {re.sub(r"[\W_]+", "_", str(column)).lower(): str(column) for column in row if column not in taken}
    guesses: dict[str, str] = {}
    for name in missing:
        found = [free[alias] for alias in (name, *_ALIASES[name]) if alias in free]
        if found:
            guesses[name] = found[0]
    solution = source.column("solution")
    if "answer" in missing and "answer" not in guesses and r"\boxed" in str(row.get(solution)):
        guesses["answer"] = solution
    pairs = ", ".join(f"{name}: {column}" for name, column in guesses.items())
    return f"columns: {{{pairs}}}" if guesses else ""


def _look_up(row: Mapping[str, object], path: str) -> object:
    """The value at a dotted path.

    Raises:
        KeyError: if there is none.
    """
    if path in row:
        return row[path]
    value: object = dict(row)
    for part in path.split("."):
        if isinstance(value, dict) and part == "*":
            present = [v for v in value.values() if v is not None]
            if len(present) != 1:
                raise KeyError(path)
            value = present[0]
        elif isinstance(value, dict):
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise KeyError(path)
    return value


@lru_cache
def _words(text: str, after: str = "") -> re.Pattern[str]:
    """A pattern for the words of a text with any white space between them, followed by the pattern ``after``."""
    return re.compile(r"\s*".join(map(re.escape, text.split())) + after)
