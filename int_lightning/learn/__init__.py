"""The policy as a LightningModule: masked SFT and GRPO."""

from int_lightning.learn.grpo import GRPOModule
from int_lightning.learn.schedule import WarmupCosine
from int_lightning.learn.sft import SFTModule

__all__ = ["GRPOModule", "SFTModule", "WarmupCosine"]
