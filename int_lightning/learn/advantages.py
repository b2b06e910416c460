"""Advantages of a group's rollouts."""

from __future__ import annotations

from statistics import stdev
from typing import Literal

Advantage = Literal["mean", "standardised", "leave_one_out"]
"""``mean``: r_i - mean_j r_j (the paper, Dr.GRPO). ``standardised``: that over the group's standard deviation (GRPO, DAPO).
``leave_one_out``: r_i less the mean of the others (RLOO)."""


def group_advantages(rewards: list[float], how: Advantage = "mean") -> list[float]:
    """The advantage of each rollout of a group; exactly zero for all where the rewards agree.

    Args:
        rewards: Two or more.
    """
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    n, mean = len(rewards), sum(rewards) / len(rewards)
    scale = {"mean": 1.0, "standardised": 1 / stdev(rewards), "leave_one_out": n / (n - 1)}[how]
    return [scale * (r - mean) for r in rewards]
