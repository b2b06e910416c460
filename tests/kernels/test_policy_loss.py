"""The GRPO family of losses, against sums over tokens written out in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from int_lightning_kernels import MAX, Implementation, PolicyObjective, PolicyTokens, policy_loss, token_policy_loss

from arithmetic import Case, assert_gradients, assert_values, draw, gradients
from watching import Watch

RATIOS = [0.4, 0.79, 0.81, 1.0, 1.27, 1.29, 2.5]
ADVANTAGES = [1.3, -0.7, 0.0]
N = len(RATIOS) * len(ADVANTAGES)


@dataclass(frozen=True)
class Tokens:
    """What the fused loss takes per token."""

    advantage: Tensor
    token_weight: Tensor
    old_logprob: Tensor | None = None
    reference_logprob: Tensor | None = None
    engine_logprob: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """Those that are given."""
        every = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in every.items() if value is not None}


def every_ratio(case: Case) -> Tokens:
    """Tokens with every ratio and every sign of the advantage; the other policies are some way off."""
    g = torch.Generator().manual_seed(4)
    logprob = case.exact().written_out().logprob.detach().cpu()
    old = logprob - torch.tensor(RATIOS * len(ADVANTAGES), dtype=torch.float64).log()
    found = [
        torch.tensor(ADVANTAGES).repeat_interleave(len(RATIOS)),
        torch.rand(N, generator=g) + 0.1,
        old,
        logprob + 0.7 * torch.randn(N, generator=g),
        old + 0.5 * torch.randn(N, generator=g),
    ]
    return Tokens(*(t.float().to(case.hidden.device) for t in found))


def written_out(case: Case, tokens: Tokens, **choices: Any) -> tuple[Tensor, dict[str, float]]:
    """The loss by a loop over tokens in float64, with ``math.exp`` where no gradient is needed, and the metrics' means."""
    how = PolicyObjective(**choices)
    out = case.written_out()
    assert out.entropy is not None
    loss, sums = torch.zeros((), dtype=torch.float64, device=case.hidden.device), dict.fromkeys(("low", "high"), 0.0)
    sums |= dict.fromkeys(("ratio", "entropy", "kl", "importance", "gap", "engine_kl", "dual_clip"), 0.0)
    largest = 0.0
    for i in range(len(case.targets)):
        new, entropy = out.logprob[i], out.entropy[i]
        advantage, weight = float(tokens.advantage[i]), float(tokens.token_weight[i])
        old = float(new.detach() if tokens.old_logprob is None else tokens.old_logprob[i])
        ratio = math.exp(float(new.detach()) - old)
        low, high = 1 - how.clip_low, 1 + how.clip_high
        if how.form == "cispo":
            surrogate = -min(ratio, high) * advantage * new
            sums["high"] += ratio > high
        else:
            falls, rises = advantage < 0 and ratio < low, advantage > 0 and ratio > high
            sums["low"], sums["high"] = sums["low"] + falls, sums["high"] + rises
            bound = low if falls else high
            surrogate = torch.tensor(-bound * advantage) if falls or rises else -(new - old).exp() * advantage
            if how.dual_clip is not None and advantage < 0 and ratio > how.dual_clip:
                surrogate = torch.tensor(-how.dual_clip * advantage)
                sums["dual_clip"] += 1
        if tokens.engine_logprob is not None:
            gap = old - float(tokens.engine_logprob[i])
            sums["gap"], largest = sums["gap"] + abs(gap), max(largest, abs(gap))
            sums["engine_kl"] += math.exp(gap) - 1 - gap
            if how.importance_cap is not None:
                weigh = min(math.exp(gap), how.importance_cap)
                if how.importance == "mask" and not -math.log(how.importance_cap) <= gap <= math.log(
                    how.importance_cap
                ):
                    weigh = 0.0
                surrogate = surrogate * weigh
                sums["importance"] += weigh
        if tokens.reference_logprob is not None:
            g = float(tokens.reference_logprob[i]) - new
            kl = {"k1": -g, "k2": g**2 / 2, "k3": g.exp() - 1 - g}[how.kl]
            surrogate = surrogate + how.kl_coefficient * kl
            sums["kl"] += float(kl)
        loss = loss + weight * (surrogate - how.entropy_coefficient * entropy)
        sums["ratio"], sums["entropy"] = sums["ratio"] + ratio, sums["entropy"] + float(entropy)
    return loss, {name: value / len(case.targets) for name, value in sums.items()} | {"engine_gap_max": largest}


CHOICES: dict[str, dict[str, Any]] = {
    "clip": {},
    "symmetric": {"clip_high": 0.2},
    "only above": {"clip_low": 1.0, "clip_high": 0.5},
    "cispo": {"form": "cispo", "clip_high": 0.5},
    "k1": {"kl": "k1", "kl_coefficient": 0.3},
    "k2": {"kl": "k2", "kl_coefficient": 0.3},
    "k3": {"kl": "k3", "kl_coefficient": 0.3},
    "entropy": {"entropy_coefficient": 0.2},
    "importance": {"importance_cap": 1.2},
    "masked": {"importance_cap": 1.2, "importance": "mask"},
    "dual clip": {"dual_clip": 1.28},
    "dual clip weighed": {"dual_clip": 2.0, "importance_cap": 1.5, "kl_coefficient": 0.1},
    "cispo with everything": {
        "form": "cispo",
        "kl": "k2",
        "kl_coefficient": 0.1,
        "entropy_coefficient": 0.05,
        "importance_cap": 2.0,
    },
    "clip with everything": {"kl_coefficient": 0.1, "entropy_coefficient": 0.05, "importance_cap": 2.0},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_loss_gradients_and_metrics_are_the_written_out_ones(
    implementation: Implementation, device: torch.device, choice: str
) -> None:
    case = draw(N, device=device, per_token=True, bias=True)
    tokens, how = every_ratio(case), CHOICES[choice]
    got = policy_loss(
        case.hidden,
        case.weight,
        case.targets,
        **tokens.named(),
        **case.options,
        **how,
        implementation=implementation,
        active=torch.arange(N, device=device),
    )
    exact = case.exact()
    loss, means = written_out(exact, tokens, **how)
    assert_values([got.loss], [loss])
    assert_gradients(gradients(got.loss, case), gradients(loss, exact))
    names = {"clip_low": "low", "clip_high": "high", "engine_gap": "gap"}
    expected = {name: means[names.get(name, name)] for name in got.metrics}
    assert {n: float(v) for n, v in got.metrics.items()} == pytest.approx(expected, rel=1e-4, abs=1e-6)
    engine = {"engine_gap", "engine_gap_max", "engine_kl"}
    extra = {metric for key, metric in (("importance_cap", "importance"), ("dual_clip", "dual_clip")) if key in how}
    assert set(got.metrics) == {"clip_low", "clip_high", "ratio", "entropy", "kl"} | engine | extra


@pytest.mark.parametrize("form", ["clip", "cispo"])
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_the_gradient_stops_where_the_clip_says(form: Any, ratio: float, advantage: float) -> None:
    logprob = torch.tensor([-1.5], requires_grad=True)
    tokens = PolicyTokens(torch.tensor([advantage]), torch.ones(1), logprob.detach() - math.log(ratio))
    loss, metrics = token_policy_loss(logprob, torch.zeros(1), tokens, PolicyObjective(form, 0.2, 0.28))
    (slope,) = torch.autograd.grad(loss, logprob)
    stopped = (advantage > 0 and ratio > 1.28) or (advantage < 0 and ratio < 0.8)
    if form == "clip":
        assert slope.item() == pytest.approx(0 if stopped else -ratio * advantage, rel=1e-5)
        assert metrics["clip_low"] + metrics["clip_high"] == stopped
    else:
        assert slope.item() == pytest.approx(-min(ratio, 1.28) * advantage, rel=1e-5)
        assert metrics["clip_high"] == (ratio > 1.28)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (2.5, -0.7, 2.5 * 0.7, 2.5 * 0.7),  # below the bound: rho |A|, and its gradient
        (5.0, -0.7, 3.0 * 0.7, 0.0),  # above it: c |A|, and none
        (0.5, -0.7, 0.8 * 0.7, 0.0),  # the ordinary clip
        (5.0, 0.7, -1.28 * 0.7, 0.0),
        (1.1, 0.7, -1.1 * 0.7, -1.1 * 0.7),
    ],
)
def test_dual_clip_bounds_the_loss_of_negative_advantages(
    ratio: float, advantage: float, expected: float, slope: float
) -> None:
    logprob = torch.tensor([-4.0], requires_grad=True)
    tokens = PolicyTokens(torch.tensor([advantage]), torch.ones(1), logprob.detach() - math.log(ratio))
    loss, metrics = token_policy_loss(logprob, torch.zeros(1), tokens, PolicyObjective(dual_clip=3.0))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.autograd.grad(loss, logprob)[0].item() == pytest.approx(slope, rel=1e-5)
    assert metrics["dual_clip"] == (ratio > 3 and advantage < 0)


@pytest.mark.parametrize("how", ["truncate", "mask"])
@pytest.mark.parametrize(
    ("product", "truncated", "masked"), [(0.3, 0.3, 0.0), (0.6, 0.6, 0.6), (1.9, 1.9, 1.9), (2.1, 2.0, 0.0)]
)
def test_the_weight_of_a_whole_rollout_takes_the_place_of_its_tokens(
    how: Any, product: float, truncated: float, masked: float
) -> None:
    logprob = torch.tensor([-1.0, -2.0], requires_grad=True)
    tokens = PolicyTokens(
        torch.tensor([0.5, 0.5]),
        torch.ones(2),
        engine_logprob=torch.tensor([-1.0, -9.0]),
        sequence_importance=torch.full((2,), product),
    )
    objective = PolicyObjective(importance_cap=2.0, importance=how)
    loss, metrics = token_policy_loss(logprob, torch.zeros(2), tokens, objective)
    weight = truncated if how == "truncate" else masked
    assert loss.item() == pytest.approx(-weight * 0.5 * 2)
    assert torch.autograd.grad(loss, logprob)[0].tolist() == pytest.approx([-weight * 0.5] * 2)
    assert metrics["importance"].item() == pytest.approx(2 * weight)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-20, 0, width=32), min_size=1, max_size=8),
    st.floats(1, 10),
    st.sampled_from(["truncate", "mask"]),
)
def test_an_engine_that_is_the_policy_gets_weights_of_one(logprobs: list[float], cap: float, how: Any) -> None:
    old, n = torch.tensor(logprobs), len(logprobs)
    generator = torch.Generator().manual_seed(n)
    advantage, new = torch.randn(n, generator=generator), old + torch.randn(n, generator=generator)
    plain = PolicyTokens(advantage, torch.ones(n), old)
    weighed = PolicyTokens(advantage, torch.ones(n), old, engine_logprob=old)
    expected, _ = token_policy_loss(new, torch.zeros(n), plain, PolicyObjective())
    got, metrics = token_policy_loss(new, torch.zeros(n), weighed, PolicyObjective(importance_cap=cap, importance=how))
    assert got == expected
    assert metrics["importance"] == n
    assert metrics["engine_kl"] == metrics["engine_gap_max"] == 0


def test_without_old_logprobs_the_ratio_is_one_and_its_gradient_is_that_of_reinforce() -> None:
    case = draw(N)
    tokens = every_ratio(case)
    on_policy = {"advantage": tokens.advantage, "token_weight": tokens.token_weight}
    got = policy_loss(case.hidden, case.weight, case.targets, **on_policy)
    product = tokens.advantage.double() * tokens.token_weight.double()
    exact = case.exact()
    expected = gradients(-(product * exact.written_out().logprob).sum(), exact)
    assert_values([got.loss], [-product.sum()])
    assert_gradients(gradients(got.loss, case), expected)
    assert got.metrics["ratio"] == 1
    for none in ({"clip_low": 0.0, "clip_high": 0.0}, {"form": "cispo"}):
        other = policy_loss(case.hidden, case.weight, case.targets, **on_policy, **none).loss
        assert_gradients(gradients(other, case), expected)


@pytest.mark.parametrize("extra", [{}, {"kl_coefficient": 0.2}, {"entropy_coefficient": 0.2}], ids=str)
def test_tokens_that_cannot_matter_cost_nothing_and_change_nothing(extra: dict[str, float]) -> None:
    case = draw(N)
    tokens = every_ratio(case)
    tokens.token_weight[::4] = 0
    counts = tokens.token_weight != 0 if extra else (tokens.token_weight != 0) & (tokens.advantage != 0)
    assert 0 < counts.sum() < N
    with Watch() as watch:
        got = policy_loss(case.hidden, case.weight, case.targets, **tokens.named(), **extra)
        grad_inputs = gradients(got.loss, case)
    assert watch.units(int(counts.sum()), 8, 50) == 3
    whole = policy_loss(
        case.hidden, case.weight, case.targets, **tokens.named(), **extra, active=torch.arange(N), logits_bytes=5 * 200
    )
    assert_values([got.loss], [whole.loss])
    assert_gradients(grad_inputs, gradients(whole.loss, case))
    only = case.rows(counts)
    some = Tokens(**{name: value[counts] for name, value in tokens.named().items()})
    dropped = policy_loss(only.hidden, only.weight, only.targets, **some.named(), **extra)
    assert {n: float(v) for n, v in got.metrics.items()} == pytest.approx(
        {n: float(v) for n, v in dropped.metrics.items()}, rel=1e-4
    )


def test_metrics_keep_their_names_where_no_token_counts() -> None:
    case = draw(4)
    zero = torch.zeros(4)
    some = policy_loss(case.hidden, case.weight, case.targets, advantage=torch.ones(4), token_weight=torch.ones(4))
    none = policy_loss(case.hidden, case.weight, case.targets, advantage=zero, token_weight=torch.ones(4))
    assert none.loss == 0
    assert not any(g.any() for g in gradients(none.loss, case))
    assert set(none.metrics) == set(some.metrics)


def test_weights_make_the_aggregation() -> None:
    case = draw(N)
    tokens = every_ratio(case)
    assert tokens.old_logprob is not None
    lengths = [5, 1, N - 6]
    by_sequence = torch.cat([torch.full((n,), 1 / (len(lengths) * n)) for n in lengths])
    for weight in (torch.full((N,), 1 / N), by_sequence):
        named = {"advantage": tokens.advantage, "token_weight": weight, "old_logprob": tokens.old_logprob}
        got = policy_loss(case.hidden, case.weight, case.targets, **named).loss
        ratio = (case.exact().written_out().logprob.detach() - tokens.old_logprob.double()).exp()
        each = -torch.minimum(ratio * tokens.advantage, ratio.clamp(0.8, 1.28) * tokens.advantage)
        parts = each.split(lengths)
        expected = each.mean() if weight[0] == weight[1] == weight[-1] else sum(p.mean() for p in parts) / len(parts)
        assert_values([got], [expected])


def test_batches_of_sequences_and_budgets_do_not_matter() -> None:
    case = draw(N)
    tokens, how = every_ratio(case), CHOICES["clip with everything"]
    whole = policy_loss(case.hidden, case.weight, case.targets, **tokens.named(), **how)
    shaped = {name: value.view(3, 7) for name, value in tokens.named().items()}
    hidden = case.hidden.detach().view(3, 7, -1).requires_grad_()
    batch = policy_loss(hidden, case.weight, case.targets.view(3, 7), **shaped, **how, logits_bytes=4 * 200)
    assert_values([batch.loss, *batch.metrics.values()], [whole.loss, *whole.metrics.values()])
    grad_hidden, grad_weight = torch.autograd.grad(batch.loss, (hidden, case.weight))
    assert_gradients([grad_hidden.flatten(0, 1), grad_weight], gradients(whole.loss, case))


def test_nothing_flows_into_the_other_policies_or_the_advantages() -> None:
    case = draw(N)
    named = {name: value.requires_grad_() for name, value in every_ratio(case).named().items()}
    policy_loss(case.hidden, case.weight, case.targets, **named, **CHOICES["clip with everything"]).loss.backward()
    assert all(value.grad is None for value in named.values())
    assert case.hidden.grad is not None


def test_the_fused_loss_is_the_plain_one_on_linear_logprobs() -> None:
    case = draw(N)
    tokens, how = every_ratio(case), CHOICES["cispo with everything"]
    out = case.outputs()
    assert out.entropy is not None
    plain, sums = token_policy_loss(
        out.logprob, out.entropy, PolicyTokens(*tokens.named().values()), PolicyObjective(**how)
    )
    fused = policy_loss(case.hidden, case.weight, case.targets, **tokens.named(), **how)
    assert_values([fused.loss], [plain])
    means = {name: value / N for name, value in sums.items() if not name.endswith(MAX)}
    assert_values([fused.metrics[name] for name in sums], (sums | means).values())
    assert_gradients(gradients(fused.loss, case), gradients(plain, case))
