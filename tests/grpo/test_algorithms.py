"""Each shipped algorithm's loss and gradient, recomputed from its paper's formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain

import pytest
import torch
from torch import Tensor

from int_lightning.cli.command_line import IntCLI
from int_lightning.grpo.data import RolloutData
from int_lightning.grpo.groups import loss_count, loss_rows, rewarded_groups
from int_lightning.grpo.module import GRPOModule
from int_lightning.grpo.rewards import Rewards
from int_lightning.learn.micro_batches import MicroBatch, Step, TrainingRow
from int_lightning.learn.step_stream import Layout
from int_lightning.types import Finish, Problem, Provenance, Rollout, Sampling
from int_lightning_kernels import LogProbs, Loss, TokenLoss

from commands import MINI, ROOT

ALGORITHMS = ["grpo", "dr-grpo", "dapo", "cispo", "gspo", "rloo"]
LONGEST = 64  # sampling.max_tokens of configs/mini/grpo.yaml


@dataclass(frozen=True)
class Sample:
    """A rollout as the formulas see it: whether it is right, and its tokens' log-probs under the current policy, the policy that
    sampled it and the reference."""

    right: bool
    new: list[float]
    old: list[float]
    reference: list[float]
    finish: Finish = "stop"


# Between new and old there are ratios within every bound, and beyond every one with either sign of the advantage; those of whole
# rollouts, which GSPO clips at 3e-4 and 4e-4, are within its bounds too.
FIRST = [
    Sample(True, [-0.5, -1.0, -0.2], [-0.7, -0.9, -0.7], [-0.6, -1.1, -0.2]),
    Sample(True, [-1.5, -0.3], [-1.2001, -0.6], [-1.0, -0.5]),
    Sample(False, [-0.9, -2.0, -0.1, -0.4, -1.0], [-0.6, -2.5, -0.1, -0.9, -0.6], [-1.0, -1.0, -0.2, -0.4, -0.9]),
    Sample(False, [-0.25, -0.75, -0.5, -1.25], [-0.45, -0.55, -0.3, -1.4], [-0.2] * 4, "length"),
]
SECOND = [
    Sample(False, [-0.3, -0.6, -0.9], [-0.5, -0.4, -0.9003], [-0.4, -0.6, -0.8]),
    Sample(False, [-0.1, -3.0], [-2.1, -1.0], [-0.3, -2.0]),
    Sample(False, [-0.45], [-0.1], [-0.5]),
    Sample(True, [-0.2, -0.7, -1.1, -0.6], [-2.2, -0.3, -1.0, -0.9], [-0.3, -0.7, -1.2, -0.6]),
]
FAILED = [Sample(False, [-0.5] * n, [-0.5] * n, [-0.8] * n) for n in (1, 2, 3, 4)]
"""A group in which every rollout failed. All formulas divide by its rollouts or tokens, and it contributes 0 itself, but for the
KL term of GRPO."""

Groups = list[list[Sample]]
LogProbsOf = list[list[float]]
"""Log-probs of every rollout's tokens, group after group."""


@dataclass(frozen=True)
class Formula:
    """What a paper minimises.

    Args:
        advantages: Of a group's rollouts.
        rollout_loss: Of one rollout: its advantage, the log-probs that are differentiated, the same as constants, the old ones
            and the reference's.
        divisor: What the sum over all rollouts is divided by.
        failed: Whether a group without an advantage is in the sum.
    """

    advantages: Callable[[list[Sample]], list[float]]
    rollout_loss: Callable[[float, list[float], list[float], list[float], list[float]], float]
    divisor: Callable[[Groups], float]
    failed: bool = True

    def groups(self) -> Groups:
        return [FIRST, SECOND, FAILED] if self.failed else [FIRST, SECOND]

    def loss(self, groups: Groups, new: LogProbsOf, fixed: LogProbsOf, old: LogProbsOf) -> float:
        advantages = list(chain.from_iterable(map(self.advantages, groups)))
        references = [s.reference for s in chain.from_iterable(groups)]
        terms = map(self.rollout_loss, advantages, new, fixed, old, references)
        return sum(terms) / self.divisor(groups)


def mean_reward(rewards: list[float]) -> list[float]:
    mean = sum(rewards) / len(rewards)
    return [r - mean for r in rewards]


def standardised(rewards: list[float]) -> list[float]:
    centred = mean_reward(rewards)
    deviation = math.sqrt(sum(c * c for c in centred) / (len(rewards) - 1))
    return [c / deviation if deviation else 0.0 for c in centred]


def rights(group: list[Sample]) -> list[float]:
    return [float(s.right) for s in group]


def with_dapos_punishment(group: list[Sample]) -> list[float]:
    """DAPO's rewards: 1 or -1, and -1 more at the longest length."""
    return [(1.0 if s.right else -1.0) - float(s.finish == "length") for s in group]


def without_oneself(rewards: list[float]) -> list[float]:
    return [r - (sum(rewards) - r) / (len(rewards) - 1) for r in rewards]


def clipped(ratio: float, advantage: float, low: float, high: float) -> float:
    return min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


def token_terms(advantage: float, new: list[float], old: list[float], low: float, high: float) -> list[float]:
    return [clipped(math.exp(n - o), advantage, low, high) for n, o in zip(new, old, strict=True)]


def grpo_loss(advantage: float, new: list[float], _: list[float], old: list[float], reference: list[float]) -> float:
    kl = [math.exp(r - n) - (r - n) - 1 for n, r in zip(new, reference, strict=True)]
    return -(sum(token_terms(advantage, new, old, 0.2, 0.2)) - 0.04 * sum(kl)) / len(new)


def summed_loss(low: float, high: float) -> Callable[..., float]:
    def loss(advantage: float, new: list[float], _: list[float], old: list[float], __: list[float]) -> float:
        return -sum(token_terms(advantage, new, old, low, high))

    return loss


def cispo_loss(advantage: float, new: list[float], fixed: list[float], old: list[float], _: list[float]) -> float:
    bounded = [min(math.exp(f - o), 5.0) for f, o in zip(fixed, old, strict=True)]
    return -sum(b * advantage * n for b, n in zip(bounded, new, strict=True))


def gspo_loss(advantage: float, new: list[float], _: list[float], old: list[float], __: list[float]) -> float:
    ratio = math.exp((sum(new) - sum(old)) / len(new))
    return -clipped(ratio, advantage, 3e-4, 4e-4)


def rollouts_in(groups: Groups) -> float:
    return float(sum(map(len, groups)))


def tokens_in(groups: Groups) -> float:
    return float(sum(len(s.new) for s in chain.from_iterable(groups)))


FORMULAS = {
    "grpo": Formula(lambda g: standardised(rights(g)), grpo_loss, rollouts_in),
    "dr-grpo": Formula(lambda g: mean_reward(rights(g)), summed_loss(0.2, 0.2), lambda g: rollouts_in(g) * LONGEST),
    "dapo": Formula(lambda g: standardised(with_dapos_punishment(g)), summed_loss(0.2, 0.28), tokens_in, failed=False),
    "cispo": Formula(lambda g: standardised(rights(g)), cispo_loss, tokens_in),
    "gspo": Formula(lambda g: standardised(rights(g)), gspo_loss, rollouts_in),
    "rloo": Formula(lambda g: without_oneself(rights(g)), summed_loss(0.2, 0.2), rollouts_in),
}


def gradient(formula: Formula, groups: Groups, new: LogProbsOf, old: LogProbsOf) -> LogProbsOf:
    """Of the formula's loss, by central differences."""
    step = 1e-6
    found = []
    for i, values in enumerate(new):
        row = []
        for t in range(len(values)):
            sides = []
            for moved in (values[t] + step, values[t] - step):
                other = [*new[:i], [*values[:t], moved, *values[t + 1 :]], *new[i + 1 :]]
                sides.append(formula.loss(groups, other, new, old))
            row.append((sides[0] - sides[1]) / (2 * step))
        found.append(row)
    return found


class WrittenPolicy:
    """A policy whose log-probs are written out, one tensor for each row; its prompts are one token long."""

    def __init__(self, rows: Sequence[list[float]]) -> None:
        self.rows = [torch.tensor(row, requires_grad=True) for row in rows]

    def log_probs(self, batch: MicroBatch, scored: Tensor, entropy: bool = False) -> LogProbs:
        assert batch.attention_mask is None
        values = torch.cat([self.rows[i] for i in batch.row_index])
        assert len(values) == int(scored.sum())
        return LogProbs(values, torch.zeros_like(values), torch.zeros_like(values))

    def loss(self, batch: MicroBatch, token_loss: TokenLoss, entropy: bool = False) -> Loss:
        logprob, entropy, _ = self.log_probs(batch, batch.trained)
        assert entropy is not None
        return Loss(*token_loss(logprob, entropy, slice(None)))


class InstantiateOnly(IntCLI):
    """A fit that ends once model and data are made."""

    def open_run_folder(self) -> None:
        pass

    def instantiate_trainer(self, **_: object) -> None:  # type: ignore[override]
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def model_and_data(algorithm: str) -> tuple[GRPOModule, RolloutData]:
    """As ``fit`` makes them of the shipped overlay."""
    overlay = ROOT / "configs" / "algorithms" / f"{algorithm}.yaml"
    with ExitStack() as resources:
        fit = InstantiateOnly(["fit", "-c", str(MINI / "grpo.yaml"), "-c", str(overlay)], resources)
    assert isinstance(fit.model, GRPOModule)
    assert isinstance(fit.datamodule, RolloutData)
    return fit.model, fit.datamodule


def rollout(group: int, number: int, sample: Sample) -> Rollout:
    provenance = Provenance("", "", "", "", Sampling(), 0)
    n = len(sample.new)
    return Rollout(
        f"{group}/{number}",
        str(group),
        number,
        [5],
        [7] * n,
        [0.0] * n,
        "",
        sample.finish,
        "",
        sample.right,
        provenance,
    )


def our_step(data: RolloutData, groups: Groups, off_policy: bool, every: bool) -> tuple[Step, list[Sample]]:
    """The optimiser step that our code makes of the rollouts, and those that it trains on, in the order of its rows."""
    sampled = [[rollout(g, i, s) for i, s in enumerate(group)] for g, group in enumerate(groups)]
    problems = {str(g): Problem(str(g), "", "", "") for g in range(len(groups))}
    rewarded = rewarded_groups(sampled, problems, Rewards(data.reward_configs), data.groups)
    rows = loss_rows(rewarded, data.groups, with_engine_logprobs=False, without_advantage=every)
    kept = [group for group, found in zip(groups, rewarded, strict=True) if every or not found.zero_advantage]
    trained = list(chain.from_iterable(kept))
    rows = [with_scores(row, s, off_policy) for row, s in zip(rows, trained, strict=True)]
    count = loss_count(rewarded, data.groups, data.sampling)
    step = Layout(pad_id=0, max_tokens=12, packed=True).step(rows, count)
    assert len(step.batches) > 1
    return step, trained


def with_scores(row: TrainingRow, sample: Sample, off_policy: bool) -> TrainingRow:
    old = torch.tensor([0.0, *sample.old]).numpy() if off_policy else None
    return replace(row, old_logprobs=old, reference_logprobs=torch.tensor([0.0, *sample.reference]).numpy())


def test_every_shipped_algorithm_has_a_formula_here() -> None:
    assert {path.stem for path in (ROOT / "configs" / "algorithms").iterdir()} == set(FORMULAS) == set(ALGORITHMS)


@pytest.mark.parametrize("off_policy", [False, True], ids=["on-policy", "off-policy"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_loss_and_gradient_are_those_of_the_paper(algorithm: str, off_policy: bool) -> None:
    module, data = model_and_data(algorithm)
    formula = FORMULAS[algorithm]
    groups = formula.groups()
    samples = list(chain.from_iterable(groups))
    new = [s.new for s in samples]
    old = [s.old for s in samples] if off_policy else new
    step, trained = our_step(data, groups, off_policy, module.objective.acts_without_advantage)
    policy = WrittenPolicy([s.new for s in trained])
    module.policy = policy  # type: ignore[assignment]
    loss = sum(module._loss(batch, step).loss for batch in step.batches)
    assert isinstance(loss, Tensor)
    loss.backward()
    assert loss.item() == pytest.approx(formula.loss(groups, new, new, old), rel=1e-5, abs=1e-6)
    of_sample = dict(zip(map(id, samples), gradient(formula, groups, new, old), strict=True))
    for row, sample in zip(policy.rows, trained, strict=True):
        assert row.grad is not None
        assert row.grad.tolist() == pytest.approx(of_sample.pop(id(sample)), rel=1e-5, abs=1e-8)
    assert all(abs(value) < 1e-8 for value in chain.from_iterable(of_sample.values()))
