"""Row operations for losses of log-probs alone, in PyTorch: the statistics leave exp(z - m) in place of the logits, and the
gradient starts from there, which saves half of its work. Float32 logits without a softcap, the whole vocabulary at once."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from int_lightning_kernels.rows import Coefficients, Scores, Statistics
from int_lightning_kernels.torch_rows import LOWEST, blocks, columns_of, scores_of


def row_statistics(
    logits: Float[Tensor, "n S"], targets: Int64[Tensor, " n"], scores: Scores, offset: int, weighted: bool
) -> Statistics:
    """See ``RowOperations``, but ``logits`` become exp(z - maximum)."""
    assert not weighted
    maximum, total, weighted_sum, target = torch.zeros(4, len(logits), dtype=torch.float32, device=logits.device)
    for rows in blocks(logits):
        block = logits[rows]
        scores_of(block, scores.rows(rows), out=block)
        inside, column = columns_of(targets[rows], offset, block.shape[1])
        target[rows] = block.gather(1, column).squeeze(1).where(inside, 0.0)
        torch.amax(block, -1, out=maximum[rows])
        maximum[rows].clamp_(min=LOWEST)
        block.sub_(maximum[rows, None]).exp_()
        torch.sum(block, -1, out=total[rows])
    return Statistics(maximum, total, weighted_sum, target)


def row_gradients_(
    logits: Float[Tensor, "n S"],
    targets: Int64[Tensor, " n"],
    scores: Scores,
    offset: int,
    maximum: Float32[Tensor, " n"],
    total: Float32[Tensor, " n"],
    coefficients: Coefficients,
) -> None:
    """See ``RowOperations``, but ``logits`` hold exp(z - maximum)."""
    assert coefficients.slope is None
    inverse = scores.inverse_temperature
    scale, at_target = -coefficients.constant / total, coefficients.at_target
    if inverse is not None:
        scale, at_target = scale * inverse, at_target * inverse
    for rows in blocks(logits):
        block = logits[rows]
        inside, column = columns_of(targets[rows], offset, block.shape[1])
        block.mul_(scale[rows, None]).scatter_add_(1, column, at_target[rows].where(inside, 0.0)[:, None])
