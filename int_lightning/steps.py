"""Steps y_0 .. y_T of an attempt, in text and in token positions.

Steps are separated by blank lines; each step's text carries its separator, so that joining the steps gives the text back.
A cut in front of a step is a token position: the prefix y_<t is always a slice of the tokens that were sampled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

SEPARATOR = "\n\n"
_BOUNDARY = re.compile(r"\n[ \t]*\n\s*")


class Decoder(Protocol):
    """The part of a tokenizer that cutting needs."""

    def decode(self, token_ids: Any, skip_special_tokens: bool = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """A token position: ``tokens`` tokens lie before it. ``exact`` is False where the boundary falls inside the last of them."""

    tokens: int
    exact: bool


def split_steps(text: str) -> list[str]:
    """Splits an attempt on blank lines; each step keeps its separator and ``"".join(split_steps(t)) == t``."""
    ends = [m.end() for m in _BOUNDARY.finditer(text) if text[: m.start()].strip() and m.end() < len(text)]
    bounds = [0, *ends, len(text)]
    return [text[a:b] for a, b in pairwise(bounds) if b > a]


def number_steps(steps: Sequence[str]) -> str:
    """The attempt as an oracle is shown it: one ``Step i: ...`` paragraph a step, counted from 0."""
    return SEPARATOR.join(f"Step {i}: {step.strip()}" for i, step in enumerate(steps))


def cut_before(step: int, steps: Sequence[str], token_ids: Sequence[int], tokenizer: Decoder) -> Cut:
    """The token position in front of step ``step`` of an attempt that was sampled as ``token_ids``.

    The boundary is at or before the end of the returned prefix: where it lies inside a token (".\\n\\n" and the first
    letters of the next step in one), the cut falls after that token and is marked inexact.

    Raises:
        IndexError: if the attempt has no such step.
    """
    if not 0 <= step < len(steps):
        raise IndexError(f"step {step} of an attempt with {len(steps)} steps")
    wanted = "".join(steps[:step])
    boundary = len(wanted)
    if boundary == 0:
        return Cut(0, True)
    low, high = 0, len(token_ids)
    while low < high:
        middle = (low + high) // 2
        if len(decode(tokenizer, token_ids[:middle])) < boundary:
            low = middle + 1
        else:
            high = middle
    while low < len(token_ids) and not decode(tokenizer, token_ids[:low]).startswith(wanted):
        low += 1
    return Cut(low, decode(tokenizer, token_ids[:low]) == wanted)


def decode(tokenizer: Decoder, token_ids: Sequence[int]) -> str:
    """The text of tokens, special ones left out."""
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=True))
