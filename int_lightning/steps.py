"""Steps y_0 .. y_T of an attempt, as texts and as token positions.

Each step's text ends with what separates it from the next, so that joining the steps gives the text back. No step is blank unless
the whole text is. A cut in front of a step is a token position: the prefix y_<t is always a slice of the sampled tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal, Protocol

SEPARATOR = "\n\n"

Segmentation = Literal["blank_lines", "lines", "keywords"]

KEYWORDS = (
    "wait",
    "hold on",
    "hmm",
    "hmmm",
    "maybe",
    "perhaps",
    "alternatively",
    "however",
    "actually",
    "let me",
)
"""Openings with which a reasoning trace changes direction: the segmentation ``keywords`` puts a step boundary before each."""

SEPARATORS: dict[Segmentation, str] = {"blank_lines": SEPARATOR, "lines": "\n", "keywords": SEPARATOR}
"""What ends a step, and so follows an intervention."""

_BLANK_LINE = r"\n[^\S\n]*+\n\s*"
_NUMBER = r"\d{1,3}\.[^\S\n]++"  # "2. ", the number of an item in a list
# what lies ahead is a keyword: "Wait", "but wait", "Oh, wait", "*Hmm*", "2. Wait"
_TURN = rf"(?=(?:{_NUMBER})?[\"'“‘*_(]*(?:(?:but|so|oh|no),?[ ])?(?:{'|'.join(KEYWORDS).replace(' ', '[ ]')})\b)"
_BOUNDARIES: dict[Segmentation, re.Pattern[str]] = {
    "blank_lines": re.compile(_BLANK_LINE),
    "lines": re.compile(r"\n\s*"),
    "keywords": re.compile(
        rf"""{_BLANK_LINE}
        | \n[^\S\n]*+{_TURN}                         # a line that opens with a keyword
        | [.!?…]["'”’*_)\]$]*+[^\S\n]++{_TURN}        # a sentence that does""",
        re.IGNORECASE | re.VERBOSE,
    ),
}
_NUMBER_ALONE = re.compile(rf"\s*{_NUMBER}")
_WINDOW = (
    8  # number of tokens: long windows cost time in the search for a boundary, short ones in the walk over the rest
)


class Decoder(Protocol):
    """The part of a tokenizer that cuts need."""

    def decode(self, token_ids: Any, skip_special_tokens: bool = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """A token position, with ``tokens`` tokens before it. ``exact`` is False if the boundary lies inside the last of them."""

    tokens: int
    exact: bool


def split_steps(text: str, how: Segmentation = "blank_lines") -> list[str]:
    """Splits an attempt into steps; each keeps its separator and ``"".join(split_steps(t)) == t``. Linear in the text's length.

    Args:
        text: The attempt.
        how: ``blank_lines`` - at blank lines; ``lines`` - at every line break; ``keywords`` - at blank lines, and where a line
            or sentence opens with one of ``KEYWORDS`` in any case ("Wait", "Alternatively", also "But wait", "Oh, wait" and, as
            an item of a list, "2. Wait").

    A line with nothing but white space of any kind, such as a carriage return, is blank too.
    """
    beginning = len(text) - len(text.lstrip())
    bounds = [0]
    for boundary in _BOUNDARIES[how].finditer(text):
        if beginning < boundary.end() < len(text) and not _NUMBER_ALONE.fullmatch(text, bounds[-1], boundary.end()):
            bounds.append(boundary.end())
    return [text[a:b] for a, b in pairwise([*bounds, len(text)]) if b > a]


def number_steps(steps: Sequence[str]) -> str:
    """The attempt as it is shown to an oracle: one paragraph ``Step i: ...`` for each step, counted from 0."""
    return SEPARATOR.join(f"Step {i}: {step.strip()}" for i, step in enumerate(steps))


def cuts(steps: Sequence[str], token_ids: Sequence[int], tokenizer: Decoder) -> list[Cut]:
    """The token position in front of each step of an attempt that was sampled as ``token_ids``, in one pass over the tokens.

    A cut is the shortest prefix whose text covers the boundary. Where the boundary lies inside a token (one that holds ".\\n\\n"
    and the first letters, or bytes, of the next step), the cut falls after that token and is marked inexact.

    Raises:
        ValueError: if the tokens do not decode to the steps.
    """
    text = "".join(steps)
    if decode(tokenizer, token_ids) != text:
        raise ValueError("the tokens do not decode to the text of the steps")
    boundaries = [0, *accumulate(map(len, steps))][: len(steps)]
    found = [Cut(0, True)] * boundaries.count(0)
    windows = _windows(text, token_ids, tokenizer)
    while len(found) < len(boundaries):
        window = next(windows)
        tokens = window.start + 1
        while len(found) < len(boundaries) and boundaries[len(found)] <= window.shown_after:
            wanted = window.context + text[window.shown : boundaries[len(found)]]
            while not (prefix := decode(tokenizer, token_ids[window.anchor : tokens])).startswith(wanted):
                tokens += 1
            found.append(Cut(tokens, prefix == wanted))
    return found


def decode(tokenizer: Decoder, token_ids: Sequence[int]) -> str:
    """The text of tokens, without special tokens."""
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=True))


@dataclass(frozen=True, slots=True)
class _Window:
    """A few tokens from ``start`` on that extend text[:shown] to text[:shown_after]; ``context`` is the text of the tokens
    [anchor, start), with which they are decoded."""

    anchor: int
    start: int
    context: str
    shown: int
    shown_after: int


def _windows(text: str, token_ids: Sequence[int], tokenizer: Decoder) -> Iterator[_Window]:
    """Consecutive windows over the tokens of a text, each checked against it.

    What a token adds depends on its neighbours (a character may take several tokens, a space at the start may be dropped), so
    a window is decoded together with the one before it and grows until it ends with a whole character. If no window comes out
    right, the tokenizer needs to see all earlier tokens: a single window then takes all tokens, from the first.
    """
    anchor = start = shown = 0
    while start < len(token_ids):
        context, size, grown = decode(tokenizer, token_ids[anchor:start]), _WINDOW, None
        while grown is None:
            now = decode(tokenizer, token_ids[anchor : start + size])
            if now.startswith(context) and text.startswith(now[len(context) :], shown):
                grown = shown + len(now) - len(context)
            elif start + size < len(token_ids):
                size += 1 if size < 2 * _WINDOW else size
            else:
                anchor, start, shown, context = 0, 0, 0, ""
                size = len(token_ids)
        yield _Window(anchor, start, context, shown, grown)
        anchor, start, shown = start, start + size, grown
