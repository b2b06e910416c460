"""A KV cache for decoding with transformers whose layers grow by large parts; transformers' own copy all of it at every token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

GROWTH = 1.5
LEAST_ROOM = 64
"""Tokens."""


class GrowingLayer(DynamicLayer):
    """Keys and values [B, heads, T, D] as views of buffers with room for more tokens."""

    _buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Adds tokens; the keys and values of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        length = held + key_states.shape[-2]
        if self._buffers is None or length > self._buffers[0].shape[-2]:
            room = max(int(GROWTH * length), length + LEAST_ROOM)
            self._buffers = _with_room(self.keys, key_states, room), _with_room(self.values, value_states, room)
        keys, values = self._buffers
        keys[:, :, held:length] = key_states
        values[:, :, held:length] = value_states
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows."""
        super().batch_select_indices(indices)
        self._buffers = None


def growing_cache(causal_lm: PreTrainedModel) -> DynamicCache:
    """An empty cache with the layers that the model's configuration asks for."""
    cache = DynamicCache(config=causal_lm.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _with_room(held: Tensor | None, new: Tensor, room: int) -> Tensor:
    """A buffer for ``room`` tokens that begins with those held; of those there may be none yet."""
    buffer = new.new_empty(*new.shape[:2], room, new.shape[-1])
    if held is not None and held.numel():
        buffer[:, :, : held.shape[-2]] = held
    return buffer
