"""What a server is told about sampling: every parameter for which it would otherwise take a default of its model."""

from __future__ import annotations

from typing import Any

from int_lightning.types import Sampling

NEUTRAL = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Parameters that ``Sampling`` does not have, with values that change nothing. A vLLM server takes unset ones from the
``generation_config.json`` of its model."""


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """The fields of a vLLM server's request that say how a token is drawn, all of them."""
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return drawn | NEUTRAL
