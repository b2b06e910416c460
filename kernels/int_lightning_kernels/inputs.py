"""Arguments of the linear forms: flattened, gathered and checked. Each refusal names the argument."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from int_lightning_kernels import torch_rows
from int_lightning_kernels.dispatch import Chosen, Implementation, implementation_for
from int_lightning_kernels.head import Head
from int_lightning_kernels.rows import RowOperations, Scores
from int_lightning_kernels.vocab_parallel import VocabShard

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Call:
    """What belongs to a call and gets no gradient.

    Args:
        targets: Token ids.
        inverse_temperature: Of each token; None for 1.
        softcap: Positive, or None.
        shard: The part of the vocabulary that the weight is, or None.
        dtype: What products are computed in.
        logits_dtype: What logits are stored in.
        chosen: The implementation.
        entropy: Whether entropies are asked for.
    """

    targets: Int64[Tensor, " N"]
    inverse_temperature: Float32[Tensor, " N"] | None
    softcap: float | None
    shard: VocabShard | None
    dtype: torch.dtype
    logits_dtype: torch.dtype
    chosen: Chosen
    entropy: bool

    def head(
        self, weight: Float[Tensor, "V H"], bias: Float[Tensor, " V"] | None, rows: RowOperations | None = None
    ) -> Head:
        """The head with these settings, and with the implementation's row operations unless others are given."""
        scores = Scores(self.inverse_temperature, None if bias is None else bias.contiguous(), self.softcap)
        return Head(weight.to(self.dtype), scores, rows or row_operations(self.chosen), self.shard, self.logits_dtype)

    def select(self, rows: Int64[Tensor, " n"]) -> Call:
        """The call for some of its rows."""
        inverse = self.inverse_temperature
        return replace(
            self,
            targets=self.targets[rows],
            inverse_temperature=None if inverse is None else inverse[rows],
        )


def row_operations(chosen: Chosen) -> RowOperations:
    """The row operations of an implementation."""
    if chosen == "triton":
        from int_lightning_kernels import triton_rows

        return triton_rows
    return torch_rows


def check_inputs(
    hidden: Float[Tensor, "*tokens H"],
    weight: Float[Tensor, "V H"],
    targets: Int[Tensor, "*tokens"],
    bias: Float[Tensor, " V"] | None,
    *,
    temperature: float | Float[Tensor, "*#tokens"] = 1.0,
    softcap: float | None = None,
    shard: VocabShard | None = None,
    ignore_index: int | None = None,
    implementation: Implementation = "auto",
    logits_dtype: torch.dtype | None = None,
    entropy: bool = True,
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "V H"], Float[Tensor, " V"] | None, Call]:
    """Flattens the tokens, gathers a DTensor weight once, and checks all that can be checked without waiting for a GPU.

    Returns:
        hidden, weight, bias, and the rest of the call.

    Raises:
        ValueError: naming the argument, with the shapes, dtypes, devices or values that disagree.
    """
    weight, bias = _gathered(weight), None if bias is None else _gathered(bias)
    if hidden.ndim < 2 or weight.ndim != 2 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"hidden must be [..., H] and weight [V, H] with the same H, not {_shape(hidden)} and {_shape(weight)}"
        )
    if targets.shape != hidden.shape[:-1]:
        raise ValueError(f"targets must be {_shape(hidden)[:-1]} like hidden {_shape(hidden)}, not {_shape(targets)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must be [V] with V of weight {_shape(weight)}, not {_shape(bias)}")
    check_devices(hidden, weight=weight, targets=targets, bias=bias)
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap must be positive, not {softcap}")
    if logits_dtype not in (None, *FLOATS):
        raise ValueError(f"logits_dtype must be float32, bfloat16 or float16, not {logits_dtype}")
    vocabulary = weight.shape[0] if shard is None else shard.vocabulary
    if not vocabulary:
        raise ValueError(f"weight {_shape(weight)} has an empty vocabulary")
    chosen = implementation_for(hidden, implementation)
    if chosen == "reference" and shard is not None:
        raise ValueError(
            "shard: the reference implementation cannot take a vocabulary spread over ranks; use chunked or triton"
        )
    dtype = _dtype(hidden, weight)
    call = Call(
        targets=checked_targets(targets, vocabulary, ignore_index),
        inverse_temperature=inverse_temperature(temperature, targets),
        softcap=softcap,
        shard=shard,
        dtype=dtype,
        logits_dtype=logits_dtype or dtype,
        chosen=chosen,
        entropy=entropy,
    )
    return hidden.reshape(-1, hidden.shape[-1]), weight, bias, call


def check_devices(hidden: Tensor, **others: Tensor | None) -> None:
    """Refuses tensors that are not where hidden is.

    Raises:
        ValueError: naming the tensor and both devices.
    """
    for name, tensor in others.items():
        if tensor is not None and tensor.device != hidden.device:
            raise ValueError(f"{name} is on {tensor.device} and hidden on {hidden.device}")


def checked_targets(targets: Int[Tensor, "*tokens"], vocabulary: int, ignore_index: int | None) -> Int64[Tensor, " N"]:
    """Targets in one row as int64, checked against the vocabulary where that does not mean waiting for a GPU.

    Raises:
        ValueError: with the first id outside the vocabulary and its row, or if they are not integers.
    """
    if targets.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"targets must be int64 token ids, not {targets.dtype}")
    flat = targets.reshape(-1).to(torch.int64).contiguous()
    if flat.is_cuda:
        return flat
    wrong = (flat < 0) | (flat >= vocabulary)
    if ignore_index is not None:
        wrong &= flat != ignore_index
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise ValueError(f"targets[{row}] is {int(flat[row])}, outside the vocabulary of {vocabulary} tokens")
    return flat


def inverse_temperature(
    temperature: float | Float[Tensor, "*#tokens"], targets: Int[Tensor, "*tokens"]
) -> Float32[Tensor, " N"] | None:
    """1 / temperature of each token, or None where the temperature is 1.

    Raises:
        ValueError: if a temperature is not positive, is neither a number nor one per target, or asks for a gradient.
    """
    if isinstance(temperature, Tensor):
        if temperature.requires_grad:
            raise ValueError("temperature gets no gradient: detach it")
        if temperature.numel() != 1 and temperature.shape != targets.shape:
            raise ValueError(
                f"temperature must be a number or {_shape(targets)} like targets, not {_shape(temperature)}"
            )
        if not temperature.is_cuda and not bool((temperature > 0).all()):
            raise ValueError("temperature must be positive everywhere")
        inverse = temperature.to(targets.device, torch.float32).reciprocal()
        return inverse.expand(targets.shape).reshape(-1).contiguous()
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    if temperature == 1:
        return None
    return torch.full((targets.numel(),), 1 / temperature, dtype=torch.float32, device=targets.device)


def _dtype(hidden: Tensor, weight: Tensor) -> torch.dtype:
    dtype = hidden.dtype
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
    elif weight.dtype != hidden.dtype:
        raise ValueError(f"weight is {weight.dtype} and hidden {hidden.dtype}: cast one of them, or use autocast")
    if dtype not in FLOATS or weight.dtype not in FLOATS:
        raise ValueError(
            f"hidden and weight must be float32, bfloat16 or float16, not {hidden.dtype} and {weight.dtype}"
        )
    return dtype


def _gathered(tensor: Tensor) -> Tensor:
    """A sharded parameter in one piece; its gradient is summed over the ranks that share it."""
    # importing it takes a second, and until something else has, no tensor can be a DTensor
    if "torch.distributed.tensor" not in sys.modules:
        return tensor
    from torch.distributed.tensor import DTensor, Partial

    if not isinstance(tensor, DTensor):
        return tensor
    return tensor.full_tensor(grad_placements=[Partial()] * tensor.device_mesh.ndim)


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
