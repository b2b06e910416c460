"""What is shown of a row: its tokens, and the problem, attempt, error and intervention it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from int_lightning.inspection.run import Run
from int_lightning.inspection.token_texts import token_texts
from int_lightning.steps import Decoder, split_steps
from int_lightning.types import Intervention, Problem, SFTExample, Span, SpanName, UserError


class InspectedRow(NamedTuple):
    """Tokens in spans: a training row, or what a rejected intervention would have been one of."""

    id: str
    problem_id: str
    token_ids: list[int]
    spans: list[Span]


class Score(NamedTuple):
    """Log-prob of a token given those before it, and entropy of the distribution it comes from, in nats."""

    logprob: float
    entropy: float


@dataclass(frozen=True, slots=True)
class Token:
    """A token and what it adds to the text; the score is None without a model, and for the first token of a row."""

    id: int
    text: str
    score: Score | None = None


class SpanScores(NamedTuple):
    """Mean log-prob and entropy of a span's tokens, and the least likely of them with its log-prob."""

    logprob: float
    entropy: float
    least: Token
    lowest: float


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """The tokens of a span, and their weight in the loss."""

    name: str
    weight: float
    tokens: list[Token]

    @property
    def label(self) -> str:
        """Name, length and weight in words."""
        tokens = len(self.tokens)
        return f"{self.name} · {tokens} token{'s' * (tokens != 1)} · weight {self.weight:g}"

    def scores(self) -> SpanScores | None:
        """Of the tokens that have a score, None if none has."""
        found = [(t.score, t) for t in self.tokens if t.score is not None]
        if not found:
            return None
        (lowest, _), least = min(found, key=lambda pair: pair[0].logprob)
        logprob, entropy = (sum(values) / len(found) for values in zip(*(score for score, _ in found), strict=True))
        return SpanScores(logprob, entropy, least, lowest)


@dataclass(frozen=True, slots=True)
class View:
    """A row and where it comes from.

    Args:
        id: Of the row; for rows with an intervention, of the intervention.
        problem: The problem.
        spans: The row's tokens.
        steps: Of the attempt that the row or its intervention was made from; empty where there is none.
        intervention: The row's, if it has one.
        proposal: What the oracle said, word for word.
        category: Of the error, "" where it was not asked for.
    """

    id: str
    problem: Problem
    spans: list[TokenSpan]
    steps: list[str] = field(default_factory=list)
    intervention: Intervention | None = None
    proposal: str = ""
    category: str = ""

    @property
    def first_error(self) -> int:
        """Index of the step in which the oracle found the first error, -1 for none."""
        return -1 if self.intervention is None else self.intervention.location

    @property
    def place(self) -> str:
        """Which step the intervention is put in place of."""
        return f"intervention, in place of step {self.first_error}" if self.first_error >= 0 else "intervention"

    def facts(self) -> Iterator[str]:
        """What became of the intervention, one fact a line."""
        i = self.intervention
        if i is None:
            return
        if i.rejected:
            yield f"rejected: {i.rejected}"
        if i.guided_total:
            yield f"right with the intervention: {i.guided_correct} of {i.guided_total} rollouts"
        if i.prefix_total:
            yield f"right from the prefix alone: {i.prefix_correct} of {i.prefix_total} rollouts"
        if not i.exact:
            yield "the step's boundary lies inside the prefix's last token"
        if self.category:
            yield f"category of the error: {self.category}"


def row_of(example: SFTExample) -> InspectedRow:
    """A training row as it is."""
    return InspectedRow(example.id, example.problem_id, example.token_ids, example.spans)


def rejected_rows(run: Run, limit: int) -> list[InspectedRow]:
    """The first rejected interventions; no token of them carries weight."""
    rejected = (i for i in run.store.read("interventions", Intervention) if i.rejected)
    return [_unweighted(i) for i in islice(rejected, limit)]


def _unweighted(i: Intervention) -> InspectedRow:
    parts: dict[SpanName, list[int]] = {
        "prompt": i.prompt_ids,
        "prefix": i.prefix_ids,
        "intervention": i.intervention_ids,
    }
    spans = [Span(name, len(ids), 0.0) for name, ids in parts.items()]
    return InspectedRow(i.id, i.problem_id, [t for ids in parts.values() for t in ids], spans)


def views(
    run: Run, rows: Sequence[InspectedRow], tokenizer: Decoder, scores: Sequence[Sequence[Score | None]]
) -> list[View]:
    """The rows with what they come from.

    Args:
        scores: Of each token of each row, None where it has none.

    Raises:
        UserError: if the collection does not hold the problem of a row.
    """
    store, ids = run.store, {row.id for row in rows}
    interventions = {i.id: i for i in store.read("interventions", Intervention) if i.id in ids}
    asked = {i.proposal_id for i in interventions.values()}
    made_from = _wanted(store.columns("refined", "id", "parent"), ids)
    made_from |= {i.id: i.rollout_id for i in interventions.values()}
    attempts = _wanted(store.columns("attempts", "id", "text"), ids | set(made_from.values()))
    proposals = _wanted(store.columns("proposals", "id", "raw"), asked)
    categories = _wanted(store.columns("categories", "proposal_id", "category"), asked)
    of_problems = {row.problem_id for row in rows}
    problems = {p.id: p for p in store.read("problems", Problem) if p.id in of_problems}
    if missing := of_problems - problems.keys():
        raise UserError(f"{store.folder} does not hold problem {min(missing)!r}: collect again into a new folder")
    found = []
    for row, row_scores in zip(rows, scores, strict=True):
        i = interventions.get(row.id)
        found.append(
            View(
                id=row.id,
                problem=problems[row.problem_id],
                spans=list(token_spans(row, tokenizer, row_scores)),
                steps=split_steps(attempts.get(made_from.get(row.id, row.id), ""), run.segmentation),
                intervention=i,
                proposal=proposals.get(i.proposal_id, "") if i else "",
                category=categories.get(i.proposal_id, "") if i else "",
            )
        )
    return found


def token_spans(row: InspectedRow, tokenizer: Decoder, scores: Sequence[Score | None]) -> Iterator[TokenSpan]:
    """A row's spans with their tokens, those without any left out."""
    tokens = map(Token, row.token_ids, token_texts(row.token_ids, tokenizer), scores)
    for span in row.spans:
        if span.tokens:
            yield TokenSpan(span.name, span.weight, list(islice(tokens, span.tokens)))


def _wanted(pairs: Iterable[tuple[str, ...]], keys: set[str]) -> dict[str, str]:
    return {key: value for key, value in pairs if key in keys}
