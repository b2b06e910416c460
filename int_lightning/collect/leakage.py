r"""Whether an intervention gives the final answer away.

Three tests:

- ``substring``: the answer occurs anywhere in the text (the paper's test). "112" holds "12".
- ``stated``: the answer stands in it as a whole number or expression (``candidates`` says when it does).
- ``equivalent``: that, or a number or expression in it equals the answer: 0.5, 1/2 and \frac{1}{2}; 2\sqrt{3} and \sqrt{12}.

What the problem itself states is no leak under the latter two, unless it is presented as the answer: in a box, after "the
answer is", or behind the last "=" or "is" of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from int_lightning.collect.leakage_candidates import Candidate, candidates, comparable, stated
from int_lightning.grading.answers import Verdict
from int_lightning.grading.grader import Grader

LeakagePolicy = Literal["substring", "stated", "equivalent", "off"]

MAX_CANDIDATES = 50
"""Most numbers and expressions of one text that are compared with the answer; the shortest, after those presented as it."""


@dataclass(frozen=True, slots=True)
class Leak:
    """The decision on one intervention: whether it leaks under ``policy``, the text that does ("" if none), and why."""

    leaked: bool
    policy: LeakagePolicy
    matched: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Search:
    """What in a text is the answer, and what has to be said about the search."""

    found: list[Candidate]
    note: str = ""


def leaks(content: str, problem: str, answer: str, policy: LeakagePolicy) -> Leak:
    """The decision on one intervention. For many, ``find_leaks`` shares the workers that compare expressions.

    Args:
        content: Of the intervention.
        problem: The problem's text.
        answer: Its final answer.
        policy: See the module.
    """
    with Grader() as grader:
        return find_leaks([(content, problem, answer)], policy, grader)[0]


def find_leaks(items: Sequence[tuple[str, str, str]], policy: LeakagePolicy, grader: Grader) -> list[Leak]:
    """The decision on each (content, problem text, final answer).

    Args:
        grader: Compares expressions under ``equivalent``; no other policy uses it.
    """
    if policy == "off":
        return [Leak(False, policy, reason="not tested")] * len(items)
    if policy == "substring":
        return [_substring(content, answer.strip()) for content, _, answer in items]
    literal = [
        _decide(policy, _Search(stated(content, answer)), _Search(stated(problem, answer)))
        for content, problem, answer in items
    ]
    if policy == "stated":
        return literal
    unsure = [item for item, leak in zip(items, literal, strict=True) if not leak.leaked]
    in_contents = _equal([(content, answer) for content, _, answer in unsure], grader)
    in_problems = iter(
        _equal([item[1:] for item, found in zip(unsure, in_contents, strict=True) if found.found], grader)
    )
    wider = iter([_decide(policy, found, next(in_problems) if found.found else _Search([])) for found in in_contents])
    return [leak if leak.leaked else next(wider) for leak in literal]


def _substring(content: str, answer: str) -> Leak:
    if answer and answer in content:
        return Leak(True, "substring", answer, "the answer occurs in it")
    return Leak(False, "substring", reason="the answer does not occur in it")


def _decide(policy: LeakagePolicy, content: _Search, problem: _Search) -> Leak:
    if not content.found:
        return Leak(False, policy, reason="nothing in it is the answer" + content.note)
    for candidate in content.found:
        if candidate.presented:
            return Leak(True, policy, candidate.text, "it is presented as the answer")
    matched = content.found[0].text
    if problem.found:
        given = f"the problem itself states {problem.found[0].text[:60]!r}"
        return Leak(False, policy, matched, given + content.note)
    return Leak(True, policy, matched, "it is the answer, which the problem does not state" + problem.note)


def _equal(texts: Sequence[tuple[str, str]], grader: Grader) -> list[_Search]:
    """What in each text is its answer or equals it."""
    possible = [comparable(candidates(text), answer) for text, answer in texts]
    compared = [many[:MAX_CANDIDATES] for many in possible]
    answers = [answer for few, (_, answer) in zip(compared, texts, strict=True) for _ in few]
    verdicts = iter(grader.equivalent([c.text for few in compared for c in few], answers))
    found = [
        _searched(few, [next(verdicts) for _ in few], len(many)) for few, many in zip(compared, possible, strict=True)
    ]
    return [_Search(stated(*text) + equal.found, equal.note) for text, equal in zip(texts, found, strict=True)]


def _searched(compared: Sequence[Candidate], verdicts: Sequence[Verdict], possible: int) -> _Search:
    """The compared candidates that equal the answer; ``possible`` is how many there were."""
    undecided = [verdict.note for verdict in verdicts if verdict.note not in ("", "unparsable")]
    note = f"; {len(undecided)} comparisons undecided ({undecided[0]})" if undecided else ""
    if possible > len(compared):
        note += f"; only {len(compared)} of {possible} candidates compared"
    return _Search([c for c, verdict in zip(compared, verdicts, strict=True) if verdict.equal], note)
