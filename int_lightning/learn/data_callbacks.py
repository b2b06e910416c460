"""How the data of a fit find the callbacks that work for them: by a protocol, among those of the trainer."""

from __future__ import annotations

from typing import TypeVar

import lightning as L

C = TypeVar("C")


def callback_of(trainer: L.Trainer, protocol: type[C]) -> C | None:
    """The first callback of a fit that follows a runtime-checkable protocol; None where there is none."""
    return next((c for c in trainer.callbacks if isinstance(c, protocol)), None)  # type: ignore[attr-defined]
