"""A loaded model's self-test: rows that share a batch must score as transformers' own forward pass scores each of them alone.

Architectures differ in what they pass on to attention, in what their layers carry from token to token, in how they place tokens
and in what they do to logits. None of these mistakes raises an error. So a few rows of random tokens go through the model as it
was loaded: on the CPU, without dropout, in the dtype of its weights, before it is sharded, adapted or given other layers. Windows
are cut short meanwhile, so that the rows reach over them. Packed rows go through causal SDPA one by one, as in float32 on
any device; the flash kernel of 16-bit rows on a GPU is not part of this test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from int_lightning.engines.weight_rows import name_of
from int_lightning.learn.micro_batches import MicroBatch, TrainingRow, pack, pad
from int_lightning.learn.packed_attention import PACKED, unpackable
from int_lightning.types import UserError

Score = Callable[[MicroBatch], Float32[Tensor, " N"]]
"""Log-probs of the predictions that carry loss."""

_LENGTHS = 11, 16
_WINDOW = 5
_WINDOWS = (
    *("sliding_window", "sliding_window_size", "window_size", "attention_window_size", "local_attention"),
    *("attention_chunk_size", "keep_window_size", "index_topk"),
)
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15, torch.float16: 0.15}
"""In nats a token, the mean of a row, by the dtype of the weights, where rounding scores does not make more of it."""
_ROUNDINGS = 3
"""By how many roundings of their own size scores may differ: those of a trained model on random tokens are large."""
_MOVED = {torch.float32: 1e-3, torch.bfloat16: 0.03, torch.float16: 0.03}
"""In nats, at any token: what a row may move by when another one of the same length is put in front of it. It is 0 where each
token is computed by itself; experts compute tokens in groups, whose sizes change the rounding."""
_REPEATS = 4


@torch.no_grad()
def self_test(causal_lm: PreTrainedModel, score: Score, own_attention: str) -> str | None:
    """Tests a model, and gives it the attention that its rows need: ``PACKED``, or its own one if they have to be padded.

    Args:
        causal_lm: The model as it was loaded.
        score: The policy's scores at temperature 1, in the dtype of the weights.
        own_attention: What transformers chose for the model.

    Returns:
        Why rows cannot be packed, or None if they can.

    Raises:
        UserError: if scores are not finite, if padded rows do not get their own ones either, if the model does more to its
            logits than ``Policy`` knows, or if tokens see those that come after them.
    """
    dtype = causal_lm.dtype
    with _at_rest(causal_lm):
        causal_lm.set_attn_implementation(own_attention)
        with _refusing(causal_lm, "transformers cannot score a row of tokens with it"):
            first, second, other = _rows(causal_lm.config.get_text_config().vocab_size)
            alone = [_own_scores(causal_lm, row) for row in (first, second)]
            cut = len(second) // 2
            start = _own_scores(causal_lm, second[:cut])
        if not all(scores.isfinite().all() for scores in alone):
            raise UserError(
                f"{causal_lm.name_or_path}: its weights give tokens log-probs that are not finite: they are damaged, or too "
                f"large for {name_of(dtype)}. Start from other weights"
            )
        _compare(
            causal_lm,
            [start],
            [alone[1][: cut - 1]],
            "the scores of a row's start move by {} nats a token when the row goes on",
        )
        with _refusing(causal_lm, "its layers do not work without its head"):
            by_policy = [_scores(score, pad(_weighted(row), 0, [0]))[0] for row in (first, second)]
        _compare(
            causal_lm,
            by_policy,
            alone,
            "it does more to its logits than is known here, which changes scores by {} nats a token",
        )
        why = unpackable(causal_lm)
        if why is None:
            causal_lm.set_attn_implementation(PACKED)
            why = _packing_fails(score, (first, second, other), alone, dtype)
        if why is not None:
            causal_lm.set_attn_implementation(own_attention)
        with _refusing(causal_lm, "it does not take padded rows"):
            padded = _scores(score, pad(_weighted(first, second), 0, [0, 1]))
        _compare(causal_lm, padded, alone, "padding changes the scores of its rows by {} nats a token")
        with _refusing(causal_lm, "it does not take rows of any length in training"), torch.random.fork_rng(devices=[]):
            causal_lm.train()
            score(pad(_weighted(first, second), 0, [0, 1]))
    return why


@torch.no_grad()
def check_repeats(causal_lm: PreTrainedModel, score: Score) -> None:
    """Refuses a model that draws at random in training although its dropout is off: the policy that is trained would be another
    one in every pass, and never the one that an engine samples from.

    Args:
        causal_lm: The model after ``self_test``, with its dropout off.
        score: See ``self_test``.

    Raises:
        UserError: if its scores are not the same twice.
    """
    batch = pad(_weighted(*_rows(causal_lm.config.get_text_config().vocab_size)), 0, [0, 1, 2])
    training = causal_lm.training
    with torch.random.fork_rng(devices=[]):
        causal_lm.train()
        before = torch.get_rng_state()
        first = score(batch)
        drew = not torch.equal(torch.get_rng_state(), before)
        moved = max(float((score(batch) - first).abs().max()) for _ in range(_REPEATS))
    causal_lm.train(training)
    if drew and moved:  # some draw and make nothing of it, and sums over experts may be rounded differently
        raise _refusal(
            causal_lm,
            f"its layers draw at random in training (scores move by {moved:.2g} nats from pass to pass), and GRPO compares the "
            "log-probs of the policy that it samples from",
        )


def _packing_fails(
    score: Score, rows: Sequence[list[int]], alone: Sequence[Float32[Tensor, " _"]], dtype: torch.dtype
) -> str | None:
    """Why a row's packed scores are not its own, for rows of which the last can take the place of the first."""
    first, second, other = rows
    try:
        packed = _scores(score, pack(_weighted(first, second), 0, [0, 1]))
        changed = _scores(score, pack(_weighted(other, second), 0, [0, 1]))
    except Exception as error:
        return _said(error)
    moved = float((packed[1] - changed[1]).abs().max())
    if not moved <= _MOVED[dtype]:
        return f"a packed row moves by {moved:.2g} nats when the one before it changes"
    off = _difference(packed, alone)
    if not off <= _tolerance(alone, dtype):
        return f"packed rows score {off:.2g} nats a token off what each scores alone"
    return None


def _rows(vocabulary: int) -> list[list[int]]:
    """Two rows, and a third one of the length of the first."""
    rng = random.Random(0)
    return [[rng.randrange(vocabulary) for _ in range(n)] for n in (*_LENGTHS, _LENGTHS[0])]


def _weighted(*rows: list[int]) -> list[TrainingRow]:
    return [TrainingRow(np.array(ids, np.int32), np.ones(len(ids), np.float32)) for ids in rows]


def _own_scores(causal_lm: PreTrainedModel, row: list[int]) -> Float32[Tensor, " _"]:
    """The log-probs of a row's tokens from the second on, by the model's own head."""
    ids = torch.tensor([row], device=causal_lm.device)
    logits = causal_lm(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0, :-1]
    return logits.float().log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0].cpu()


def _scores(score: Score, batch: MicroBatch) -> list[Float32[Tensor, " _"]]:
    lines = batch.spread(score(batch))
    return [torch.from_numpy(line[1:].copy()) for line in lines]


def _difference(found: Sequence[Float32[Tensor, " _"]], expected: Sequence[Float32[Tensor, " _"]]) -> float:
    """In nats a token, of the row that is further off; NaN if one has it."""
    return float(torch.stack([(a - b).abs().mean() for a, b in zip(found, expected, strict=True)]).max())


def _tolerance(expected: Sequence[Float32[Tensor, " _"]], dtype: torch.dtype) -> float:
    size = float(torch.cat(list(expected)).abs().mean())
    return max(_TOLERANCE[dtype], _ROUNDINGS * torch.finfo(dtype).eps * size)


def _compare(
    causal_lm: PreTrainedModel,
    found: Sequence[Float32[Tensor, " _"]],
    expected: Sequence[Float32[Tensor, " _"]],
    why: str,
) -> None:
    """Refuses a model if scores differ, by the nats that ``why`` has a place for."""
    off = _difference(found, expected)
    if not off <= _tolerance(expected, causal_lm.dtype):
        raise _refusal(causal_lm, why.format(f"{off:.2g}"))


@contextmanager
def _refusing(causal_lm: PreTrainedModel, why: str) -> Iterator[None]:
    """Whatever the model raises during the block refuses it."""
    try:
        yield
    except Exception as error:
        raise _refusal(causal_lm, f"{why} ({_said(error)})") from error


def _refusal(causal_lm: PreTrainedModel, why: str) -> UserError:
    return UserError(f"{type(causal_lm).__name__} cannot be trained: {why}: name a model of another architecture")


def _said(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _at_rest(causal_lm: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode, and windows of ``_WINDOW`` tokens, which modules and their settings hold."""
    configs = [m.config for m in causal_lm.modules() if isinstance(getattr(m, "config", None), PretrainedConfig)]
    holders = {id(holder): holder for holder in (*causal_lm.modules(), *configs)}.values()
    sizes = [(holder, name, getattr(holder, name, None)) for holder, name in product(holders, _WINDOWS)]
    long = [(holder, name, size) for holder, name, size in sizes if type(size) is int and size > _WINDOW]
    training = causal_lm.training
    causal_lm.eval()
    try:
        for holder, name, _ in long:
            setattr(holder, name, _WINDOW)
        yield
    finally:
        for holder, name, size in long:
            setattr(holder, name, size)
        causal_lm.train(training)
