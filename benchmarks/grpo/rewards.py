"""The rewards, for both sides: ours as import paths, TRL's as functions. Neither package needs to be installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from int_lightning.types import Problem, Rollout

_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")

Reward = Callable[..., list[float]]


def alternate(problem: Problem, rollout: Rollout) -> float:
    """1 for every other rollout of a group, regardless of what it says."""
    return float(rollout.sample % 2)


OURS = {"answer": "int_lightning.grpo.rewards.right_answer", "alternate": "benchmarks.grpo.rewards.alternate"}


def trl_reward(name: str, group: int) -> Reward:
    """The same as a reward function for TRL.

    Args:
        name: One of ``OURS``.
        group: Rollouts of a prompt, which TRL hands over one after another.
    """

    def right_answer(completions: Sequence[Any], answer: Sequence[str], **_: Any) -> list[float]:
        said = [_BOXED.findall(turns[0]["content"]) for turns in completions]
        return [float(bool(boxes) and boxes[-1].strip() == gold) for boxes, gold in zip(said, answer, strict=True)]

    def alternate(completions: Sequence[Any], **_: Any) -> list[float]:
        return [float(i % group % 2) for i in range(len(completions))]

    rewards: dict[str, Reward] = {"answer": right_answer, "alternate": alternate}
    return rewards[name]
