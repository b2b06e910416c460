"""The policy's weights under the names that transformers gives them: for an engine, and as a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import GenerationConfig

from int_lightning.learn.lora import full, is_adapted, merged, save_adapter
from int_lightning.learn.model import PREFIX, Policy
from int_lightning.model_folder.ends import GENERATION, end_tokens
from int_lightning.model_folder.files import read_json
from int_lightning.run_files import write_json


def named_weights(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Full weights one by one under their transformers names, with adapters merged, for an engine.

    A tied head is yielded too, because engines that pack the head would keep a stale copy of it. Under FSDP2 every rank must
    iterate in lockstep: each parameter is gathered when its turn comes.
    """
    causal_lm = policy.causal_lm
    head_seen = False
    for name, weight in merged(causal_lm, dict(causal_lm.named_parameters())):
        head_seen = head_seen or name == "lm_head.weight"
        yield name, weight
    if not head_seen:
        yield "lm_head.weight", full(causal_lm.get_output_embeddings().weight)


def export(policy: Policy, folder: Path, tokenizer: Any, is_writer: bool) -> None:
    """Writes a Hugging Face folder: safetensors of the policy's dtype, tokenizer, and every token that ends a completion.
    Adapters are merged, and also written to ``adapter/``. Every rank calls it, and the writer writes."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(policy, options=options)
    tied = {n for n, _ in policy.named_parameters(remove_duplicate=False)} - {n for n, _ in policy.named_parameters()}
    if is_writer:
        plain = {k.removeprefix(PREFIX): v for k, v in state.items() if isinstance(v, Tensor) and k not in tied}
        tensors = {k: v.to(policy.dtype) for k, v in merged(policy.causal_lm, plain)}
        generation = policy.causal_lm.generation_config
        policy.causal_lm.generation_config = GenerationConfig()  # transformers reads settings that it refuses to write
        policy.causal_lm.save_pretrained(folder, state_dict=tensors)
        policy.causal_lm.generation_config = generation
        config = {**read_json(folder / "config.json"), "dtype": str(policy.dtype).removeprefix("torch.")}
        write_json(folder / "config.json", config)  # transformers names the dtype of the weights in training
        ends = {"eos_token_id": end_tokens(str(policy.causal_lm.name_or_path))}
        write_json(folder / GENERATION, {**generation.to_diff_dict(), **ends})
        tokenizer.save_pretrained(folder)
        if is_adapted(policy.causal_lm):
            save_adapter(policy.causal_lm, plain, folder / "adapter")
