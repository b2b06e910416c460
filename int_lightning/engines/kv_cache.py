"""A KV cache for transformers that grows in large steps; transformers' own cache is copied as a whole for every token."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

GROWTH = 1.5
"""A full buffer grows by this factor."""

LEAST_ROOM = 64
"""Tokens that it grows by at least."""


class GrowingLayer(DynamicLayer):
    """Keys and values as views of buffers with room for more tokens."""

    _buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Float[Tensor, "B heads N D"], value_states: Float[Tensor, "B heads N D"], *_: Any, **__: Any
    ) -> tuple[Float[Tensor, "B heads T D"], Float[Tensor, "B heads T D"]]:
        """Adds N tokens; returns the keys and values of all T."""
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
    """An empty cache with the kinds of layers that the model's configuration asks for."""
    cache = DynamicCache(config=causal_lm.config)
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:  # sliding windows and states of other kinds do not grow
            cache.layers[i] = GrowingLayer()
    return cache


def _with_room(held: Tensor | None, new: Float[Tensor, "B heads N D"], room: int) -> Float[Tensor, "B heads room D"]:
    """A buffer for ``room`` tokens that begins with those held so far, if there are any."""
    buffer = new.new_empty(*new.shape[:2], room, new.shape[-1])
    if held is not None and held.numel():
        buffer[:, :, : held.shape[-2]] = held
    return buffer
