"""What an operation costs: its matrix products, counted, and the largest tensor that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class Watch(TorchDispatchMode):
    """Counts the operations of matrix products, and the bytes of the largest result."""

    operations = 0
    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in (aten.mm, aten.addmm, aten.addmm_):
            a, b = args[:2] if func.overloadpacket is aten.mm else args[1:3]
            self.operations += 2 * a.shape[0] * a.shape[1] * b.shape[1]
        sizes = [t.numel() * t.element_size() for t in tree_leaves(out) if isinstance(t, Tensor)]
        self.largest = max([self.largest, *sizes])
        return out

    def units(self, n: int, h: int, v: int) -> float:
        """Operations so far, one unit being a product of hidden states and head weight."""
        return self.operations / (2 * n * h * v)


@contextmanager
def saved_for_backward() -> Iterator[list[Tensor]]:
    """Tensors that operations save for the backward pass."""
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        yield saved
