"""A class of transformers that vLLM has changed for itself still makes models that can be called."""

from __future__ import annotations

import pytest
import torch
from transformers import Olmo2Config, Olmo2Model

from int_lightning.engines.vllm_classes import give_classes_back

SIZES = {"vocab_size": 9, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_a_class_that_vllm_compiles_is_given_back() -> None:
    decorators = pytest.importorskip("vllm.compilation.decorators")

    class Changed(Olmo2Model):
        pass

    config = Olmo2Config(**SIZES, pad_token_id=0)
    before = Changed(config)
    decorators.support_torch_compile(dynamic_arg_dims={"input_ids": 1})(Changed)
    with pytest.raises(AttributeError, match="do_not_compile"):
        before(input_ids=torch.tensor([[1, 2]]))
    with pytest.raises(AssertionError):
        Changed(config)
    give_classes_back()
    for model in (before, Changed(config)):
        assert model(input_ids=torch.tensor([[1, 2]])).last_hidden_state.shape == (1, 2, 16)
