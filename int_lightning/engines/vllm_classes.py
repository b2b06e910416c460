"""transformers' own classes, which vLLM runs for families that it has no code for, and changes for the whole process."""

from __future__ import annotations

from inspect import getclosurevars, isfunction
from typing import Any

from transformers import PreTrainedModel

_COMPILED = "TorchCompileWithNoGuardsWrapper"


def give_classes_back() -> None:
    """Undoes what vLLM changes in a class so that torch.compile takes its models: other models of the class, such as the one in
    training, could neither be made nor called. vLLM's model, which is there by now, keeps its own settings."""
    waiting: list[Any] = [PreTrainedModel]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if _COMPILED in (base.__name__ for base in kind.__bases__) and isfunction(kind.__init__):
            kind.__init__ = getclosurevars(kind.__init__).nonlocals.get("old_init", kind.__init__)
            kind.do_not_compile = True
