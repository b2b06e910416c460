"""What answers are made of, once read: quantities, groups, matrices, relations and sets of real numbers."""

from __future__ import annotations

from dataclasses import dataclass

from int_lightning.grading.algebra.numbers import UnreadableError, divide
from int_lightning.grading.algebra.quantities import Quantity, apply
from int_lightning.grading.algebra.sets import Combination, Interval, Points, RealSet


@dataclass(frozen=True, slots=True)
class Group:
    r"""Values between brackets, in their order; ``left`` is ``(``, ``[``, ``\{`` or, for the parts of a ratio, ``:``."""

    items: tuple[Reading, ...]
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a matrix."""

    rows: tuple[tuple[Reading, ...], ...]


@dataclass(frozen=True, slots=True)
class Relations:
    """Sides, and the relations between them (one fewer), that are no condition on one symbol."""

    sides: tuple[Quantity, ...]
    signs: tuple[str, ...]


Reading = Quantity | Group | Matrix | Relations | Interval | Points | Combination


@dataclass(frozen=True, slots=True)
class Item:
    """One part of an answer: a value, the name that the answer gives it ("" for none) and that name as an expression.

    ``relation`` is what a condition on one symbol, whose values are then a set, was written as.
    """

    value: Reading
    name: str = ""
    left: Quantity | None = None
    relation: Relations | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The parts of an answer.

    ``links`` is what links them: ",", "and", "or"; ``latex`` the text they were read from; ``clause`` the words behind them
    that say for what they hold, "" for none.
    """

    items: tuple[Item, ...]
    links: frozenset[str]
    latex: str
    clause: str


def as_quantity(reading: Reading) -> Quantity:
    """The number or expression that a reading is; a ratio in an expression is a quotient.

    Raises:
        UnreadableError: where it is none.
    """
    match reading:
        case Quantity():
            return reading
        case Group((left, right), ":"):
            return apply(divide, as_quantity(left), as_quantity(right))
    raise UnreadableError("not a number")


def as_set(reading: Reading) -> RealSet:
    """The set of real numbers that a reading is.

    Raises:
        UnreadableError: where it is none.
    """
    match reading:
        case Interval() | Points() | Combination():
            return reading
        case Quantity():
            return Points((reading,))
        case Group(items, r"\{", _):
            return Points(tuple(map(as_quantity, items)))
        case Group((low, high), "(" | "[" as left, right):
            return Interval(as_quantity(low), as_quantity(high), left == "[", right == "]")
    raise UnreadableError("not a set")


def symbols_of(answer: Answer) -> frozenset[str]:
    """The names of the symbols in an answer's values."""
    found: set[str] = set()
    todo: list[Reading] = [item.value for item in answer.items]
    for reading in todo:
        match reading:
            case Quantity():
                found |= reading.symbols
            case Group(items):
                todo += items
            case Matrix(rows):
                todo += [entry for row in rows for entry in row]
            case Relations(sides):
                todo += sides
            case Interval(low, high):
                todo += [low, high]
            case Points(numbers):
                todo += numbers
            case Combination(_, left, right):
                todo += [left, right]
    return frozenset(found)
