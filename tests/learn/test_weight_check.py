"""An engine may hold a weight in its own form, and still no other weight."""

from __future__ import annotations

import torch

from int_lightning.engines.weight_rows import rows_of
from int_lightning.learn.weight_check import differences

A_LOG = torch.linspace(-1.0, 2.0, 24).view(4, 6)


def test_what_an_engine_computes_from_a_weight_is_compared_with_the_computed() -> None:
    held = {"model.layers.1.mixer.A": rows_of(-torch.exp(A_LOG), torch.bfloat16)}
    other = A_LOG.clone()
    other[2, 3] += 1e-6
    assert differences(held, [("backbone.layers.1.mixer.A_log", A_LOG)]) == []
    assert [d.wrong for d in differences(held, [("backbone.layers.1.mixer.A_log", other)])] == [1, 1]


def test_a_weight_that_an_engine_holds_as_it_is_is_compared_as_it_is() -> None:
    held = {"model.layers.1.mixer.A_log": rows_of(A_LOG, torch.float32)}
    assert differences(held, [("model.layers.1.mixer.A_log", A_LOG)]) == []


def test_a_weight_that_an_engine_stores_in_half_precision_is_compared_in_it() -> None:
    alpha = torch.tensor([0.2037])
    held = {"model.layers.0.mlp.act_fn.alpha_p": rows_of(alpha.bfloat16(), torch.float32)}
    assert differences(held, [("model.layers.0.mlp.act_fn.alpha_p", alpha)]) == []
    assert differences(held, [("model.layers.0.mlp.act_fn.alpha_p", alpha * 1.01)]) != []
