"""The content of an intervention: a step that can stand in the attempt, or the reason why it cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence

from int_lightning.defects import DefectError, DefectKind
from int_lightning.oracles.proposals.locations import short
from int_lightning.oracles.proposals.loose_json import Value

ANOTHER = re.compile(r"[{,]\s{0,20}[\"'“”]?location[\"'“”]?\s{0,20}:", re.IGNORECASE)
"""A member that belongs to another object."""

_LABEL = re.compile(  # "Step 3: ", "## Step 3 - ", "**Step 3**: ", "(Step 3). ", "Step 3" alone on its line
    r"""
    (?: \#{1,6}\s* | >\s* )?
    (?P<open> [*_]{0,3} ) [\[(]? (?:sub)? step [\s_#]{0,3} (?P<number> \d{1,9} ) [\])]?
    (?: (?P<shut> [*_]{0,3} ) \s{0,3} (?: : | \.(?!\d) | \s[-–—](?=\s) ) (?P<late> [*_]{0,3} )
      | (?P<bare> [*_]{1,3} ) (?=\s)
      | [ \t]* (?=\n|\Z) )
    \s*
    """,
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)

# "critical error", "mathematical mistakes"
_WRONG = r"(?:critical |first |major |actual |real |mathematical )*(?:errors?|mistakes?|issues?)"
_FOUND = r"(?: (?:was |were |is |are )?(?:found|detected|identified|present|here))?"
_WHOLE = (  # "the student's solution", "all steps"
    r"(?:the |this |student'?s? |entire |whole |all )*(?:solution|attempt|answer|reasoning|work|proof|steps?)(?: \d+)?"
)
# "the whole attempt is entirely correct"
_RIGHT = rf"{_WHOLE} (?:is|are|was|were|seems?|looks?) (?:(?:all|fully|entirely|completely) )?(?:correct|right|valid|fine|ok)"
_NO_ERROR = re.compile(  # "OK", "n/a", "no critical error found in the solution, so it is correct"
    r"ok|okay|correct|right|valid|none|null|nil|nothing|n/?a|not applicable|no changes?(?: (?:needed|required|necessary))?"
    rf"|(?:there (?:is|are|was|were) |i (?:find|found|see) )?no {_WRONG}{_FOUND}(?: (?:in|with) {_WHOLE})?"
    rf"(?:[.,;:]* (?:and |so |since |because |as )?{_RIGHT})?"
    rf"|{_RIGHT}(?:[.,;:]* (?:and |so )?(?:there (?:is|are) )?no {_WRONG}{_FOUND})?"
)
_PLACEHOLDER = re.compile(  # what the prompt's own form says: "the corrected step", "replacement text"
    r"(?:the |your |a )?(?:(?:replacement|corrected|correct|new|intervention) step|replacement|intervention)"
    r"(?: (?:here|text|content))?"
)
_EDGES = " \t\r\n.…!,;:`'\"*_{}[]()<>-–—"


def says_no_error(value: Value) -> bool:
    """Whether a text, instead of a step, is the verdict that nothing is wrong: "No error found.", "OK", "n/a"."""
    if not isinstance(value, str) or len(value) > 200:
        return False
    text = " ".join(value.lower().strip(_EDGES).split())
    return _NO_ERROR.fullmatch(text) is not None or value.strip() in ("{}", "[]")


def checked(content: Value, location: int, steps: Sequence[str]) -> str:
    """The step to put in place of the one at the location.

    Raises:
        DefectError: if it cannot stand there.
    """
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, str) or not any(c.isalnum() for c in content):
        raise DefectError(DefectKind.NO_CONTENT, short(content))
    if _PLACEHOLDER.fullmatch(" ".join(content.lower().strip(_EDGES).split())):
        raise DefectError(DefectKind.NO_CONTENT, f"{short(content)} is the form's own")
    if any("\ud800" <= c <= "\udfff" for c in content):
        raise DefectError(DefectKind.UNREADABLE, "half a character in the content")
    if ANOTHER.search(content):
        raise DefectError(DefectKind.AMBIGUOUS, "the content seems to hold another object")
    if not 0 <= location < len(steps):
        raise DefectError(DefectKind.OUTSIDE, f"step {location} of {len(steps)}")
    content = _unlabelled(content.strip(), location, steps)
    if _bare(content) == _bare(steps[location]):
        raise DefectError(DefectKind.REPEATS, f"the content is step {location} itself")
    return content


def _unlabelled(content: str, location: int, steps: Sequence[str]) -> str:
    """The content without the label ``Step 3:`` under which the step was shown; a label of the student's own numbering stays.

    A label with a number that no shown step has is the oracle's own, and is removed. Any other may mean another step.
    """
    label = _LABEL.match(content)
    if not label:
        return content
    number = int(label["number"])
    own = [_number_of(step) for step in steps]
    if _in_own_numbering(number, location, own):
        return content
    if number != location and (number < len(steps) or own[location] is not None):
        theirs = f"in the student's own numbering it is {own[location]}"
        if own[location] is None:
            theirs = "the number of another step"
        begins = f"begins with {label[0].strip()[:40]!r}"
        raise DefectError(DefectKind.AMBIGUOUS, f"the content for step {location} {begins}, {theirs}")
    rest = _after(label, content)
    if not rest:
        raise DefectError(DefectKind.NO_CONTENT, f"{short(content)} is a label alone")
    return rest


def _number_of(step: str) -> int | None:
    """The number by which the student calls a step, None without a label."""
    label = _LABEL.match(step.strip())
    return int(label["number"]) if label else None


def _in_own_numbering(number: int, location: int, own: Sequence[int | None]) -> bool:
    """Whether this is the student's number of the step at the location: its own, or what follows the last label before it."""
    if own[location] is not None:
        return own[location] == number
    before = [label for label in own[:location] if label is not None]
    return bool(before) and number != location and number in (before[-1], before[-1] + 1)


def _after(label: re.Match[str], text: str) -> str:
    """The text after a label. Bold type that continues after the label begins the text."""
    continues = label["open"] and not (label["shut"] or label["late"] or label["bare"])
    return (label["open"] if continues else "") + text[label.end() :]


def _bare(text: str) -> str:
    """A step without its label and final full stop, and with single spaces."""
    text = text.strip()
    label = _LABEL.match(text)
    return " ".join((_after(label, text) if label else text).split()).rstrip(" .")
