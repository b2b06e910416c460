"""Weights pi_old / pi_engine: of tokens and of whole rollouts, from whole and truncated distributions."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from int_lightning.grpo.module import GRPOModule
from int_lightning.grpo.objective import ObjectiveConfig, check_importance
from int_lightning.learn.micro_batches import MicroBatch, Step, TrainingRow, micro_batches
from int_lightning.types import Sampling, UserError
from int_lightning_kernels import LogProbs, Loss, TokenLoss

from commands import ALTERNATING, fit_grpo, metrics

How = Literal["truncate", "mask"]
NEW = [[-0.5, -1.0, -0.2], [-1.5, -0.3], [-0.9, -2.0, -0.1, -0.4, -1.0]]
OLD = [[-0.6, -0.9, -0.3], [-1.4, -0.35], [-0.8, -2.1, -0.1, -0.5, -0.95]]
ENGINE = [[-0.7, -1.5, -0.4], [-1.0, -0.4], [-0.5, -1.2, -0.1, math.nan, -1.25]]
ADVANTAGES = [0.7, -0.4, 1.1]


class WrittenPolicy:
    """A policy whose log-probs are written out for each row; its prompts are one token long."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = [torch.tensor(row, requires_grad=True) for row in rows]

    def log_probs(self, batch: MicroBatch, scored: Tensor, entropy: bool = False) -> LogProbs:
        values = torch.cat([self.rows[i] for i in batch.row_index])
        return LogProbs(values, torch.zeros_like(values), torch.zeros_like(values))

    def loss(self, batch: MicroBatch, token_loss: TokenLoss, entropy: bool = False) -> Loss:
        logprob, zero, _ = self.log_probs(batch, batch.trained)
        assert zero is not None
        return Loss(*token_loss(logprob, zero, slice(None)))


def row(engine: Sequence[float], old: Sequence[float] | None, advantage: float) -> TrainingRow:
    def after_the_prompt(values: Sequence[float]) -> np.ndarray:
        return np.array([0.0, *values], np.float32)

    ids = np.arange(5, 6 + len(engine), dtype=np.int32)
    known = None if old is None else after_the_prompt(old)
    return TrainingRow(ids, after_the_prompt([1.0] * len(engine)), advantage, after_the_prompt(engine), known)


def our_losses(
    objective: ObjectiveConfig, old: Sequence[Sequence[float]] | None, engine: Sequence[Sequence[float]], packed: bool
) -> tuple[float, dict[str, Tensor], list[list[float]]]:
    """The loss of all rows in one micro-batch, its metrics and its gradient."""
    module = GRPOModule(objective=objective)
    policy = WrittenPolicy(NEW)
    module.policy = policy  # type: ignore[assignment]
    olds: Sequence[Sequence[float] | None] = [None] * len(NEW) if old is None else old
    rows = [row(*parts) for parts in zip(engine, olds, ADVANTAGES, strict=True)]
    (batch,) = micro_batches(rows, pad_id=0, max_tokens=64, packed=packed)
    loss, sums = module._loss(batch, Step([batch], 10.0, 10.0, {}))
    loss.backward()
    gradients = [values.grad for values in policy.rows]
    return loss.item(), dict(sums), [g.tolist() for g in gradients if g is not None]


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("off_policy", [False, True], ids=["on-policy", "off-policy"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("how", ["truncate", "mask"])
def test_loss_gradient_and_weights_are_the_written_out_ones(
    how: How, level: Literal["token", "sequence"], off_policy: bool, packed: bool
) -> None:
    cap = 1.6
    objective = ObjectiveConfig(importance_cap=cap, importance=how, importance_level=level, clip_low=0.2, clip_high=0.3)
    got, sums, gradients = our_losses(objective, OLD if off_policy else None, ENGINE, packed)
    loss, total, seen = 0.0, 0.0, set()
    for new, old, engine, advantage, gradient in zip(
        NEW, OLD if off_policy else NEW, ENGINE, ADVANTAGES, gradients, strict=True
    ):
        gaps = [0.0 if math.isnan(e) else o - e for o, e in zip(old, engine, strict=True)]
        for n, o, gap, slope in zip(new, old, gaps, gradient, strict=True):
            weight = math.exp(sum(gaps) if level == "sequence" else gap)
            inside = 1 / cap <= weight <= cap
            weight = min(weight, cap) if how == "truncate" or inside else 0.0
            seen.add(inside)
            ratio = math.exp(n - o)
            assert 0.8 < ratio < 1.3
            loss -= weight * ratio * advantage / 10
            total += weight / 10
            assert slope == pytest.approx(-weight * ratio * advantage / 10, rel=1e-5, abs=1e-8)
    assert seen == {True, False}
    assert got == pytest.approx(loss, rel=1e-5)
    assert float(sums["importance"]) == pytest.approx(total, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 10), st.sampled_from(["truncate", "mask"]), st.sampled_from(["token", "sequence"]), st.booleans())
def test_an_engine_that_is_the_policy_changes_nothing(
    cap: float, how: How, level: Literal["token", "sequence"], packed: bool
) -> None:
    objective = ObjectiveConfig(importance_cap=cap, importance=how, importance_level=level)
    plain = our_losses(ObjectiveConfig(), OLD, OLD, packed)
    weighed = our_losses(objective, OLD, OLD, packed)
    assert weighed[0] == plain[0]
    assert weighed[2] == plain[2]
    assert float(weighed[1]["importance"]) == pytest.approx(1)


def test_a_truncated_engine_is_not_compared_with_the_whole_policy() -> None:
    module = GRPOModule()
    module.policy = WrittenPolicy(NEW)  # type: ignore[assignment]
    rows = [row(*parts, None, a) for parts, a in zip(zip(ENGINE, strict=True), ADVANTAGES, strict=True)]
    (batch,) = micro_batches(rows, pad_id=0, max_tokens=64)
    names = {"engine_gap", "engine_gap_max", "engine_kl"}
    for whole in (True, False):
        module.engine_samples_policy = whole
        found = set(module._loss(batch, Step([batch], 1.0, 1.0, {})).metrics)
        assert found & names == (names if whole else set())


def columns(run: Path) -> set[str]:
    with (run / "metrics.csv").open() as file:
        return set(next(csv.reader(file)))


@pytest.mark.parametrize("engine", ["transformers", "auto"])
def test_sampling_at_other_temperatures_from_a_nucleus_is_corrected(engine: str, tmp_path: Path) -> None:
    sampling = "--data.init_args.sampling={max_tokens: 48, temperature: 0.6, top_p: 0.95, top_k: 20}"
    two = ["--data.init_args.steps=2", f"--engine.name={engine}", ALTERNATING]
    assert fit_grpo(tmp_path, *two, sampling, "--model.init_args.objective.importance_cap=2") == 0
    for weight, norm in metrics(tmp_path, "train/importance", "train/grad_norm"):
        assert 0.95 <= weight <= 1 + 1e-4  # the mass of the nuclei, which hold at least 0.95
        assert norm > 0
    assert not {name for name in columns(tmp_path) if "engine_" in name}


def test_engine_and_trainer_are_compared_at_the_temperature_of_sampling(tmp_path: Path) -> None:
    given = ["--data.init_args.steps=2", "--engine.name=transformers", ALTERNATING]
    weights = (
        "--model.init_args.objective={importance_cap: 2, importance: mask, importance_level: sequence, dual_clip: 3}"
    )
    assert fit_grpo(tmp_path, *given, weights) == 0
    names = ("engine_gap_max", "importance", "dual_clip")
    rows = metrics(tmp_path, *(f"train/{name}" for name in names))
    assert len(rows) == 2
    for largest, weight, bounded in rows:
        assert largest < 1e-3
        assert weight == pytest.approx(1, abs=1e-2)
        assert bounded == 0


def test_weights_that_sampling_makes_meaningless_are_refused() -> None:
    tokens, rollouts = ObjectiveConfig(importance_cap=2), ObjectiveConfig(importance_cap=2, importance_level="sequence")
    check_importance(tokens, Sampling(temperature=0.6, top_p=0.95, top_k=20))
    check_importance(rollouts, Sampling(temperature=0.6))
    check_importance(ObjectiveConfig(), Sampling(temperature=0))
    with pytest.raises(UserError, match=r"greedy .* set data\.init_args\.sampling\.temperature above 0"):
        check_importance(tokens, Sampling(temperature=0))
    for truncated in (Sampling(top_p=0.9), Sampling(top_k=5)):
        with pytest.raises(UserError, match="set importance_level: token"):
            check_importance(rollouts, truncated)
    for without_bound in ({"importance": "mask"}, {"importance_level": "sequence"}):
        with pytest.raises(UserError, match="give the weights' bound, such as importance_cap: 2"):
            ObjectiveConfig(**without_bound)  # type: ignore[arg-type]
