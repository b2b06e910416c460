"""What an oracle wrote -> location and content of an intervention, or the reason it cannot be used.

The last ``<intervention>{...}</intervention>`` counts. Output is parsed as JSON, never evaluated; the one leniency is for
LaTeX backslashes that the model did not double.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

LeakagePolicy = Literal["stated", "substring", "off"]
_TAGGED = re.compile(r"<intervention>(.*?)</intervention>", re.DOTALL)
_LONE_BACKSLASH = re.compile(r"\\(?:([\"\\/]|u[0-9a-fA-F]{4})|)")
_LATEX_READ_AS_ESCAPE = re.compile(r"[\x08\x0c\x0d\x09]|\n(?=eq|abla|otin|u\b|mid)")


@dataclass(frozen=True, slots=True)
class Parsed:
    """``location`` is -1 and ``content`` empty where there is nothing to use; ``defect`` then says why (kind: detail)."""

    location: int = -1
    content: str = ""
    defect: str = ""


def parse_proposal(raw: str, steps: Sequence[str]) -> Parsed:
    """Reads an oracle's output for an attempt with the given steps. Never raises."""
    tagged = _TAGGED.findall(raw)
    if not tagged:
        return Parsed(defect="no tagged JSON object in the output")
    body = _load(tagged[-1].strip())
    if body is None:
        return Parsed(defect="the tagged object is not JSON")
    if not body:
        return Parsed(defect="the oracle found no critical error")
    location, content = _location(body.get("location")), body.get("content")
    if location is None:
        return Parsed(defect=f"the location is not a step number: {str(body.get('location'))[:40]!r}")
    if not isinstance(content, str) or not content.strip():
        return Parsed(defect="the content is missing or empty")
    if any("\ud800" <= c <= "\udfff" for c in content):
        return Parsed(defect="the content holds half a character")
    if not 0 <= location < len(steps):
        return Parsed(defect=f"the location is outside the attempt: step {location} of {len(steps)}")
    if content.strip() == steps[location].strip():
        return Parsed(defect="the content repeats the step it replaces")
    return Parsed(location, content.strip())


def leaks(content: str, answer: str, policy: LeakagePolicy) -> bool:
    """Whether an intervention gives the final answer away.

    Args:
        policy: ``stated`` - the answer stands in it as a whole number or expression, not as part of a longer one;
            ``substring`` - it occurs anywhere (the paper's test); ``off`` - never.
    """
    answer = answer.strip()
    if policy == "off" or not answer:
        return False
    if policy == "substring":
        return answer in content
    return re.search(rf"(?<![\w.])(?<!\d,)(?<![-/]){re.escape(answer)}(?!\w|[.,/]\d)", content) is not None


def _load(text: str) -> dict[str, Any] | None:
    """The object, read as it stands or else with the backslashes doubled that begin no escape sequence."""
    for candidate in (text, _LONE_BACKSLASH.sub(lambda m: m[0] if m[1] else r"\\", text)):
        try:
            body = json.loads(candidate, strict=False)
        except (ValueError, RecursionError):
            continue
        if not isinstance(body, dict):
            return None
        if _LATEX_READ_AS_ESCAPE.search(str(body.get("content", ""))):
            continue
        return body
    return None


def _location(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    match = (
        re.fullmatch(r"\s*(?:(?:sub)?step\s*)?(-?\d{1,9})\s*", value, re.IGNORECASE) if isinstance(value, str) else None
    )
    return int(match[1]) if match else None
