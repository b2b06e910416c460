"""Units of measure, and the words behind numbers that multiply them."""

from __future__ import annotations

import re

UNITS = {
    name: unit
    for unit, names in {
        "mm": "millimeter millimeters millimetre millimetres",
        "cm": "centimeter centimeters centimetre centimetres",
        "m": "meter meters metre metres",
        "km": "kilometer kilometers kilometre kilometres",
        "in": "inch inches",
        "ft": "foot feet",
        "yd": "yard yards",
        "mi": "mile miles",
        "mg": "milligram milligrams",
        "g": "gram grams",
        "kg": "kilogram kilograms",
        "lb": "lbs pound pounds",
        "oz": "ounce ounces",
        "s": "sec secs second seconds",
        "min": "mins minute minutes",
        "h": "hr hrs hour hours",
        "day": "days",
        "week": "weeks",
        "month": "months",
        "year": "years",
        "ml": "milliliter milliliters millilitre millilitres",
        "l": "liter liters litre litres",
        "km/h": "kmh kph",
        "mi/h": "mph",
        "$": "dollar dollars",
        "¢": "cent cents",
        "€": "euro euros",
        "%": "percent",
        "°": "degree degrees",
        "rad": "radian radians",
    }.items()
    for name in (unit, *names.split())
}
"""The shortest form of a unit of measure, by any of its forms."""

_FACTORS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}
_PIECE = re.compile(r"[^\W\d]+|[$¢€%°/]|\^\d+")


def measure(words: str) -> tuple[int, str]:
    """What the words behind a number multiply it by, and its unit in the shortest form, "" if that is not known."""
    factor, unit, power = 1, "", ""
    for piece in _PIECE.findall(words.lower()):
        if multiple := _FACTORS.get(piece.removesuffix("s")):
            factor *= multiple
        elif piece in _POWERS:
            power = _POWERS[piece]
        elif piece in ("/", "per"):
            unit += "/"
        elif piece.startswith("^"):
            unit += piece
        elif piece in UNITS and (not unit or unit.endswith("/")):
            unit, power = unit + UNITS[piece] + power, ""
        else:
            return factor, ""
    return factor, unit


_NAMES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_NUMBERS = _NAMES.split()


def in_digits(number: str) -> str:
    """A number of words as a number in digits; anything else as it is."""
    return str(_NUMBERS.index(number.lower())) if number.lower() in _NUMBERS else number
