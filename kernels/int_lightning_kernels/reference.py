"""The arithmetic written out on full logits, gradients by autograd: what tests and benchmarks compare with.

Any float dtype, float64 included; logits are formed in the inputs' dtype, everything after that in float32 at least.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def scores(
    logits: Float[Tensor, "N V"],
    inverse_temperature: Float[Tensor, " N"] | None = None,
    bias: Float[Tensor, " V"] | None = None,
    softcap: float | None = None,
) -> Float[Tensor, "N V"]:
    """softcap tanh((logits + bias) / softcap) inverse_temperature."""
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if bias is not None:
        z = z + bias
    if softcap is not None:
        z = softcap * torch.tanh(z / softcap)
    return z if inverse_temperature is None else z * inverse_temperature[:, None]


def log_probs(
    z: Float[Tensor, "N V"], targets: Int64[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Log-prob of each row's target (NaN where it is outside the vocabulary), entropy (0 log 0 = 0) and logsumexp of
    scores."""
    logp = z.log_softmax(-1)
    entropy = -(logp.exp() * logp.where(z != -torch.inf, 0.0)).sum(-1)
    known = (targets >= 0) & (targets < z.shape[1])
    logprob = logp.gather(-1, targets.where(known, 0)[:, None]).squeeze(-1)
    return logprob.where(known, torch.nan), entropy, z.logsumexp(-1)
