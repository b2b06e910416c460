"""The classes that a config may name without their module, so that their place in the code is not part of a config."""

from __future__ import annotations

import re

SHIPPED = {
    "GRPOModule": "int_lightning.grpo.module",
    "SFTModule": "int_lightning.sft.module",
    "WarmupCosine": "int_lightning.learn.schedule",
    "InterventionData": "int_lightning.sft.data",
    "RolloutData": "int_lightning.grpo.data",
    "MiniPretrainData": "int_lightning.sft.mini_pretraining",
    "PolicyOracle": "int_lightning.oracles.policy",
    "GradeSchoolOracle": "int_lightning.oracles.gradeschool",
    "ServerOracle": "int_lightning.oracles.server",
    "AnnotationOracle": "int_lightning.oracles.person",
    "CollectInterventions": "int_lightning.sft.collecting",
    "InterveneOnFailedGroups": "int_lightning.grpo.in_loop",
    "HeldOutPassAtK": "int_lightning.evaluation.held_out",
}
"""Module of each."""

# class_path: int_lightning.grpo.module.GRPOModule
_PATH = re.compile(rf"(?<=class_path: )int_lightning\.[\w.]*\.({'|'.join(SHIPPED)})\b")


def with_short_names(config: str) -> str:
    """A config's text with shipped classes by their bare names, so that it stays valid when their modules move."""
    return _PATH.sub(r"\1", config)
