"""Which implementation runs: Triton on CUDA, chunked PyTorch elsewhere, or the reference that writes everything out."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from typing import Literal

from torch import Tensor

Implementation = Literal["auto", "triton", "chunked", "reference"]
Chosen = Literal["triton", "chunked", "reference"]

log = logging.getLogger("int_lightning_kernels")


def implementation_for(tensor: Tensor, wanted: Implementation = "auto") -> Chosen:
    """The implementation that a call on ``tensor`` takes.

    ``auto`` is Triton on CUDA where Triton is installed, and chunked PyTorch otherwise. The first time that a type of device
    takes an implementation, the logger ``int_lightning_kernels`` says so.

    Raises:
        ValueError: if ``triton`` is asked for where it cannot run, or ``wanted`` is not an implementation.
    """
    if wanted not in ("auto", "triton", "chunked", "reference"):
        raise ValueError(f"implementation must be auto, triton, chunked or reference, not {wanted!r}")
    installed = importlib.util.find_spec("triton") is not None
    if wanted == "auto":
        chosen: Chosen = "triton" if tensor.is_cuda and installed else "chunked"
    else:
        chosen = wanted
    if chosen == "triton" and not installed:
        raise ValueError("implementation='triton': Triton is not installed; use implementation='chunked'")
    if chosen == "triton" and not tensor.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            f"implementation='triton' needs CUDA tensors, these are on {tensor.device}; use implementation='chunked' "
            "(or set TRITON_INTERPRET=1 before Triton is imported, to debug the kernels)"
        )
    _say(tensor.device.type, chosen)
    return chosen


@functools.cache
def _say(device: str, chosen: Chosen) -> None:
    log.info("log-probs on %s: %s", device, chosen)
