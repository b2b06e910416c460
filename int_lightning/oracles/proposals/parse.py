r"""What an oracle wrote -> location and content of an intervention, or the reason why it cannot be used.

An oracle ends with ``<intervention>{"location": 2, "content": "..."}</intervention>``; ``{}`` says that it found no critical
error, and so does such an answer in words. ``<replacement>`` tags are read alike, and so is a list of such objects. Of a list
the object with the lowest location counts: with a later one the prefix would keep an error.

The last tag of the answer counts (see ``tags``); if it cannot be used, no other is. Two tags in immediate succession that name
different steps leave open which is meant. A tag that is not closed is used if its object is complete. A location is the number
under which a step was shown, from 0; one that may mean two steps is a defect.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from int_lightning.defects import Defect, DefectError, DefectKind
from int_lightning.oracles.proposals.content import ANOTHER, checked, says_no_error
from int_lightning.oracles.proposals.locations import short, step_number
from int_lightning.oracles.proposals.loose_json import UnreadableError, Value, read
from int_lightning.oracles.proposals.tags import START, last_tag

_LATER_END = re.compile(r"[\"']\s{0,20}\}")
_FENCE = re.compile(r"```(?:json)?|`")

_EMPTY: tuple[Value, ...] = (None, "", [], {})
_OTHER_NAMES = {"location": "step", "content": "replacement"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an output says; where it cannot be used, ``location`` is -1, ``content`` empty, and ``defect`` says why."""

    location: int = -1
    content: str = ""
    defect: Defect | None = None


def parse_proposal(raw: str, steps: Sequence[str], cut: bool = False) -> Parsed:
    """Reads an oracle's output for an attempt with the given steps. Never raises.

    The content comes without surrounding space and label, its backslashes read as ``backslashes.unescape`` says.

    Args:
        raw: The output.
        steps: The attempt's.
        cut: The output stops at its length limit. Unless the tag ends it, what was about to follow might take the tag back.
    """
    try:
        tag = last_tag(raw)
        value, rest = _object(tag.text, tag.closed)
        if cut and (tag.after if tag.closed else rest).strip("` \n\t"):
            raise DefectError(DefectKind.TRUNCATED, "the output goes on behind the tag")
        location, content = _first_error(value, steps)
        parsed = Parsed(location, checked(content, location, steps))
        if tag.twin is not None:
            _agree(parsed, parse_proposal(f"<intervention>{tag.twin}</intervention>", steps))
        return parsed
    except DefectError as error:
        if cut and error.defect.kind is DefectKind.NO_PROPOSAL:
            return Parsed(defect=Defect(DefectKind.TRUNCATED, "the output ends before a tag"))
        return Parsed(defect=error.defect)


def _agree(last: Parsed, before: Parsed) -> None:
    if before.location not in (-1, last.location):
        raise DefectError(
            DefectKind.AMBIGUOUS, f"two tags in one breath, for steps {before.location} and {last.location}"
        )


def _object(text: str, closed: bool) -> tuple[Value, str]:
    """What a tag holds, an object or a list, and the text after that."""
    if closed and (not text.strip() or says_no_error(_FENCE.sub(" ", text))):
        return {}, ""
    start = START.search(text)
    if not start:
        if closed:
            raise DefectError(DefectKind.UNREADABLE, "no object in the tag")
        raise DefectError(DefectKind.TRUNCATED, "the output ends before an object")
    text = text[start.start() :].rstrip("` \n\t")
    value, end = _completed(text, closed)
    rest = text[end:]
    if ANOTHER.search(rest) and not _repeats(rest, value):
        raise DefectError(DefectKind.AMBIGUOUS, "several objects in the tag")
    if _LATER_END.search(rest) and not _repeats(rest, value):
        raise DefectError(DefectKind.AMBIGUOUS, "quotes inside the content leave open where it ends")
    return value, rest


def _repeats(text: str, value: Value) -> bool:
    """Whether a text is nothing but the same value again."""
    try:
        again, end = read(text.lstrip())
    except UnreadableError:
        return False
    return again == value and end == len(text.lstrip())


def _completed(text: str, closed: bool) -> tuple[Value, int]:
    """The value at the start of a text, and its end. Before a closing tag the last bracket may be missing."""
    try:
        return read(text, cut=not closed)
    except UnreadableError as error:
        if error.position < len(text):
            raise DefectError(DefectKind.UNREADABLE, str(error)) from error
        if not closed:
            raise DefectError(DefectKind.TRUNCATED, "the output ends inside the object") from error
    for bracket in "}]":
        try:
            return read(text + bracket)
        except UnreadableError:
            continue
    raise DefectError(DefectKind.UNREADABLE, "the tag ends inside the object")


def _first_error(value: Value, steps: Sequence[str]) -> tuple[int, Value]:
    """Location and content of the object, or of the one in the list with the lowest location."""
    if isinstance(value, dict) and len(value) == 1:
        (key,) = value
        inner = _only(key, value)
        if isinstance(inner, dict | list):
            value = inner  # {"intervention": {...}}
    entries = value if isinstance(value, list) else [value]
    found = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise DefectError(DefectKind.UNREADABLE, f"{short(entry)} in place of an object")
        if not _finds_none(entry):
            found.append((step_number(_member("location", entry), steps), _member("content", entry)))
    if not found:
        raise DefectError(DefectKind.NO_ERROR, "the object is empty or says so")
    return min(found, key=lambda pair: pair[0])


def _finds_none(entry: dict[str, list[Value]]) -> bool:
    """Whether an object says that nothing is wrong: it is empty, or its content is such a verdict."""
    if all(value in _EMPTY for value in chain.from_iterable(entry.values())):
        return True
    if not entry.keys() & {"location", *_OTHER_NAMES.values(), "content"}:
        if len(entry) > 1:
            return False
        ((key, values),) = entry.items()
        affirmed = any(value is True for value in values) and says_no_error(key.replace("_", " "))
        return affirmed or any(map(says_no_error, values))
    location, content = _member("location", entry), _member("content", entry)
    nowhere = location in _EMPTY or location == -1 or says_no_error(location)
    return says_no_error(content) or (nowhere and content in _EMPTY)


def _member(name: str, entry: dict[str, list[Value]]) -> Value:
    """The value of a member, which may have another name if its own is missing."""
    return _only(name if name in entry else _OTHER_NAMES[name], entry)


def _only(key: str, entry: dict[str, list[Value]]) -> Value:
    """The value of a key, which may be given twice if both are equal; None if it is not given."""
    values = entry.get(key, [None])
    if any(value != values[0] for value in values):
        raise DefectError(DefectKind.AMBIGUOUS, f"two values for {key} in one object")
    return values[0]
