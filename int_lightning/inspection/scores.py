"""Log-probs and entropies of whole rows under a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from int_lightning.inspection.views import Score
from int_lightning.learn.micro_batches import MicroBatch, Row, micro_batches
from int_lightning.learn.model import Policy, load_policy

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
    weighted = [Row(list(ids), [1.0] * len(ids)) for ids in rows]
    found: dict[int, list[Score | None]] = {}
    for batch in micro_batches(weighted, pad_id, _MAX_TOKENS):
        logprobs, entropies = _scores(policy, batch.to(device))
        for row, of_row in zip(batch.row_index, zip(logprobs, entropies, strict=True), strict=True):
            found[row] = [None, *map(Score, *(values[1:] for values in of_row))]
    return [found[i] for i in range(len(rows))]


@torch.no_grad()
def _scores(policy: Policy, batch: MicroBatch) -> tuple[list[list[float]], list[list[float]]]:
    """Log-probs and entropies of the batch's rows, 0 for each first token."""
    scores = policy.log_probs(batch, batch.trained, entropy=True)
    assert scores.entropy is not None
    return _by_row(batch, scores.logprob), _by_row(batch, scores.entropy)


def _by_row(batch: MicroBatch, values: Tensor) -> list[list[float]]:
    spread = torch.zeros_like(batch.weights)
    spread[:, 1:][batch.trained] = values
    return batch.rows_of(spread)
