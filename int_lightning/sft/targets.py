"""What SFT trains on: a collection's records as rows, in a different way for each target.

===============================  =============================================================  ==========
target                           row                                                            trained on
===============================  =============================================================  ==========
``prefix_intervention``          prompt, prefix, intervention (InT)                             prefix, intervention
``intervention_only``            the same                                                       intervention
``prefix_intervention_suffix``   the same and the rest of a right guided rollout                all but the prompt
``reference``                    prompt, reference solution                                     solution
``self_refined``                 prompt, the model's rewriting of its attempt, if right         solution
``rollout``                      prompt, a right attempt (rejection sampling)                   solution
===============================  =============================================================  ==========

A row that ends with an intervention has no end-of-sequence; one with a full solution ends the assistant's turn. Prefixes and
rollouts are the exact tokens that were sampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from int_lightning.collect.store import Store
from int_lightning.prompts.chat import encode_solution, encode_text
from int_lightning.steps import SEPARATORS
from int_lightning.types import Intervention, Problem, Rollout, SFTExample, Span, SpanName, UserError

Target = Literal[
    "prefix_intervention", "intervention_only", "prefix_intervention_suffix", "reference", "self_refined", "rollout"
]

_TRAINED: dict[Target, tuple[SpanName, ...]] = {
    "prefix_intervention": ("prefix", "intervention"),
    "intervention_only": ("intervention",),
    "prefix_intervention_suffix": ("prefix", "intervention", "suffix", "end"),
    "reference": ("solution", "end"),
    "self_refined": ("solution", "end"),
    "rollout": ("solution", "end"),
}
_WITH_INTERVENTION = ("prefix_intervention", "intervention_only", "prefix_intervention_suffix")


@dataclass(frozen=True)
class TargetConfig:
    """Which rows to make of a collection, and which of their spans carry loss.

    Args:
        target: See the module.
        correctness_filter: Leave out interventions none of whose guided rollouts was right; if not given, those that
            the collection's own ``correctness_filter`` rejected.
        interventions_per_attempt: At most this many of each attempt, in the oracle's order.
        rows_per_problem: At most this many rows of each problem, for ``self_refined`` and ``rollout``.
        weights: Loss weight of each span that the target trains on (``prefix``, ``intervention``, ``suffix``, ``solution``,
            ``end``), 1 if not given.
        inexact_cuts: Also take interventions whose prefix could only be cut inside a token, and so ends with the first
            characters of the wrong step.
    """

    target: Target = "prefix_intervention"
    correctness_filter: bool | None = None
    interventions_per_attempt: int = 1
    rows_per_problem: int = 1
    weights: Mapping[str, float] = field(default_factory=dict)
    inexact_cuts: bool = True

    def __post_init__(self) -> None:
        trained = _TRAINED[self.target]
        if unknown := self.weights.keys() - set(trained):
            raise UserError(
                f"data.weights names {', '.join(sorted(unknown))}: data.target {self.target} trains on {', '.join(trained)}"
            )
        for name in ("interventions_per_attempt", "rows_per_problem"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name} is {getattr(self, name)}: give at least 1")

    def span(self, name: SpanName, tokens: int) -> Span:
        """A span that is trained on."""
        return Span(name, tokens, self.weights.get(name, 1.0))


class ExampleReader:
    """Makes rows of the batches of a collection, one batch at a time, possibly while later ones are still being collected.

    Read batches in order, each once, because the rows that an attempt or a problem has given are counted.

    Args:
        store: The collection.
        config: Which rows, and which of their spans carry loss.
        tokenizer: Of the model to be trained.
    """

    def __init__(self, store: Store, config: TargetConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        self.store = store
        self.config = config
        self.tokenizer = tokenizer
        self._taken: Counter[str] = Counter()

    def read(self, number: int) -> Iterator[SFTExample]:
        """The rows of a batch.

        Raises:
            UserError: if the tokens of an intervention do not spell all of it, or if the chat template changes what an assistant
                says and the target needs a full solution in it.
        """
        batch = self.store.batch(number)
        if self.config.target in _WITH_INTERVENTION:
            yield from self._with_interventions(batch)
        elif self.config.target == "reference":
            yield from self._references(batch)
        elif self.config.target == "self_refined":
            prompts = self._prompts(batch)
            rewritten = (r for r in batch.read("refined", Rollout) if r.problem_id in prompts)
            asked = (replace(r, prompt_ids=np.array(prompts[r.problem_id], np.int32)) for r in rewritten)
            yield from self._right_rollouts(asked)
        else:
            yield from self._right_rollouts(batch.read("attempts", Rollout))

    def _with_interventions(self, batch: Store) -> Iterator[SFTExample]:
        suffixed = self.config.target == "prefix_intervention_suffix"
        right = {r.parent: r for r in batch.read("guided", Rollout) if _whole(r)} if suffixed else {}
        for i in batch.read("interventions", Intervention):
            if not self._usable(i) or (suffixed and i.id not in right):
                continue
            if not self._take(i.rollout_id, self.config.interventions_per_attempt):
                continue
            whole = [encode_text(self.tokenizer, i.content + separator) for separator in SEPARATORS.values()]
            if i.intervention_ids not in whole:
                held = str(self.tokenizer.decode(i.intervention_ids))
                raise UserError(
                    f"row {i.id!r}: the intervention is {shorten(i.content, 60)!r} and what ends a step, but its tokens say "
                    f"{shorten(held, 60)!r}: collect it again"
                )
            prefix = self.config.span("prefix", len(i.prefix_ids))
            if self.config.target == "intervention_only":
                prefix = Span("prefix", len(i.prefix_ids), 0.0)
            patch = self.config.span("intervention", len(i.intervention_ids))
            spans = [Span("prompt", len(i.prompt_ids), 0.0), prefix, patch]
            token_ids = [*i.prompt_ids, *i.prefix_ids, *i.intervention_ids]
            if suffixed:
                if right[i.id].prompt_ids.tolist() != token_ids:
                    raise UserError(
                        f"row {i.id!r}: its guided rollout {right[i.id].id!r} does not continue from prompt, prefix "
                        "and intervention: collect it again"
                    )
                suffix = right[i.id].token_ids.tolist()
                spans += [self.config.span("suffix", len(suffix) - 1), self.config.span("end", 1)]
                token_ids += suffix
            yield SFTExample(i.id, i.problem_id, token_ids, spans)

    def _references(self, batch: Store) -> Iterator[SFTExample]:
        """Only of problems that have an intervention to train on, so that both targets cover the same problems."""
        prompts = self._prompts(batch)
        for problem in self._problems(batch, set(prompts)):
            solution = problem.solution.strip()
            if solution and self._take(problem.id, 1):
                id = f"{problem.id}/reference"
                ids = encode_solution(self.tokenizer, solution, f"row {id!r}")
                yield self._solution_row(id, problem.id, prompts[problem.id], ids)

    def _right_rollouts(self, rollouts: Iterable[Rollout]) -> Iterator[SFTExample]:
        for r in rollouts:
            if _whole(r) and self._take(r.problem_id, self.config.rows_per_problem):
                yield self._solution_row(r.id, r.problem_id, r.prompt_ids.tolist(), r.token_ids.tolist())

    def _solution_row(self, id: str, problem_id: str, prompt_ids: list[int], solution_ids: list[int]) -> SFTExample:
        solution = self.config.span("solution", len(solution_ids) - 1)
        spans = [Span("prompt", len(prompt_ids), 0.0), solution, self.config.span("end", 1)]
        return SFTExample(id, problem_id, [*prompt_ids, *solution_ids], spans)

    def _usable(self, intervention: Intervention) -> bool:
        """Whether it was checked, and, under the filters, cut exactly and found to help."""
        i = intervention
        if not (i.exact or self.config.inexact_cuts):
            return False
        if self.config.correctness_filter is None:
            return i.guided_total > 0 and not i.rejected
        return i.guided_total > 0 and (i.guided_correct > 0 or not self.config.correctness_filter)

    def _prompts(self, batch: Store) -> dict[str, list[int]]:
        """The solve prompt of each problem that has an intervention to train on."""
        return {i.problem_id: i.prompt_ids for i in batch.read("interventions", Intervention) if self._usable(i)}

    def _problems(self, batch: Store, ids: set[str]) -> Iterator[Problem]:
        """Problems by id; those whose oracle answered late are in an earlier batch."""
        missing = set(ids)
        for store in (batch, self.store):
            for problem in store.read("problems", Problem) if missing else ():
                if problem.id in missing:
                    missing.remove(problem.id)
                    yield problem

    def _take(self, key: str, most: int) -> bool:
        """Whether one more row may come from an attempt or a problem; if so, counts it."""
        if self._taken[key] >= most:
            return False
        self._taken[key] += 1
        return True


def _whole(rollout: Rollout) -> bool:
    """Whether a rollout is right and ended by the model itself, with one of the tokens at which its engine stopped."""
    (ends,) = np.isin(rollout.token_ids, rollout.provenance.ends).nonzero()
    return rollout.correct and ends.tolist() == [len(rollout.token_ids) - 1]


def examples(store: Store, config: TargetConfig, tokenizer: PreTrainedTokenizerBase) -> Iterator[SFTExample]:
    """All rows of a collection so far; see ``ExampleReader``."""
    reader = ExampleReader(store, config, tokenizer)
    for number in store.batches():
        yield from reader.read(number)
