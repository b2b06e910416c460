"""The distribution that a token is drawn from, written out in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from int_lightning.types import Completion, Sampling


def written_out(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """[V] log-probs of one distribution, token by token: the likeliest first, until top_k or top_p is reached."""
    scaled = np.asarray(logits, np.float64) / (sampling.temperature or 1.0)
    probs = np.exp(scaled - scaled.max())
    order = np.argsort(-probs)
    if sampling.temperature and sampling.top_k:
        order = order[: sampling.top_k]
    kept: list[int] = []
    for token in order:
        if sampling.temperature and kept and probs[kept].sum() >= sampling.top_p * probs[order].sum():
            break
        kept.append(int(token))
    found = np.full(len(probs), -np.inf)
    found[kept] = np.log(probs[kept] / probs[kept].sum())
    return found


@torch.no_grad()
def drawn_logprobs(
    model: PreTrainedModel, prompt: Sequence[int], completion: Completion, sampling: Sampling
) -> list[float]:
    """Of each token of a completion, from the model's own logits."""
    tokens = completion.token_ids.tolist()
    logits = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].double().numpy()
    return [float(written_out(row, sampling)[token]) for row, token in zip(logits, tokens, strict=True)]
