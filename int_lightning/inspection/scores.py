"""Log-probs and entropies of whole rows under a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar

from int_lightning.inspection.views import Score
from int_lightning.learn.micro_batches import MicroBatch, TrainingRow, micro_batches
from int_lightning.learn.model import Policy, load_policy
from int_lightning.types import TokenValues

_MAX_TOKENS = 8192


def score_rows(rows: Sequence[Sequence[int]], folder: str, pad_id: int) -> list[list[Score | None]]:
    """The score of each token of each row under a model; None for the first token, which nothing predicts.

    Args:
        rows: Token ids, row by row.
        folder: A model folder or hub id.
        pad_id: The token that fills rows to one length.
    """
    disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    policy = load_policy(folder, dtype=torch.float32).to(device).eval()
    weighted = [TrainingRow(np.array(ids, np.int32), np.ones(len(ids), np.float32)) for ids in rows]
    found: dict[int, list[Score | None]] = {}
    for batch in micro_batches(weighted, pad_id, _MAX_TOKENS):
        for row, logprobs, entropies in zip(batch.row_index, *_scores(policy, batch.to(device)), strict=True):
            found[row] = [None, *map(Score, logprobs[1:].tolist(), entropies[1:].tolist())]
    return [found[i] for i in range(len(rows))]


@torch.no_grad()
def _scores(policy: Policy, batch: MicroBatch) -> tuple[list[TokenValues], list[TokenValues]]:
    """Log-probs and entropies of the batch's rows, 0 for each first token."""
    scores = policy.log_probs(batch, batch.trained, entropy=True)
    assert scores.entropy is not None
    return batch.spread(scores.logprob), batch.spread(scores.entropy)
