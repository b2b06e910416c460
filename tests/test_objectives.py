"""Losses against loops in float64, and where their gradients vanish."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.learn.objectives import GRPOInput, group_advantages, grpo_loss, sft_loss

LOW, HIGH = 0.2, 0.35


def random_tokens(n: int = 200, seed: int = 0, reference: bool = True) -> GRPOInput:
    g = torch.Generator().manual_seed(seed)
    old = -torch.rand(n, generator=g) * 3
    return GRPOInput(
        logprob=(old + torch.randn(n, generator=g) * 0.5).requires_grad_(),
        old_logprob=old,
        advantage=torch.randn(n, generator=g),
        entropy=torch.rand(n, generator=g).requires_grad_(),
        reference_logprob=old + torch.randn(n, generator=g) * 0.3 if reference else None,
    )


def single(ratio: float, advantage: float) -> GRPOInput:
    logprob = torch.tensor([math.log(ratio)], requires_grad=True)
    return GRPOInput(logprob, torch.zeros(1), torch.tensor([advantage]), torch.zeros(1))


def written_out(
    tokens: GRPOInput, count: float, trained: float, kl_coefficient: float, entropy_coefficient: float
) -> dict[str, float]:
    totals = dict.fromkeys(["loss", "clip_low", "clip_high", "ratio", "entropy", "kl"], 0.0)
    for i in range(len(tokens.logprob)):
        logprob, old = float(tokens.logprob[i]), float(tokens.old_logprob[i])
        advantage, entropy = float(tokens.advantage[i]), float(tokens.entropy[i])
        ratio = math.exp(logprob - old)
        clipped = min(max(ratio, 1 - LOW), 1 + HIGH)
        totals["loss"] -= min(ratio * advantage, clipped * advantage) / count
        totals["clip_low"] += (advantage < 0 and ratio < 1 - LOW) / trained
        totals["clip_high"] += (advantage > 0 and ratio > 1 + HIGH) / trained
        totals["ratio"] += ratio / trained
        totals["entropy"] += entropy / trained
        totals["loss"] -= entropy_coefficient * entropy / count
        if tokens.reference_logprob is not None:
            gap = float(tokens.reference_logprob[i]) - logprob
            k3 = math.exp(gap) - gap - 1
            assert k3 >= 0
            totals["kl"] += k3 / trained
            totals["loss"] += kl_coefficient * k3 / count
    return totals


@pytest.mark.parametrize(("kl", "entropy"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.05), (0.3, 0.2)])
def test_grpo_loss_and_metrics_written_out(kl: float, entropy: float) -> None:
    tokens = random_tokens()
    loss, metrics = grpo_loss(
        tokens, 310.0, 200.0, clip_low=LOW, clip_high=HIGH, kl_coefficient=kl, entropy_coefficient=entropy
    )
    expected = written_out(tokens, 310.0, 200.0, kl, entropy)
    assert expected["clip_low"] > 0.02
    assert expected["clip_high"] > 0.02
    assert float(loss) == pytest.approx(expected.pop("loss"), rel=1e-5, abs=1e-7)
    assert {k: float(v) for k, v in metrics.items()} == pytest.approx(expected, rel=1e-5)


def test_the_default_clip_is_asymmetric() -> None:
    assert float(grpo_loss(single(2.0, 1.0), 1.0, 1.0)[0]) == pytest.approx(-1.35)
    assert float(grpo_loss(single(0.5, -1.0), 1.0, 1.0)[0]) == pytest.approx(0.8)


def test_without_a_reference_there_is_no_kl() -> None:
    loss, metrics = grpo_loss(random_tokens(reference=False), 1.0, 1.0, kl_coefficient=5.0)
    assert "kl" not in metrics
    assert float(loss) == pytest.approx(float(grpo_loss(random_tokens(reference=False), 1.0, 1.0)[0]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [
        (1.0, 2.0, -2.0),
        (1.0, -2.0, 2.0),
        (1.3, 2.0, -2.6),
        (1.4, 2.0, 0.0),
        (1.4, -2.0, 2.8),
        (0.85, -2.0, 1.7),
        (0.7, -2.0, 0.0),
        (0.7, 2.0, -1.4),
        (1.0, 0.0, 0.0),
        (5.0, 0.0, 0.0),
    ],
)
def test_the_gradient_vanishes_where_it_is_clipped_and_only_there(
    ratio: float, advantage: float, gradient: float
) -> None:
    tokens = single(ratio, advantage)
    loss, metrics = grpo_loss(tokens, 4.0, 1.0, clip_low=LOW, clip_high=HIGH)
    loss.backward()
    assert tokens.logprob.grad is not None
    assert float(tokens.logprob.grad) == pytest.approx(gradient / 4, abs=1e-7)
    assert float(metrics["clip_low"]) == float(ratio < 1 - LOW and advantage < 0)
    assert float(metrics["clip_high"]) == float(ratio > 1 + HIGH and advantage > 0)


def test_gradients_of_kl_and_entropy() -> None:
    tokens = random_tokens(50)
    loss, _ = grpo_loss(tokens, 7.0, 50.0, kl_coefficient=0.1, entropy_coefficient=0.5)
    plain_tokens = random_tokens(50)
    plain, _ = grpo_loss(plain_tokens, 7.0, 50.0)
    loss.backward()
    plain.backward()
    assert tokens.reference_logprob is not None
    assert tokens.logprob.grad is not None
    assert plain_tokens.logprob.grad is not None
    kl = 0.1 * (1 - (tokens.reference_logprob - tokens.logprob.detach()).exp()) / 7
    torch.testing.assert_close(tokens.logprob.grad - plain_tokens.logprob.grad, kl, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(tokens.entropy.grad, torch.full((50,), -0.5 / 7))
    assert plain_tokens.entropy.grad is None


def test_shares_of_micro_batches_add_up() -> None:
    tokens = random_tokens(60)
    whole, metrics = grpo_loss(tokens, 80.0, 60.0, kl_coefficient=0.1, entropy_coefficient=0.1)
    parts = []
    for part in (slice(0, 7), slice(7, 40), slice(40, 40), slice(40, 60)):
        assert tokens.reference_logprob is not None
        piece = GRPOInput(
            tokens.logprob[part],
            tokens.old_logprob[part],
            tokens.advantage[part],
            tokens.entropy[part],
            tokens.reference_logprob[part],
        )
        parts.append(grpo_loss(piece, 80.0, 60.0, kl_coefficient=0.1, entropy_coefficient=0.1))
    assert float(sum(loss for loss, _ in parts)) == pytest.approx(float(whole), rel=1e-5)
    for name, value in metrics.items():
        assert float(sum(m[name] for _, m in parts)) == pytest.approx(float(value), rel=1e-5)


def test_on_policy_the_gradient_is_that_of_reinforce() -> None:
    logprob = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantage = torch.tensor([0.75, -0.25, 0.0])
    loss, metrics = grpo_loss(GRPOInput(logprob, logprob.detach(), advantage, torch.zeros(3)), 3.0, 3.0)
    loss.backward()
    torch.testing.assert_close(logprob.grad, -advantage / 3)
    assert float(metrics["ratio"]) == 1.0
    assert float(metrics["clip_low"] + metrics["clip_high"]) == 0.0


def test_sft_loss_written_out() -> None:
    logprob = torch.tensor([-1.0, -2.0, -4.0], requires_grad=True)
    weights = torch.tensor([1.0, 0.5, 0.0])
    loss, metrics = sft_loss(logprob, weights, 10.0)
    loss.backward()
    assert float(loss) == pytest.approx(0.2)
    assert metrics == {}
    torch.testing.assert_close(logprob.grad, torch.tensor([-0.1, -0.05, 0.0]))


def test_advantages_written_out() -> None:
    assert group_advantages([1.0, 0.0, 0.0, 0.0]) == [0.75, -0.25, -0.25, -0.25]
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
