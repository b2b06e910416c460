"""The step that a location names: its number as the steps were shown, from 0.

Apart from numbers these are read: "Step 3", "#3", "in step 3", "12th step", "Steps 3-5" (the first), "Step 3: <how it begins>"
and "Step 3 (<a remark without numbers>)". A location that may mean two steps is a defect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from int_lightning.defects import DefectError, DefectKind
from int_lightning.oracles.proposals.loose_json import Value

_PLAIN = str.maketrans({"*": " ", "`": " ", "\u00a0": " "} | {chr(0xFF10 + i): str(i) for i in range(10)})
_AROUND = " '\"$()[]"

_NAME = r"(?:(?:in|at|on)\s+)?(?:the\s+)?(?:sub)?steps?"
_BEFORE = rf"(?:{_NAME}(?:\s*(?:no\.?|number|-(?=\d))\s*|[\s_#:]*)|[#+=])?\s*"
_NUMBER = r"[(\[]?(-?\d{1,40})(?:\.0{1,9})?[)\]]?"
_STEP = re.compile(rf"{_BEFORE}{_NUMBER}\s*[:.,;]?", re.IGNORECASE | re.ASCII)
_ORDINAL = re.compile(  # "in the 12th step"
    r"(?:(?:in|at|on)\s+)?(?:the\s+)?(\d{1,9})(?:st|nd|rd|th)(?:\s+(?:sub)?step)?", re.IGNORECASE | re.ASCII
)
# "steps 3-5", "step 3 to step 5"
_RANGE = re.compile(rf"{_BEFORE}{_NUMBER}\s*(?:-|–|—|to\b|through\b)\s*{_NUMBER}\s*[:.]?", re.IGNORECASE | re.ASCII)
# "Step 3: so x = 5"
_QUOTED = re.compile(r"(?:sub)?step[\s_#]*(\d{1,9})\s*:\s*(\S.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_REMARKED = re.compile(  # "Step 3 (the division)"
    r"(?:sub)?step[\s_#]*(\d{1,9})\s*(?:[(,]|\s[-–—]\s)([^\d~?<>→]{1,80})", re.IGNORECASE | re.DOTALL
)
_OTHER_STEP = re.compile(  # words by which a remark may mean another step: "the one after"
    r"\b(?:or|and|not|but|to|through|until|till|after|before|between|beyond|next|previous|following|preceding|instead|rather"
    r"|earlier|later|onwards?|maybe|perhaps|of|reference|based|count\w*|index\w*|number\w*|last|zero|one|two|three|plus|minus)\b",
    re.IGNORECASE,
)


def step_number(value: Value, steps: Sequence[str]) -> int:
    """The number that a location gives, inside the attempt or not.

    Raises:
        DefectError: if it gives none, or may give two.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        plain = " ".join(value.translate(_PLAIN).split()).strip(_AROUND)
        if found := _STEP.fullmatch(plain) or _ORDINAL.fullmatch(plain):
            return int(found[1])
        if (span := _RANGE.fullmatch(plain)) and int(span[1]) < int(span[2]):
            return int(span[1])
        if (remarked := _REMARKED.fullmatch(plain)) and not _OTHER_STEP.search(remarked[2]):
            return int(remarked[1])
        if quoted := _QUOTED.fullmatch(value.strip()):
            return _quoted(int(quoted[1]), quoted[2], steps)
    raise DefectError(DefectKind.NO_STEP_NUMBER, "no location" if value is None else short(value))


def _quoted(location: int, quote: str, steps: Sequence[str]) -> int:
    """The location of ``Step 3: x = 5``, if step 3 begins like that."""
    quote = " ".join(quote.rstrip(" .…").split())
    if location < len(steps) and not " ".join(steps[location].split()).startswith(quote):
        raise DefectError(DefectKind.AMBIGUOUS, f"step {location} does not begin with {quote[:40]!r}")
    return location


def short(value: Value) -> str:
    """A value for a message."""
    return repr(value)[:60]
