"""pass@k of a policy on problem sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoTokenizer

from int_lightning.console import interval, progress, show_table
from int_lightning.evaluation.metrics import PassAtK, bootstrap
from int_lightning.grading import Grader
from int_lightning.learn.pretrained import resolve_model
from int_lightning.preflight import check_golds, usable
from int_lightning.prompts import PromptSet
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
        if max(self.k) > self.rollouts:
            raise UserError(
                f"evaluation.k asks for pass@{max(self.k)} of {self.rollouts} rollouts: raise evaluation.rollouts"
            )


def prepared(
    sets: Mapping[str, Sequence[Problem]], grader: Grader, model: str, prompts: PromptSet, max_model_len: int
) -> tuple[dict[str, list[Problem]], dict[str, Any]]:
    """The problems of each set that the model can be asked, and what the grader says of each set's gold answers; both are shown.

    Args:
        model: Name of the model, or its folder.
        max_model_len: Longest sequence, in tokens.

    Raises:
        UserError: if the model cannot read the problems of a set, or none of them fits into its context.
    """
    kept: dict[str, list[Problem]] = {}
    golds: dict[str, Any] = {}
    for name, problems in sets.items():
        tokenizer = AutoTokenizer.from_pretrained(resolve_model(model))
        kept[name] = usable(problems, tokenizer, prompts, max_model_len, model, f"{name}: ")
        report = check_golds(grader, problems)
        report.show(f"{name}: ")
        golds[name] = report.as_dict()
    return kept, golds


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
