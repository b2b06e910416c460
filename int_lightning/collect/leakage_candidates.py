"""The numbers and expressions that a text states, and whether it gives them as the answer.

A number or expression counts if it is a whole one: exponents, indices, coefficients and arguments of LaTeX commands are parts of
a longer one, and labels ("Case 2") state nothing. It is given as the answer in a box, after "the answer is", and after the last
"=" or "is" of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from int_lightning.collect.conclusions import concludes
from int_lightning.grading.answers import MAX_ANSWER, normalise
from int_lightning.grading.boxes import extract_answer

_BEFORE_PART = re.compile(
    r"""(?: [\w.\-/^] | \d,                                                                # within a number or word
      | (?: [\^_}\]] | \\(?!boxed|fbox|text|math)[a-zA-Z]+ )\s*\{                          # x^{..}, \frac{..}
      | \b(?:[Ss]teps?|Cases?|Parts?|[Ee]q(?:uation|n)?s?\.?|[Ll]emma|[Tt]heorem|Example|Figure)\s*\(?   # Case 2
      )\Z""",
    re.VERBOSE,
)
_COMMAND = re.compile(  # commands after which a number is whole
    r"\\(?:equiv|approx|cong|sim|leq?|geq?|neq?|times|cdot|pm|div|to|implies|Rightarrow|q?quad)\Z"
)
_UNIT = r"(?:mm|cm|km|m|kg|g|s|h|min|ft|ml)\s*(?:\$|\\[)\]])"  # in mathematics, as in $5m$
_AFTER_PART = re.compile(
    rf"""(?!{_UNIT})\w | [.,/]\d | \s*\^(?!\s*\{{?\s*\\circ) | \((?!\s)
      | \s*\\(?:[dt]?frac|sqrt|binom|log|ln|sin|cos|tan|pi|alpha|beta|gamma|theta|lambda|mu|phi|omega)""",
    re.VERBOSE,
)

_PRESENTING = re.compile(
    r"""(?: \\(?:boxed|fbox)\s*\{
      | \banswers?\b(?: [^.\n]{0,40}? (?: \bis\b | \bare\b | \bequals\b | \bbe\b | = ) )?   # the answer to this is
      ) (?: [\s:,$*{] | \\[(\[] )*\Z""",
    re.VERBOSE | re.IGNORECASE,
)
# "x = $", "there are"
_EQUALLING = re.compile(r"(?:=|\b(?:is|are|be|equals)\b)(?:[\s:$*{]|\\[(\[])*\Z", re.IGNORECASE)
_CONTINUES = re.compile(r"\s*(?:[-+*/^]|\\(?:times|cdot|div|pm)(?![a-zA-Z]))")
_TAIL = re.compile(  # what may follow the last number of a text: 5\text{ cm}$.
    r"(?:[\s$}]|\\[)\]])*+(?:\\text\s*\{\s*)?[a-zA-Z%]*+[\s$.!*)}\]\\]*+\Z"
)

_SPAN = re.compile(
    r"\$\$(.{1,600}?)\$\$ | \$([^$]{1,600})\$ | \\\((.{1,600}?)\\\) | \\\[(.{1,600}?)\\\]", re.VERBOSE | re.DOTALL
)
_DIGITS = r"(?:\d{1,3}(?:(?:,|\{,\}|\\!?,)\d{3})++(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_NUMBER = rf"{_DIGITS}(?:/\d+(?:\.\d+)?)?%?"
_SIGNED = re.compile(rf"(?:(?<![\w)}}\]])(?<![\w)}}\]]\s)-\s?)?{_NUMBER}")
_RELATION = r"""
    \\(?: leq? | geq? | neq? | lt | gt | approx | equiv | implies | iff | [rR]ightarrow | Leftrightarrow | to | in | mid | pmod
        | sim | cong | q?quad | because | therefore | l?dots | begin | end | item )(?![a-zA-Z])
  | \\(?: text\w* | math\w+ | boxed | fbox | operatorname )\s*\{
"""
_TOKEN = re.compile(
    rf"""(?P<stop> {_RELATION} ) | (?P<open> \\\{{ | [(\[{{] ) | (?P<close> \\\}} | [)\]}}] ) | (?P<number> {_NUMBER} )
      | (?P<list> [,;] ) | (?P<term> \\[a-zA-Z]+ | \\[,;:!\ ] | [-+*/^_!|'·×÷√π∞°\ \t] ) | (?P<letters> [a-zA-Z]+ )
      | (?P<other> . )""",
    re.VERBOSE | re.DOTALL,
)
_FORMULA = re.compile(r"[\d\\π√∞]|\w\s*[-+*/^]")
_VARIABLES = re.compile(r"\\(?:[a-zA-Z]+\s*)?|[a-zA-Z]")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A number or expression that a text states.

    Args:
        text: As it is written.
        presented: Whether it is given as the answer.
    """

    text: str
    presented: bool


def stated(text: str, answer: str) -> list[Candidate]:
    """Where a text has the answer, letter for letter, as a whole number or expression."""
    found = []
    for form in dict.fromkeys((answer.strip(), normalise(answer))):
        start = text.find(form) if form else -1
        while start >= 0:
            if _is_whole(text, start, start + len(form)):
                found.append(Candidate(form, _is_presented(text, start, start + len(form))))
            start = text.find(form, start + 1)
    return found


def candidates(text: str) -> list[Candidate]:
    """The numbers and expressions that a text states, each once: first those presented as the answer, then by length.

    Expressions are whole math spans, and the sides of equations and relations, with or without math delimiters.
    """
    text = text.replace("−", "-")
    spans = [(m.start(), m.end(), m.span(m.lastindex or 0)) for m in _SPAN.finditer(text)]
    places = [place for _, _, place in spans]
    end = 0
    for left, right, (a, b) in spans:
        places += [*_expressions(text, end, left, False), *_expressions(text, a, b, True)]
        end = right
    places += _expressions(text, end, len(text), False)
    places += [m.span() for m in _SIGNED.finditer(text)]
    found: dict[str, bool] = {}
    if box := extract_answer(text):
        found[box] = True
    for a, b in places:
        written = text[a:b].strip()
        if 0 < len(written) <= MAX_ANSWER and _FORMULA.search(written) and _is_whole(text, a, b):
            found[written] = found.get(written, False) or _is_presented(text, a, b)
    return sorted((Candidate(*item) for item in found.items()), key=lambda c: (not c.presented, len(c.text)))


def comparable(found: Iterable[Candidate], answer: str) -> list[Candidate]:
    """Those that could be the answer: one with a variable that the answer lacks says something else."""
    variables = _variables(answer)
    return [c for c in found if _variables(c.text) <= variables]


def _variables(formula: str) -> set[str]:
    return {m for m in _VARIABLES.findall(formula) if not m.startswith("\\")}


def _expressions(text: str, start: int, end: int, in_math: bool) -> Iterable[tuple[int, int]]:
    """The places of the longest runs of mathematics between words, relations and, outside brackets, commas."""
    opened: list[int] = []
    begin = start
    for token in _TOKEN.finditer(text, start, end):
        kind, word = token.lastgroup, token.group()
        if kind == "open":
            opened.append(token.end())
            continue
        if kind == "close" and opened:
            opened.pop()
            continue
        prose = kind == "letters" and not in_math and (len(word) > 1 or _is_article(text, token.start()))
        if prose or kind in ("stop", "close", "other") or (kind == "list" and not opened):
            yield _trimmed(text, opened[-1] if opened else begin, token.start())
            opened, begin = [], token.end()
    yield _trimmed(text, opened[-1] if opened else begin, end)


def _is_article(text: str, at: int) -> bool:
    """Whether the letter at a place is a word rather than a variable."""
    return text[at] in "aAI" and text[max(0, at - 1) : at + 2].split() == [text[at]]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The place without operators and spaces at its ends."""
    run = text[start:end]
    start += len(run) - len(run.lstrip(" \t+*/^_,;!|'·×÷"))
    run = text[start:end]
    return start, end - (len(run) - len(run.rstrip(" \t+-*/^_,;|\\·×÷")))


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether a place in a text is not part of a longer number or expression."""
    before = _COMMAND.sub(" ", text[max(0, start - 24) : start])
    return not _BEFORE_PART.search(before) and not _AFTER_PART.match(text[end : end + 16])


def _is_presented(text: str, start: int, end: int) -> bool:
    """Whether what is at a place in a text is given as the answer."""
    before = text[max(0, start - 90) : start]
    if _PRESENTING.search(before) and not _CONTINUES.match(text, end):
        return True
    if concludes(text, start, end):
        return True
    return _EQUALLING.search(before) is not None and _TAIL.match(text, end) is not None
