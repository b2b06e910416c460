"""Advantages of a group."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.learn.advantages import group_advantages


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
