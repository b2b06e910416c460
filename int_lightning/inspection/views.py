"""What is shown of a row: its tokens, and the problem, attempt, error and intervention that it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from int_lightning.inspection.run import Run
from int_lightning.inspection.token_texts import token_texts
from int_lightning.steps import Decoder, split_steps
from int_lightning.types import Intervention, Problem, SFTExample, Span, SpanName, UserError


class InspectedRow(NamedTuple):
    """Tokens in spans: a training row, or the row that a rejected intervention would have made."""

    id: str
    problem_id: str
    token_ids: list[int]
    spans: list[Span]


class Score(NamedTuple):
    """Log-prob of a token given those before it, and the entropy of its distribution, in nats."""

    logprob: float
    entropy: float


@dataclass(frozen=True, slots=True)
class Token:
    """A token and what it adds to the text. The score is None without a model, and for the first token of a row."""

    id: int
    text: str
    score: Score | None = None


class SpanScores(NamedTuple):
    """Mean log-prob and mean entropy of a span's tokens, the least likely token and its log-prob, ``lowest``."""

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
        """The span's name, length and weight, in words."""
        tokens = len(self.tokens)
        return f"{self.name} · {tokens} token{'s' * (tokens != 1)} · weight {self.weight:g}"

    def scores(self) -> SpanScores | None:
        """The scores over the tokens that have one; None if none has."""
        found = [(t.score, t) for t in self.tokens if t.score is not None]
        if not found:
            return None
        (lowest, _), least = min(found, key=lambda pair: pair[0].logprob)
        logprob = sum(score.logprob for score, _ in found) / len(found)
        entropy = sum(score.entropy for score, _ in found) / len(found)
        return SpanScores(logprob, entropy, least, lowest)


@dataclass(frozen=True, slots=True)
class View:
    """A row and where it comes from.

    Args:
        id: The row's id; if the row has an intervention, this is the intervention's id.
        problem: The problem.
        spans: The row's tokens.
        steps: The steps of the attempt that the row or its intervention was made from; empty if there is none.
        intervention: The row's intervention, if it has one.
        proposal: What the oracle said, word for word; "" if the row has no intervention.
        category: The category of the error; "" if the collection did not ask for it.
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
        """Index of the step in which the oracle found the first error; -1 for none."""
        return -1 if self.intervention is None else self.intervention.location

    @property
    def place(self) -> str:
        """A heading for the intervention, which names the step that it replaces."""
        return f"intervention, in place of step {self.first_error}" if self.first_error >= 0 else "intervention"

    def facts(self) -> Iterator[str]:
        """What became of the intervention, one fact per line."""
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
    """A training row, to be looked at."""
    return InspectedRow(example.id, example.problem_id, example.token_ids, example.spans)


def rejected_rows(run: Run, limit: int) -> list[InspectedRow]:
    """The rows of the first rejected interventions; none of their tokens carries weight."""
    rejected = (i for i in run.store.read("interventions", Intervention) if i.rejected)
    return [_unweighted(i) for i in islice(rejected, limit)]


def _unweighted(i: Intervention) -> InspectedRow:
    parts: dict[SpanName, list[int]] = {
        "prompt": i.prompt_ids,
        "prefix": i.prefix_ids,
        "intervention": i.intervention_ids,
    }
    spans = [Span(name, len(ids), 0.0) for name, ids in parts.items()]
    return InspectedRow(i.id, i.problem_id, list(chain.from_iterable(parts.values())), spans)


def views(
    run: Run, rows: Sequence[InspectedRow], tokenizer: Decoder, scores: Sequence[Sequence[Score | None]]
) -> list[View]:
    """The rows together with what they come from.

    Args:
        run: The collection.
        rows: Rows of it.
        tokenizer: The tokenizer that made its token ids.
        scores: For each row, the score of each token, or None.

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
    """A row's spans with their tokens; spans without tokens are left out."""
    tokens = map(Token, row.token_ids, token_texts(row.token_ids, tokenizer), scores)
    for span in row.spans:
        if span.tokens:
            yield TokenSpan(span.name, span.weight, list(islice(tokens, span.tokens)))


def _wanted(pairs: Iterable[tuple[str, ...]], keys: set[str]) -> dict[str, str]:
    return {key: value for key, value in pairs if key in keys}
