"""A weight sync that is verified: the engine must hold the trainer's weights to the bit, and give the tokens that it samples the
log-probs that the trainer gives them.

A stale tied head, a dropped or transposed tensor, or weights from the step before raise no error anywhere else, and in bfloat16
they hardly move a log-prob.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.utils.rnn import pad_sequence

from int_lightning.engines.base import Engine
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.engines.weight_rows import name_of
from int_lightning.learn.export import named_weights
from int_lightning.learn.lora import adapter_factors, save_adapter
from int_lightning.learn.model import Policy, logit_divisor
from int_lightning.learn.weight_check import differences, weights_to_hold
from int_lightning.scratch import scratch_folder
from int_lightning.types import Sampling, UserError

TOLERANCE = {"float32": 2e-4, "bfloat16": 0.3}
"""Of the mean over sampled tokens, in nats, by dtype; the larger one holds if engine and trainer differ in it. Four times what
rounding alone makes of equal weights: up to 3e-5 and 0.078 with vLLM on a CPU (mini, SmolLM2-135M, Gemma-3-270M)."""

PROBES, PROMPT_TOKENS, SAMPLED_TOKENS = 4, 8, 16
_NAMED = 3


class SyncError(UserError):
    """Engine and trainer disagree after a weight sync."""


def sync(policy: Policy, engine: Engine) -> float:
    """Loads the policy's weights into the engine, or only its adapters if the engine takes them, and verifies them. Every rank
    calls it.

    Returns:
        The mean absolute difference of log-probs, in nats.

    Raises:
        SyncError: see ``verify``.
    """
    engine.wake("weights")
    if isinstance(engine, VLLMEngine) and engine.takes_adapters:
        with scratch_folder("adapter") as folder:
            save_adapter(policy.causal_lm, adapter_factors(policy.causal_lm), folder)
            engine.load_adapter(folder)
    else:
        with _refused(
            f"engine {engine.name} does not take the trainer's weights ({{}}). Nothing was sampled from them"
        ):
            engine.load_weights(named_weights(policy))
    engine.wake("kv_cache")
    return verify(policy, engine)


def verify(policy: Policy, engine: Engine) -> float:
    """Compares the weights of trainer and engine, and the log-probs that both give tokens sampled by the engine. Every rank calls
    it.

    Returns:
        The mean absolute difference of log-probs, in nats.

    Raises:
        SyncError: if a row of a weight is not the trainer's, rounded to the engine's dtype, if the engine cannot compute the
            model, or if the log-probs differ by more than the tolerance of their dtypes.
    """
    apart = isinstance(engine, VLLMEngine) and engine.takes_adapters
    held = engine.held_rows()
    weights = weights_to_hold(policy.causal_lm, getattr(torch, engine.dtype), apart)
    wrong = differences(held, weights)
    if wrong:
        others = f" and {len(wrong) - _NAMED} more tensors" if len(wrong) > _NAMED else ""
        raise SyncError(
            f"after the weight sync engine {engine.name} does not hold the trainer's weights as {engine.dtype}: it has others "
            f"in {', '.join(map(str, wrong[:_NAMED]))}{others}. Nothing was sampled from them"
        )
    difference = _difference(policy, engine)
    trainers, engines = name_of(policy.dtype), engine.dtype
    tolerance = max(TOLERANCE[trainers], TOLERANCE[engines])
    if not difference <= tolerance:
        raise SyncError(
            f"after the weight sync engine {engine.name} holds the trainer's weights, but gives tokens that it samples other "
            f"log-probs, by {difference:.4g} nats a token (tolerance {tolerance}): it computes another model from them, or not "
            f"as engine.dtype {engines} beside model.dtype {trainers}. Nothing was sampled from them{_start_of_server(engine)}"
        )
    return difference


@contextmanager
def _refused(said: str) -> Iterator[None]:
    """Says what a model's own loader or missing kernel raises in one line, where ``said`` has a place for it. With several
    processes the cause may be another one that is gone, which is found out and said elsewhere."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if dist.is_initialized() and dist.get_world_size() > 1:
            raise
        raise SyncError(said.format(shorten(f"{type(error).__name__}: {error}", 300).rstrip(": "))) from error


def _start_of_server(engine: Engine) -> str:
    """A remedy for servers: they choose their own dtype, half precision for most folders, regardless of the config."""
    return f". Start the server with --dtype {engine.dtype}, if it has another" if engine.name == "server" else ""


@torch.no_grad()
def _difference(policy: Policy, engine: Engine) -> float:
    """The mean absolute difference of log-probs on tokens that the engine samples after random ones, in nats."""
    config = policy.causal_lm.config
    vocabulary, rng = config.get_text_config().vocab_size, random.Random(0)
    width = min(PROMPT_TOKENS, engine.max_model_len // 2)
    prompts = [[rng.randrange(vocabulary) for _ in range(width)] for _ in range(PROBES)]
    before = engine.tokens_generated
    cannot = f"engine {engine.name} cannot compute the model as {engine.dtype}"
    with _refused(f"{cannot} ({{}}): set engine.dtype or engine.name to another"):
        completions = engine.generate(prompts, Sampling(max_tokens=SAMPLED_TOKENS), range(PROBES))
    engine.tokens_generated = before
    device = policy.causal_lm.get_input_embeddings().get_parameter("weight").device
    rows = [torch.tensor([*p, *c.token_ids.tolist()], device=device) for p, c in zip(prompts, completions, strict=True)]
    ids, lengths = pad_sequence(rows, batch_first=True), [len(row) for row in rows]
    places = torch.arange(ids.shape[1], device=device)
    mask = places < torch.tensor(lengths, device=device)[:, None]
    temperature, policy.temperature = policy.temperature, logit_divisor(config)
    training = policy.training
    policy.eval()
    ours = policy(ids, mask.long(), lengths, mask[:, 1:] & (places[1:] >= width)).logprob
    policy.train(training)
    policy.temperature = temperature
    theirs = np.concatenate([c.logprobs for c in completions])
    return float((ours - torch.from_numpy(theirs).to(device)).abs().mean())
