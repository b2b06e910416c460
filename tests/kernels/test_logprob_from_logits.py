"""Log-probs and entropies of given logits, and the backward pass that writes over them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from int_lightning_kernels import Implementation, LogProbs, logprob_from_logits, reference

from arithmetic import assert_close, assert_gradients, assert_values, combined

SIZES = pytest.mark.parametrize("size", [1, 50, 8192, 9001])


def draw(
    n: int, v: int, device: torch.device, dtype: torch.dtype = torch.float32, masked: bool = False
) -> tuple[Tensor, Tensor]:
    """Logits with gradient, and targets; ``masked`` sets most logits to -inf, but none of a target."""
    g = torch.Generator().manual_seed(0)
    logits, targets = 3 * torch.randn(n, v, generator=g), torch.randint(v, (n,), generator=g)
    if masked:
        kept = torch.rand(n, v, generator=g) < 0.3
        kept[:, : v // 2] = False
        kept[torch.arange(n), targets] = True
        logits = logits.where(kept, -torch.inf)
    return logits.to(device, dtype).requires_grad_(), targets.to(device)


def exact(logits: Tensor, targets: Tensor, temperature: Tensor | float = 1.0) -> tuple[Tensor, LogProbs]:
    """The same logits in float64, and the outputs of ``reference``."""
    wide = logits.detach().double().requires_grad_()
    inverse = torch.ones(len(targets), dtype=torch.float64, device=logits.device) / temperature
    return wide, LogProbs(*reference.log_probs(reference.scores(wide, inverse), targets))


def gradient(outputs: Sequence[Tensor | None], logits: Tensor, **options: bool) -> Tensor:
    return torch.autograd.grad(combined(outputs), logits, **options)[0]


@SIZES
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_values_and_gradients_are_exact(
    implementation: Implementation, device: torch.device, size: int, masked: bool, inplace: bool
) -> None:
    logits, targets = draw(4, size, device, masked=masked)
    wide, expected = exact(logits, targets)
    ours = logprob_from_logits(logits, targets, entropy=True, inplace_backward=inplace, implementation=implementation)
    assert {t.dtype for t in ours if t is not None} == {torch.float32}
    assert_values(ours, expected)
    assert_gradients([gradient(ours, logits)], [gradient(expected, wide)])


@pytest.mark.parametrize("output", ["logprob", "entropy", "logsumexp"])
def test_each_output_alone_has_its_gradient(implementation: Implementation, device: torch.device, output: str) -> None:
    logits, targets = draw(4, 50, device, masked=True)
    wide, expected = exact(logits, targets)
    ours = logprob_from_logits(logits, targets, entropy=True, implementation=implementation)
    got = gradient([getattr(ours, output)], logits)
    assert got.abs().max() > 1e-3
    assert_gradients([got], [gradient([getattr(expected, output)], wide)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_logits_are_reduced_in_float32(
    implementation: Implementation, device: torch.device, dtype: torch.dtype
) -> None:
    logits, targets = draw(4, 9001, device, dtype)
    temperature = torch.tensor([0.5, 1.0, 1.3, 2.0], device=device)
    wide, expected = exact(logits, targets, temperature)
    ours = logprob_from_logits(logits, targets, temperature=temperature, entropy=True, implementation=implementation)
    assert_values(ours, expected)
    got, want = gradient(ours, logits), gradient(expected, wide)
    assert got.dtype == dtype
    assert (got - want).norm() < torch.finfo(dtype).eps * want.norm()


def test_the_gradient_is_written_over_the_logits(implementation: Implementation, device: torch.device) -> None:
    source, targets = draw(4, 50, device)
    logits = source * 1
    place, before = logits.data_ptr(), logits.detach().clone()
    ours = logprob_from_logits(logits, targets, inplace_backward=True, implementation=implementation)
    assert torch.equal(logits, before)
    got = gradient([ours.logprob], source)
    wide, expected = exact(before, targets)
    assert logits.data_ptr() == place
    assert_gradients([logits.detach()], [gradient([expected.logprob], wide)])
    assert_gradients([got], [logits.detach()])


def test_a_second_backward_pass_over_overwritten_logits_raises(
    implementation: Implementation, device: torch.device
) -> None:
    source, targets = draw(4, 50, device)
    ours = logprob_from_logits(source * 1, targets, inplace_backward=True, implementation=implementation)
    gradient([ours.logprob], source, retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient([ours.logprob], source)


def test_another_reader_of_overwritten_logits_is_told(implementation: Implementation, device: torch.device) -> None:
    source, targets = draw(4, 50, device)
    logits = source * 1
    square = logits.square().sum()
    ours = logprob_from_logits(logits, targets, inplace_backward=True, implementation=implementation)
    gradient([ours.logprob], source, retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(square, source)


def test_otherwise_logits_stay_and_backward_can_be_repeated(
    implementation: Implementation, device: torch.device
) -> None:
    logits, targets = draw(4, 50, device)
    before = logits.detach().clone()
    ours = logprob_from_logits(logits, targets, entropy=True, implementation=implementation)
    first = gradient(ours, logits, retain_graph=True)
    assert_close([gradient(ours, logits)], [first], 0, 0)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("inplace", [False, True])
def test_ignored_rows_are_zero_and_have_no_gradient(
    implementation: Implementation, device: torch.device, inplace: bool
) -> None:
    logits, targets = draw(4, 50, device)
    targets[1] = -1
    ours = logprob_from_logits(
        logits, targets, entropy=True, ignore_index=-1, inplace_backward=inplace, implementation=implementation
    )
    assert not any(t is None or t[1].any() for t in ours)
    kept = torch.tensor([0, 2, 3], device=device)
    wide, expected = exact(logits.detach()[kept], targets[kept])
    assert_values([t[kept] for t in ours if t is not None], expected)
    got = gradient([ours.logprob.square()[kept] + ours.logprob[1]], logits)
    assert not got[1].any()
    assert_gradients([got[kept]], [gradient([expected.logprob.square()], wide)])


@pytest.mark.parametrize("layout", ["columns", "rows", "sequences", "targets"])
@pytest.mark.parametrize("inplace", [False, True])
def test_layouts_do_not_matter(
    implementation: Implementation, device: torch.device, layout: str, inplace: bool
) -> None:
    source, targets = draw(6, 50, device)
    logits, rows = source * 1, targets
    if layout == "columns":
        logits = source.T.contiguous().T
    elif layout == "rows":
        logits = torch.stack([source, source * 0], 1)[:, 0]
    elif layout == "sequences":
        logits, rows = logits.view(2, 3, 50), targets.view(2, 3)
    else:
        rows = torch.stack([targets, targets * 0], 1)[:, 0]
    wide, expected = exact(source, targets)
    ours = logprob_from_logits(logits, rows, entropy=True, inplace_backward=inplace, implementation=implementation)
    assert all(t is not None and t.shape == rows.shape for t in ours)
    flat = [t.flatten() for t in ours if t is not None]
    assert_values(flat, expected)
    assert_gradients([gradient(flat, source)], [gradient(expected, wide)])


def test_rows_further_apart_than_32_bits_count_are_found(implementation: Implementation, device: torch.device) -> None:
    if device.type == "cuda":
        pytest.skip("the memory that this leaves untouched would be taken on a GPU")
    try:
        far = torch.empty(2**32 + 50, dtype=torch.float16)  # virtual: only the rows' pages are touched
    except RuntimeError:
        pytest.skip("the machine refuses 8 GiB of virtual memory")
    # an offset that wraps around ends before this view, in the same memory
    logits = far.as_strided((3, 50), (2**30, 1), 2**31)
    near, targets = draw(3, 50, device, torch.float16)
    logits.copy_(near.detach())
    logits.requires_grad_()
    ours = logprob_from_logits(logits, targets, entropy=True, inplace_backward=True, implementation=implementation)
    plain = logprob_from_logits(near, targets, entropy=True, implementation=implementation)
    assert_close(ours, plain, 0, 0)
    gradient(ours, logits)
    assert_close([logits.detach()], [gradient(plain, near)], 0, 0)


def test_no_row_and_no_entropy(implementation: Implementation, device: torch.device) -> None:
    logits, targets = draw(0, 50, device)
    out = logprob_from_logits(logits, targets, implementation=implementation)
    assert out.entropy is None
    assert out.logprob.shape == out.logsumexp.shape == (0,)
    assert gradient([out.logprob], logits).shape == (0, 50)


def test_a_taken_token_of_probability_zero_has_log_prob_minus_infinity(
    implementation: Implementation, device: torch.device
) -> None:
    logits, targets = draw(2, 50, device)
    with torch.no_grad():
        logits[0, targets[0]] = -torch.inf
    out = logprob_from_logits(logits, targets, entropy=True, implementation=implementation)
    assert out.logprob[0] == -torch.inf
    assert out.entropy is not None
    assert out.entropy.isfinite().all()
    assert gradient([out.entropy, out.logsumexp], logits).isfinite().all()
