"""The inputs of every way of computing: hidden states, head weight, targets, and what makes a scalar of the outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

HiddenKind = Literal["random", "trained-like"]
SLICE_ROWS = 256
CONFIDENCE = 0.7  # mean probability of the target among trained-like hidden states


@dataclass(frozen=True, slots=True)
class Shape:
    """N tokens of H features against a vocabulary of V, in ``dtype``."""

    tokens: int
    width: int
    vocabulary: int
    dtype: torch.dtype

    @property
    def unit(self) -> float:
        """Floating-point operations of one matrix product between tokens and vocabulary, 2NVH."""
        return 2.0 * self.tokens * self.width * self.vocabulary

    @property
    def float32_logits(self) -> int:
        """Bytes of float32 [N, V]."""
        return 4 * self.tokens * self.vocabulary

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class Inputs:
    """``hidden`` [N, H] and ``weight`` [V, H] take gradients; ``targets`` int64 [N]; all others float32 [N].

    ``count`` is the N that means divide by, also in a part of the rows. Tokens come in ``sequences`` of equal length, and the
    tokens of a sequence share its advantage.
    """

    hidden: Tensor
    weight: Tensor
    targets: Tensor
    grad_logprob: Tensor
    grad_entropy: Tensor
    advantage: Tensor
    token_weight: Tensor
    old_logprob: Tensor
    count: int
    sequences: int

    def scalar(self, values: tuple[Tensor, ...]) -> Tensor:
        """A loss is its own scalar; log-probs and entropies are summed with random weights."""
        if values[0].dim() == 0:
            return values[0]
        weights = (self.grad_logprob, self.grad_entropy)
        return torch.stack([(v * w).sum() for v, w in zip(values, weights, strict=False)]).sum()

    def more_precise(self) -> Inputs:
        """The same numbers, hidden and weight in float32 (in float64 if they were float32), with gradients of their own."""
        dtype = torch.float64 if self.hidden.dtype == torch.float32 else torch.float32
        hidden, weight = (t.detach().to(dtype).requires_grad_() for t in (self.hidden, self.weight))
        return replace(self, hidden=hidden, weight=weight)

    def slices(self) -> Iterator[Inputs]:
        """Parts of ``SLICE_ROWS`` rows whose scalars add up, with gradients to the whole hidden and weight."""
        for start in range(0, len(self.hidden), SLICE_ROWS):
            yield self._part(slice(start, start + SLICE_ROWS))

    def clear(self) -> None:
        """Frees the gradients."""
        self.hidden.grad = self.weight.grad = None

    def _part(self, rows: slice) -> Inputs:
        per_token = ("hidden", "targets", "grad_logprob", "grad_entropy", "advantage", "token_weight", "old_logprob")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_token})


def make_inputs(shape: Shape, kind: HiddenKind, device: str, *, old: bool = True, seed: int = 0) -> Inputs:
    """Inputs of a shape, the same for the same seed and device.

    Args:
        old: Whether ``old_logprob`` is to be near the log-probs, which takes a pass over all logits.
    """
    generator = torch.Generator(device).manual_seed(seed)
    n, sequences = shape.tokens, math.gcd(shape.tokens, 8)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, device=device)

    # Frequencies of about 1 / rank, as of words.
    targets = shape.vocabulary ** torch.rand(n, generator=generator, device=device, dtype=torch.float64)
    targets = (targets.long() - 1).clamp(0, shape.vocabulary - 1)
    if kind == "random":
        hidden, weight = normal(n, shape.width), normal(shape.vocabulary, shape.width).mul_(shape.width**-0.5)
    else:
        hidden, weight = _trained_like(normal, targets, shape)
    hidden, weight = hidden.to(shape.dtype), weight.to(shape.dtype)
    return Inputs(
        hidden=hidden.requires_grad_(),
        weight=weight.requires_grad_(),
        targets=targets,
        grad_logprob=normal(n),
        grad_entropy=normal(n),
        advantage=normal(sequences).repeat_interleave(n // sequences),
        token_weight=torch.full((n,), 1 / n, device=device),
        old_logprob=0.2 * normal(n) + (_logprob(hidden, weight, targets) if old else 0),
        count=n,
        sequences=sequences,
    )


def _trained_like(normal: Callable[..., Tensor], targets: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Hidden states [N, H] that mostly know their token, and a head [V, H] with norms and directions as training leaves them.

    Head: a spectrum that decays over features, row norms that vary log-normally, and a direction that all rows share. Hidden:
    a signal that tells the target's row from the others, stronger for some tokens than for others, and noise; the signal is
    scaled so that the mean probability of the target is ``CONFIDENCE``.
    """
    spectrum = torch.arange(1, shape.width + 1, device=targets.device).float().pow(-0.25)
    spectrum /= spectrum.square().mean().sqrt()
    weight = normal(shape.vocabulary, shape.width).mul_(spectrum)
    weight += 0.3 * normal(shape.width) * spectrum
    weight *= (0.25 * normal(shape.vocabulary, 1)).exp_().mul_(shape.width**-0.5)

    signal = F.normalize(weight[targets] / spectrum.square()) * (0.4 * normal(len(targets), 1)).exp()
    noise = normal(len(targets), shape.width)
    some = slice(0, 64)
    of_signal, of_noise = signal[some] @ weight.T, noise[some] @ weight.T
    low, high = 0.0, 500.0
    for _ in range(18):
        scale = (low + high) / 2
        logits = of_noise + scale * of_signal
        sure = logits.log_softmax(-1).gather(1, targets[some, None]).exp().mean() > CONFIDENCE
        low, high = (low, scale) if sure else (scale, high)
    return high * signal + noise, weight


@torch.no_grad()
def _logprob(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Float32 [N], a few rows at a time."""
    parts = [
        (x @ weight.T).float().log_softmax(-1).gather(1, y[:, None]).squeeze(1)
        for x, y in zip(hidden.split(SLICE_ROWS), targets.split(SLICE_ROWS), strict=True)
    ]
    return torch.cat(parts)
