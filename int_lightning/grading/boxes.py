r"""The boxes of a text, ``\boxed{}`` and ``\fbox{}``, with or without braces, and which of them are one answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ANY = re.compile(r"\\{1,2}(?:boxed|fbox)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_MARK = re.compile(
    r"""(?P<box>\\{1,2}(?:boxed|fbox)\s*\{)   # also \\boxed, escaped once too often
    | \\(?:boxed|fbox)(?![a-zA-Z])\s*(?P<bare>   # \boxed 5, \boxed-7.5, \boxed\frac12, \boxed x
        [-+]?\d+(?:[.,]\d+)*(?![\d.,]*\d) | \\[dt]?frac\s*(?:\d\s*\d|\{[^{}]*\}\s*\{[^{}]*\}) | [a-zA-Z](?![a-zA-Z]))
    | (?P<brace>\\.|[{}])""",
    re.VERBOSE | re.DOTALL,
)
_NAME = r"[a-zA-Z](?:_(?:\w|\{\w+\}))?"
_LABEL = re.compile(rf"(?<![\w\\^+*/-])({_NAME})\s*=\s*\Z")
_LINK = re.compile(
    rf"""(?:[\s$,;&~] | \\[()\[\],;:!\ ] | \\q?quad(?![a-zA-Z]) | \\\\ | and(?![a-z]) | or(?![a-z])
    | \\(?:text|mathrm)\s*\{{[\s,;]*(?:and|or)?[\s,;]*\}})*+
    (?:{_NAME}\s*=\s*)?(?:\$|\\\()?\s*""",
    re.VERBOSE,
)
_NEAR = 60
_BLANK = re.compile(r"(?: \s | ~ | \\[ ,;:!] | \\(?:text|mathrm)\s*\{\s*\} | [.…?_] | \\[lc]?dots )*", re.VERBOSE)


def extract_answer(text: str) -> str:
    r"""The content of the last ``\boxed{}`` or ``\fbox{}``; "" without a box, or if its braces do not balance.

    Escaped braces (``\{``) do not count. Takes time linear in the length of the text.
    """
    start = max((box.end() for box in _BOX.finditer(text)), default=len(text))
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()].strip()
    return ""


@dataclass(frozen=True, slots=True)
class Boxes:
    """The last boxes of a text that are linked to each other: what they hold, and where the last one ends.

    ``contents`` is empty if the text ends inside a box, and if all boxes are empty.
    """

    contents: list[str]
    end: int


def last_boxes(text: str) -> Boxes | None:
    r"""The last box that holds something, with those before it that a comma or a word links to it; None without a box.

    The names of ``x=\boxed{1} and y=\boxed{2}`` are kept; ``\boxed{2}, \boxed{2}`` is one box.
    """
    found: list[tuple[str, str]] = []
    last = 0
    boxes = sorted(_boxes(text))
    for start, end, content in boxes:
        if end < 0:
            return Boxes([], len(text))
        if start < last or _BLANK.fullmatch(content):
            continue
        linked = found and start - last <= _NEAR and _LINK.fullmatch(text, last, start)
        label = _LABEL.search(text, max(0, start - 12), start)
        if not linked:
            found = []
        found.append((label[1] if label else "", content.strip()))
        last = end
    if not found:
        return Boxes([], len(text)) if boxes else None
    if len({content for _, content in found}) == 1 and len({name for name, _ in found}) == 1:
        found = found[:1]
    if len(found) > 1 and all(name for name, _ in found):
        return Boxes([f"{name} = {content}" for name, content in found], last)
    return Boxes([content for _, content in found], last)


def _boxes(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each box begins and ends, and its content; the end is -1 if the text ends first."""
    first = _ANY.search(text)
    opened: list[re.Match[str]] = []
    for mark in _MARK.finditer(text, first.start()) if first else ():
        if bare := mark["bare"]:
            yield mark.start(), mark.end(), bare
        elif mark["box"] or mark["brace"] == "{":
            opened.append(mark)
        elif mark["brace"] == "}" and opened:
            box = opened.pop()
            if box["box"]:
                yield box.start(), mark.end(), text[box.end() : mark.start()]
    yield from ((box.start(), -1, "") for box in opened if box["box"])
