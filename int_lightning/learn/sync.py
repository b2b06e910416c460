"""A weight sync that is verified: engine and trainer must then give fixed tokens the same log-probs.

A stale tied head, a dropped or transposed tensor, or weights from the step before raise no error anywhere else.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from int_lightning.engines.base import Engine
from int_lightning.engines.vllm import VLLMEngine
from int_lightning.learn.export import named_weights
from int_lightning.learn.lora import adapter_factors, save_adapter
from int_lightning.learn.model import Policy, logit_divisor
from int_lightning.scratch import scratch_folder
from int_lightning.types import UserError

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.15}
"""In nats a token, by dtype. If engine and trainer have different dtypes, the larger one holds."""

PROBES, PROBE_TOKENS = 2, 24


class SyncError(UserError):
    """Engine and trainer disagree after a weight sync."""


def sync(policy: Policy, engine: Engine) -> float:
    """Loads the policy's weights into the engine, or only its adapters if the engine takes them, and verifies them. Every rank
    calls it.

    Returns:
        The mean absolute difference of log-probs, in nats.

    Raises:
        SyncError: if it exceeds the tolerance of their dtypes.
    """
    engine.wake("weights")
    if isinstance(engine, VLLMEngine) and engine.takes_adapters:
        with scratch_folder("adapter") as folder:
            save_adapter(policy.causal_lm, adapter_factors(policy.causal_lm), folder)
            engine.load_adapter(folder)
    else:
        engine.load_weights(named_weights(policy))
    engine.wake("kv_cache")
    return verify(policy, engine)


def verify(policy: Policy, engine: Engine) -> float:
    """Compares the log-probs that trainer and engine give fixed tokens; see ``sync``."""
    weight: Tensor = policy.causal_lm.get_input_embeddings().get_parameter("weight")
    vocabulary = policy.causal_lm.config.get_text_config().vocab_size
    rng = random.Random(0)
    probes = [[rng.randrange(vocabulary) for _ in range(PROBE_TOKENS)] for _ in range(PROBES)]
    ids = torch.tensor(probes, device=weight.device)
    with torch.no_grad():
        scored = torch.ones(PROBES, PROBE_TOKENS - 1, dtype=torch.bool, device=weight.device)
        temperature, policy.temperature = policy.temperature, logit_divisor(policy.causal_lm.config)
        training = policy.training
        policy.eval()
        ours = policy(ids, torch.ones_like(ids), [PROBE_TOKENS] * PROBES, scored).logprob
        policy.train(training)
        policy.temperature = temperature
    theirs = torch.tensor(engine.score(probes), device=weight.device).flatten()
    difference = float((ours - theirs).abs().mean())
    trainers, engines = str(policy.dtype).removeprefix("torch."), engine.dtype
    tolerance = max(TOLERANCE[trainers], TOLERANCE[engines])
    if not difference <= tolerance:
        raise SyncError(
            f"after the weight sync engine {engine.name} and trainer differ by {difference:.4g} nats a token (tolerance "
            f"{tolerance}): the engine does not serve the trainer's weights, or not as engine.dtype {engines} beside "
            f"model.dtype {trainers}. Nothing was sampled from them"
            f"{_start_of_server(engine, policy)}"
        )
    return difference


def _start_of_server(engine: Engine, policy: Policy) -> str:
    """A remedy for servers: they choose their own dtype, half precision for most folders, regardless of the config."""
    dtype = str(policy.dtype).removeprefix("torch.")
    return f". Start the server with --dtype {dtype}, if it has another" if engine.name == "server" else ""
