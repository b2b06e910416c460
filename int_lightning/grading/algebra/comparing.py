"""Whether two answers mean the same by what they say: values at points, ends of sets, parts in order or in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import gcd

from int_lightning.grading.algebra.amounts import measure_different_things, rounds_to, same_amount
from int_lightning.grading.algebra.answer import (
    Answer,
    Group,
    Item,
    Matrix,
    Reading,
    Relations,
    as_quantity,
    as_set,
    symbols_of,
)
from int_lightning.grading.algebra.answer_parser import read
from int_lightning.grading.algebra.numbers import UnreadableError, digits, divide
from int_lightning.grading.algebra.parts import by_names, is_half_open, is_set, is_tuple, parts_of, values_of
from int_lightning.grading.algebra.quantities import Quantity, apply, equal
from int_lightning.grading.algebra.relations import same_equation, same_relation
from int_lightning.grading.algebra.renaming import renaming_of
from int_lightning.grading.algebra.sets import Combination, Interval, Points, same_set

_WORDS = re.compile(r"[a-zA-Z][a-z ]{2,}")
_LONG = re.compile(r"!|\d{7}|\^\s*\{?[^{}]*\d{3}")  # what may be equal in the first digits and differ in the last
_DIGITS = 2500  # of a constant that is long
_DIGITS_AT_POINTS = 80


def compare(pred: str, gold: str) -> bool | None:
    """Whether two rewritten answers mean the same; None where this reading of them cannot say."""
    ours, theirs = read(pred), read(gold)
    if ours is None or theirs is None:
        return None
    if ours.clause and theirs.clause and ours.clause != theirs.clause:
        return False
    try:
        if not _same_meaning(ours, theirs):
            return False
        if not _LONG.search(pred) and not _LONG.search(gold):
            return True
        with digits(_DIGITS_AT_POINTS if symbols_of(ours) or symbols_of(theirs) else _DIGITS):
            ours, theirs = read(pred), read(gold)
            return ours is not None and theirs is not None and _same_meaning(ours, theirs)
    except UnreadableError:
        return None


def _same_meaning(ours: Answer, theirs: Answer) -> bool:
    return _same_answer(ours, theirs) or _same_renamed(ours, theirs) or _rounds(ours, theirs)


def _same_answer(ours: Answer, theirs: Answer) -> bool:
    """Names count where both answers give them; where one gives symbols as names, its values are in order."""
    ours, theirs = by_names(ours, theirs)
    names = [[item.name for item in answer.items] for answer in (ours, theirs)]
    if _are_relations(ours, theirs):
        return same_relation(ours, theirs)
    if any(any(given) and not all(given) for given in names):
        raise UnreadableError("some parts have names")
    several = [set(given) for given in names if len(set(given)) > 1]
    if names[0][0] and names[1][0]:
        if several:
            return (
                ("or" in ours.links) == ("or" in theirs.links)
                and sorted(names[0]) == sorted(names[1])
                and all(_same(x.value, y.value) for x, y in zip(_by_name(ours), _by_name(theirs), strict=True))
            )
        if names[0][0] != names[1][0]:
            return len(ours.items) == len(theirs.items) == 1 and same_equation(ours, theirs)
    if several:
        parts = [parts_of(values_of(answer)) for answer in (ours, theirs)]
        in_words = all(_WORDS.fullmatch(name) for given in several for name in given)
        return len(parts[0]) == len(parts[1]) and _same_parts(parts[0], parts[1], ordered=not in_words)
    if any(
        is_tuple(x) and (is_set(y) or (is_half_open(x) and len(values_of(y)) > 1))
        for x, y in ((ours, theirs), (theirs, ours))
    ):
        return False
    return _same_values(values_of(ours), values_of(theirs))


def _are_relations(ours: Answer, theirs: Answer) -> bool:
    """Whether an answer is a relation that is no condition on one symbol, or both are conditions on different symbols."""
    if not any(isinstance(item.value, Relations) for item in (*ours.items, *theirs.items)):
        relations = [answer.items[0].relation for answer in (ours, theirs)]
        return (
            len(ours.items) == len(theirs.items) == 1 and all(relations) and ours.items[0].name != theirs.items[0].name
        )
    if len(ours.items) > 1 or len(theirs.items) > 1:
        raise UnreadableError("several relations")
    return True


def _by_name(answer: Answer) -> list[Item]:
    return sorted(answer.items, key=lambda item: item.name)


def _same_values(ours: Sequence[Reading], theirs: Sequence[Reading]) -> bool:
    if len(ours) == len(theirs) == 1:
        return _same(ours[0], theirs[0])
    in_order = any(
        len(values) == 1 and isinstance(values[0], Group) and values[0].left == "(" for values in (ours, theirs)
    )
    sides = [
        _distinct(parts_of(values)) if isinstance(values[0], Group) and values[0].left == r"\{" else parts_of(values)
        for values in (ours, theirs)
    ]
    return _same_parts(sides[0], sides[1], in_order)


def _same_parts(ours: Sequence[Reading], theirs: Sequence[Reading], ordered: bool) -> bool:
    """Parts in order; or in any, each as often as in the other answer."""
    if len(ours) != len(theirs):
        return False
    if ordered:
        return all(map(_same, ours, theirs))
    left = list(theirs)
    for x in ours:
        found = next((i for i, y in enumerate(left) if _same(x, y)), None)
        if found is None:
            return False
        del left[found]
    return True


def _distinct(parts: Sequence[Reading]) -> list[Reading]:
    """The elements of a set, each once."""
    found: list[Reading] = []
    for part in parts:
        if not any(_same(part, other) for other in found):
            found.append(part)
    return found


def _same(x: Reading, y: Reading) -> bool:
    x, y = _single(x), _single(y)
    match x, y:
        case Quantity(), Quantity():
            return same_amount(x, y)
        case (Interval() | Points() | Combination(), _) | (_, Interval() | Points() | Combination()):
            return same_set(as_set(x), as_set(y))
        case Group(), Group():
            return _same_group(x, y)
        case (Group((a, b), ":"), Quantity() as value) | (Quantity() as value, Group((a, b), ":")):
            return _same_fraction(as_quantity(a), as_quantity(b), value)
        case Matrix(), Matrix():
            shapes = [[len(row) for row in matrix.rows] for matrix in (x, y)]
            return shapes[0] == shapes[1] and all(
                _same(a, b)
                for ours, theirs in zip(x.rows, y.rows, strict=True)
                for a, b in zip(ours, theirs, strict=True)
            )
        case (Matrix() as matrix, Group() as group) | (Group() as group, Matrix() as matrix):
            entries = [entry for row in matrix.rows for entry in row]
            return 1 in (len(matrix.rows), len(matrix.rows[0])) and _same_parts(entries, group.items, ordered=True)
    return False


def _same_fraction(a: Quantity, b: Quantity, value: Quantity) -> bool:
    """Whether a ratio is a number, which is no decimal and no percentage; 9:45, not in lowest terms, may be a time."""
    match a.values, b.values:
        case [int(hours)], [int(minutes)] if hours < 24 and 10 <= minutes < 60 and gcd(hours, minutes) > 1:
            return False
    if value.unit or value.counted or value.decimals:
        return False
    return equal(apply(divide, a, b), value)


def _single(x: Reading) -> Reading:
    return x.items[0] if isinstance(x, Group) and len(x.items) == 1 else x


def _same_group(x: Group, y: Group) -> bool:
    if ":" in (x.left, y.left):
        if x.left != y.left or len(x.items) != len(y.items):
            return False
        scales = [apply(divide, as_quantity(a), as_quantity(b)) for a, b in zip(x.items, y.items, strict=True)]
        return all(equal(scales[0], scale) for scale in scales)
    if (x.left == r"\{") != (y.left == r"\{"):
        return False
    if len(x.items) == len(y.items) == 2 and {x.left, y.left} <= {"(", "["} and (x.left, x.right) != (y.left, y.right):
        return False
    if x.left == y.left == r"\{":
        return _same_parts(_distinct(x.items), _distinct(y.items), ordered=False)
    return _same_parts(x.items, y.items, ordered=True)


def _rounds(ours: Answer, theirs: Answer) -> bool:
    """Whether a gold is rounded from our answer; not the other way round, as the gold says how exact an answer must be."""
    if len(ours.items) > 1 or len(theirs.items) > 1 or (ours.items[0].name and theirs.items[0].name):
        return False
    match ours.items[0].value, theirs.items[0].value:
        case Quantity() as exact, Quantity() as decimal:
            if exact.decimals <= decimal.decimals and "." in ours.latex:
                return False
            return not measure_different_things(exact, decimal) and rounds_to(exact, decimal)
    return False


def _same_renamed(ours: Answer, theirs: Answer) -> bool:
    """Equal with some symbols of ours renamed."""
    renaming = renaming_of(ours, theirs)
    if not renaming:
        return False
    renamed = read(ours.latex, renaming)
    return renamed is not None and _same_values(values_of(renamed), values_of(theirs))
