"""A program as oracle: the arithmetic of an attempt against the arithmetic of its reference solution.

An attempt is read as a list of equations. What it computes must occur in the reference; what it merely states, in the
reference or the problem. The first critical error is the first step with a false equation or an unsupported result, and the
intervention is the first step of the reference that the accepted prefix still lacks. A correct detour that the reference does
not take counts as an error too: that costs a needless intervention after a correct prefix, while a location too late would
clone an error. No model is asked: the oracle is free, repeatable, and blind to everything but numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from int_lightning.grading.boxes import extract_answer
from int_lightning.oracles.base import ProgramOracle
from int_lightning.oracles.text_arithmetic import NUMBER, Equation, equations, numbers, plain, signed_values, value_of
from int_lightning.types import Problem

_WORD = re.compile(r"[a-z]+")
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


def first_contradiction(
    steps: Sequence[str], reference: str, answer: str = "", problem: str = ""
) -> tuple[int, str] | None:
    """The first step of an attempt that contradicts the reference, and the reference's step to put in its place.

    Args:
        steps: The attempt, in steps.
        reference: The reference solution, one step a line; if it has one line, one step a sentence.
        answer: The right final answer; if empty, the last number of the reference.
        problem: The problem's text; its numbers support what the attempt states, but not what it computes.

    Returns:
        (index of the step, its replacement without separator); None if the final answer is right, and if there is nothing to
        propose: no steps, no reference, or a replacement that equals the step.
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
    """The lines of a reference, or the sentences of its only line, without calculator annotations and final-answer line."""
    text = re.sub(r"<<[^>]*>>", "", reference)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not re.match(r"####|A:\s*[-$\d.,]+$", line)]
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", lines[0]) if len(lines) == 1 else lines


def _locate(steps: Sequence[str], lines: Sequence[str], answer: str, problem: str) -> int:
    """The first step with a false equation or an unsupported result; failing that, where the final answer is made."""
    computed = set[float]().union(
        *signed_values(answer), *([e.result for e in equations(line)] or numbers(line) for line in lines)
    )
    named = [_VALUES.get(word, ()) for word in _WORD.findall(problem.lower())]
    stated = computed.union(_values(problem), _values("\n".join(lines)), *named)
    read = [list(equations(step)) for step in steps]
    for index, found in enumerate(read):
        if any(_contradicts(equation, computed, stated) for equation in found):
            return index
    final = _final(steps[-1])
    makers = [i for i, found in enumerate(read) if final & {e.result for e in found if e.operands}]
    return makers[-1] if makers else len(steps) - 1


def _contradicts(equation: Equation, computed: set[float], stated: set[float]) -> bool:
    """Whether an equation is false, or the reference does not support its result."""
    return equation.false or not _supported(equation.result, computed if equation.operands else stated)


def _next_step(prefix: str, lines: Sequence[str], problem: str) -> str:
    """The first line whose result the last line rests on, directly or not, and the prefix lacks."""
    made = {e.result for e in equations(prefix)}
    held = made | (set(numbers(prefix)) - _values(problem))
    read = [list(equations(line)) for line in lines]
    results = [_result(found) for found in read]
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


def _result(found: Sequence[Equation]) -> float | None:
    """What a line arrives at: the result of its last equation."""
    return found[-1].result if found else None


def _values(text: str) -> set[float]:
    """All numbers of a text and results of its equations; percentages and cents also as fractions."""
    parts = re.findall(rf"({NUMBER})\s*(?:%|cents?\b|percent\b)", plain(text))
    return {*numbers(text), *(e.result for e in equations(text)), *(value_of(part) / 100 for part in parts)}


def _supported(value: float, pool: Iterable[float]) -> bool:
    """Whether a value is in the pool; one that is not whole, up to rounding to cents."""
    tolerance = 1e-9 if abs(math.remainder(value, 1)) < 1e-9 else 0.0051
    return any(abs(value - other) <= max(tolerance, 1e-6 * abs(other)) for other in pool)


def _final(step: str) -> set[float]:
    """What the last number of a step, or of its box if it has one, may be; empty if there is none."""
    found = signed_values(extract_answer(step)) or signed_values(step)
    return found[-1] if found else set()


def _reaches(step: str, answer: str) -> bool:
    return any(_supported(final, _final(answer)) for final in _final(step))
