"""Whether two answers mean the same by what they say: values at points, ends of sets, parts in order or in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from math import gcd

from int_lightning.grading.algebra.amounts import measure_different_things, rounds_to, same_amount
from int_lightning.grading.algebra.answer import (
    Answer,
    Group,
    Matrix,
    Reading,
    Relations,
    as_quantity,
    as_set,
    by_names,
    is_half_open,
    is_set,
    is_tuple,
    names_of,
    parts_of,
    symbols_of,
    values_of,
)
from int_lightning.grading.algebra.answer_parser import read
from int_lightning.grading.algebra.numbers import UnreadableError, digits, divide
from int_lightning.grading.algebra.quantities import Quantity, apply, equal
from int_lightning.grading.algebra.relations import same_equation, same_relation
from int_lightning.grading.algebra.renaming import renaming_of
from int_lightning.grading.algebra.sets import Combination, Interval, Points, same_set
from int_lightning.grading.matching import same_in_any_order

_WORDS = re.compile(r"[a-zA-Z][a-z ]{2,}")
_LONG = re.compile(
    r"!|\d{7}|\^\s*\{?[^{}]*\d{3}"
)  # answers that may agree in their first digits and differ in their last
_DIGITS = 2500  # for a constant that is long
_DIGITS_AT_POINTS = 80


def same_by_value(pred: str, gold: str) -> bool | None:
    """Whether two rewritten answers mean the same; None where one cannot be read, or their values do not decide."""
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
    """Names count where both answers give them; where only one names its values, and by symbols, these are in order."""
    ours, theirs = by_names(ours, theirs)
    names = [names_of(ours), names_of(theirs)]
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
                and all(map(_same, _values_by_name(ours), _values_by_name(theirs)))
            )
        if names[0][0] != names[1][0]:
            return len(ours.items) == len(theirs.items) == 1 and same_equation(ours, theirs)
    if several:
        in_words = all(map(_WORDS.fullmatch, chain.from_iterable(several)))
        return _same_parts(parts_of(values_of(ours)), parts_of(values_of(theirs)), ordered=not in_words)
    if _is_tuple_and_set(ours, theirs) or _is_tuple_and_set(theirs, ours):
        return False
    return _same_values(values_of(ours), values_of(theirs))


def _are_relations(ours: Answer, theirs: Answer) -> bool:
    """Whether an answer is a relation but not a condition on one symbol, or both are conditions on different symbols."""
    if not any(isinstance(item.value, Relations) for item in (*ours.items, *theirs.items)):
        relations = [answer.items[0].relation for answer in (ours, theirs)]
        return (
            len(ours.items) == len(theirs.items) == 1 and all(relations) and ours.items[0].name != theirs.items[0].name
        )
    if len(ours.items) > 1 or len(theirs.items) > 1:
        raise UnreadableError("several relations")
    return True


def _is_tuple_and_set(x: Answer, y: Answer) -> bool:
    return is_tuple(x) and (is_set(y) or (is_half_open(x) and len(values_of(y)) > 1))


def _values_by_name(answer: Answer) -> list[Reading]:
    return [item.value for item in sorted(answer.items, key=lambda item: item.name)]


def _same_values(ours: Sequence[Reading], theirs: Sequence[Reading]) -> bool:
    if len(ours) == len(theirs) == 1:
        return _same(ours[0], theirs[0])
    return _same_parts(_elements(ours), _elements(theirs), ordered=_is_in_order(ours) or _is_in_order(theirs))


def _is_in_order(values: Sequence[Reading]) -> bool:
    match values:
        case [Group(_, "(")]:
            return True
    return False


def _elements(values: Sequence[Reading]) -> Sequence[Reading]:
    """The values of a list, those of a set only once each."""
    match values[0]:
        case Group(_, r"\{"):
            return _distinct(parts_of(values))
    return parts_of(values)


def _same_parts(ours: Sequence[Reading], theirs: Sequence[Reading], ordered: bool) -> bool:
    """Whether the parts are the same: in order; or in any order, each as often as in the other answer."""
    if len(ours) != len(theirs):
        return False
    return all(map(_same, ours, theirs)) if ordered else same_in_any_order(ours, theirs, _same)


def _distinct(parts: Sequence[Reading]) -> list[Reading]:
    """The elements of a set, each once."""
    found: list[Reading] = []
    for part in parts:
        if not any(_same(part, other) for other in found):
            found.append(part)
    return found


def _same(x: Reading, y: Reading) -> bool:
    x, y = _without_brackets(x), _without_brackets(y)
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
            return [*map(len, x.rows)] == [*map(len, y.rows)] and _same_parts(_entries(x), _entries(y), ordered=True)
        case (Matrix() as matrix, Group() as group) | (Group() as group, Matrix() as matrix):
            is_vector = 1 in (len(matrix.rows), len(matrix.rows[0]))
            return is_vector and _same_parts(_entries(matrix), group.items, ordered=True)
    return False


def _entries(matrix: Matrix) -> list[Reading]:
    return list(chain.from_iterable(matrix.rows))


def _same_fraction(a: Quantity, b: Quantity, value: Quantity) -> bool:
    """Whether a ratio is a number that is neither a decimal nor a percentage; 9:45, not in lowest terms, may be a time."""
    match a.values, b.values:
        case [int(hours)], [int(minutes)] if hours < 24 and 10 <= minutes < 60 and gcd(hours, minutes) > 1:
            return False
    if value.unit or value.counted or value.decimals:
        return False
    return equal(apply(divide, a, b), value)


def _without_brackets(x: Reading) -> Reading:
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
    """Whether the gold is our answer rounded; not the other way round, because the gold says how exact an answer must be."""
    if len(ours.items) > 1 or len(theirs.items) > 1 or (ours.items[0].name and theirs.items[0].name):
        return False
    match ours.items[0].value, theirs.items[0].value:
        case Quantity() as exact, Quantity() as decimal:
            if exact.decimals <= decimal.decimals and "." in ours.latex:
                return False
            return not measure_different_things(exact, decimal) and rounds_to(exact, decimal)
    return False


def _same_renamed(ours: Answer, theirs: Answer) -> bool:
    """Whether the answers are the same once some of our symbols are renamed."""
    renaming = renaming_of(ours, theirs)
    if not renaming:
        return False
    renamed = read(ours.latex, renaming)
    return renamed is not None and _same_values(values_of(renamed), values_of(theirs))
