"""Any loss that is a sum over tokens: autograd's gradients, at three units of work for the tokens that count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from int_lightning_kernels import Implementation, Loss, TokenLoss, linear_token_loss

from arithmetic import Case, assert_gradients, assert_values, draw, gradients
from watching import Watch, saved_for_backward

N, H, V = 10, 8, 300
ROW = V * 4


def some_loss(case: Case, seed: int = 3) -> TokenLoss:
    """A loss that is not linear in anything, with constants of its own for each token."""
    a, b = torch.randn(2, len(case.targets), generator=torch.Generator().manual_seed(seed)).to(case.hidden.device)

    def loss(logprob: Tensor, entropy: Tensor, rows: slice | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        each = a[rows] * logprob.exp() + (b[rows] * logprob + entropy).sin() * entropy
        return each.sum(), {"entropy": entropy.sum(), "tokens": logprob.new_ones(len(logprob)).sum()}

    return loss


def ours(case: Case, loss: TokenLoss | None = None, **options: object) -> Loss:
    every = case.options | {"implementation": "chunked"} | options
    return linear_token_loss(case.hidden, case.weight, case.targets, loss or some_loss(case), **every)


def by_autograd(case: Case, loss: TokenLoss | None = None, rows: Tensor | slice = slice(None)) -> tuple[Tensor, Case]:
    """The loss of some tokens in float64."""
    exact = case.exact()
    out = exact.written_out()
    assert out.entropy is not None
    return (loss or some_loss(case))(out.logprob[rows], out.entropy[rows], rows)[0], exact


@pytest.mark.parametrize("rows", [N, 4, 1])
@pytest.mark.parametrize("options", [{}, {"bias": True, "per_token": True, "softcap": 6.0}], ids=["plain", "all"])
def test_loss_gradients_and_metrics_are_those_of_autograd(
    implementation: Implementation, device: torch.device, rows: int, options: dict[str, object]
) -> None:
    case = draw(N, H, V, device=device, **options)
    got = ours(case, implementation=implementation, logits_bytes=rows * ROW)
    expected, exact = by_autograd(case)
    assert got.loss.dtype == torch.float32 and got.loss.shape == ()
    assert_values([got.loss], [expected])
    assert_gradients(gradients(got.loss, case), gradients(expected, exact))
    entropy = exact.written_out().entropy
    assert entropy is not None
    assert_values(got.metrics.values(), [entropy.sum(), torch.tensor(float(N), device=device)])
    assert list(got.metrics) == ["entropy", "tokens"]
    assert not any(value.requires_grad for value in got.metrics.values())


def test_the_reference_implementation_is_the_same_loss() -> None:
    case = draw(N, H, V, bias=True)
    active = torch.tensor([7, 1, 2])
    plain, other = ours(case, active=active), ours(case, active=active, implementation="reference")
    assert_values([plain.loss, *plain.metrics.values()], [other.loss, *other.metrics.values()])
    assert_gradients(gradients(plain.loss, case), gradients(other.loss, case))


@pytest.mark.parametrize("rows", [N, 3])
def test_backward_passes_are_scaled_and_can_be_repeated(
    implementation: Implementation, device: torch.device, rows: int
) -> None:
    case = draw(N, H, V, device=device, bias=True)
    loss = ours(case, implementation=implementation, logits_bytes=rows * ROW).loss
    expected, exact = by_autograd(case)
    once = gradients(expected, exact)
    for scale in (3.0, -0.5, 1.0):
        assert_gradients(gradients(loss * scale, case, retain_graph=True), [g * scale for g in once])
    loss.backward()
    assert_gradients([leaf.grad for leaf in case.leaves], once)


def test_gradients_of_two_losses_add_up_in_the_leaves() -> None:
    case = draw(N, H, V)
    (ours(case).loss * 2).backward()
    ours(case, some_loss(case, 4), logits_bytes=2 * ROW).loss.backward()
    exact = case.exact()
    out = exact.written_out()
    assert out.entropy is not None
    both = 2 * some_loss(case)(out.logprob, out.entropy, slice(None))[0]
    both = both + some_loss(case, 4)(out.logprob, out.entropy, slice(None))[0]
    assert_gradients([leaf.grad for leaf in case.leaves], gradients(both, exact))


@pytest.mark.parametrize("rows", [N, 2])
@pytest.mark.parametrize("active", [[8, 0, 3, 4, 7], [5], list(range(N)), []], ids=str)
def test_only_active_tokens_count_and_cost(rows: int, active: list[int]) -> None:
    case = draw(N, H, V, per_token=True)
    chosen = torch.tensor(active, dtype=torch.int64)
    with Watch() as watch:
        got = ours(case, active=chosen, logits_bytes=rows * ROW).loss
        grad_hidden, grad_weight = gradients(got, case)
    expected, exact = by_autograd(case, rows=chosen)
    assert_values([got], [expected])
    assert_gradients([grad_hidden, grad_weight], gradients(expected, exact))
    assert watch.units(1, H, V) == 3 * len(active)


@pytest.mark.parametrize("rows", [N, 4, 1])
def test_three_units_whatever_the_budget(rows: int) -> None:
    case = draw(N, H, V, bias=True)
    with Watch() as forward:
        loss = ours(case, logits_bytes=rows * ROW).loss
    with Watch() as backward:
        loss.backward()
    assert forward.units(N, H, V) == 3
    assert backward.operations == 0


def test_frozen_inputs_and_no_gradient_at_all_cost_less() -> None:
    case = draw(N, H, V)
    for frozen in ("hidden", "weight"):
        some = replace(case, **{frozen: getattr(case, frozen).detach()})
        with Watch() as watch:
            got = gradients(ours(some).loss, some)
        assert watch.units(N, H, V) == 2
        expected, exact = by_autograd(some)
        assert_gradients(got, gradients(expected, exact))
    with Watch() as watch, torch.no_grad():
        loss = ours(case).loss
    assert watch.units(N, H, V) == 1
    assert not loss.requires_grad
    assert_values([loss], [by_autograd(case)[0]])


def test_neither_logits_nor_anything_of_their_size_is_made_or_saved() -> None:
    n, v, budget = 1500, 3000, 2**20
    case = draw(n, 4, v)
    with Watch() as watch, saved_for_backward() as saved:
        ours(case, logits_bytes=budget).loss.backward()
    assert n * v * 4 > 4 * (2 * 2**19 * 4)
    assert watch.largest <= 2 * 2**19 * 4
    assert all(t.numel() <= v * 4 for t in saved)


@pytest.mark.parametrize("rows", [N, 3])
def test_ignored_tokens_are_as_if_they_were_not_there(
    implementation: Implementation, device: torch.device, rows: int
) -> None:
    case = draw(N, H, V, device=device)
    kept = torch.tensor([0, 2, 3, 7, 8], device=device)
    targets = torch.full_like(case.targets, -1)
    targets[kept] = case.targets[kept]

    def loss(logprob: Tensor, entropy: Tensor, rows: slice | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (logprob * logprob + entropy).sum(), {}

    got = ours(
        replace(case, targets=targets), loss, ignore_index=-1, implementation=implementation, logits_bytes=rows * ROW
    )
    expected, exact = by_autograd(case, loss, kept)
    assert_values([got.loss], [expected])
    assert_gradients(gradients(got.loss, case), gradients(expected, exact))


@pytest.mark.parametrize("kind", ["log-prob", "entropy", "neither"])
def test_a_loss_may_depend_on_only_one_of_the_two(
    implementation: Implementation, device: torch.device, kind: str
) -> None:
    case = draw(N, H, V, device=device)

    def loss(logprob: Tensor, entropy: Tensor, rows: slice | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return {
            "log-prob": logprob.square().sum(),
            "entropy": entropy.square().sum(),
            "neither": 0 * logprob.detach().sum(),
        }[kind], {}

    got = ours(case, loss, implementation=implementation, logits_bytes=4 * ROW).loss
    if kind == "neither":
        assert not any(g.any() for g in gradients(got, case))
        return
    expected, exact = by_autograd(case, loss)
    assert_gradients(gradients(got, case), gradients(expected, exact))


def test_no_token_is_no_loss(implementation: Implementation, device: torch.device) -> None:
    case = draw(0, H, V, device=device, bias=True)
    loss = ours(case, implementation=implementation).loss
    assert loss == 0
    got = gradients(loss, case)
    assert [g.shape for g in got] == [(0, H), (V, H), (V,)]
    assert not any(g.any() for g in got)


def test_the_weights_gradient_is_summed_in_float32_over_many_chunks() -> None:
    case = draw(2048, H, 40, dtype=torch.bfloat16, spread=0.1)
    case = replace(case, hidden=case.hidden.detach().abs().requires_grad_(), targets=case.targets % 4)

    def loss(logprob: Tensor, entropy: Tensor, rows: slice | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return logprob.sum(), {}

    expected, exact = by_autograd(case, loss)
    grad_weight = gradients(expected, exact)[1]
    errors = []
    for rows in (2048, 8):
        got = gradients(ours(case, loss, logits_bytes=rows * 40 * 2).loss, case)[1]
        errors.append(float((got.double() - grad_weight).norm() / grad_weight.norm()))
    assert errors[0] < torch.finfo(torch.bfloat16).eps
    assert errors[1] < 1.2 * errors[0]


@settings(max_examples=30)
@given(
    n=st.integers(0, 40),
    v=st.integers(1, 80),
    rows=st.integers(0, 40),
    active=st.lists(st.integers(0, 39), max_size=20, unique=True),
    seed=st.integers(0, 100),
)
def test_no_budget_and_no_choice_of_tokens_changes_the_sum(
    n: int, v: int, rows: int, active: list[int], seed: int
) -> None:
    case = draw(n, 4, v, seed=seed, bias=True)
    chosen = torch.tensor([i for i in active if i < n], dtype=torch.int64)
    others = torch.tensor([i for i in range(n) if i not in active], dtype=torch.int64)
    whole = ours(case)
    parts = [ours(case, active=part, logits_bytes=rows * v * 4) for part in (chosen, others)]
    torch.testing.assert_close(parts[0].loss + parts[1].loss, whole.loss, atol=1e-4, rtol=1e-5)
    sums = [a + b for a, b in zip(*(gradients(p.loss, case) for p in parts), strict=True)]
    for got, expected in zip(sums, gradients(whole.loss, case), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
