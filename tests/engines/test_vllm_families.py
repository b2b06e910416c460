"""Families of models whose weights or layers vLLM has in a form of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.families.sync_check import checked
from benchmarks.families.tiny_models import FAMILIES, tiny_config
from int_lightning.engines import vllm
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.vllm_start import options_for
from int_lightning.engines.vllm_weights import _weights
from int_lightning.models.resolve import resolve_model

pytestmark = pytest.mark.skipif(
    not vllm.available() or torch.cuda.is_available(), reason="what vLLM does on a CPU is tested"
)


@pytest.mark.parametrize("family", ["deepseek_v3", "gemma2"])
def test_the_engine_computes_with_the_trained_weights(family: str, tmp_path: Path) -> None:
    """Of latent attention, which vLLM computes from other matrices, and where it has no head to load."""
    assert checked(family, tmp_path).startswith("equal")


def test_prefixes_are_not_cached_where_layers_carry_a_state(tmp_path: Path) -> None:
    hybrid = tiny_config("granitemoehybrid")
    hybrid.architectures = [FAMILIES["granitemoehybrid"]]
    hybrid.save_pretrained(tmp_path)
    config = EngineConfig(name="vllm")
    assert options_for(config, str(tmp_path), on_gpu=False, lora_rank=0)["enable_prefix_caching"] is False
    assert options_for(config, resolve_model("mini"), on_gpu=False, lora_rank=0)["enable_prefix_caching"] is None


def test_buffers_that_come_from_a_checkpoint_are_read() -> None:
    module = nn.Module()
    module.register_buffer("layer_scalar", torch.ones(1))
    module.register_buffer("cos_sin_cache", torch.ones(1))
    assert [kind for kind, _ in _weights(module)] == ["layer_scalar"]
