"""Functions of quantities that have a name."""

from __future__ import annotations

from int_lightning.grading.algebra.numbers import (
    UnreadableError,
    exactly,
    largest,
    logarithm,
    named,
    natural,
    power,
    smallest,
)
from int_lightning.grading.algebra.quantities import Quantity, apply, constant, scaled

_ANGLES = ("sin", "cos", "tan", "cot", "sec", "csc")
_INVERSE = {"sin": "asin", "cos": "acos", "tan": "atan"}
_NAMED = {name: named(name) for name in (*_ANGLES, "sinh", "cosh", "tanh", "exp")} | {
    f"arc{name}": named(inverse) for name, inverse in _INVERSE.items()
}
_LOGARITHMS = ("ln", "log", "lg")
_TEN = constant(10)

EXTREMES = {r"\max": largest, r"\min": smallest}
"""Functions of several values, by their commands."""

APPLIED = frozenset([*EXTREMES, *(f"\\{name}" for name in (*_NAMED, *_LOGARITHMS))])
"""The commands of all functions that have a name."""


def radians(degrees: Quantity) -> Quantity:
    """An angle given in degrees, in radians."""
    return scaled(degrees, constant(exactly.pi / 180))


def value_of(command: str, argument: Quantity, base: Quantity | None, exponent: Quantity | None) -> Quantity:
    r"""The value of a function of one argument, as in ``\sin^2 x`` or ``\log_2 8``.

    Raises:
        UnreadableError: if a function other than a logarithm has a base, or an inverse function has no common definition.
    """
    name = command[1:]
    inverse = exponent is not None and exponent.values == (-1,)
    if (base and name != "log") or (inverse and name not in _INVERSE):
        raise UnreadableError(command)
    if inverse:
        return apply(named(_INVERSE[name]), argument)
    if name == "ln":
        value = apply(natural, argument)
    elif name in _LOGARITHMS:
        value = apply(logarithm, argument, base or _TEN)
    else:
        value = apply(_NAMED[name], radians(argument) if argument.unit == "°" else argument)
    return value if exponent is None else apply(power, value, exponent)
