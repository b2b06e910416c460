r"""Whether an intervention gives the final answer away.

Three tests:

- ``substring``: the answer occurs anywhere in the text (the paper's test). "112" holds "12".
- ``stated``: the answer stands in it as a whole number or expression (``leakage_candidates`` says when it does).
- ``equivalent``: that, or a number or expression in it equals the answer: 0.5, 1/2 and \frac{1}{2}; 2\sqrt{3} and \sqrt{12}.

Under the latter two, what the problem itself states is not a leak, unless it is presented as the answer: in a box, after "the
answer is", or after the last "=" or "is" of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """The decision on one intervention.

    Args:
        leaked: Whether it leaks.
        policy: Under which test.
        matched: The text in it that is the answer, "" if there is none.
        reason: Why it was decided like that.
    """

    leaked: bool
    policy: LeakagePolicy
    matched: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Search:
    """What in a text is the answer, and what must be said about the search."""

    found: list[Candidate]
    note: str = ""


def leaks(content: str, problem: str, answer: str, policy: LeakagePolicy) -> Leak:
    """The decision on one intervention. For many, ``find_leaks`` shares the workers that compare expressions.

    Args:
        content: The intervention's text.
        problem: The problem's text.
        answer: The problem's final answer.
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
    decided = [
        _decide(policy, _Search(stated(content, answer)), _Search(stated(problem, answer)))
        for content, problem, answer in items
    ]
    if policy == "stated":
        return decided
    unsure = [i for i, leak in enumerate(decided) if not leak.leaked]
    in_contents = _equal({i: (items[i][0], items[i][2]) for i in unsure}, grader)
    in_problems = _equal({i: items[i][1:] for i in unsure if in_contents[i].found}, grader)
    for i in unsure:
        decided[i] = _decide(policy, in_contents[i], in_problems.get(i, _Search([])))
    return decided


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


def _equal(texts: Mapping[int, tuple[str, str]], grader: Grader) -> dict[int, _Search]:
    """What in each text is its answer or equals it; texts come with their answers, by the number of their item."""
    possible = {i: comparable(candidates(text), answer) for i, (text, answer) in texts.items()}
    pairs: list[tuple[int, Candidate]] = []
    for i, found in possible.items():
        pairs += [(i, candidate) for candidate in found[:MAX_CANDIDATES]]
    verdicts = grader.equivalent([candidate.text for _, candidate in pairs], [texts[i][1] for i, _ in pairs])
    compared: dict[int, list[tuple[Candidate, Verdict]]] = {i: [] for i in texts}
    for (i, candidate), verdict in zip(pairs, verdicts, strict=True):
        compared[i].append((candidate, verdict))
    return {i: _searched(stated(*text), compared[i], len(possible[i])) for i, text in texts.items()}


def _searched(literal: list[Candidate], compared: Sequence[tuple[Candidate, Verdict]], possible: int) -> _Search:
    """Where the answer stands letter for letter, and which of the compared candidates equal it, out of ``possible`` ones."""
    undecided = [verdict.note for _, verdict in compared if verdict.note not in ("", "unparsable")]
    note = f"; {len(undecided)} comparisons undecided ({undecided[0]})" if undecided else ""
    if possible > len(compared):
        note += f"; only {len(compared)} of {possible} candidates compared"
    return _Search(literal + [candidate for candidate, verdict in compared if verdict.equal], note)
