"""Attention within the documents of a packed sequence: the tokens of one never see those of another, without a mask.

On a CUDA device, 16-bit documents go through one variable-length flash kernel together, if it takes the size of their heads;
otherwise each one goes through causal SDPA. In both cases the cost is the sum of the squares of the documents' lengths.
Importing this module registers it with transformers under the name ``PACKED``; padded batches are left to SDPA.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from int_lightning.types import UserError

PACKED = "int_lightning_packed"
_ATTENTION_KINDS = {"full_attention", "sliding_attention"}
_FLASH_HEAD_SIZE = 256
"""The largest head that the flash kernel takes."""


def packed_attention(
    module: nn.Module,
    query: Float[Tensor, "B heads T D"],
    key: Float[Tensor, "B key_heads T D"],
    value: Float[Tensor, "B key_heads T V"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    lengths: Sequence[int] | None = None,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[Float[Tensor, "B T heads V"], None]:
    """Causal attention as transformers' layers call it.

    Args:
        module: The layer.
        query: Of every token; B = 1 with ``lengths``.
        key: Of every token.
        value: Of every token.
        attention_mask: Of a padded batch; None with ``lengths``.
        scaling: Factor of the scores; 1 / sqrt(D) if not given.
        dropout: Not used in packed batches.
        lengths: Tokens of each document, in order; their sum is T.
        sliding_window: Tokens that a token sees, itself included.
        more: What else the layer passes, for a padded batch.

    Returns:
        The outputs, and None in place of the attention weights.

    Raises:
        UserError: for a packed batch in a layer with attention sinks or softcapped scores.
    """
    if lengths is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, sliding_window=sliding_window, **more
        )
        return output, None
    if any(more.get(name) is not None for name in ("s_aux", "softcap", "position_bias")):
        raise UserError(f"packing does not know the attention of {type(module).__name__}")
    if query.is_cuda and flash_takes(query, value):
        return flash_attention(query, key, value, lengths, scaling, sliding_window), None
    key, value = _for_every_head(key, value, query.shape[1])
    parts = [t.split(list(lengths), 2) for t in (query, key, value)]
    outputs = [_causal(q, k, v, scaling, sliding_window) for q, k, v in zip(*parts, strict=True)]
    return torch.cat(outputs, 2).transpose(1, 2).contiguous(), None


def unpackable(causal_lm: PreTrainedModel) -> str | None:
    """Why a model is known not to take several documents in one sequence, or None if it may."""
    if not causal_lm._supports_attention_backend:
        return "its attention cannot be exchanged"
    kinds = set(getattr(causal_lm.config.get_text_config(), "layer_types", None) or [])
    if causal_lm._is_stateful or not kinds <= _ATTENTION_KINDS:
        return "its layers carry a state from token to token, or choose the tokens that they see"
    if getattr(causal_lm.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        return "its attention is softcapped"
    return "its attention has sinks" if any(hasattr(m, "sinks") for m in causal_lm.modules()) else None


def positions(lengths: Sequence[int], device: torch.device) -> Int64[Tensor, "1 T"]:
    """Each token's position in its own document."""
    return torch.cat([torch.arange(n, device=device) for n in lengths])[None]


def _causal(
    query: Float[Tensor, "1 heads N D"],
    key: Float[Tensor, "1 heads N D"],
    value: Float[Tensor, "1 heads N V"],
    scaling: float | None,
    window: int | None,
) -> Float[Tensor, "1 heads N V"]:
    n = query.shape[2]
    if window is None or n <= window:
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
    seen = torch.ones(n, n, dtype=torch.bool, device=query.device).tril().triu(1 - window)
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scaling)


def flash_takes(query: Float[Tensor, "1 heads T D"], value: Float[Tensor, "1 key_heads T V"]) -> bool:
    """Whether the flash kernel takes these heads. It does not take those of multi-head latent attention, with values smaller than
    keys, nor heads of 512."""
    size = query.shape[-1]
    sixteen_bits = value.dtype in (torch.bfloat16, torch.float16)
    return sixteen_bits and value.shape[-1] == size and size <= _FLASH_HEAD_SIZE and size % 8 == 0


def _for_every_head(
    key: Float[Tensor, "1 key_heads T D"], value: Float[Tensor, "1 key_heads T V"], heads: int
) -> tuple[Float[Tensor, "1 heads T D"], Float[Tensor, "1 heads T V"]]:
    """Keys and values that a group of query heads shares, once for each of them."""
    groups = heads // key.shape[1]
    return (key, value) if groups == 1 else (key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1))


def flash_attention(
    query: Float[Tensor, "1 heads T D"],
    key: Float[Tensor, "1 key_heads T D"],
    value: Float[Tensor, "1 key_heads T D"],
    lengths: Sequence[int],
    scaling: float | None,
    window: int | None,
) -> Float[Tensor, "1 T heads D"]:
    """Causal attention within each document, by one kernel; see ``packed_attention``."""
    from torch.nn.attention.varlen import varlen_attn

    if "enable_gqa" not in signature(varlen_attn).parameters:  # torch 2.11
        key, value = _for_every_head(key, value, query.shape[1])
    grouped: dict[str, Any] = {"enable_gqa": True} if query.shape[1] != key.shape[1] else {}
    starts = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=query.device)
    q, k, v = (t[0].transpose(0, 1).to(value.dtype).contiguous() for t in (query, key, value))
    output = varlen_attn(
        q,
        k,
        v,
        starts,
        starts,
        max(lengths),
        max(lengths),
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        **grouped,
    )
    assert isinstance(output, Tensor)
    return output[None]


def _mask(attention_mask: Tensor | None = None, **rules: Any) -> Tensor | None:
    """None for a packed batch, because the attention itself keeps its documents apart."""
    return None if attention_mask is None else sdpa_mask(attention_mask=attention_mask, **rules)


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, _mask)
