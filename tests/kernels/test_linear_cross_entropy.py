"""Cross-entropy from hidden states, against torch.nn.functional.cross_entropy on full logits in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from int_lightning_kernels import Implementation, linear_cross_entropy

from arithmetic import Case, assert_gradients, assert_values, draw, gradients
from watching import Watch

Reduction = Literal["mean", "sum"]
reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


def ours(case: Case, **options: object) -> Tensor:
    return linear_cross_entropy(case.hidden, case.weight, case.targets, **case.options, **options)


def theirs(exact: Case, reduction: Reduction, weights: Tensor | None = None, ignore_index: int = -100) -> Tensor:
    """PyTorch's cross-entropy; where tokens have weights, each token's, aggregated here."""
    logits = exact.hidden @ exact.weight.T + (0 if exact.bias is None else exact.bias)
    if exact.softcap is not None:
        logits = exact.softcap * torch.tanh(logits / exact.softcap)
    logits = logits * exact.inverse_temperature()[:, None]
    if weights is None:
        return cross_entropy(logits, exact.targets, reduction=reduction, ignore_index=ignore_index)
    each = cross_entropy(logits, exact.targets, reduction="none", ignore_index=ignore_index)
    w = weights.double().where(exact.targets != ignore_index, 0.0)
    return (w * each).sum() / (w.sum() if reduction == "mean" else 1)


def ignoring(case: Case, rows: list[int], ignore_index: int = -100) -> Case:
    targets = case.targets.clone()
    targets[rows] = ignore_index
    return replace(case, targets=targets)


@reductions
@pytest.mark.parametrize("options", [{}, {"bias": True, "per_token": True, "softcap": 5.0}], ids=["plain", "all"])
@pytest.mark.parametrize("rows", [9, 2])
def test_it_is_pytorchs_cross_entropy(
    implementation: Implementation, device: torch.device, reduction: Reduction, options: dict[str, object], rows: int
) -> None:
    case = draw(device=device, **options)
    got = ours(case, reduction=reduction, implementation=implementation, logits_bytes=rows * 200)
    exact = case.exact()
    expected = theirs(exact, reduction)
    assert got.dtype == torch.float32 and got.shape == ()
    assert_values([got], [expected])
    assert_gradients(gradients(got, case), gradients(expected, exact))


@reductions
@pytest.mark.parametrize("ignore_index", [-100, 0, 60])
def test_ignored_tokens_count_neither_above_nor_below(
    implementation: Implementation, device: torch.device, reduction: Reduction, ignore_index: int
) -> None:
    case = ignoring(draw(device=device), [0, 3, 8], ignore_index)
    got = ours(case, reduction=reduction, ignore_index=ignore_index, implementation=implementation)
    exact = case.exact()
    expected = theirs(exact, reduction, ignore_index=ignore_index)
    assert_values([got], [expected])
    got_gradients = gradients(got, case)
    assert not got_gradients[0][[0, 3, 8]].any()
    assert_gradients(got_gradients, gradients(expected, exact))


@reductions
def test_weights_weigh(implementation: Implementation, device: torch.device, reduction: Reduction) -> None:
    case = ignoring(draw(device=device), [2])
    weights = torch.tensor([0.5, 2, 3, 0, 0, 1, 0.1, 7, 0.25], device=device)
    got = ours(case, weights=weights, reduction=reduction, implementation=implementation)
    exact = case.exact()
    expected = theirs(exact, reduction, weights)
    assert_values([got], [expected])
    assert_gradients(gradients(got, case), gradients(expected, exact))


@pytest.mark.parametrize("n", [0, 5])
def test_with_every_token_ignored_the_mean_is_nan_and_the_sum_zero(
    implementation: Implementation, device: torch.device, n: int
) -> None:
    case = ignoring(draw(n, device=device), list(range(n)))
    assert ours(case, implementation=implementation).isnan()
    total = ours(case, reduction="sum", implementation=implementation)
    assert total == 0
    assert not any(g.any() for g in gradients(total, case))


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_the_nan_of_no_token_can_be_differentiated_whatever_is_frozen(
    implementation: Implementation, device: torch.device, frozen: str
) -> None:
    case = ignoring(draw(5, device=device), list(range(5)))
    case = replace(case, **{frozen: getattr(case, frozen).detach()})
    loss = ours(case, implementation=implementation)
    assert loss.isnan()
    loss.backward()


def test_weights_of_zero_cost_nothing_and_their_mean_is_nan() -> None:
    case = draw()
    weights = torch.tensor([0.0, 1, 0, 0, 2, 0, 0, 0, 0])
    with Watch() as watch:
        ours(case, weights=weights).backward()
    assert watch.units(2, 8, 50) == 3
    assert ours(case, weights=torch.zeros(9)).isnan()
    assert ours(case, weights=torch.zeros(9), reduction="sum") == 0


def test_batches_of_sequences_take_weights_of_their_shape() -> None:
    case, weights = draw(6), torch.rand(6)
    hidden = case.hidden.detach().view(2, 3, -1).requires_grad_()
    batch = replace(case, hidden=hidden, targets=case.targets.view(2, 3))
    flat, shaped = ours(case, weights=weights), ours(batch, weights=weights.view(2, 3))
    assert_values([shaped], [flat])
    grad_hidden, grad_weight = gradients(shaped, batch)
    assert_gradients([grad_hidden.flatten(0, 1), grad_weight], gradients(flat, case))


def test_weights_get_no_gradient() -> None:
    case, weights = draw(), torch.rand(9, requires_grad=True)
    ours(case, weights=weights).backward()
    assert weights.grad is None


@settings(max_examples=30)
@given(
    n=st.integers(1, 30),
    v=st.integers(1, 60),
    ignored=st.sets(st.integers(0, 29)),
    rows=st.integers(0, 30),
    reduction=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 100),
)
def test_any_choice_of_ignored_tokens_agrees(
    n: int, v: int, ignored: set[int], rows: int, reduction: Reduction, seed: int
) -> None:
    case = ignoring(draw(n, 4, v, seed=seed), [i for i in ignored if i < n])
    exact = case.exact()
    got, expected = ours(case, reduction=reduction, logits_bytes=rows * v * 4), theirs(exact, reduction)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5, equal_nan=True)
    if not expected.isnan():
        assert_gradients(gradients(got, case), gradients(expected, exact))
