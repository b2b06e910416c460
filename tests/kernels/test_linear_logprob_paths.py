"""Results are the same however many logits fit in the budget; and what a budget costs in operations and memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning_kernels import Implementation

from arithmetic import assert_close, assert_gradients, assert_values, combined, draw, gradients
from watching import Watch, saved_for_backward

N, H, V = 10, 8, 300
ROW = V * 4
BUDGETS = {"all kept": N * ROW, "partly kept": 6 * ROW, "just half kept": 5 * ROW, "none kept": 4 * ROW, "rows": 1}
UNITS = {"all kept": 3.0, "partly kept": 3.4, "just half kept": 3.5, "none kept": 4.0, "rows": 4.0}
budgets = pytest.mark.parametrize("budget", BUDGETS)


@budgets
def test_values_and_gradients_are_exact_within_every_budget(
    implementation: Implementation, device: torch.device, budget: str
) -> None:
    case = draw(N, H, V, device=device, bias=True, per_token=True, softcap=8.0)
    exact = case.exact()
    ours = case.outputs(implementation=implementation, logits_bytes=BUDGETS[budget])
    assert_values(ours, exact.written_out())
    assert_gradients(gradients(combined(ours), case), gradients(combined(exact.written_out()), exact))


@budgets
def test_a_second_and_third_backward_pass_give_the_same(
    implementation: Implementation, device: torch.device, budget: str
) -> None:
    case = draw(5, H, V, device=device)
    exact = case.exact()
    ours = case.outputs(implementation=implementation, logits_bytes=BUDGETS[budget] // 2)
    for seed in (1, 2, 1):
        got = gradients(combined(ours, seed), case, retain_graph=True)
        assert_gradients(got, gradients(combined(exact.written_out(), seed), exact))


@budgets
def test_one_unit_forward_and_two_to_three_backward(budget: str) -> None:
    case = draw(N, H, V)
    with Watch() as forward:
        scalar = combined(case.outputs(implementation="chunked", logits_bytes=BUDGETS[budget]))
    with Watch() as backward:
        scalar.backward()
    assert forward.units(N, H, V) == 1
    assert forward.units(N, H, V) + backward.units(N, H, V) == pytest.approx(UNITS[budget])


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_a_frozen_input_saves_a_unit(frozen: str) -> None:
    case = draw(N, H, V)
    case = replace(case, **{frozen: getattr(case, frozen).detach()})
    with Watch() as watch:
        combined(case.outputs(implementation="chunked")).backward()
    assert watch.units(N, H, V) == 2


def test_ignored_tokens_cost_nothing() -> None:
    case = draw(N, H, V)
    targets = case.targets.clone()
    targets[:7] = -100
    with Watch() as watch:
        combined(replace(case, targets=targets).outputs(implementation="chunked", ignore_index=-100)).backward()
    assert watch.units(3, H, V) == 3


def test_without_gradients_one_unit_is_all() -> None:
    case = draw(N, H, V)
    with Watch() as watch, torch.no_grad():
        case.outputs(implementation="chunked")
    assert watch.units(N, H, V) == 1


def test_beyond_the_budget_nothing_of_the_size_of_the_logits_is_made_or_saved() -> None:
    n, v, budget = 1500, 3000, 2**20
    case = draw(n, 4, v)
    with Watch() as watch, saved_for_backward() as saved:
        scalar = combined(case.outputs(implementation="chunked", logits_bytes=budget))
    with Watch() as backward:
        scalar.backward()
    scratch = 2 * 2**19 * 4
    assert n * v * 4 > 4 * scratch
    assert max(watch.largest, backward.largest) <= max(budget, scratch)
    inputs = {case.hidden.data_ptr(), case.weight.data_ptr(), case.targets.data_ptr()}
    assert all(t.numel() <= n for t in saved if t.data_ptr() not in inputs)


def test_logits_that_just_fit_the_budget_are_formed_once() -> None:
    n, v = 1500, 3000
    case = draw(n, 4, v)
    with Watch() as forward:
        scalar = combined(case.outputs(implementation="chunked", logits_bytes=n * v * 4))
    with Watch() as backward:
        scalar.backward()
    assert forward.largest == n * v * 4
    assert forward.units(n, 4, v) + backward.units(n, 4, v) == 3


@settings(max_examples=30)
@given(
    n=st.integers(1, 300),
    v=st.integers(1, 300),
    rows=st.floats(0, 310),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 100),
)
def test_no_budget_changes_the_result(n: int, v: int, rows: float, dtype: torch.dtype, seed: int) -> None:
    case = draw(n, 4, v, dtype=dtype, seed=seed, bias=True)
    within = case.outputs(implementation="chunked", logits_bytes=int(rows * v * dtype.itemsize))
    whole = case.outputs(implementation="chunked", logits_bytes=2**30)
    assert_close(within, whole, 1e-5, 1e-5)
    got, expected = gradients(combined(within), case), gradients(combined(whole), case)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).double().norm() <= max(1e-5, 2 * torch.finfo(dtype).eps) * (b.double().norm() + n**0.5)
