"""float32, bfloat16 and float16, wider logits, and autocast."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from int_lightning_kernels import Implementation, linear_logprob
from int_lightning_kernels.policy_loss import policy_loss

from arithmetic import Case, assert_close, assert_values, combined, draw, gradients

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
dtypes = pytest.mark.parametrize("dtype", DTYPES)
half = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])


def distance(ours: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative, over all entries."""
    return float((ours.double() - exact).norm() / exact.norm())


@dtypes
def test_outputs_are_float32_and_as_good_as_rounded_logits(
    implementation: Implementation, device: torch.device, dtype: str
) -> None:
    case = draw(device=device, dtype=DTYPES[dtype], bias=True, per_token=True)
    ours, exact = case.outputs(implementation=implementation), case.exact()
    assert {t.dtype for t in ours if t is not None} == {torch.float32}
    largest = float((exact.hidden @ exact.weight.T).abs().max())
    assert isinstance(case.temperature, torch.Tensor)
    bound = 2 * torch.finfo(DTYPES[dtype]).eps * largest / float(case.temperature.min())
    assert_close(ours, exact.written_out(), bound * 2, 1e-5)


@pytest.mark.parametrize("rows", [100, 3, 2])
def test_gradients_have_the_inputs_dtype_and_its_precision(
    implementation: Implementation, device: torch.device, dtype_to_store: torch.dtype, rows: int
) -> None:
    case = draw(6, device=device, dtype=dtype_to_store, bias=True)
    exact, budget = case.exact(), rows * 50 * dtype_to_store.itemsize
    got = gradients(combined(case.outputs(implementation=implementation, logits_bytes=budget)), case)
    assert {g.dtype for g in got} == {dtype_to_store}
    for mine, expected in zip(got, gradients(combined(exact.written_out()), exact), strict=True):
        assert distance(mine, expected) < 4 * torch.finfo(dtype_to_store).eps


@half
def test_float32_logits_take_the_rounding_away(
    implementation: Implementation, device: torch.device, dtype: str
) -> None:
    case = draw(device=device, dtype=DTYPES[dtype], spread=3)
    exact = case.exact().written_out()
    with torch.no_grad():
        rounded = case.outputs(implementation=implementation)
        wide = case.outputs(implementation=implementation, logits_dtype=torch.float32)
    assert_values(wide, exact)
    for name in ("logprob", "entropy", "logsumexp"):
        assert distance(getattr(wide, name), getattr(exact, name)) < (
            distance(getattr(rounded, name), getattr(exact, name)) / 20
        )


def test_float32_logits_have_gradients_in_the_inputs_dtype(
    implementation: Implementation, device: torch.device, dtype_to_store: torch.dtype
) -> None:
    case = draw(6, device=device, dtype=dtype_to_store, bias=True)
    exact = case.exact()
    expected = gradients(combined(exact.written_out()), exact)
    for rows in (6, 4, 1):
        out = case.outputs(implementation=implementation, logits_dtype=torch.float32, logits_bytes=rows * 50 * 4)
        for mine, theirs in zip(gradients(combined(out), case), expected, strict=True):
            assert mine.dtype == dtype_to_store
            assert distance(mine, theirs) < 4 * torch.finfo(dtype_to_store).eps


def test_narrower_logits_halve_the_budget_that_is_needed(implementation: Implementation, device: torch.device) -> None:
    case = draw(device=device)
    exact = case.exact().written_out()
    out = case.outputs(implementation=implementation, logits_dtype=torch.float16)
    assert_close(out, exact, 0.02, 0)
    assert {g.dtype for g in gradients(combined(out), case)} == {torch.float32}


def test_the_temperature_divides_in_float32(implementation: Implementation, device: torch.device) -> None:
    case = draw(device=device, dtype=torch.float16, temperature=0.7)
    with torch.no_grad():
        logits = (case.hidden @ case.weight.T).float()
        got = case.outputs(implementation=implementation).logsumexp
    torch.testing.assert_close(got, (logits / 0.7).logsumexp(-1), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("hidden", [torch.float32, torch.bfloat16])
def test_autocast_multiplies_in_bfloat16_and_keeps_a_float32_gradient(
    implementation: Implementation, device: torch.device, hidden: torch.dtype
) -> None:
    case = draw(device=device)
    case = replace(case, hidden=case.hidden.detach().to(hidden).requires_grad_())
    low = Case(*(t.detach().bfloat16().requires_grad_() for t in (case.hidden, case.weight)), case.targets)
    with torch.autocast(device.type, torch.bfloat16):
        out = case.outputs(implementation=implementation)
    assert_close(out, low.outputs(implementation=implementation), 0, 0)
    grad_hidden, grad_weight = gradients(combined(out), case)
    assert (grad_hidden.dtype, grad_weight.dtype) == (hidden, torch.float32)
    exact = low.exact()
    expected = gradients(combined(exact.written_out()), exact)
    assert distance(grad_hidden, expected[0]) < 0.02
    assert distance(grad_weight, expected[1]) < 0.02


def test_autocast_serves_the_fused_loss_too() -> None:
    case = draw()
    low = Case(*(t.detach().bfloat16().requires_grad_() for t in (case.hidden, case.weight)), case.targets)
    tokens = {"advantage": torch.randn(9), "token_weight": torch.rand(9)}
    with torch.autocast("cpu", torch.bfloat16):
        loss = policy_loss(case.hidden, case.weight, case.targets, **tokens).loss
    other = policy_loss(low.hidden, low.weight, low.targets, **tokens).loss
    assert_close([loss], [other], 0, 0)
    got, expected = gradients(loss, case), gradients(other, low)
    assert {g.dtype for g in got} == {torch.float32}
    for mine, theirs in zip(got, expected, strict=True):
        assert distance(mine, theirs.double()) < 0.02


def test_within_autocast_float32_logits_are_still_to_be_had(
    implementation: Implementation, device: torch.device
) -> None:
    case = draw(device=device)
    low = Case(*(t.detach().bfloat16() for t in (case.hidden, case.weight)), case.targets)
    with torch.autocast(device.type, torch.bfloat16):
        out = linear_logprob(
            case.hidden,
            case.weight,
            case.targets,
            entropy=True,
            implementation=implementation,
            logits_dtype=torch.float32,
        )
    assert_values(out, low.exact().written_out())
