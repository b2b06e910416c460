"""pass@k of a policy on problem sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from int_lightning.console import interval, progress, show_table
from int_lightning.evaluation.metrics import PassAtK, bootstrap
from int_lightning.rollouts import RolloutSampler
from int_lightning.types import Problem, Sampling, UserError


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
            raise UserError(f"evaluation.k is {list(self.k)}: give numbers of at least 1, [1, 8] say")
        if max(self.k) > self.rollouts:
            raise UserError(
                f"evaluation.k asks for pass@{max(self.k)} of {self.rollouts} rollouts: raise evaluation.rollouts"
            )


def evaluate(
    sampler: RolloutSampler, sets: Mapping[str, Sequence[Problem]], config: EvaluationConfig, what: str = "evaluate"
) -> dict[str, Any]:
    """``{set: {"pass@k": {"mean", "low", "high"}, ..., "problems", "rollouts"}}``, intervals by bootstrap over problems."""
    return {name: _evaluate_set(sampler, name, problems, config, what) for name, problems in sets.items()}


def show_arms(arms: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Prints one row per model and one column per set and k."""
    names = [(s, k) for s, scores in next(iter(arms.values())).items() for k in scores if k.startswith("pass@")]
    rows = [[arm, *(interval(scores[s][k]) for s, k in names)] for arm, scores in arms.items()]
    show_table(title, ["model", *(f"{s} {k}" for s, k in names)], rows)


def _evaluate_set(
    sampler: RolloutSampler, name: str, problems: Sequence[Problem], config: EvaluationConfig, what: str
) -> dict[str, Any]:
    metrics = {f"pass@{k}": PassAtK(k) for k in config.k}
    with progress(f"{what} {name}", len(problems), "problems") as advance:
        for start in range(0, len(problems), config.batch_problems):
            batch = problems[start : start + config.batch_problems]
            groups = sampler.sample(batch, range(config.rollouts), config.sampling, "evaluate")
            grades = torch.tensor([[r.correct for r in group] for group in groups])
            for metric in metrics.values():
                metric.update(grades)
            advance(len(batch), f"right {float(grades.float().mean()):.3f}")
    estimates: dict[str, Any] = {k: bootstrap(metric.per_problem()) for k, metric in metrics.items()}
    return {**estimates, "problems": len(problems), "rollouts": config.rollouts}
