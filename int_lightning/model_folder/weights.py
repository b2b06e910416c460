"""The tensors of a model folder: all there, of the right shapes, and finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from int_lightning.model_folder.checkpoint_names import layer_of
from int_lightning.model_folder.files import INDEX, WEIGHTS, reason, weight_files
from int_lightning.types import UserError

_NAMED = 3


def check_tensors(folder: Path) -> PreTrainedModel:
    """Compares names and shapes of the stored tensors with those of the architecture, by transformers' own loader, which does not
    read values for the meta device. Returns the model without values.

    Raises:
        UserError: naming a tensor that is missing or has another shape, or if the architecture does not exist.
    """
    return load_causal_lm(str(folder), device_map="meta", trust_remote_code=False)


def load_causal_lm(folder: str, **options: Any) -> PreTrainedModel:
    """A transformers model with all the weights of its folder.

    Args:
        folder: Model folder or hub id.
        options: Of ``from_pretrained``.

    Raises:
        UserError: if a tensor is missing or has another shape, for which transformers would fill in random values, or if it
            cannot build the model.
    """
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, use_safetensors=True, **options
        )
    except Exception as error:
        raise UserError(
            f"transformers cannot build the model of {folder}: {reason(error)}: check its config.json"
        ) from error
    model, found = loaded
    if other := sorted(found["mismatched_keys"]):
        name, stored, wanted = other[0]
        raise UserError(
            f"{_where(folder, name)}: tensor {name} has shape {list(stored)}, and config.json asks for {list(wanted)}"
            f"{_more(other)}: give the config.json that belongs to the weights"
        )
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"{_where(folder)}: tensor {', '.join(missing[:_NAMED])} is missing{_more(missing, _NAMED)}, which would be random: "
            "save the whole model again, or name another folder"
        )
    assert isinstance(model, PreTrainedModel)
    return model


def check_finite(folder: str) -> None:
    """Reads every weight of a folder, once in a process. A hub id is not read.

    Raises:
        UserError: naming file and tensor, if one holds NaN or infinity.
    """
    if Path(folder).is_dir():
        files = weight_files(folder)
        _check_finite(tuple((str(f.resolve()), f.stat().st_mtime_ns, f.stat().st_size) for f in files))


def weights_of_folder(folder: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a model folder or hub id, layer by layer. The head of a tied model is also given under its own name.

    Raises:
        UserError: if a file is missing, or cannot be fetched from the hub.
    """
    stored: dict[str, Any] = {}
    with ExitStack() as files:
        for file in weight_files(_local(folder)):
            tensors = files.enter_context(safe_open(file, framework="pt"))
            stored.update(dict.fromkeys(tensors.keys(), tensors))
        for name in sorted(stored, key=layer_of):  # a layer may be spread over several files
            yield name, stored[name].get_tensor(name)
        embeddings = [name for name in stored if name.endswith("embed_tokens.weight")]
        if "lm_head.weight" not in stored and embeddings:
            yield "lm_head.weight", stored[embeddings[-1]].get_tensor(embeddings[-1])


def _local(folder: str) -> str:
    """The folder itself, or that of a hub id in the hub's cache, to which its weights are fetched if they are not there."""
    if Path(folder).is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(folder, allow_patterns=[INDEX, "model*.safetensors"])
    except Exception as error:  # errors of connections: their classes change with the version of the hub's client
        raise UserError(
            f"model {folder!r}: its weights cannot be fetched from the Hugging Face hub ({reason(error)}): give the path of a "
            "model folder"
        ) from error


@lru_cache(maxsize=256)
def _check_finite(files: tuple[tuple[str, int, int], ...]) -> None:
    for path, _, _ in files:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                value = tensors.get_tensor(name)
                if value.dtype.itemsize > 1 and value.is_floating_point() and not _finite(value):
                    raise UserError(
                        f"{path}: tensor {name} holds NaN or infinity: train or copy the model again, or name another folder"
                    )


def _finite(value: Tensor) -> bool:
    """Whether all values are finite. Their extremes are found without a mask of the tensor's size."""
    if not value.numel():
        return True
    least, most = torch.aminmax(value)
    return bool(torch.isfinite(least) and torch.isfinite(most))


def _where(folder: str, tensor: str = "") -> str:
    """The file that holds a tensor, or should hold it."""
    if not Path(folder).is_dir():
        return folder
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            if tensor in tensors.keys():  # noqa: SIM118
                return str(file)
    return str(Path(folder) / (INDEX if (Path(folder) / INDEX).is_file() else WEIGHTS))


def _more(names: list[Any], shown: int = 1) -> str:
    return f" (and {len(names) - shown} more)" if len(names) > shown else ""
