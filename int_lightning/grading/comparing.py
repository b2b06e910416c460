"""Whether two answers mean the same by what they say: values at points, ends of sets, parts in order or in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from int_lightning.grading.amounts import rounds_to, same_amount
from int_lightning.grading.arithmetic import UnreadableError, digits, divide, subtract
from int_lightning.grading.equations import difference, share_solutions
from int_lightning.grading.parts import by_names, is_set, is_tuple, parts_of, values_of
from int_lightning.grading.quantities import Quantity, apply, equal, ratio_sign
from int_lightning.grading.reading import read
from int_lightning.grading.readings import (
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
from int_lightning.grading.sets import Combination, Interval, Points, same_set

_FUNCTION_OF = re.compile(r"(\w+)\((\w)\)")
_WORDS = re.compile(r"[a-zA-Z][a-z ]{2,}")
_PERIOD = re.compile(r"\\pi|\\circ")
_LONG = re.compile(r"!|\d{7}|\^\s*\{?[^{}]*\d{3}")  # what may be equal in the first digits and differ in the last
_DIGITS = 2500  # of a constant that is long
_DIGITS_AT_POINTS = 80
_COUNTERS = frozenset("klmn")
_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}


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
    if any(isinstance(item.value, Relations) for item in (*ours.items, *theirs.items)):
        if len(ours.items) > 1 or len(theirs.items) > 1:
            raise UnreadableError("several relations")
        return _same_relation(ours, theirs)
    if any(any(given) and not all(given) for given in names):
        raise UnreadableError("some parts have names")
    several = [set(given) for given in names if len(set(given)) > 1]
    if names[0][0] and names[1][0]:
        if several:
            return sorted(names[0]) == sorted(names[1]) and all(
                _same(x.value, y.value) for x, y in zip(_by_name(ours), _by_name(theirs), strict=True)
            )
        if names[0][0] != names[1][0]:
            return len(ours.items) == len(theirs.items) == 1 and _same_equation(ours, theirs)
    if several:
        parts = [parts_of(values_of(answer)) for answer in (ours, theirs)]
        in_words = all(_WORDS.fullmatch(name) for given in several for name in given)
        return len(parts[0]) == len(parts[1]) and _same_parts(parts[0], parts[1], ordered=not in_words)
    if (is_set(ours) and is_tuple(theirs)) or (is_set(theirs) and is_tuple(ours)):
        return False
    return _same_values(values_of(ours), values_of(theirs))


def _by_name(answer: Answer) -> list[Item]:
    return sorted(answer.items, key=lambda item: item.name)


def _same_values(ours: Sequence[Reading], theirs: Sequence[Reading]) -> bool:
    if len(ours) == len(theirs) == 1:
        return _same(ours[0], theirs[0])
    in_order = any(
        len(values) == 1 and isinstance(values[0], Group) and values[0].left == "(" for values in (ours, theirs)
    )
    return _same_parts(parts_of(ours), parts_of(theirs), in_order)


def _same_parts(ours: Sequence[Reading], theirs: Sequence[Reading], ordered: bool) -> bool:
    """Parts in order; or in any, where only numbers of parts that differ let one part be several equal ones."""
    if ordered:
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if len(ours) != len(theirs):
        return all(any(_same(x, y) for y in theirs) for x in ours) and all(
            any(_same(x, y) for x in ours) for y in theirs
        )
    left = list(theirs)
    for x in ours:
        found = next((i for i, y in enumerate(left) if _same(x, y)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same(x: Reading, y: Reading) -> bool:
    x, y = _single(x), _single(y)
    match x, y:
        case Quantity(), Quantity():
            return same_amount(x, y)
        case (Interval() | Points() | Combination(), _) | (_, Interval() | Points() | Combination()):
            return same_set(as_set(x), as_set(y))
        case Group(), Group():
            return _same_group(x, y)
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
    return _same_parts(x.items, y.items, ordered=not x.left == y.left == r"\{")


def _rounds(ours: Answer, theirs: Answer) -> bool:
    exact, decimal = ours.items[0].value, theirs.items[0].value
    if len(ours.items) > 1 or len(theirs.items) > 1 or "." in ours.latex:
        return False
    return isinstance(exact, Quantity) and isinstance(decimal, Quantity) and rounds_to(exact, decimal)


def _same_equation(ours: Answer, theirs: Answer) -> bool:
    """Whether two equations differ by a constant factor, as y = 2x and x = y/2 do."""
    a, b = (difference(answer.items[0]) for answer in (ours, theirs))
    if a is None or b is None or a.symbols != b.symbols:
        return False
    if ratio_sign(a, b):
        return True
    if not a.symbols or not share_solutions(ours.latex, theirs.latex, min(a.symbols)):
        return False
    raise UnreadableError("equations that may have the same solutions")


def _same_relation(ours: Answer, theirs: Answer) -> bool:
    """Relations of which at least one is no condition on one symbol."""
    x, y = ours.items[0], theirs.items[0]
    match x.value, y.value:
        case Relations(left, signs), Relations(right, others) if {*signs, *others} != {"="}:
            return _same_chain(left, signs, right, others)
        case Relations((*_, last), signs), Quantity() as value if set(signs) == {"="} and not y.name:
            return same_amount(last, value)
        case Quantity() as value, Relations((first, *_, last), signs) if set(signs) == {"="} and not x.name:
            if equal(first, last):
                return same_amount(value, last)
            if len(first.symbols | last.symbols) == 1:
                raise UnreadableError("an equation to be solved")
            return False
    return _same_equation(ours, theirs)


def _same_chain(
    ours: Sequence[Quantity], signs: Sequence[str], theirs: Sequence[Quantity], others: Sequence[str]
) -> bool:
    if len(signs) != len(others):
        return False
    flipped = tuple(_FLIPPED.get(sign, sign) for sign in reversed(others))
    if tuple(signs) == tuple(others) and all(map(equal, ours, theirs)):
        return True
    if tuple(signs) == flipped and all(map(equal, ours, reversed(theirs))):
        return True
    if len(signs) > 1:
        return False
    ratio = ratio_sign(apply(subtract, *ours), apply(subtract, *theirs))
    return ratio != 0 and signs[0] == (others[0] if ratio > 0 else _FLIPPED.get(others[0], others[0]))


def _same_renamed(ours: Answer, theirs: Answer) -> bool:
    """Equal with one symbol of ours for another."""
    names = _renaming(ours, theirs)
    if names is None or names[0] == names[1] or names[1] in symbols_of(ours):
        return False
    renamed = read(ours.latex, names)
    return renamed is not None and _same_values(values_of(renamed), values_of(theirs))


def _renaming(ours: Answer, theirs: Answer) -> tuple[str, str] | None:
    """``f(t) = t + 1`` is ``f(x) = x + 1``, and the integer that counts periods has no name of its own."""
    if len(ours.items) == len(theirs.items) == 1:
        function, other = (_FUNCTION_OF.fullmatch(answer.items[0].name) for answer in (ours, theirs))
        if function and other and function[1] == other[1]:
            return function[2], other[2]
    symbols = symbols_of(ours), symbols_of(theirs)
    periodic = _PERIOD.search(ours.latex) and _PERIOD.search(theirs.latex)
    if periodic and all(len(found) == 1 and found <= _COUNTERS for found in symbols):
        return min(symbols[0]), min(symbols[1])
    return None
