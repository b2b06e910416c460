"""What the kernels' tests share: small random heads, float64 arithmetic on the same numbers, and gradients of both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from int_lightning_kernels import LogProbs, linear_logprob, reference


@dataclass(frozen=True)
class Case:
    """A head, some tokens, and how logits become scores."""

    hidden: Tensor
    weight: Tensor
    targets: Tensor
    bias: Tensor | None = None
    temperature: float | Tensor = 1.0
    softcap: float | None = None

    @property
    def leaves(self) -> list[Tensor]:
        """The tensors that get a gradient."""
        return [t for t in (self.hidden, self.weight, self.bias) if t is not None and t.requires_grad]

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the linear forms."""
        return {"bias": self.bias, "temperature": self.temperature, "softcap": self.softcap}

    def outputs(self, **more: Any) -> LogProbs:
        """``linear_logprob`` with the entropy."""
        return linear_logprob(self.hidden, self.weight, self.targets, **self.options, **{"entropy": True} | more)

    def exact(self) -> Case:
        """The same numbers in float64."""
        hidden, weight = (t.detach().double().requires_grad_(t.requires_grad) for t in (self.hidden, self.weight))
        bias = None if self.bias is None else self.bias.detach().double().requires_grad_(self.bias.requires_grad)
        return replace(self, hidden=hidden, weight=weight, bias=bias)

    def written_out(self) -> LogProbs:
        """The outputs from full logits, in the dtype of the case, differentiable by autograd."""
        z = reference.scores(self.hidden @ self.weight.T, self.inverse_temperature(), self.bias, self.softcap)
        return LogProbs(*reference.log_probs(z, self.targets))

    def inverse_temperature(self) -> Tensor:
        """Per token, in the dtype of the case."""
        return self.hidden.new_ones(self.targets.shape) / self.temperature

    def rows(self, rows: Tensor | slice) -> Case:
        """The case with some of its tokens."""
        per_token = isinstance(self.temperature, Tensor)
        temperature = self.temperature[rows] if per_token else self.temperature  # type: ignore[index]
        hidden = self.hidden.detach()[rows].requires_grad_()
        return replace(self, hidden=hidden, targets=self.targets[rows], temperature=temperature)


def draw(
    n: int = 9,
    h: int = 8,
    v: int = 50,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    bias: bool = False,
    per_token: bool = False,
    temperature: float = 1.0,
    softcap: float | None = None,
    spread: float = 1.0,
) -> Case:
    """A case whose logits have standard deviation ``spread * sqrt(h)``; ``per_token`` draws a temperature for each token."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g).to(device, dtype).requires_grad_()

    hidden, weight, offsets = normal(n, h), normal(v, h), normal(v)
    targets = torch.randint(v, (n,), generator=g).to(device)
    each = (torch.rand(n, generator=g) + 0.5).to(device)
    return Case(
        hidden=(hidden.detach() * spread).requires_grad_(),
        weight=weight,
        targets=targets,
        bias=offsets if bias else None,
        temperature=each if per_token else temperature,
        softcap=softcap,
    )


def combined(outputs: Iterable[Tensor | None], seed: int = 1) -> Tensor:
    """A scalar that weighs every output of every token differently."""
    g = torch.Generator().manual_seed(seed)
    present = [o for o in outputs if o is not None]
    weights = [torch.randn(o.shape, generator=g).to(o.device) for o in present]
    return torch.stack([(o * w).sum() for o, w in zip(present, weights, strict=True)]).sum()


def gradients(scalar: Tensor, case: Case, **options: Any) -> list[Tensor]:
    """Gradients of the hidden states, weight and bias that take one."""
    return list(torch.autograd.grad(scalar, case.leaves, **options))


def assert_close(ours: Iterable[Tensor | None], exact: Iterable[Tensor | None], atol: float, rtol: float) -> None:
    """Every tensor of ``ours`` agrees with its counterpart, compared in float64."""
    for got, expected in zip(ours, exact, strict=True):
        assert got is not None
        assert expected is not None
        torch.testing.assert_close(got.double(), expected.double(), atol=atol, rtol=rtol)


def assert_values(ours: Iterable[Tensor | None], exact: Iterable[Tensor | None]) -> None:
    """Float32 outputs of a small case agree with float64."""
    assert_close(ours, exact, atol=2e-5, rtol=1e-5)


def assert_gradients(ours: Iterable[Tensor | None], exact: Iterable[Tensor | None]) -> None:
    """Float32 gradients of a small case agree with float64."""
    assert_close(ours, exact, atol=5e-5, rtol=1e-4)
