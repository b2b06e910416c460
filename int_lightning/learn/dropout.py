"""A model's own dropout, off where log-probs are compared: ratio and KL term would measure it in place of what was learned."""

from __future__ import annotations

from copy import copy

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from int_lightning.model_folder.check import dropouts, is_dropout

_NOISE = {"jitter_noise", "input_jitter_noise", "moe_jitter_eps"}
"""Noise on a router's input, which layers add in training only."""


def switch_dropout_off(causal_lm: PreTrainedModel) -> None:
    """Sets every rate of dropout in a model's modules to 0. They stay in train mode, without which layers do not checkpoint their
    activations. The model's configuration keeps its rates, because an export writes it; modules that read one there when they
    run get a copy without.
    """
    quiet: dict[int, PreTrainedConfig] = {}
    for module in causal_lm.modules():
        for name, value in vars(module).items():
            if isinstance(value, float) and (is_dropout(name) or name in _NOISE):
                setattr(module, name, 0.0)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        config = getattr(module, "config", None)
        if module is not causal_lm and isinstance(config, PreTrainedConfig) and dropouts(config):
            module.config = quiet.setdefault(id(config), _without_dropout(config))  # type: ignore[assignment]


def _without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    without = copy(config)
    for name, value in vars(config).items():
        if isinstance(value, float) and is_dropout(name):
            setattr(without, name, 0.0)
    return without
