"""Tensors as a checkpoint names them, and as transformers holds them in memory.

The two differ where transformers fuses what files hold apart, such as the experts of a mixture, and where a text model
sits inside the checkpoint of a larger one. Files and engines have the checkpoint's names. Conversion is transformers' own, a
layer at a time, so that a second model is never in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
    revert_weight_conversion,
)

from int_lightning.model_folder.files import reason
from int_lightning.types import UserError

_LAYER = re.compile(r"(.*?\.\d+)\.")
_EXPERT = re.compile(r"experts\.\d+\.(\w+)\.weight$")
_FUSED = re.compile(r"experts\.(\w+_proj)$")


def layer_of(name: str) -> str:
    """The layer that a tensor belongs to, such as ``model.layers.7``; outside of layers its own name."""
    found = _LAYER.match(name)
    return found[1] if found else name


def as_stored(causal_lm: PreTrainedModel, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """The tensors that ``save_pretrained`` would write.

    Args:
        causal_lm: The model.
        tensors: Of the model, under the names they have in it, one layer after the other. They are drawn layer by layer.
    """
    for _, layer in groupby(tensors, key=lambda item: layer_of(item[0])):
        yield from revert_weight_conversion(causal_lm, dict(layer)).items()


def fused_experts(causal_lm: PreTrainedModel) -> set[str]:
    """Names of the layers that an expert has in files, such as ``gate_proj``, if the model holds all experts in one parameter."""
    own = causal_lm.state_dict()
    stored = as_stored(causal_lm, ((name, value.to("meta")) for name, value in own.items()))
    apart = [_EXPERT.search(name) for name, _ in stored if name not in own]
    fused = [_FUSED.search(name) for name in own]
    return {found[1] for found in (*apart, *fused) if found}


@torch.no_grad()
def load_stored(causal_lm: PreTrainedModel, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Copies tensors of a checkpoint into a model, as ``from_pretrained`` would.

    Args:
        causal_lm: The model.
        tensors: Those of a layer one after the other.

    Raises:
        UserError: naming a tensor that the model does not have, unless it is one of a larger model around it or one that
            transformers ignores, or a tensor that has another shape.
    """
    own = causal_lm.state_dict()
    parts = {name.partition(".")[0] for name in own}
    ignored = causal_lm._keys_to_ignore_on_load_unexpected or ()
    for _, layer in groupby(tensors, key=lambda item: layer_of(item[0])):
        for name, value in _in_memory(causal_lm, dict(layer), own).items():
            if name in own and own[name].shape == value.shape:
                own[name].copy_(value)
            elif name in own:
                raise UserError(
                    f"weights: {name} of {type(causal_lm).__name__} has shape {list(own[name].shape)}, and was given "
                    f"{list(value.shape)}: give the weights of a model of the same sizes"
                )
            elif name.partition(".")[0] in parts and not any(re.search(pattern, name) for pattern in ignored):
                raise UserError(
                    f"weights: {type(causal_lm).__name__} does not have a tensor {name}: give the weights of that architecture"
                )


def _in_memory(causal_lm: PreTrainedModel, layer: Mapping[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a layer under the model's own names, as transformers' loader renames and fuses them."""
    conversions = get_model_conversion_mapping(causal_lm)
    renamings = [c for c in conversions if isinstance(c, WeightRenaming)]
    converters = [c for c in conversions if isinstance(c, WeightConverter)]
    of_pattern: dict[str, WeightConverter] = {}
    for converter in converters:
        of_pattern |= dict.fromkeys(converter.source_patterns, converter)
    found: dict[str, WeightRenaming | WeightConverter] = {}
    for stored in sorted(layer, key=dot_natural_key):
        name, pattern = rename_source_key(stored, renamings, converters, causal_lm.base_model_prefix, own)
        if name not in own and stored in own:
            name, pattern = stored, None
        new = WeightRenaming(stored, name) if pattern is None else deepcopy(of_pattern[pattern])
        value: Any = layer[stored]
        found.setdefault(name, new).add_tensor(name, stored, pattern or stored, value)
    tensors = {}
    for name, conversion in found.items():
        try:
            converted = conversion.convert(name, model=causal_lm, config=causal_lm.config)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"weights: {name} of {type(causal_lm).__name__} cannot be made of the given tensors ({reason(error)}): give "
                "those of all experts, as save_pretrained writes them"
            ) from error
        for target, value in converted.items():
            tensors[target] = value[0] if isinstance(value, list) else value
    return tensors
