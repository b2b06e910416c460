"""Whether vLLM takes a family's trained weights: ``python -m benchmarks.families.sync_check FAMILY``, which prints one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.families.tiny_models import FAMILIES, tiny_model
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.learn.model import Policy, load_policy
from int_lightning.learn.sync import sync, verify
from int_lightning.types import UserError

NOT_IN_VLLM = "not in vLLM"


def checked(family: str, folder: Path) -> str:
    """Starts vLLM from a folder of random weights, and gives it others."""
    from vllm import ModelRegistry

    if FAMILIES[family] not in ModelRegistry.get_supported_archs():
        return NOT_IN_VLLM
    tiny_model(family, folder)
    try:
        policy = load_policy(str(folder), dtype=torch.float32)
        engine = open_engine(str(folder), EngineConfig(name="vllm", max_model_len=128, max_num_seqs=8, threads=1))
    except UserError as error:
        return f"refused: {_line(error, folder)}"
    try:
        verify(policy, engine)
    except UserError as error:
        return f"refused, with the folder's own weights: {_line(error, folder)}"
    train(policy)
    try:
        gap = sync(policy, engine)
    except UserError as error:
        return f"refused: {_line(error, folder)}"
    return f"equal, {gap:.1g} nats"


@torch.no_grad()
def train(policy: Policy) -> None:
    """Moves every weight, as far as many steps would."""
    for weight in policy.parameters():
        weight += 0.1 * weight.abs().mean() * torch.randn_like(weight)


def _line(error: UserError, folder: Path) -> str:
    return " ".join(str(error).replace(str(folder), "the folder").split())


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        line = checked(sys.argv[1], Path(temporary))
    print(line, flush=True)
    os._exit(0)  # vLLM's threads outlive it
