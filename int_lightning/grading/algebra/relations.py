"""Equations and inequalities that are not conditions on one symbol: whether two say the same, or one gives a value."""

from __future__ import annotations

from int_lightning.grading.algebra.amounts import rounds_to, same_amount
from int_lightning.grading.algebra.answer import Answer, Item, Relations
from int_lightning.grading.algebra.conditions import FLIPPED
from int_lightning.grading.algebra.equations import difference, share_solutions, solves
from int_lightning.grading.algebra.numbers import UnreadableError, subtract
from int_lightning.grading.algebra.quantities import Quantity, apply, equal, ratio_sign


def same_relation(ours: Answer, theirs: Answer) -> bool:
    """Whether two relations, at least one of them not a condition on one symbol, or a relation and a value are the same.

    Raises:
        UnreadableError: if two equations may have the same solutions.
    """
    x, y = ours.items[0], theirs.items[0]
    if x.relation and y.relation and {*x.relation.signs, *y.relation.signs} != {"="}:
        return _same_chain(x.relation, y.relation)
    match x.value, y.value:
        case Relations() as chain, Quantity() as value if not y.name:
            return _is_value_of(chain, ours.latex, value)
        case Quantity() as value, Relations() as chain if not x.name:
            return _is_value_of(chain, theirs.latex, value)
        case Relations(left), Relations(right) if not any(side.symbols for side in (*left, *right)):
            return _same_sides(x, y)
    return same_equation(ours, theirs)


def _is_value_of(chain: Relations, latex: str, value: Quantity) -> bool:
    """Whether a chain of equal expressions, as 1/4 = 0.25, has this value.

    An equation for y, or for a distance from the origin, has the value of the expression that solves it.
    """
    first, *others = chain.sides
    if set(chain.signs) != {"="}:
        return False
    if all(same_amount(first, other) or rounds_to(first, other) for other in others):
        return any(same_amount(side, value) for side in chain.sides)
    return len(others) == 1 and len(value.symbols) > 0 and solves(value, latex)


def _same_chain(x: Relations, y: Relations) -> bool:
    if len(x.signs) != len(y.signs):
        return False
    flipped = tuple(FLIPPED.get(sign, sign) for sign in reversed(y.signs))
    if x.signs == y.signs and all(map(equal, x.sides, y.sides)):
        return True
    if x.signs == flipped and all(map(equal, x.sides, reversed(y.sides))):
        return True
    differences = [apply(subtract, *chain.sides) for chain in (x, y) if len(chain.signs) == 1]
    if len(differences) < 2 or differences[0].symbols != differences[1].symbols or not differences[0].symbols:
        return False
    ratio = ratio_sign(*differences)
    [sign], [other] = x.signs, y.signs
    return ratio != 0 and sign == (other if ratio > 0 else FLIPPED.get(other, other))


def same_equation(ours: Answer, theirs: Answer) -> bool:
    """Whether two equations differ by a constant factor, as y = 2x and x = y/2 do; f(2) = 9 equals only itself.

    Raises:
        UnreadableError: if they may have the same solutions for another reason.
    """
    a, b = difference(ours.items[0]), difference(theirs.items[0])
    if a is None or b is None or a.symbols != b.symbols:
        return False
    if not a.symbols:  # values of unknown functions
        return _same_sides(ours.items[0], theirs.items[0])
    if ratio_sign(a, b):
        return True
    if not share_solutions(ours.latex, theirs.latex, min(a.symbols)):
        return False
    raise UnreadableError("equations that may have the same solutions")


def _same_sides(x: Item, y: Item) -> bool:
    ours, theirs = _sides(x), _sides(y)
    return len(ours) == len(theirs) and (all(map(equal, ours, theirs)) or all(map(equal, ours, reversed(theirs))))


def _sides(item: Item) -> tuple[Quantity, ...]:
    match item.value:
        case Relations(sides):
            return sides
        case Quantity() as value if item.left:
            return item.left, value
    return ()
