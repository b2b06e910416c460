r"""Where a text gives its answer: in its last box, behind its last label, or in a closing sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator

from int_lightning.grading.words import changes_number

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BOX_OR_BRACE = re.compile(_BOXED.pattern + "|" + _BRACE.pattern, re.DOTALL)
_JOINED = re.compile(r"[\s$,;&]*(?:and|or)?[\s$]*(?:[a-zA-Z](?:_\{?\w\}?)?\s*=)?\s*")
_NEAR = 40
_LABEL = r"(?:the )?(?:final )?(?:answer(?: is)?|a)\s*"
_LABELLED = re.compile(rf"\s*(?:####|{_LABEL}:|\\text(?:bf)?\s*\{{{_LABEL}:\s*\}})\s*(.+)", re.IGNORECASE)
_ANSWER_IS = re.compile(r"\b(?:final |correct )?answer(?: is| =|:)[\s:*]*", re.IGNORECASE)
_STATEMENT = r"(?:(?:so|thus|hence|therefore)\b,? ?)?(?:we (?:get|have|find|obtain)\b|the ((?:[a-z]+ ){1,4})is\b)?"
_CLOSING = re.compile(rf"(?:\\text\s*\{{{_STATEMENT}\s*\}}|{_STATEMENT}) *", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s+[A-Z])")


def extract_answer(text: str) -> str:
    r"""The content of the last ``\boxed{}`` or ``\fbox{}``; "" if there is none or its braces do not balance.

    Escaped braces (``\{``) do not count. Linear in the length of the text.
    """
    start = max((box.end() for box in _BOXED.finditer(text)), default=len(text))
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()].strip()
    return ""


def conclusion(text: str) -> str:
    """The part of a text that gives the answer; all of it where it is nothing but an answer."""
    if boxes := _last_boxes(text):
        return ", ".join(map(_stated, boxes))
    return _stated(text)


def _stated(text: str) -> str:
    """What is behind the last label or in the closing sentence of a text, all of it where it has neither."""
    last_line = text.strip().rpartition("\n")[2]
    if label := _LABELLED.fullmatch(last_line):
        return label[1]
    if sentences := list(_ANSWER_IS.finditer(text)):
        return _first_sentence(text[sentences[-1].end() :])
    closing = _CLOSING.match(last_line)
    if closing and closing[0].strip() and not changes_number(closing[1] or closing[2] or ""):
        return _first_sentence(last_line[closing.end() :])
    return text


def _last_boxes(text: str) -> list[str]:
    r"""The last box, with those before it that a comma or a word links to it, as in ``x=\boxed{1} and y=\boxed{2}``."""
    found: list[str] = []
    last = 0
    for start, content, end in sorted(_boxes(text)):
        if start >= last:
            linked = start - last < _NEAR and _JOINED.fullmatch(text, last, start)
            found = [*(found if linked else []), text[content:end].strip()]
            last = end + 1
    return found if all(found) else []


def _boxes(text: str) -> Iterator[tuple[int, int, int]]:
    """Where each box that is closed starts, its content starts and its content ends."""
    opened: list[re.Match[str]] = []
    for mark in _BOX_OR_BRACE.finditer(text):
        if mark.group().endswith("{") and mark.group() != r"\{":
            opened.append(mark)
        elif mark.group() == "}" and opened and (box := opened.pop()).group() != "{":
            yield box.start(), box.end(), mark.start()


def _first_sentence(text: str) -> str:
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0].rstrip("* ")
