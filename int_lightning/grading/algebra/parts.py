"""The parts of an answer, and whether they are a set, a tuple or have names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from int_lightning.grading.algebra.answer import Answer, Group, Item, Reading, as_set
from int_lightning.grading.algebra.numbers import exactly
from int_lightning.grading.algebra.quantities import Quantity
from int_lightning.grading.algebra.sets import Combination, Interval, RealSet


def by_names(ours: Answer, theirs: Answer) -> tuple[Answer, Answer]:
    """A tuple of names for a tuple of values as values with names, where the other answer has other names."""
    names = [[item.name for item in answer.items] for answer in (ours, theirs)]
    return (ours, theirs) if names[0] == names[1] or not all(map(any, names)) else (_split(ours), _split(theirs))


def _split(answer: Answer) -> Answer:
    first = answer.items[0]
    names = first.name.strip("()").split(",")
    match first.value:
        case Group(values, "(") if len(answer.items) == 1 and first.name.startswith("(") and len(names) == len(values):
            return replace(answer, items=tuple(map(Item, values, names)))
    return answer


def is_set(answer: Answer) -> bool:
    """Whether an answer lists possible values: linked by "or", under one name, or those of plus-minus."""
    return len(values_of(answer)) > 1 and (
        "or" in answer.links or not answer.links or answer.items[0].name == answer.items[1].name != ""
    )


def is_tuple(answer: Answer) -> bool:
    """Whether an answer is one interval or one tuple, but not one of tuples."""
    match values_of(answer):
        case [Group(items, "(" | "[")]:
            return not any(isinstance(item, Group) for item in items)
    return False


def is_half_open(answer: Answer) -> bool:
    """Whether an answer is one pair of brackets that cannot be a tuple's."""
    values = [item.value for item in answer.items]
    return len(values) == 1 and _is_interval(values[0])


def values_of(answer: Answer) -> list[Reading]:
    """The values of an answer; conditions and intervals that are linked are one set."""
    values = [item.value for item in answer.items]
    if len(values) == 1 or not any(
        isinstance(value, Interval | Combination) or _is_interval(value) for value in values
    ):
        return values
    sets: list[RealSet] = [as_set(value) for value in values]
    whole = sets[0]
    for other in sets[1:]:
        whole = Combination("intersection" if answer.links == {"and"} else "union", whole, other)
    return [whole]


def _is_interval(value: Reading) -> bool:
    """Whether brackets cannot be a tuple's: they differ, or an end is infinite."""
    if not isinstance(value, Group) or len(value.items) != 2 or value.left not in ("(", "["):
        return False
    ends = [item.values[0] for item in value.items if isinstance(item, Quantity) and not item.symbols]
    return (value.left, value.right) in (("(", "]"), ("[", ")")) or any(e in (exactly.inf, -exactly.inf) for e in ends)


def parts_of(values: Sequence[Reading]) -> Sequence[Reading]:
    r"""The values of a list, also of one in parentheses or braces."""
    if len(values) == 1 and isinstance(group := values[0], Group) and group.left in ("(", r"\{"):
        return group.items
    return values
