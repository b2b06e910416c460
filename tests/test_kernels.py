"""Linear log-probs and entropies against float64 arithmetic written out."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from int_lightning_kernels import linear_logprob

module = importlib.import_module("int_lightning_kernels.linear_logprob")
N, H, V = 37, 8, 50


def inputs(n: int = N, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(n, H, generator=g).to(dtype).requires_grad_()
    weight = torch.randn(V, H, generator=g).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(V, (n,), generator=g)


def reference(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    logits = hidden @ weight.T / temperature
    total = logits.exp().sum(-1)
    probs = logits.exp() / total[:, None]
    return probs[torch.arange(len(targets)), targets].log(), -(probs * probs.log()).sum(-1), total.log()


def combined(outputs: tuple[Tensor, ...], seed: int = 1) -> Tensor:
    """A scalar in which every output of every token has a weight of its own."""
    g = torch.Generator().manual_seed(seed)
    return sum(((o * torch.randn(len(o), generator=g)).sum() for o in outputs), torch.zeros(()))


def in_float64(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
@pytest.mark.parametrize("chunk", [2**24, V * 10, 1])
def test_values_and_gradients(monkeypatch: pytest.MonkeyPatch, temperature: float, chunk: int) -> None:
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
    hidden, weight, targets = inputs()
    hidden64, weight64 = in_float64(hidden, weight)
    ours = linear_logprob(hidden, weight, targets, temperature=temperature, entropy=True)
    exact = reference(hidden64, weight64, targets, temperature)
    assert ours.entropy is not None
    assert {t.dtype for t in ours} == {torch.float32}
    for got, expected in zip((ours.logprob, ours.entropy, ours.logsumexp), exact, strict=True):
        torch.testing.assert_close(got.double(), expected, atol=2e-5, rtol=1e-5)
    combined((ours.logprob, ours.entropy, ours.logsumexp)).backward()
    combined(exact).backward()
    for mine, theirs in ((hidden, hidden64), (weight, weight64)):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad.double(), theirs.grad, atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_the_gradient_of_each_output(output: int) -> None:
    hidden, weight, targets = inputs()
    hidden64, weight64 = in_float64(hidden, weight)
    got = linear_logprob(hidden, weight, targets, entropy=True)[output]
    assert got is not None
    combined((got,)).backward()
    combined((reference(hidden64, weight64, targets, 1.0)[output],)).backward()
    for mine, theirs in ((hidden, hidden64), (weight, weight64)):
        assert mine.grad is not None
        assert mine.grad.abs().max() > 1e-3
        torch.testing.assert_close(mine.grad.double(), theirs.grad, atol=5e-5, rtol=1e-4)


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for chunk in (2**24, V * 36, V * 7 + 3, V, 1):
        monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
        hidden, weight, targets = inputs()
        out = linear_logprob(hidden, weight, targets, entropy=True)
        assert out.entropy is not None
        combined((out.logprob, out.entropy)).backward()
        assert hidden.grad is not None
        assert weight.grad is not None
        results.append((out.logprob, out.entropy, out.logsumexp, hidden.grad, weight.grad))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def numbers_kept_for_backward(chunk: int, monkeypatch: pytest.MonkeyPatch) -> int:
    sizes = [0]

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
    hidden, weight, targets = inputs()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        linear_logprob(hidden, weight, targets)
    return sum(sizes)


def test_logits_are_not_kept_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers_kept_for_backward(N * V, monkeypatch) >= N * V
    chunks = -(-N // 5)
    assert numbers_kept_for_backward(V * 5, monkeypatch) <= chunks * V * H + N * (H + 3)


def test_entropy_only_where_it_is_asked_for() -> None:
    hidden, weight, targets = inputs()
    with torch.no_grad():
        plain = linear_logprob(hidden, weight, targets)
        full = linear_logprob(hidden, weight, targets, entropy=True)
    assert plain.entropy is None
    torch.testing.assert_close(plain.logprob, full.logprob)
    torch.testing.assert_close(plain.logsumexp, full.logsumexp)


@pytest.mark.parametrize("entropy", [True, False])
def test_no_rows(entropy: bool) -> None:
    hidden, weight, targets = inputs(0)
    out = linear_logprob(hidden, weight, targets, entropy=entropy)
    assert out.logprob.shape == out.logsumexp.shape == (0,)
    assert (out.entropy is not None) is entropy
    out.logprob.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.shape == (0, H)
    torch.testing.assert_close(weight.grad, torch.zeros(V, H))


def test_bfloat16_in_float32_out() -> None:
    hidden, weight, targets = inputs(dtype=torch.bfloat16)
    hidden64, weight64 = in_float64(hidden, weight)
    out = linear_logprob(hidden, weight, targets, entropy=True)
    assert {t.dtype for t in out if t is not None} == {torch.float32}
    torch.testing.assert_close(
        out.logprob.double(), reference(hidden64, weight64, targets, 1.0)[0], atol=0.1, rtol=0.02
    )
    out.logprob.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16


def test_the_temperature_divides_in_float32() -> None:
    hidden, weight, targets = inputs(dtype=torch.bfloat16)
    with torch.no_grad():
        logits = (hidden @ weight.T).float()
        got = linear_logprob(hidden, weight, targets, temperature=0.7).logsumexp
    torch.testing.assert_close(got, (logits / 0.7).logsumexp(-1), atol=1e-5, rtol=1e-6)


def test_large_logits_do_not_overflow() -> None:
    hidden, weight, targets = inputs()
    out = linear_logprob(hidden * 200, weight, targets, entropy=True)
    assert out.entropy is not None
    assert torch.isfinite(torch.cat([out.logprob, out.entropy, out.logsumexp])).all()
    exact = torch.log_softmax(hidden.double() * 200 @ weight.double().T, -1)
    expected = exact.gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(out.logprob.double(), expected, atol=1e-2, rtol=1e-5)


def test_the_folder_kernels_is_no_package() -> None:
    folder = Path(__file__).parents[1] / "kernels"
    assert (folder / "int_lightning_kernels" / "__init__.py").is_file()
    assert not (folder / "__init__.py").exists()
