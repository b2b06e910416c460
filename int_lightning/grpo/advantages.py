"""Advantages of a group's rollouts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import stdev
from typing import Literal

Advantage = Literal["mean", "standardised", "leave_one_out"]
"""``mean``: r_i - mean_j r_j (the paper, Dr.GRPO). ``standardised``: that over the group's standard deviation (GRPO, DAPO).
``leave_one_out``: r_i minus the mean of the others (RLOO)."""

ROUNDING = 2.0**-42
"""Relative error of a sum of some thousand float64 terms: each addition may round by 2^-53."""


def group_advantages(rewards: list[float], how: Advantage = "mean") -> list[float]:
    """The advantage of each rollout of a group; exactly zero for all where the rewards agree up to rounding (``agree``).

    Args:
        rewards: One or more, float64.
        how: What they are compared with, and divided by.
    """
    if agree(rewards):
        return [0.0] * len(rewards)
    n, mean = len(rewards), sum(rewards) / len(rewards)
    scale = {"mean": 1.0, "standardised": stdev(rewards), "leave_one_out": (n - 1) / n}[how]
    return [(r - mean) / scale for r in rewards]


def agree(rewards: Sequence[float]) -> bool:
    """Whether rewards differ by no more than the rounding of their arithmetic, so that their differences are noise."""
    return max(rewards) - min(rewards) <= max(ROUNDING * max(map(abs, rewards)), sys.float_info.min)


def rounded_to_zero(total: float, terms: float) -> float:
    """A sum, or 0 where it is only what rounding left of terms that cancel.

    Args:
        total: The sum.
        terms: The sum of the terms' magnitudes.
    """
    return 0.0 if abs(total) <= ROUNDING * terms else total
