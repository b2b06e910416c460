"""Log-probs, entropies and logsumexps, and the gradient of each, against float64 arithmetic written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from int_lightning_kernels import Implementation, linear_logprob

from arithmetic import Case, assert_close, assert_gradients, assert_values, combined, draw, gradients

VARIANTS = {
    "plain": {},
    "hot": {"temperature": 2.5},
    "cold": {"temperature": 0.6},
    "per token": {"per_token": True},
    "softcap": {"softcap": 3.0},
    "bias": {"bias": True},
    "everything": {"per_token": True, "softcap": 3.0, "bias": True},
}
variants = pytest.mark.parametrize("variant", VARIANTS)


def by_hand(case: Case, grad_logprob: Tensor, grad_entropy: Tensor, grad_logsumexp: Tensor) -> tuple[list[Tensor], ...]:
    """Values, and gradients of hidden, weight and bias, by formulas in float64."""
    hidden, weight = case.hidden.detach().double(), case.weight.detach().double()
    raw = hidden @ weight.T + (0 if case.bias is None else case.bias.detach().double())
    slope = torch.ones_like(raw)
    if case.softcap is not None:
        tanh = torch.tanh(raw / case.softcap)
        raw, slope = case.softcap * tanh, 1 - tanh.square()
    temperature = torch.as_tensor(case.temperature, dtype=torch.float64, device=raw.device).expand(len(raw))[:, None]
    z = raw / temperature
    total = z.exp().sum(1, keepdim=True)
    p = z.exp() / total
    entropy = -(p * p.log()).sum(1, keepdim=True)
    taken = torch.nn.functional.one_hot(case.targets, len(weight)).double()
    values = [(taken * p).sum(1).log(), entropy.squeeze(1), total.log().squeeze(1)]
    grad_z = (
        grad_logprob[:, None] * (taken - p)
        - grad_entropy[:, None] * p * (p.log() + entropy)
        + grad_logsumexp[:, None] * p
    )
    grad_raw = grad_z / temperature * slope
    return values, [grad_raw @ weight, grad_raw.T @ hidden, grad_raw.sum(0)]


@variants
def test_values_and_gradients_are_the_written_out_arithmetic(
    implementation: Implementation, device: torch.device, variant: str
) -> None:
    case = draw(device=device, **VARIANTS[variant])
    out = case.outputs(implementation=implementation)
    upstream = [torch.randn(len(case.targets), generator=torch.Generator().manual_seed(i)).to(device) for i in range(3)]
    values, exact = by_hand(case, *(u.double() for u in upstream))
    assert {t.dtype for t in out if t is not None} == {torch.float32}
    assert_values(out, values)
    assert_gradients(torch.autograd.grad(out, case.leaves, upstream), exact[: len(case.leaves)])


@pytest.mark.parametrize("output", ["logprob", "entropy", "logsumexp"])
@pytest.mark.parametrize("variant", ["plain", "everything"])
def test_each_output_alone_has_its_gradient(
    implementation: Implementation, device: torch.device, variant: str, output: str
) -> None:
    case = draw(device=device, **VARIANTS[variant])
    exact = case.exact()
    got = gradients(combined([getattr(case.outputs(implementation=implementation), output)]), case)
    expected = gradients(combined([getattr(exact.written_out(), output)]), exact)
    assert all(g.abs().max() > 1e-3 for g in got)
    assert_gradients(got, expected)


@pytest.mark.parametrize("frozen", ["hidden", "weight", "bias"])
def test_a_frozen_input_leaves_the_others_their_gradient(
    implementation: Implementation, device: torch.device, frozen: str
) -> None:
    case = draw(device=device, bias=True)
    case = replace(case, **{frozen: getattr(case, frozen).detach()})
    exact = case.exact()
    assert len(case.leaves) == 2
    got = gradients(combined(case.outputs(implementation=implementation)), case)
    assert_gradients(got, gradients(combined(exact.written_out()), exact))


@pytest.mark.parametrize("size", [50, 9000])
def test_tokens_of_bias_minus_infinity_might_as_well_not_exist(
    implementation: Implementation, device: torch.device, size: int
) -> None:
    case = draw(3, v=size, device=device, bias=True)
    assert case.bias is not None
    kept = torch.arange(size, device=device) % 3 != 0
    kept[:20] = False
    kept[case.targets] = True
    masked = replace(case, bias=case.bias.detach().where(kept, -torch.inf).requires_grad_())
    fewer = Case(case.hidden, case.weight[kept], (kept.cumsum(0) - 1)[case.targets], case.bias[kept]).exact()
    ours, exact = masked.outputs(implementation=implementation), fewer.written_out()
    assert_values(ours, exact)
    got, expected = gradients(combined(ours), masked), gradients(combined(exact), fewer)
    assert_gradients([got[0], got[1][kept], got[2][kept]], expected)
    assert not got[1][~kept].any()
    assert not got[2][~kept].any()


def test_a_batch_of_sequences_is_its_tokens(implementation: Implementation, device: torch.device) -> None:
    case = draw(6, device=device, per_token=True)
    assert isinstance(case.temperature, Tensor)
    hidden = case.hidden.detach().view(2, 3, -1).requires_grad_()
    batch = replace(case, hidden=hidden, targets=case.targets.view(2, 3), temperature=case.temperature.view(2, 3))
    flat, ours = case.outputs(implementation=implementation), batch.outputs(implementation=implementation)
    assert all(t is not None and t.shape == (2, 3) for t in ours)
    assert_close([t.flatten() for t in ours if t is not None], flat, 1e-6, 1e-6)
    grad_hidden, grad_weight = gradients(combined([t.flatten() for t in ours if t is not None]), batch)
    assert grad_hidden.shape == hidden.shape
    assert_close([grad_hidden.flatten(0, 1), grad_weight], gradients(combined(flat), case), 1e-6, 1e-6)


@pytest.mark.parametrize("name", ["hidden", "weight", "targets", "bias", "temperature"])
def test_strides_do_not_matter(implementation: Implementation, device: torch.device, name: str) -> None:
    case = draw(device=device, bias=True, per_token=True)
    tensor = getattr(case, name).detach()
    strided = torch.empty(*tensor.shape, 2, dtype=tensor.dtype, device=device)[..., 0].copy_(tensor)
    assert not strided.is_contiguous()
    other = replace(case, **{name: strided.requires_grad_(name in ("hidden", "weight", "bias"))})
    ours, plain = other.outputs(implementation=implementation), case.outputs(implementation=implementation)
    assert_values(ours, plain)
    assert_gradients(gradients(combined(ours), other), gradients(combined(plain), case))


def test_a_transposed_weight_has_a_gradient_like_it(implementation: Implementation, device: torch.device) -> None:
    case = draw(device=device)
    transposed = replace(case, weight=case.weight.detach().T.contiguous().T.requires_grad_())
    ours, plain = transposed.outputs(implementation=implementation), case.outputs(implementation=implementation)
    assert_gradients(gradients(combined(ours), transposed), gradients(combined(plain), case))


@pytest.mark.parametrize("entropy", [True, False])
def test_no_token_gives_empty_outputs_and_zero_gradients(
    implementation: Implementation, device: torch.device, entropy: bool
) -> None:
    case = draw(0, device=device, bias=True)
    out = case.outputs(implementation=implementation, entropy=entropy)
    assert out.logprob.shape == out.logsumexp.shape == (0,)
    assert (out.entropy is not None) is entropy
    assert_close(gradients(out.logprob.sum(), case), [torch.zeros_like(t) for t in case.leaves], 0, 0)


@pytest.mark.parametrize("size", [1, 2, 16, 17])
def test_one_token_and_the_smallest_vocabularies(
    implementation: Implementation, device: torch.device, size: int
) -> None:
    case = draw(1, v=size, device=device)
    ours, exact = case.outputs(implementation=implementation), case.exact()
    assert_values(ours, exact.written_out())
    assert_gradients(gradients(combined(ours), case), gradients(combined(exact.written_out()), exact))


@pytest.mark.parametrize("ignored", [[], [0, 4, 8], list(range(9))])
def test_ignored_tokens_are_zero_and_have_no_gradient(
    implementation: Implementation, device: torch.device, ignored: list[int]
) -> None:
    case = draw(device=device, per_token=True)
    targets = case.targets.clone()
    targets[ignored] = -100
    kept = torch.tensor([i for i in range(9) if i not in ignored], dtype=torch.int64, device=device)
    ours = replace(case, targets=targets).outputs(implementation=implementation, ignore_index=-100)
    only = case.rows(kept)
    exact = only.exact()
    some, weights = exact.written_out(), torch.randn(3, 9, generator=torch.Generator().manual_seed(2)).to(device)
    for got, expected in zip(ours, some, strict=True):
        assert got is not None
        assert not got[ignored].any()
        assert_values([got[kept]], [expected])
    got = gradients(torch.stack([(o * w).sum() for o, w in zip(ours, weights, strict=True)]).sum(), case)
    scalar = torch.stack([(o * w[kept]).sum() for o, w in zip(some, weights, strict=True)]).sum()
    grad_hidden, grad_weight = gradients(scalar, exact)
    assert_gradients(got, [torch.zeros_like(case.hidden).double().index_put((kept,), grad_hidden), grad_weight])


def test_the_entropy_is_there_only_where_it_is_asked_for(implementation: Implementation, device: torch.device) -> None:
    case = draw(device=device)
    plain = linear_logprob(case.hidden, case.weight, case.targets, implementation=implementation)
    assert plain.entropy is None
    full = case.outputs(implementation=implementation)
    assert_close([plain.logprob, plain.logsumexp], [full.logprob, full.logsumexp], 0, 0)


def test_without_gradients_there_is_no_graph_and_the_same_values(
    implementation: Implementation, device: torch.device
) -> None:
    case = draw(device=device)
    with torch.no_grad():
        quiet = case.outputs(implementation=implementation)
    assert not any(t is not None and t.requires_grad for t in quiet)
    assert_close(quiet, case.outputs(implementation=implementation), 0, 0)


def test_a_row_does_not_depend_on_the_others(implementation: Implementation, device: torch.device) -> None:
    case, other = draw(device=device), draw(device=device, seed=1)
    hidden = other.hidden.detach().clone()
    hidden[4] = case.hidden[4].detach()
    targets = other.targets.clone()
    targets[4] = case.targets[4]
    mixed = replace(case, hidden=hidden.requires_grad_(), targets=targets)
    ours, plain = mixed.outputs(implementation=implementation), case.outputs(implementation=implementation)
    assert_close([t[4] for t in ours if t is not None], [t[4] for t in plain if t is not None], 0, 0)
    assert_close([gradients(combined(ours), mixed)[0][4]], [gradients(combined(plain), case)[0][4]], 0, 0)


@settings(max_examples=40)
@given(
    n=st.integers(1, 6),
    v=st.integers(1, 300),
    spread=st.floats(0.01, 30),
    temperature=st.floats(0.2, 5),
    softcap=st.none() | st.floats(1, 50),
    seed=st.integers(0, 1000),
)
def test_probabilities_sum_to_one_and_entropies_are_between_zero_and_log_v(
    n: int, v: int, spread: float, temperature: float, softcap: float | None, seed: int
) -> None:
    case = draw(n, 4, v, spread=spread, temperature=temperature, softcap=softcap, seed=seed)
    every = replace(case, hidden=case.hidden.repeat_interleave(v, 0), targets=torch.arange(v).repeat(n))
    with torch.no_grad():
        out = every.outputs(implementation="chunked")
    assert out.entropy is not None
    probabilities = out.logprob.view(n, v).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(n), atol=1e-4, rtol=0)
    assert out.entropy.min() >= -1e-5
    assert out.entropy.max() <= torch.tensor(float(v)).log() + 1e-5
