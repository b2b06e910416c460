"""From sampled groups to weighted rows: rewards, truncated rollouts, advantages, and how tokens are aggregated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from threading import TIMEOUT_MAX
from typing import Literal

import numpy as np

from int_lightning.grpo.advantages import Advantage, group_advantages, rounded_to_zero
from int_lightning.grpo.rewards import LARGEST, Rewards
from int_lightning.learn.micro_batches import TrainingRow
from int_lightning.types import Group, Intervention, Problem, Rollout, Sampling, UserError

Truncated = Literal["keep", "mask", "zero"]
Aggregation = Literal["token", "sequence", "constant", "sum"]


@dataclass(frozen=True)
class GroupConfig:
    """How groups are made into a loss.

    Args:
        advantage: ``mean`` (the paper, Dr.GRPO), ``standardised`` (GRPO, DAPO) or ``leave_one_out`` (RLOO).
        aggregation: ``token``: a mean over all tokens of the optimiser step (DAPO); ``sequence``: a mean over rollouts of the
            mean over each one's tokens (GRPO, GSPO); ``constant``: a sum over tokens divided by rollouts x longest completion
            (Dr.GRPO); ``sum``: a mean over rollouts of the sum over each one's tokens (RLOO).
        truncated: What becomes of rollouts that reach the longest length: ``keep`` their reward, ``mask`` them (they count in
            the baseline, but are neither trained on nor counted in what the loss is divided by), or reward ``zero``.
        truncation_penalty: Subtracted from the reward of each truncated rollout.
        resample: Further rounds of sampling, on further problems, to replace groups without an advantage (dynamic sampling).
        reward_timeout: Seconds for the rewards of one round.
        patience: Batches in a row without any advantage after which the run ends; null never ends it.
    """

    advantage: Advantage = "mean"
    aggregation: Aggregation = "token"
    truncated: Truncated = "keep"
    truncation_penalty: float = 0.0
    resample: int = 0
    reward_timeout: float = 300.0
    patience: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.truncation_penalty <= LARGEST:
            raise UserError(
                f"data.groups.truncation_penalty is {self.truncation_penalty}: give 0 or more, up to {LARGEST:g}"
            )
        if self.resample < 0:
            raise UserError(f"data.groups.resample is {self.resample}: give 0 or more")
        if not 0 < self.reward_timeout <= TIMEOUT_MAX:
            raise UserError(f"data.groups.reward_timeout is {self.reward_timeout}: give a number of seconds above 0")
        if self.patience is not None and self.patience < 1:
            raise UserError(f"data.groups.patience is {self.patience}: give at least 1")


@dataclass(frozen=True, slots=True)
class Rescue:
    """What interventions made of a group in which every rollout failed.

    Args:
        problem_id: The group's problem.
        interventions: Those whose tokens are trained on.
        groups: Guided rollouts to train on, one group for each intervention; their prompt is the problem, the prefix and the
            intervention.
        proposed: Number of interventions that were proposed.
        accepted: Number of those that passed the checks.
    """

    problem_id: str
    interventions: list[Intervention]
    groups: list[Group]
    proposed: int
    accepted: int


def rewarded_groups(
    sampled: Sequence[list[Rollout]], problems: Mapping[str, Problem], rewards: Rewards, config: GroupConfig
) -> list[Group]:
    """The rollouts of each prompt with their rewards and advantages; those whose reward raised are left out of their group."""
    drawn = list(chain.from_iterable(sampled))
    values = iter(rewards([(problems[r.problem_id], r) for r in drawn]))
    groups = []
    for rollouts in sampled:
        known = [(r, v) for r, v in zip(rollouts, islice(values, len(rollouts)), strict=True) if v is not None]
        kept = [r for r, _ in known]
        counted = [_after_truncation(r, v, config) for r, v in known]
        advantages = group_advantages(counted, config.advantage) if counted else []
        groups.append(Group(rollouts[0].problem_id, kept, counted, advantages))
    return groups


def _after_truncation(rollout: Rollout, reward: float, config: GroupConfig) -> float:
    if rollout.finish != "length":
        return reward
    kept = 0.0 if config.truncated == "zero" else reward
    return rounded_to_zero(kept - config.truncation_penalty, abs(kept) + config.truncation_penalty)


def loss_rows(
    groups: Sequence[Group],
    config: GroupConfig,
    with_engine_logprobs: bool,
    weight: float = 1.0,
    without_advantage: bool = False,
) -> list[TrainingRow]:
    """The rollouts of groups as rows. The prompt, which for guided rollouts holds prefix and intervention, carries no loss.

    Args:
        groups: Rollouts with their advantages.
        config: Which rollouts count, and how.
        with_engine_logprobs: Whether rows have them.
        weight: Of all other tokens.
        without_advantage: Also those of groups without an advantage, for a loss with terms that act on every token.
    """
    rows = []
    for group in groups:
        if group.zero_advantage and not without_advantage:
            continue
        for rollout, advantage in zip(group.rollouts, group.advantages, strict=True):
            if not _masked(rollout, config):
                rows.append(_row(rollout, advantage, config, with_engine_logprobs, weight))
    return rows


def loss_count(groups: Sequence[Group], config: GroupConfig, sampling: Sampling) -> float:
    """What the sum over weighted tokens is divided by; rollouts without an advantage count too, though they cost nothing, and
    masked ones do not."""
    rollouts = [r for r in _rollouts(groups) if not _masked(r, config)]
    if config.aggregation == "token":
        return float(max(1, sum(len(r.token_ids) for r in rollouts)))
    longest = sampling.max_tokens if config.aggregation == "constant" else 1
    return float(max(1, len(rollouts)) * longest)


def _masked(rollout: Rollout, config: GroupConfig) -> bool:
    return config.truncated == "mask" and rollout.finish == "length"


def intervention_rows(
    interventions: Sequence[Intervention], weight: float, with_engine_logprobs: bool
) -> list[TrainingRow]:
    """Prefix and intervention of each as rows whose on-policy loss has the gradient of weight x (mean NLL of all their tokens):
    with the ratio at 1, an advantage of 1 gives a term of maximum likelihood. The engine's log-probs of them are not known."""
    total = sum(len(i.prefix_ids) + len(i.intervention_ids) for i in interventions)
    rows = []
    for i in interventions:
        token_ids = np.array([*i.prompt_ids, *i.prefix_ids, *i.intervention_ids], np.int32)
        weights = np.full(len(token_ids), weight / total, np.float32)
        weights[: len(i.prompt_ids)] = 0.0
        unknown = np.full(len(token_ids), np.nan, np.float32) if with_engine_logprobs else None
        rows.append(TrainingRow(token_ids, weights, advantage=1.0, engine_logprobs=unknown))
    return rows


def _row(
    rollout: Rollout, advantage: float, config: GroupConfig, with_engine_logprobs: bool, weight: float
) -> TrainingRow:
    token_ids = np.concatenate([rollout.prompt_ids, rollout.token_ids])
    prompt = len(rollout.prompt_ids)
    if config.aggregation == "sequence":
        weight /= len(rollout.token_ids)
    weights = np.full(len(token_ids), weight, np.float32)
    weights[:prompt] = 0.0
    engine_logprobs = None
    if with_engine_logprobs:
        engine_logprobs = np.zeros(len(token_ids), np.float32)
        engine_logprobs[prompt:] = rollout.logprobs
    return TrainingRow(token_ids, weights, advantage, engine_logprobs)


def group_metrics(groups: Sequence[Group], drawn: int) -> dict[str, float]:
    """What a user watches: reward, share of groups without a right rollout or without advantage, lengths, truncation, errors.

    Args:
        groups: Of all ranks.
        drawn: Number of rollouts that were sampled, those whose reward raised included.
    """
    rollouts = _rollouts(groups)
    if not rollouts:
        raise UserError("the rewards of all rollouts of a batch raised: see the messages above, and fix data.rewards")
    return {
        "reward": sum(sum(g.rewards) for g in groups) / len(rollouts),
        "correct": sum(r.correct for r in rollouts) / len(rollouts),
        "unsolved_ratio": sum(not any(r.correct for r in g.rollouts) for g in groups) / len(groups),
        "zero_advantage_ratio": sum(g.zero_advantage for g in groups) / len(groups),
        "length": sum(len(r.token_ids) for r in rollouts) / len(rollouts),
        "truncated": sum(r.finish == "length" for r in rollouts) / len(rollouts),
        "reward_errors": float(drawn - len(rollouts)),
    }


def rescue_metrics(rescues: Iterable[Rescue]) -> dict[str, float]:
    """What interventions came to: failed groups, proposals, interventions that passed the checks, and the reward after them."""
    found = list(rescues)
    groups = chain.from_iterable(rescue.groups for rescue in found)
    guided = list(chain.from_iterable(group.rewards for group in groups))
    metrics = {
        "failed_groups": float(len(found)),
        "proposals": float(sum(rescue.proposed for rescue in found)),
        "interventions": float(sum(rescue.accepted for rescue in found)),
    }
    return metrics | ({"guided_reward": sum(guided) / len(guided)} if guided else {})


def _rollouts(groups: Sequence[Group]) -> list[Rollout]:
    return list(chain.from_iterable(group.rollouts for group in groups))
