"""What a fit would do, before anything is loaded: tokens per step, memory by part, and where each part is."""

from __future__ import annotations

from typing import NamedTuple

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from rich.markup import escape
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from int_lightning.console import say, show_table
from int_lightning.grpo.data import RolloutData
from int_lightning.grpo.module import GRPOModule
from int_lightning.learn.lora import adapt
from int_lightning.learn.model import decoder_layers
from int_lightning.learn.module import DTYPES, PolicyModule
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.sft.data import InterventionData

GIB = 2**30
ADAM_BYTES = 8
"""Optimiser state of each trained weight: Adam's two float32 moments."""


class Part(NamedTuple):
    """Something that takes memory: what, where, and GiB per device."""

    what: str
    where: str
    gib: float


def show_fit_plan(module: PolicyModule, data: L.LightningDataModule, trainer: EngineTrainer) -> None:
    """Prints the plan. Memory of activations is an estimate, because it depends on the architecture's kernels."""
    assert isinstance(data, InterventionData | RolloutData)
    rows = sft_step(data) if isinstance(data, InterventionData) else grpo_step(data, trainer)
    show_table(f"{type(module).__name__} on {trainer.world_size} process(es)", ["each optimiser step", ""], rows)
    parts = memory(module, data, trainer)
    total = sum(part.gib for part in parts)
    lines = [[p.what, p.where, f"{p.gib:.3f}"] for p in [*parts, Part("together", "", total)]]
    show_table("Memory a device, GiB, estimated", ["part", "where", "GiB"], lines)
    say(f"model {escape(module.folder)}; nothing was loaded or run")


def sft_step(data: InterventionData) -> list[list[str]]:
    """Sizes of SFT's step."""
    return [
        ["rows", f"{data.batch_size:,}"],
        ["target", data.target.target],
        ["passes over the rows", "streaming" if data.streaming else f"{data.epochs}"],
        ["longest row, tokens", f"{data.longest:,}"],
        ["micro-batch, tokens", f"{data.max_tokens:,}"],
    ]


def grpo_step(data: RolloutData, trainer: EngineTrainer) -> list[list[str]]:
    """Sizes of GRPO's batch and step, at most."""
    rollouts = data.prompts_per_batch * data.rollouts_per_prompt
    longest = min(data.sampling.max_tokens, trainer.engine_config.max_model_len)
    step = rollouts * longest // data.updates_per_batch
    loss = f"{data.groups.advantage} advantages, {data.groups.aggregation} aggregation"
    return [
        ["steps of the run", f"{data.steps:,}"],
        ["problems x rollouts a batch", f"{data.prompts_per_batch} x {data.rollouts_per_prompt} = {rollouts:,}"],
        ["steps a batch", f"{data.updates_per_batch}"],
        ["sampled tokens a step, at most", f"{step:,}"],
        ["sampled tokens of the run, at most", f"{step * data.steps:,}"],
        ["rounds of dynamic sampling a batch, at most", f"{data.groups.resample}"],
        ["micro-batch, tokens", f"{data.max_tokens:,}"],
        ["loss", loss],
    ]


def memory(module: PolicyModule, data: InterventionData | RolloutData, trainer: EngineTrainer) -> list[Part]:
    """The parts that take memory on one device."""
    config = AutoConfig.from_pretrained(module.folder)
    trained, frozen, of_layer = _weights(config, module)
    shards = trainer.world_size if isinstance(trainer.strategy, ModelParallelStrategy) else 1
    low = DTYPES[module.dtype_name].itemsize
    device = trainer.strategy.root_device.type
    sharded = f"{device}, a shard of {shards}" if shards > 1 else device
    parts = [
        Part("weights, float32", sharded, 4 * trained / shards / GIB),
        Part("gradients, float32", sharded, 4 * trained / shards / GIB),
        Part("optimiser state (Adam)", sharded, ADAM_BYTES * trained / shards / GIB),
    ]
    if frozen:
        parts.append(Part(f"frozen weights, {module.dtype_name}", sharded, low * frozen / shards / GIB))
    if shards > 1:
        parts.append(Part(f"gathered weights, {module.dtype_name}", device, low * of_layer / GIB))
    elif low < 4:
        parts.append(Part(f"copies of weights, {module.dtype_name}", device, low * trained / GIB))
    if isinstance(module, GRPOModule) and module.objective.kl_coefficient and module.lora is None:
        parts.append(Part("reference policy, float32", sharded, 4 * (trained + frozen) / shards / GIB))
    tokens = max(data.max_tokens, data.longest if isinstance(data, InterventionData) else 0)
    kept = "checkpointed" if module.gradient_checkpointing else "kept"
    saved = _activation_bytes(config, low, module.gradient_checkpointing) * tokens
    parts.append(Part(f"activations of {tokens:,} tokens, {kept}", device, saved / GIB))
    if isinstance(data, RolloutData):
        parts += _engine(trainer, trained + frozen)
    return parts


def _weights(config: PretrainedConfig, module: PolicyModule) -> tuple[int, int, int]:
    """Trained and frozen weights, and the largest unit that FSDP gathers: the root, or a layer."""
    with torch.device("meta"):
        causal_lm = AutoModelForCausalLM.from_config(config)
    base = sum(p.numel() for p in causal_lm.parameters())
    layers = [sum(p.numel() for p in layer.parameters()) for layer in decoder_layers(causal_lm)]
    unit = max([base - sum(layers), *layers])
    if module.lora is None:
        return base, 0, unit
    with torch.device("meta"):
        adapt(causal_lm, module.lora)
    return sum(p.numel() for p in causal_lm.parameters() if p.requires_grad), base, unit


def _activation_bytes(config: PretrainedConfig, itemsize: int, checkpointing: bool) -> int:
    """Bytes saved for the backward pass of one token: about eight hidden states a layer (norms, residuals, attention's input,
    queries, keys, values and output) and three times the feed-forward width; with checkpointing, one hidden state a layer and
    one whole layer."""
    text = config.get_text_config()
    layer = itemsize * (8 * text.hidden_size + 3 * text.intermediate_size)
    if checkpointing:
        return layer + itemsize * text.hidden_size * text.num_hidden_layers
    return layer * text.num_hidden_layers


def _engine(trainer: EngineTrainer, weights: int) -> list[Part]:
    engine = trainer.engine_config
    if engine.name == "server":
        return [Part("engine: none on this device", engine.url, 0.0)]
    if trainer.strategy.root_device.type == "cuda":
        total = torch.cuda.get_device_properties(trainer.strategy.root_device).total_memory / GIB
        share = engine.gpu_memory_utilization * total
        asleep = ", asleep while training" if engine.sleep_while_training else ""
        return [Part(f"engine: weights and KV cache{asleep}", "cuda", share)]
    held = DTYPES[engine.dtype].itemsize * weights / engine.tensor_parallel_size
    return [
        Part(f"engine: weights, {engine.dtype}", "cpu", held / GIB),
        Part("engine: KV cache", "cpu", float(engine.kv_cache_gib)),
    ]
