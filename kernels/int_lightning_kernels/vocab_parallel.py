"""A head whose vocabulary is spread over the ranks of a process group (tensor parallelism).

Every rank holds some consecutive rows of the weight (and of the bias) and the same hidden states and targets; log-probs and
the gradient of the hidden states come out the same on every rank; that of the weight is the rank's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float, Float32
from torch import Tensor

from int_lightning_kernels.rows import Statistics


@dataclass(frozen=True)
class VocabShard:
    """This rank's part of the vocabulary.

    Args:
        group: The ranks that share the head.
        offset: Id of the first token of this rank's part.
        vocabulary: Tokens of all parts together.
        largest: Tokens of the largest part, by which all ranks cut rows into the same chunks.
    """

    group: dist.ProcessGroup
    offset: int
    vocabulary: int
    largest: int

    @classmethod
    def of(cls, weight: Float[Tensor, "V H"], group: dist.ProcessGroup) -> VocabShard:
        """The shard that ``weight`` is, with V the tokens of this rank and parts in the order of the ranks. Collective; call
        it once."""
        sizes = torch.zeros(dist.get_world_size(group), dtype=torch.int64, device=weight.device)
        sizes[dist.get_rank(group)] = weight.shape[0]
        dist.all_reduce(sizes, group=group)
        parts = sizes.tolist()
        return cls(group, sum(parts[: dist.get_rank(group)]), sum(parts), max(parts))

    def combine(self, part: Statistics) -> Statistics:
        """Statistics of whole rows from those of every rank's part."""
        maximum = part.maximum.clone()
        dist.all_reduce(maximum, dist.ReduceOp.MAX, group=self.group)
        fall = part.maximum - maximum
        shrink = fall.exp()
        sums = torch.stack([shrink * part.total, shrink * (part.weighted + fall * part.total), part.target])
        dist.all_reduce(sums, group=self.group)
        return Statistics(maximum, *sums)

    def sum(self, tensor: Float32[Tensor, "n H"]) -> Float32[Tensor, "n H"]:
        """Sums ``tensor`` over the ranks, in place."""
        dist.all_reduce(tensor, group=self.group)
        return tensor
