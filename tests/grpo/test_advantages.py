"""Advantages of a group."""

import math
import random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.grpo.advantages import Advantage, group_advantages, rounded_to_zero


def test_advantages_written_out() -> None:
    assert group_advantages([1.0, 0.0, 0.0, 0.0]) == [0.75, -0.25, -0.25, -0.25]
    assert group_advantages([1.0, 0.0, 0.0, 0.0], "standardised") == [1.5, -0.5, -0.5, -0.5]
    assert group_advantages([1.0, 0.0, 0.0, 0.0], "leave_one_out") == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])
    assert group_advantages([1.0]) == [0.0]


@settings(deadline=None)
@given(st.floats(-10, 10), st.integers(1, 64))
def test_equal_rewards_give_exact_zeros(reward: float, n: int) -> None:
    assert group_advantages([reward] * n) == [0.0] * n


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=32))
def test_advantages_are_centred_and_keep_differences(rewards: list[float]) -> None:
    advantages = group_advantages(rewards)
    assert sum(advantages) == pytest.approx(0.0, abs=1e-9)
    for reward, advantage in zip(rewards, advantages, strict=True):
        assert advantage - advantages[0] == pytest.approx(reward - rewards[0], abs=1e-9)


@pytest.mark.parametrize("how", get_args(Advantage))
@given(
    terms=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    scale=st.floats(-1e9, 1e9),
    n=st.integers(2, 16),
    seed=st.integers(0, 99),
)
def test_rewards_that_are_one_sum_in_other_orders_give_exact_zeros(
    how: Advantage, terms: list[float], scale: float, n: int, seed: int
) -> None:
    order = random.Random(seed)
    magnitude = sum(abs(scale * t) for t in terms)
    rewards = []
    for _ in range(n):
        order.shuffle(terms)
        total = 0.0
        for term in terms:
            total += scale * term
        rewards.append(rounded_to_zero(total, magnitude))
    if all(abs(r) >= magnitude / 100 for r in rewards) or not any(rewards):
        assert group_advantages(rewards, how) == [0.0] * n


@pytest.mark.parametrize("how", get_args(Advantage))
@given(reward=st.floats(-1e15, 1e15).filter(lambda r: abs(r) > 1e-290), more=st.integers(1, 8), size=st.floats(1e-9, 1))
def test_rewards_that_differ_by_more_than_rounding_keep_their_advantages(
    how: Advantage, reward: float, more: int, size: float
) -> None:
    advantages = group_advantages([reward * (1 + size), *[reward] * more], how)
    assert all(math.isfinite(a) for a in advantages)
    assert math.copysign(1, reward) * advantages[0] > 0
    assert all(math.copysign(1, reward) * a < 0 for a in advantages[1:])


def test_what_rounding_leaves_of_a_difference_is_not_an_advantage() -> None:
    for how in get_args(Advantage):
        assert group_advantages([0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2], how) == [0.0] * 4
        assert group_advantages([5e-324, 0.0], how) == [0.0] * 2
