"""Low-rank adapters: W + (alpha / rank) B A instead of W, with W frozen and only A and B trained.

peft puts them into the transformers model itself, which keeps its class and its methods. The W of an adapted layer is renamed
to ``base_layer.weight``; ``merged`` gives it its own name back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from int_lightning.console import say
from int_lightning.model_folder.checkpoint_names import fused_experts
from int_lightning.types import UserError

NAME = "default"
FACTOR = ".lora_"
BASE = ".base_layer."


@dataclass(frozen=True)
class LoRAConfig:
    """Low-rank adapters.

    Args:
        rank: The rank of B A.
        alpha: B A is multiplied by alpha / rank.
        dropout: Share of an adapter's inputs that is dropped in training.
        targets: Names of the linear layers to adapt, such as [q_proj, v_proj], or ``all-linear`` for all but the head. The
            experts of a mixture, which transformers holds in one parameter, stay frozen.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: list[str] | Literal["all-linear"] = "all-linear"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"lora.rank: {self.rank} is not a rank: give a whole number from 1 on, for example 16")
        if self.alpha <= 0:
            raise UserError(f"lora.alpha: {self.alpha} would undo or reverse the adapters: give a positive number")
        if not 0 <= self.dropout < 1:
            raise UserError(f"lora.dropout: {self.dropout} is not a share: give a number from 0 to below 1")


def adapt(causal_lm: PreTrainedModel, config: LoRAConfig) -> None:
    """Puts adapters into a model and freezes its own weights. A is random and B zero, both float32: the outputs do not change.

    Raises:
        UserError: if a target is not the name of a linear layer, or is the head, whose weight is used without its forward.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = _targets(causal_lm, config.targets)
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        base_model_name_or_path=causal_lm.name_or_path,
    )
    inject_adapter_in_model(settings, causal_lm, NAME)
    for parameter in causal_lm.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def merged(causal_lm: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Full weights one by one, with the adapters' part added, under the names that they have without adapters.

    Args:
        causal_lm: The model.
        weights: Its parameters or its state, sharded or not. Each sharded one is gathered when its turn comes: every rank must
            iterate in lockstep.
    """
    for name, weight in weights.items():
        layer, adapted, kind = name.partition(BASE)
        if FACTOR in name:
            continue
        if not adapted:
            yield name, full(weight)
        elif kind != "weight":
            yield f"{layer}.{kind}", full(weight)
        else:
            adapter: Any = causal_lm.get_submodule(layer)
            a: Float[Tensor, "rank inputs"] = full(weights[f"{layer}{FACTOR}A.{NAME}.weight"])
            b: Float[Tensor, "outputs rank"] = full(weights[f"{layer}{FACTOR}B.{NAME}.weight"])
            change = (b @ a) * adapter.scaling[NAME]
            yield f"{layer}.weight", full(weight) + (change.T if adapter.fan_in_fan_out else change)


def full(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A parameter's values, gathered if it is sharded."""
    values = weight.detach()
    return values.full_tensor() if isinstance(values, DTensor) else values


def is_adapted(causal_lm: nn.Module) -> bool:
    """Whether a model has adapters."""
    return hasattr(causal_lm, "peft_config")


def save_adapter(causal_lm: PreTrainedModel, state: Mapping[str, Tensor], folder: Path) -> None:
    """Writes the adapters in a full state, which may hold other weights too, as safetensors in peft's own format."""
    from peft import get_peft_model_state_dict

    factors = get_peft_model_state_dict(causal_lm, state, NAME, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"base_model.model.{name}": factor.contiguous() for name, factor in factors.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    causal_lm.peft_config[NAME].save_pretrained(str(folder))


def adapter_factors(causal_lm: nn.Module) -> dict[str, Tensor]:
    """The adapters' full A and B; under FSDP2 every rank must call it."""
    return {name: full(factor) for name, factor in causal_lm.named_parameters() if FACTOR in name}


def keep_state_of_adapters_only(module: nn.Module) -> None:
    """Leaves the frozen weights out of a module's state dict."""

    def drop_frozen(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        for name in [n for n in state if n.startswith(prefix) and FACTOR not in n]:
            del state[name]

    module.register_state_dict_post_hook(drop_frozen)


@contextmanager
def without_adapters(causal_lm: nn.Module) -> Iterator[None]:
    """Scales the adapters' part to 0. Disabling them switches their gradients off, and FSDP2 may miss it when they return."""
    from peft.tuners.lora import LoraLayer

    layers = [m for m in causal_lm.modules() if isinstance(m, LoraLayer)]
    for layer in layers:
        layer.set_scale(NAME, 0)
    try:
        yield
    finally:
        for layer in layers:
            layer.set_scale(NAME, 1)


def _targets(causal_lm: PreTrainedModel, targets: list[str] | str) -> list[str] | str:
    """What peft is asked to adapt. It takes names that experts have in files for those experts, even where they also name a
    linear layer, so those names are left out."""
    head = causal_lm.get_output_embeddings()
    linear = [n for n, m in causal_lm.named_modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not head]
    fused = fused_experts(causal_lm)
    usable = sorted({name.rpartition(".")[2] for name in linear} - fused)
    if targets == "all-linear":
        if not fused:
            return targets
        say(
            f"[yellow]note:[/] lora.targets all-linear: the experts of {type(causal_lm).__name__} stay frozen, because "
            f"transformers holds them in one parameter; adapted are {', '.join(usable)}"
        )
        return usable
    frozen = [t for t in targets if t.rpartition(".")[2] in fused]
    unknown = [t for t in targets if not any(n == t or n.endswith(f".{t}") for n in linear)]
    if frozen:
        raise UserError(
            f"lora.targets: {frozen} of {type(causal_lm).__name__} name experts, which are held in one parameter and cannot be "
            f"adapted: choose from {', '.join(usable)}, or give all-linear"
        )
    if unknown or not targets:
        raise UserError(
            f"lora.targets: {unknown or targets} of {type(causal_lm).__name__} do not name a linear layer that can be adapted: "
            f"choose from {', '.join(usable)}, or give all-linear"
        )
    return targets
