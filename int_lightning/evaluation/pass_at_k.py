"""pass@k of a policy on problem sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from int_lightning.collect.store import Store
from int_lightning.console import interval, progress, show_table
from int_lightning.metrics import bootstrap, pass_at_k
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Finish, Problem, Rollout, Sampling, UserError


@dataclass(frozen=True)
class EvaluationConfig:
    """How a policy is evaluated.

    Args:
        rollouts: Per problem.
        k: The k of each pass@k; none above ``rollouts``.
        batch_problems: Problems sampled at a time.
        sampling: How rollouts are drawn.
    """

    rollouts: int = 128
    k: tuple[int, ...] = (1, 8)
    batch_problems: int = 64
    sampling: Sampling = Sampling(max_tokens=16384, temperature=0.7, top_p=0.8, top_k=20)

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1:
            raise UserError(f"evaluation.k is {list(self.k)}: give numbers of at least 1, such as [1, 8]")
        if max(self.k) > self.rollouts:
            raise UserError(
                f"evaluation.k asks for pass@{max(self.k)} of {self.rollouts} rollouts: raise evaluation.rollouts"
            )


@dataclass(frozen=True, slots=True)
class EvaluatedRollout:
    """A row of the table ``rollouts``: one rollout of a problem of a set."""

    set: str
    problem_id: str
    sample: int
    reward: float
    answer: str
    finish: Finish
    text: str
    token_ids: list[int]


@dataclass(frozen=True, slots=True)
class EvaluatedProblem:
    """A row of the table ``problems``: a problem, its gold answer, and how many of its rollouts were right. ``weights`` is the
    fingerprint of the policy's."""

    set: str
    problem_id: str
    problem: str
    gold: str
    rollouts: int
    correct: int
    tokens: int
    weights: str


def evaluate(
    store: Store,
    open_sampler: Callable[[], RolloutSampler],
    weights: str,
    sets: Mapping[str, Sequence[Problem]],
    config: EvaluationConfig,
) -> dict[str, Any]:
    """``{set: {"pass@k": {"mean", "low", "high"}, ..., "problems", "rollouts"}}``, intervals by bootstrap over problems.

    Args:
        store: Keeps rollouts and problems, a batch at a time. What it already holds of a killed evaluation is not drawn again.
        open_sampler: Of the policy; not called where nothing is left to draw.
        weights: Fingerprint of the policy's.
        sets: The problems.
        config: Rollouts, k and sampling.

    Raises:
        UserError: if the store is damaged, or was begun with other weights or problems.
    """
    store.begin()
    asked: dict[tuple[str, str], Problem] = {}
    for name, problems in sets.items():
        asked |= {(name, problem.id): problem for problem in problems}
    right: dict[tuple[str, str], int] = {}
    for row in store.read("problems", EvaluatedProblem):
        _check_same(store, row, weights, asked.get((row.set, row.problem_id)))
        right[row.set, row.problem_id] = row.correct
    return {name: _evaluate_set(store, open_sampler, weights, name, sets[name], config, right) for name in sets}


def show_arms(arms: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Prints one row per model and one column per set and k."""
    first = next(iter(arms.values()))
    names: list[tuple[str, str]] = []
    for s, scores in first.items():
        names += [(s, k) for k in scores if k.startswith("pass@")]
    rows = [[arm, *(interval(scores[s][k]) for s, k in names)] for arm, scores in arms.items()]
    show_table(title, ["model", *(f"{s} {k}" for s, k in names)], rows)


def _evaluate_set(
    store: Store,
    open_sampler: Callable[[], RolloutSampler],
    weights: str,
    name: str,
    problems: Sequence[Problem],
    config: EvaluationConfig,
    right: dict[tuple[str, str], int],
) -> dict[str, Any]:
    todo = [p for p in problems if (name, p.id) not in right]
    with progress(f"evaluate {name}", len(problems), "problems") as advance:
        advance(len(problems) - len(todo), "")
        for start in range(0, len(todo), config.batch_problems):
            batch = todo[start : start + config.batch_problems]
            sampler = open_sampler()
            groups = sampler.sample(batch, range(config.rollouts), config.sampling, "evaluate")
            rows = [_evaluated(name, *pair, weights) for pair in zip(batch, groups, strict=True)]
            rollouts = [_row(name, rollout) for rollout in chain.from_iterable(groups)]
            store.commit({"rollouts": rollouts, "problems": rows})
            right |= {(name, row.problem_id): row.correct for row in rows}
            advance(len(batch), f"right {sum(row.correct for row in rows) / (len(rows) * config.rollouts):.3f}")
    counts = torch.tensor([right[name, p.id] for p in problems])
    estimates = {f"pass@{k}": bootstrap(pass_at_k(counts, config.rollouts, k)) for k in config.k}
    return {**estimates, "problems": len(problems), "rollouts": config.rollouts}


def _evaluated(name: str, problem: Problem, group: Sequence[Rollout], weights: str) -> EvaluatedProblem:
    right, tokens = sum(r.correct for r in group), sum(len(r.token_ids) for r in group)
    return EvaluatedProblem(name, problem.id, problem.problem, problem.answer, len(group), right, tokens, weights)


def _row(name: str, rollout: Rollout) -> EvaluatedRollout:
    return EvaluatedRollout(
        name,
        rollout.problem_id,
        rollout.sample,
        float(rollout.correct),
        rollout.answer,
        rollout.finish,
        rollout.text,
        rollout.token_ids.tolist(),
    )


def _check_same(store: Store, row: EvaluatedProblem, weights: str, problem: Problem | None) -> None:
    """Refuses a problem evaluated earlier that is not among those asked for, or was sampled from another policy."""
    if row.weights != weights:
        raise UserError(f"{store.folder} holds rollouts of other weights than the model has now: choose another --out")
    if problem is None or (problem.problem, problem.answer) != (row.problem, row.gold):
        raise UserError(
            f"{store.folder} holds rollouts of {row.problem_id!r} of the set {row.set!r} as the file had it before it was "
            "changed: choose another --out"
        )
