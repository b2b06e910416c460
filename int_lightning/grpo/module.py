"""GRPO from a policy (patched or not), on groups of rollouts sampled from it:

    A_i = r_i - mean_j r_j,    L = -sum_i sum_t min(rho_it A_i, clip(rho_it, 1 - clip_low, 1 + clip_high) A_i) / tokens.

Differences from common GRPO, unless the data or the module is told otherwise (``GroupConfig``; ``configs/algorithms`` has GRPO as
first published, Dr.GRPO, DAPO, CISPO, GSPO and RLOO): no division by the group's standard deviation, as in the paper; asymmetric
clip; the loss is divided by all tokens of the optimiser step, those of groups without an advantage included, though they cost
nothing unless a KL term or an entropy bonus acts on them; with one optimiser step a batch the sampling policy's log-probs are the
trainer's own, so that the ratio is exactly 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from rich.markup import escape
from torch import Tensor

from int_lightning.console import say
from int_lightning.grpo.objective import ObjectiveConfig
from int_lightning.learn.callbacks import log_held_out
from int_lightning.learn.liger_layers import Layers
from int_lightning.learn.lora import LoRAConfig, without_adapters
from int_lightning.learn.micro_batches import MicroBatch, Step, TrainingRow, micro_batches
from int_lightning.learn.model import LogitsDtype, Policy
from int_lightning.learn.module import PolicyModule
from int_lightning.model_folder.check import dropouts
from int_lightning.types import TokenValues, UserError
from int_lightning_kernels import (
    MAX,
    Implementation,
    LogProbs,
    Loss,
    Metrics,
    PolicyTokens,
    Rows,
    token_policy_loss,
)


class GRPOModule(PolicyModule):
    """Group-relative policy optimisation.

    Args:
        model: ``mini``, ``smollm2-135m-instruct``, a model folder or a hub name.
        optimizer: Optimiser.
        scheduler: Learning-rate schedule; null keeps the rate.
        objective: Which loss: form and bounds of the ratio, KL term, entropy bonus, importance weights.
        dtype: Of the arithmetic; weights and optimiser state are float32.
        max_grad_norm: Gradients are clipped to this norm; 0 leaves them as they are.
        gradient_checkpointing: Recompute activations in the backward pass.
        head: How the head's log-probs are computed: auto (fused, for the device), triton, chunked, or reference (plain
            PyTorch on all logits).
        lora: Train low-rank adapters, and leave the model's own weights, which are then held in ``dtype``, as they are.
            Checkpoints hold the adapters alone: a run continues from the same ``model``.
        layers: Whose RMSNorm, RoPE and SwiGLU the model has: auto (Liger's on a GPU where it knows the architecture), liger, or
            transformers.
        logits_dtype: float32 keeps the head's logits unrounded under ``dtype: bfloat16``, so that log-probs of two passes differ
            less; logits then take twice the memory. Null rounds them to ``dtype``.

    Raises:
        UserError: for adapters with dropout, and for a model that draws at random in training.
    """

    keeps_dropout = False

    def __init__(
        self,
        model: str = "mini",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        objective: ObjectiveConfig = ObjectiveConfig(),
        dtype: Literal["float32", "bfloat16"] = "float32",
        max_grad_norm: float = 1.0,
        gradient_checkpointing: bool = False,
        head: Implementation = "auto",
        lora: LoRAConfig | None = None,
        layers: Layers = "auto",
        logits_dtype: LogitsDtype | None = None,
    ) -> None:
        if lora is not None and lora.dropout:
            raise UserError(
                "lora.dropout: GRPO samples from the policy that it trains, which dropout would change: set it to 0"
            )
        super().__init__(
            model=model,
            optimizer=optimizer,
            scheduler=scheduler,
            dtype=dtype,
            max_grad_norm=max_grad_norm,
            gradient_checkpointing=gradient_checkpointing,
            head=head,
            lora=lora,
            layers=layers,
            logits_dtype=logits_dtype,
        )
        self.objective = objective
        self.engine_samples_policy = True
        """Whether the engine draws from the very distribution that the trainer scores, which top_p and top_k truncate."""
        self._reference: list[Policy | Unadapted] = []

    def configure_model(self) -> None:
        """Loads the policy, without dropout, and, where the KL term needs it, the frozen reference."""
        super().configure_model()
        if found := dropouts(self.scorer.causal_lm.config):
            say(
                f"[yellow]note:[/] {escape(self.folder)}: config.json has {escape(', '.join(found))}: GRPO trains without it, "
                "because it compares the log-probs of the policy that it samples from"
            )
        if self.objective.kl_coefficient and not self._reference:
            if self.lora is not None:
                self._reference = [Unadapted(self.scorer)]
            else:
                reference = self._load(random_init=False).requires_grad_(False).eval()
                self._reference = [reference.to(self.device)]

    @property
    def reference(self) -> Policy | Unadapted | None:
        """The policy the run started from; it is not among the module's parameters or in its checkpoints."""
        return self._reference[0] if self._reference else None

    def training_step(self, step: Step, _: int) -> None:
        """One optimiser step."""
        totals = self.optimise(step.batches, lambda batch: self._loss(batch, step))
        self.log_totals(totals, "train")
        self.log_dict({f"train/{k}": v for k, v in step.metrics.items()}, batch_size=1)

    def validation_step(self, step: Step, _: int) -> None:
        """Logs the metrics of held-out problems, which were computed where their rollouts were sampled."""
        log_held_out(self.trainer, step.metrics)

    @torch.no_grad()
    def score_rows(
        self, policy: Policy | Unadapted, rows: Sequence[TrainingRow], pad_id: int, max_tokens: int, packed: bool
    ) -> list[TokenValues]:
        """For each row the log-probs of its tokens, 0 where they carry no loss. Collective under FSDP2."""
        scores: dict[int, TokenValues] = {}
        for batch in micro_batches(rows, pad_id, max_tokens, packed):
            on_device = batch.to(self.device)
            logprobs = policy.log_probs(on_device, on_device.trained).logprob
            scores |= zip(batch.row_index, on_device.spread(logprobs), strict=True)
        return [scores[i] for i in range(len(rows))]

    def _loss(self, batch: MicroBatch, step: Step) -> Loss:
        trained = batch.trained

        def of_tokens(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[:, 1:][trained]

        old_logprob, engine_logprob = of_tokens(batch.old_logprobs), of_tokens(batch.engine_logprobs)
        tokens = PolicyTokens(
            advantage=batch.advantages[:, 1:][trained],
            weight=batch.weights[:, 1:][trained] / step.count,
            old_logprob=old_logprob,
            reference_logprob=of_tokens(batch.reference_logprobs),
            engine_logprob=engine_logprob,
            sequence_ratio=self._sequence_ratio(batch, old_logprob),
            sequence_importance=self._sequence_importance(batch, old_logprob, engine_logprob),
        )

        def token_loss(logprob: Tensor, entropy: Tensor, rows: Rows) -> tuple[Tensor, Metrics]:
            return token_policy_loss(logprob, entropy, tokens.rows(rows), self.objective)

        loss, sums = self.scorer.loss(batch, token_loss, entropy=True)
        if not self.engine_samples_policy:  # the difference would be that of a truncated distribution to a whole one
            sums = {name: value for name, value in sums.items() if not name.startswith("engine_")}
        means = {name: value / step.trained for name, value in sums.items() if not name.endswith(MAX)}
        return Loss(loss, sums | means)

    @torch.no_grad()
    def _sequence_ratio(self, batch: MicroBatch, old_logprob: Tensor | None) -> Tensor | None:
        """[N] float32: exp(mean_t(log pi - log pi_old)) of each scored token's rollout; None where it is exactly 1 or not asked
        for."""
        if self.objective.ratio == "token" or old_logprob is None:
            return None
        gap = self.scorer.log_probs(batch, batch.trained).logprob - old_logprob
        return (batch.sums(gap) / batch.sums(torch.ones_like(gap))).exp().float()

    @torch.no_grad()
    def _sequence_importance(
        self, batch: MicroBatch, old_logprob: Tensor | None, engine_logprob: Tensor | None
    ) -> Tensor | None:
        """[N] float32: exp(sum_t(log pi_old - log pi_engine)) of each scored token's rollout, over the tokens that the engine
        sampled; None where it is not asked for."""
        if self.objective.importance_level == "token" or engine_logprob is None:
            return None
        if old_logprob is None:
            old_logprob = self.scorer.log_probs(batch, batch.trained).logprob
        return batch.sums((old_logprob - engine_logprob).nan_to_num(nan=0.0)).exp().float()


class Unadapted:
    """A policy without its adapters: the frozen reference that needs no second copy of the weights."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def log_probs(self, batch: MicroBatch, scored: Tensor, entropy: bool = False) -> LogProbs:
        """Log-probs of the tokens that ``scored`` marks; see ``Policy.log_probs``."""
        with torch.no_grad(), without_adapters(self.policy.causal_lm):
            return self.policy.log_probs(batch, scored, entropy)
