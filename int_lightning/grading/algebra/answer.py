"""What an answer is once it is read: quantities, groups, matrices, relations and sets of real numbers, in named items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from int_lightning.grading.algebra.numbers import UnreadableError, divide, exactly
from int_lightning.grading.algebra.quantities import Quantity, apply
from int_lightning.grading.algebra.sets import Combination, Interval, Points, RealSet


@dataclass(frozen=True, slots=True)
class Group:
    r"""Values between brackets, in order; ``left`` is ``(``, ``[``, ``\{`` or, for the parts of a ratio, ``:``."""

    items: tuple[Reading, ...]
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """The rows of a matrix."""

    rows: tuple[tuple[Reading, ...], ...]


@dataclass(frozen=True, slots=True)
class Relations:
    """Sides and the relations between them (one fewer), where these are not a condition on one symbol."""

    sides: tuple[Quantity, ...]
    signs: tuple[str, ...]


Reading = Quantity | Group | Matrix | Relations | Interval | Points | Combination


@dataclass(frozen=True, slots=True)
class Item:
    """One part of an answer: a value, the name that the answer gives it ("" if it has none) and that name as an expression.

    ``relation`` is how a condition on one symbol was written; its value is the set of the symbol's values.
    """

    value: Reading
    name: str = ""
    left: Quantity | None = None
    relation: Relations | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The parts of an answer.

    Args:
        items: In the order of the text.
        links: What links them: ",", "and", "or".
        latex: The text that they were read from.
        clause: The words after them that say when they hold, "" if there are none.
    """

    items: tuple[Item, ...]
    links: frozenset[str]
    latex: str
    clause: str


def as_quantity(reading: Reading) -> Quantity:
    """A reading as a number or expression; a ratio in an expression is a quotient.

    Raises:
        UnreadableError: if it is something else.
    """
    match reading:
        case Quantity():
            return reading
        case Group((left, right), ":"):
            return apply(divide, as_quantity(left), as_quantity(right))
    raise UnreadableError("not a number")


def as_set(reading: Reading) -> RealSet:
    """A reading as a set of real numbers.

    Raises:
        UnreadableError: if it is something else.
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
    for reading in todo:  # grows while it is walked
        match reading:
            case Quantity():
                found |= reading.symbols
            case Group(items):
                todo += items
            case Matrix(rows):
                todo += chain.from_iterable(rows)
            case Relations(sides):
                todo += sides
            case Interval(low, high):
                todo += [low, high]
            case Points(numbers):
                todo += numbers
            case Combination(_, left, right):
                todo += [left, right]
    return frozenset(found)


def names_of(answer: Answer) -> list[str]:
    """The name of each item, "" for those without."""
    return [item.name for item in answer.items]


def values_of(answer: Answer) -> list[Reading]:
    """The values of an answer; linked conditions and intervals are one set."""
    values = [item.value for item in answer.items]
    if len(values) == 1 or not any(
        isinstance(value, Interval | Combination) or _is_interval(value) for value in values
    ):
        return values
    first, *others = map(as_set, values)
    whole = first
    for other in others:
        whole = Combination("intersection" if answer.links == {"and"} else "union", whole, other)
    return [whole]


def parts_of(values: Sequence[Reading]) -> Sequence[Reading]:
    """The values of a list, which may be in parentheses or braces."""
    match values:
        case [Group(items, "(" | r"\{")]:
            return items
    return values


def is_set(answer: Answer) -> bool:
    """Whether an answer lists possible values: linked by "or", under one name, or those of plus-minus."""
    return len(values_of(answer)) > 1 and (
        "or" in answer.links or not answer.links or answer.items[0].name == answer.items[1].name != ""
    )


def is_tuple(answer: Answer) -> bool:
    """Whether an answer is one interval or one tuple, but not a tuple of tuples."""
    match values_of(answer):
        case [Group(items, "(" | "[")]:
            return not any(isinstance(item, Group) for item in items)
    return False


def is_half_open(answer: Answer) -> bool:
    """Whether an answer is one pair of brackets that cannot be a tuple's."""
    return len(answer.items) == 1 and _is_interval(answer.items[0].value)


def _is_interval(value: Reading) -> bool:
    """Whether a group cannot be a tuple: its brackets differ, or an end is infinite."""
    match value:
        case Group((low, high), "(" | "[" as left, right):
            return (left, right) in (("(", "]"), ("[", ")")) or _is_infinite(low) or _is_infinite(high)
    return False


def _is_infinite(end: Reading) -> bool:
    return isinstance(end, Quantity) and not end.symbols and end.values[0] in (exactly.inf, -exactly.inf)


def by_names(ours: Answer, theirs: Answer) -> tuple[Answer, Answer]:
    """Two answers, where their names differ with a tuple of named values, ``(x, y) = (1, 2)``, as named values."""
    names = names_of(ours), names_of(theirs)
    return (ours, theirs) if names[0] == names[1] or not all(map(any, names)) else (_split(ours), _split(theirs))


def _split(answer: Answer) -> Answer:
    first = answer.items[0]
    names = first.name.strip("()").split(",")
    match first.value:
        case Group(values, "(") if len(answer.items) == 1 and first.name.startswith("(") and len(names) == len(values):
            return replace(answer, items=tuple(map(Item, values, names)))
    return answer
