"""A program as oracle: the arithmetic of an attempt against the arithmetic of its reference solution.

An attempt is read as a list of equations. What it computes must occur in the reference, what it merely states in the
reference or the problem. The first critical error is the first step with a false equation or an unsupported result;
the intervention is the first step of the reference that the accepted prefix still lacks. A right detour that the
reference does not take is called an error too: the price is a needless intervention after a right prefix, while a
location too late would clone an error. No model is asked: the oracle is free, repeatable, and blind to all but numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from int_lightning.collect.oracles import ProgramOracle
from int_lightning.types import Problem

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+"
_TOKEN = re.compile(rf"(?P<number>{_NUMBER})|(?P<op>[-+*/()%])|(?P<word>[A-Za-z_]+)")
_WORD = re.compile(r"[a-z]+")
_LARGEST = 1e18
_STOP = re.compile(r"[,;:?!\n|^]|\.(?!\d)")
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"<<[^>]*>>", ""),
        (r"\\(?:text|mathrm|textbf|mathbf|mbox)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\[dt]?frac\s*(\d)(\d)", r"(\1/\2)"),
        (r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))"),
        (r"\\(?:times|cdot)|[×⋅·✕∗]|(?<=[\d)%])\s*x\s*(?=[$(\d.])|(?<=\w)\s+x\s+(?=\$?\d)", " * "),
        (r"\\div|÷", " / "),
        (r"\\(?:approx|implies|Rightarrow|rightarrow)|[≈⇒→]", " = "),
        (r"[−–—]", "-"),
        (r"\\%", "%"),
        (r"\\boxed|\\left|\\right|\\q?quad|\\[,;!$()\[\]]|[$£€¢{}&\\]|\*\*", " "),
        (r"(?i)\b(?:step|phase|part)\s+\d+\b|(?m:^[ \t]*(?:\d+[.)]|[-*+])\s)|\b\d+(?:st|nd|rd|th)\b", "\n"),
        (r"(%|\d/\d+\)*)\s+of\s+(?:the\s+|a\s+)?(?=\d)", r"\1 * "),
        (r"(?<=\d)-(?=[A-Za-z])|(?<=[A-Za-z])-(?=\w)", " "),
        (r"(?<=[\w)])\s+\([^()=*/+]*[A-Za-z]{2}[^()=*/+]*\)", " "),
        (r"\(([^()]*=[^()]*)\)", r"; \1 ;"),
        (r"(?<=[\d)])\(|(?<=\))(?=\d)", lambda match: "*" + match[0]),
        (r"\n\s*=", " ="),
    )
]


# fmt: off
_VALUES: dict[str, tuple[float, ...]] = {
    "zero": (0,), "one": (1,), "two": (2,), "three": (3,), "four": (4,), "five": (5,), "six": (6,), "seven": (7,),
    "eight": (8,), "nine": (9,), "ten": (10,), "eleven": (11,), "twelve": (12,), "dozen": (12,), "twenty": (20,),
    "thirty": (30,), "fifty": (50,), "hundred": (100,), "twice": (2,), "double": (2,), "triple": (3,), "half": (2, 0.5),
    "third": (3,), "quarter": (4, 0.25), "quarters": (4, 0.25), "week": (7,), "weeks": (7,),
    "day": (24,), "days": (24,), "year": (12, 365, 52), "years": (12, 365, 52), "hour": (60,), "hours": (60,),
    "minute": (60,), "minutes": (60,),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Equation:
    """``operands -> result`` as read from a text; ``false`` if two of its sides differ by more than rounding.

    ``operands`` is empty for a mere assignment (``x = 12``).
    """

    result: float
    operands: frozenset[float]
    false: bool


@dataclass(frozen=True, slots=True)
class _Side:
    """One readable side of an equation; ``decimals`` are those it was written with, ``worded`` if words surround it."""

    value: float
    leaves: frozenset[float]
    computed: bool
    decimals: int
    percent: bool
    worded: bool


class _UnreadableError(Exception):
    """A run of tokens that is no arithmetic expression."""


def plain(text: str) -> str:
    """``text`` with LaTeX, currency and asides gone, operators in ASCII, and list markers as line breaks."""
    for _ in range(2):
        for pattern, replacement in _REWRITES:
            text = pattern.sub(replacement, text)
    return text


def numbers(text: str) -> list[float]:
    """Every number of ``text`` in order, thousands separators removed."""
    return [_value(match[0]) for match in re.finditer(_NUMBER, plain(text))]


def _value(literal: str) -> float:
    return min(float(literal.replace(",", "")), _LARGEST)


def equations(text: str) -> Iterator[Equation]:
    """The equations of ``text``, one for each chain ``a op b = c = d``, in order."""
    for segment in _STOP.split(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain(text))):
        if "=" not in segment:
            continue
        chunks = [list(_runs(chunk)) for chunk in segment.split("=")]
        sides: list[_Side] = []
        false = False
        for left, right in pairwise(chunks):
            a = left[-1] if left else None
            b = right[0] if right else None
            if a and b and (a.computed or b.computed) and not (a.worded and not a.computed):
                false = false or not _same(a, b)
            sides += [side for side in (a, b) if side]
        last = chunks[-1][0] if chunks[-1] else None
        result = last or (sides[-1] if sides else None)
        if result is None:
            continue
        leaves = frozenset[float]().union(*(side.leaves for side in sides if side.computed))
        yield Equation(result.value, leaves, false)


def _same(a: _Side, b: _Side) -> bool:
    for scale in (1.0, 100.0, 0.01) if a.percent or b.percent else (1.0,):
        error = abs(a.value * scale - b.value)
        if error <= 1e-9 * max(1.0, abs(b.value)):
            return True
        stated = b if a.computed else a
        if not stated.computed and error < 10.0**-stated.decimals:
            return True
    return False


def _runs(chunk: str) -> Iterator[_Side | None]:
    """The maximal arithmetic expressions of one side of an equation, the words between them dropped; None: unreadable.

    Words where an operand should stand, and single letters, are unknowns. ``3 kg/box`` is 3, the unit dropped.
    """
    run: list[str] = []
    unknown = worded = False
    lexemes = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(chunk)]
    for (kind, lexeme), (next_kind, next_lexeme) in pairwise([*lexemes, ("", "")]):
        if kind != "word":
            if kind == "number" and run and run[-1][-1].isdigit():
                yield None if unknown else _parse(run, worded)
                run, unknown = [], False
            run.append(lexeme)
            continue
        worded = True
        unknown = unknown or (len(lexeme) == 1 and lexeme not in "aAI")
        operand_due = not run or run[-1] in "+-*/("
        if next_kind == "number" and not operand_due:
            yield None if unknown else _parse(run, worded)
            run, unknown = [], False
        elif operand_due and (not next_kind or next_lexeme in "+-*/)%"):
            if len(run) > 1 and run[-1] == "/":
                run.pop()
            elif run or next_kind:
                unknown = True
    if run:
        yield None if unknown else _parse(run, worded)


def _parse(run: Sequence[str], worded: bool) -> _Side | None:
    tokens = list(run)
    leaves: list[float] = []

    def factor() -> float:
        if not tokens:
            raise _UnreadableError
        lexeme = tokens.pop(0)
        if lexeme == "-":
            return -factor()
        if lexeme == "(":
            value = total()
            if not tokens or tokens.pop(0) != ")":
                raise _UnreadableError
        elif lexeme[-1].isdigit():
            value = _value(lexeme)
            leaves.append(value)
        else:
            raise _UnreadableError
        while tokens and tokens[0] == "%":
            tokens.pop(0)
            value /= 100
        return value

    def product() -> float:
        value = factor()
        while tokens and tokens[0] in "*/":
            if tokens.pop(0) == "*":
                value *= factor()
            elif divisor := factor():
                value /= divisor
            else:
                raise _UnreadableError
        return value

    def total() -> float:
        value = product()
        while tokens and tokens[0] in "+-":
            value += product() if tokens.pop(0) == "+" else -product()
        return value

    try:
        value = total()
    except (_UnreadableError, RecursionError):
        return None
    if tokens or not math.isfinite(value):
        return None
    literal = next(lexeme for lexeme in run if lexeme[-1].isdigit())
    return _Side(value, frozenset(leaves), len(leaves) > 1, len(literal.partition(".")[2]), "%" in run, worded)


def first_contradiction(
    steps: Sequence[str], reference: str, answer: str = "", problem: str = ""
) -> tuple[int, str] | None:
    """The first step of an attempt that contradicts the reference, and the reference's step to put in its place.

    Args:
        steps: The attempt, in steps.
        reference: The reference solution, one step a line (sentences, if it is one line).
        answer: The right final answer; where empty, the last number of the reference.
        problem: The problem's text: its numbers support what the attempt states (but not what it computes).

    Returns:
        (index of the step, its replacement without separator), or None for an attempt whose final answer is right, and
        where there is nothing to propose: no steps, no reference, or a replacement that equals the step.
    """
    lines = reference_steps(reference)
    if not steps or not lines or _reaches(steps[-1], answer or lines[-1]):
        return None
    location = _locate(steps, lines, answer, problem)
    replacement = _next_step("\n".join(steps[:location]), lines, problem)
    return None if replacement.split() == steps[location].split() else (location, replacement)


class GradeSchoolOracle(ProgramOracle):
    """Proposes interventions by arithmetic; made for grade-school word problems with worked solutions."""

    name = "gradeschool"

    def first_error(self, problem: Problem, steps: Sequence[str]) -> tuple[int, str] | None:
        """The first wrong step of a wrong attempt and its replacement; see :func:`first_contradiction`."""
        return first_contradiction(steps, problem.solution, problem.answer, problem.problem)


def reference_steps(reference: str) -> list[str]:
    """The lines of a reference without calculator annotations and final-answer line; of one line, its sentences."""
    text = re.sub(r"<<[^>]*>>", "", reference)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not re.match(r"####|A:\s*[-$\d.,]+$", line)]
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", lines[0]) if len(lines) == 1 else lines


def _locate(steps: Sequence[str], lines: Sequence[str], answer: str, problem: str) -> int:
    """The first step with a false equation or an unsupported result; failing that, where the final answer is made."""
    computed = set(numbers(answer)).union(*([e.result for e in equations(line)] or numbers(line) for line in lines))
    known = _values(problem) | _values("\n".join(lines))
    stated = computed | known | {v for word in _WORD.findall(problem.lower()) for v in _VALUES.get(word, ())}
    read = [list(equations(step)) for step in steps]
    for index, found in enumerate(read):
        if any(e.false or not _supported(e.result, computed if e.operands else stated) for e in found):
            return index
    final = _final(steps[-1])
    makers = [i for i, found in enumerate(read) if final in {e.result for e in found if e.operands}]
    return makers[-1] if makers else len(steps) - 1


def _next_step(prefix: str, lines: Sequence[str], problem: str) -> str:
    """The first line that the last line rests on, directly or not, and whose result the prefix does not hold."""
    made = {e.result for e in equations(prefix)}
    held = made | (set(numbers(prefix)) - _values(problem))
    read = [list(equations(line)) for line in lines]
    results = [found[-1].result if found else None for found in read]
    ends = [i for i, result in enumerate(results) if result is not None]
    if not ends:
        return lines[-1]
    lacking: set[int] = set()
    pending = [ends[-1]]
    while pending:
        index = pending.pop()
        result = results[index]
        if index in lacking or result is None or _supported(result, held):
            continue
        lacking.add(index)
        for operand in frozenset[float]().union(*(e.operands for e in read[index])):
            pending += [i for i in range(index) if results[i] == operand][-1:]
    return lines[min(lacking, default=ends[-1])]


def _values(text: str) -> set[float]:
    """All numbers of a text, results of its equations, and percentages and cents also as fractions."""
    parts = re.findall(rf"({_NUMBER})\s*(?:%|cents?\b|percent\b)", plain(text))
    return {*numbers(text), *(e.result for e in equations(text)), *(_value(part) / 100 for part in parts)}


def _supported(value: float, pool: Iterable[float]) -> bool:
    """Whether a value is in the pool, up to rounding to cents where it is not whole."""
    tolerance = 1e-9 if abs(math.remainder(value, 1)) < 1e-9 else 0.0051
    return any(abs(value - other) <= max(tolerance, 1e-6 * abs(other)) for other in pool)


def _final(step: str) -> float | None:
    boxed = [found for text in re.findall(r"\\boxed\s*\{(.*?)\}", step) if (found := numbers(text))]
    found = boxed[-1] if boxed else numbers(step)
    return found[-1] if found else None


def _reaches(step: str, answer: str) -> bool:
    final, expected = _final(step), numbers(answer)[-1:]
    return final is not None and _supported(final, expected)
