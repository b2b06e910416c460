"""Training rows of plain lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from int_lightning.learn.micro_batches import TrainingRow


def made_row(
    token_ids: Sequence[int], weights: Sequence[float], advantage: float = 0.0, *logprobs: Sequence[float] | None
) -> TrainingRow:
    """A row whose engine's, old and reference log-probs are given in this order."""
    values = [None if v is None else np.array(v, np.float32) for v in logprobs]
    return TrainingRow(np.array(token_ids, np.int32), np.array(weights, np.float32), advantage, *values)
