"""The policy's weights under the names of its checkpoint: for an engine, and as a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import GenerationConfig

from int_lightning.engines.weight_rows import name_of
from int_lightning.learn.lora import full, is_adapted, merged, save_adapter
from int_lightning.learn.model import PREFIX, Policy
from int_lightning.model_folder.checkpoint_names import as_stored
from int_lightning.model_folder.ends import GENERATION, end_tokens
from int_lightning.model_folder.files import read_json
from int_lightning.run_files import write_json


def named_weights(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """Full weights and persistent buffers one by one, as ``save_pretrained`` would name and write them, with adapters merged, for
    an engine.

    A tied head is yielded too, because engines that pack the head would keep a stale copy of it. At most one layer is in memory
    a second time. Under FSDP2 every rank must iterate in lockstep: each parameter is gathered when its turn comes.
    """
    causal_lm = policy.causal_lm
    state, tied = causal_lm.state_dict(), tied_names(causal_lm)
    yield from as_stored(causal_lm, merged(causal_lm, {n: value for n, value in state.items() if n not in tied}))
    head = causal_lm.get_output_embeddings()
    for name in tied:
        if causal_lm.get_submodule(name.rpartition(".")[0]) is head:
            yield from as_stored(causal_lm, [(name, full(state[name]))])


def tied_names(module: nn.Module) -> set[str]:
    """Names of parameters that have another name too, which comes first."""
    once, every = (module.named_parameters(remove_duplicate=twice) for twice in (True, False))
    return {name for name, _ in every} - {name for name, _ in once}


def export(policy: Policy, folder: Path, tokenizer: Any, is_writer: bool) -> None:
    """Writes a Hugging Face folder: safetensors of the policy's dtype, tokenizer, and every token that ends a completion.
    Adapters are merged, and also written to ``adapter/``. Every rank calls it, and the writer writes."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(policy, options=options)
    tied = tied_names(policy)
    if is_writer:
        plain = {k.removeprefix(PREFIX): v for k, v in state.items() if isinstance(v, Tensor) and k not in tied}
        buffers = [name for name, _ in policy.causal_lm.named_buffers()]
        exact = (*buffers, *(policy.causal_lm._keep_in_fp32_modules_strict or ()))  # a rounded router is another router
        tensors = {}
        for name, value in merged(policy.causal_lm, plain):
            is_exact = any(part in name for part in exact)
            tensors[name] = value if is_exact else value.to(policy.dtype)
        generation = policy.causal_lm.generation_config
        policy.causal_lm.generation_config = GenerationConfig()  # transformers reads settings that it refuses to write
        policy.causal_lm.save_pretrained(folder, state_dict=tensors)
        policy.causal_lm.generation_config = generation
        config = {**read_json(folder / "config.json"), "dtype": name_of(policy.dtype)}
        write_json(folder / "config.json", config)  # transformers names the dtype of the weights in training
        ends = {"eos_token_id": end_tokens(str(policy.causal_lm.name_or_path))}
        write_json(folder / GENERATION, {**generation.to_diff_dict(), **ends})
        tokenizer.save_pretrained(folder)
        if is_adapted(policy.causal_lm):
            save_adapter(policy.causal_lm, plain, folder / "adapter")
