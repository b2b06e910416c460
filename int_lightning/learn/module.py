"""What SFT and GRPO share: a policy as a LightningModule, and one optimiser step over a list of micro-batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.strategies import ModelParallelStrategy
from rich.markup import escape
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import PreTrainedTokenizerBase

from int_lightning.console import say
from int_lightning.learn.export import export
from int_lightning.learn.liger_layers import Layers
from int_lightning.learn.lightning_internals import forget_step_metrics
from int_lightning.learn.lora import LoRAConfig, keep_state_of_adapters_only
from int_lightning.learn.micro_batches import MicroBatch
from int_lightning.learn.model import Head, LogitsDtype, Policy, load_policy, shard
from int_lightning.learn.schedule import WarmupCosine
from int_lightning.learn.step_stream import gather
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models.resolve import resolve_model
from int_lightning.types import UserError
from int_lightning_kernels import MAX, Loss, add_metrics

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def run_length(trainer: L.Trainer) -> int:
    """Optimiser steps of a whole run, which is one pass over its stream, even if ``max_steps`` cuts it short.

    A loader is made for the purpose. The trainer (``estimated_stepping_batches``) would set up its own one, and a loader that is
    set up before its state is restored starts from the first row.
    """
    return len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]


class PolicyModule(L.LightningModule):
    """A policy under training.

    Args:
        model: ``mini``, ``smollm2-135m-instruct``, a model folder or a hub name.
        optimizer: Optimiser.
        scheduler: Learning-rate schedule, stepped once per optimiser step; None keeps the rate.
        dtype: Of the arithmetic; weights and optimiser state are float32.
        max_grad_norm: Gradients are clipped to this norm; 0 leaves them as they are.
        gradient_checkpointing: Recompute activations in the backward pass.
        head: How the head's log-probs are computed: auto (fused, for the device), triton, chunked, reference (plain PyTorch on
            all logits), or liger (Liger's fused linear cross-entropy, for the loss of SFT).
        random_init: Start from random weights of the model's architecture.
        lora: Train low-rank adapters and freeze the model's own weights, which are then held in ``dtype``. Checkpoints hold the
            adapters alone: a run continues from the same ``model``.
        layers: Whose RMSNorm, RoPE and SwiGLU the model has: auto (Liger's on a GPU where it knows the architecture), liger, or
            transformers.
        logits_dtype: float32 keeps the head's logits unrounded under ``dtype: bfloat16``, so that log-probs of two passes differ
            less; logits then take twice the memory. Null rounds them to ``dtype``.

    Raises:
        UserError: for adapters of random weights, and for ``logits_dtype`` with a head that rounds logits all the same.
    """

    keeps_dropout = True
    """Whether the model is trained with its own dropout."""

    def __init__(
        self,
        model: str = "mini",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        max_grad_norm: float = 1.0,
        gradient_checkpointing: bool = False,
        head: Head = "auto",
        random_init: bool = False,
        lora: LoRAConfig | None = None,
        layers: Layers = "auto",
        logits_dtype: LogitsDtype | None = None,
    ) -> None:
        super().__init__()
        if random_init and lora is not None:
            raise UserError("random_init leaves nothing for adapters to adapt: drop it, or lora")
        if logits_dtype is not None and head in ("liger", "reference"):
            raise UserError(
                f"model.init_args.head: {head} rounds logits to dtype whatever logits_dtype says: set head to auto, or drop "
                "logits_dtype"
            )
        self.automatic_optimization = False
        self.model = model
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.dtype_name = dtype
        if max_grad_norm < 0:
            raise UserError(
                f"model.max_grad_norm is {max_grad_norm}: give a norm above 0, or 0 to leave gradients as they are"
            )
        self.max_grad_norm = max_grad_norm
        self.gradient_checkpointing = gradient_checkpointing
        self.head = head
        self.random_init = random_init
        self.lora = lora
        self.layers = layers
        self.logits_dtype = logits_dtype
        self.temperature = 1.0
        self.policy: Policy | None = None

    @cached_property
    def folder(self) -> str:
        """The model's folder, or its hub id; found and checked on first use.

        Raises:
            UserError: if the model does not exist, or if its folder is damaged.
        """
        return resolve_model(self.model)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return load_tokenizer(self.folder)

    def configure_model(self) -> None:
        """Loads the policy once, and shards it under a model-parallel strategy."""
        if self.policy is None:
            self.policy = self._load(self.random_init)
            reasons = [why for why in gather([self.policy.unpackable]) if why is not None]
            self.policy.unpackable = reasons[0] if reasons else None
            if reasons and getattr(self.trainer.datamodule, "packing", False):  # type: ignore[attr-defined]
                name = type(self.policy.causal_lm).__name__
                say(
                    f"[yellow]note:[/] rows of {name} are padded and not packed, which costs time: {escape(reasons[0])}"
                )
            if self.lora is not None:
                keep_state_of_adapters_only(self)
                self.strict_loading = False

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """The optimiser and, where one is configured, its schedule.

        Raises:
            UserError: if they refuse their arguments.
        """
        try:
            optimizer = self.optimizer_factory([p for p in self.scorer.parameters() if p.requires_grad])
            if not all(math.isfinite(group["lr"]) for group in optimizer.param_groups):
                raise ValueError("the learning rate is not finite")
            scheduler = None if self.scheduler_factory is None else self.scheduler_factory(optimizer)
        except (TypeError, ValueError) as error:
            raise UserError(f"model.optimizer or model.scheduler does not take its init_args: {error}") from error
        if scheduler is None:
            return optimizer
        if isinstance(scheduler, ReduceLROnPlateau):
            raise UserError(
                "model.scheduler is ReduceLROnPlateau, which waits for a metric, and schedules are stepped once per optimiser "
                "step: give WarmupCosine or one of torch.optim.lr_scheduler, or null"
            )
        if isinstance(scheduler, WarmupCosine) and not scheduler.total_steps:
            scheduler.set_total_steps(run_length(self.trainer))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def rates_span_run(self) -> bool:
        """Whether the learning rate of a step depends on how long the run is."""
        if self.scheduler_factory is None:
            return False
        scheduler = self.scheduler_factory(torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0))
        return isinstance(scheduler, WarmupCosine) and not scheduler.total_steps

    @property
    def packs(self) -> bool:
        """Whether rows can share a sequence; not known, and taken to be so, until the policy is loaded."""
        return self.policy is None or self.policy.packs

    @property
    def scorer(self) -> Policy:
        """The policy, once ``configure_model`` has run."""
        if self.policy is None:
            raise RuntimeError("the policy is not loaded yet: configure_model has not run")
        return self.policy

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Records the adapters' settings."""
        checkpoint["lora"] = self._adapters

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of other adapters.

        Raises:
            UserError: naming both.
        """
        saved = checkpoint.get("lora")
        if saved != self._adapters:
            raise UserError(
                f"--ckpt_path: the checkpoint is of a run with lora {saved or 'null'}, and this one has "
                f"{self._adapters or 'null'}: continue with its settings, or start afresh in another folder"
            )

    def on_train_batch_start(self, *_: Any) -> None:
        """Forgets what the last step logged, in case this one has nothing to train on and logs nothing."""
        forget_step_metrics(self.trainer)

    def optimise(self, batches: Sequence[MicroBatch], loss_of: Callable[[MicroBatch], Loss]) -> dict[str, Tensor]:
        """Takes one optimiser step.

        Args:
            batches: This rank's micro-batches.
            loss_of: Returns a micro-batch's share of the step's loss and metrics, divided by the step's global count already, so
                that shares add up over micro-batches and ranks.

        Returns:
            The metrics over this rank's micro-batches (see ``add_metrics``), with ``loss`` and ``grad_norm``. A step that has
            nothing to train on has these two only, both 0.

        Raises:
            UserError: if the loss or the gradient is not finite; the weights then stay as they were before the step.
        """
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert not isinstance(optimizer, list) and not isinstance(schedule, list)
        optimizer.zero_grad(set_to_none=True)
        totals = {"loss": torch.zeros((), device=self.device)}
        for i, batch in enumerate(batches):
            if isinstance(self.scorer, FSDPModule):  # embedding and head stay gathered between micro-batches
                self.scorer.set_reshard_after_backward(i == len(batches) - 1, recurse=False)
            loss, metrics = loss_of(batch)
            self.manual_backward(loss * self.trainer.world_size)
            add_metrics(totals, {"loss": loss, **metrics})
        norm = torch.nn.utils.clip_grad_norm_(self.scorer.parameters(), self.max_grad_norm or float("inf"))
        totals["grad_norm"] = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if not torch.isfinite(totals["grad_norm"]):
            raise UserError(
                f"step {self.global_step}: the gradient is not finite (loss {float(totals['loss'])}), so the step was not "
                f"taken. {self._remedy()}"
            )
        optimizer.step()
        if schedule is not None:
            schedule.step()
        return totals

    def _remedy(self) -> str:
        """What to do if the gradient is not finite."""
        if not self.global_step:
            return f"It is the first: check the weights of {self.folder}, or use dtype float32"
        saved = getattr(self.trainer.checkpoint_callback, "last_model_path", "")
        kept = f"{saved} is the newest checkpoint" if saved else "no checkpoint was saved yet"
        return f"Lower the learning rate or use dtype float32; {kept}, whose weights may have grown too large already"

    def log_totals(self, totals: dict[str, Tensor], prefix: str) -> None:
        """Logs the metrics of an optimiser step, summed over ranks or, by their names, as maxima."""
        for name, value in totals.items():
            fx = "mean" if name == "grad_norm" else "max" if name.endswith(MAX) else "sum"
            self.log(f"{prefix}/{name}", value, prog_bar=name == "loss", sync_dist=True, reduce_fx=fx, batch_size=1)

    def export_to(self, folder: Path) -> None:
        """Writes the policy as a Hugging Face folder. Every rank calls it."""
        export(self.scorer, folder, self.tokenizer, self.trainer.is_global_zero)

    @property
    def _adapters(self) -> dict[str, Any] | None:
        return None if self.lora is None else asdict(self.lora)

    def _load(self, random_init: bool) -> Policy:
        policy = load_policy(
            self.folder,
            dtype=DTYPES[self.dtype_name],
            random_init=random_init,
            temperature=self.temperature,
            checkpointing=self.gradient_checkpointing,
            head=self.head,
            lora=self.lora,
            layers=self.layers,
            logits_dtype=self.logits_dtype,
            device=self.trainer.strategy.root_device,
            dropout=self.keeps_dropout,
        )
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            assert self.device_mesh is not None
            shard(policy, self.device_mesh["data_parallel"])
        return policy
