"""A causal language model as a policy: load it, shard it, score tokens.

``Policy`` wraps the transformers model and applies the head inside its own forward: hidden states of the scored positions turn
into log-probs and entropies directly, and under FSDP2 the root gathers the (tied) head once per forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from int_lightning.learn.dropout import switch_dropout_off
from int_lightning.learn.liger_layers import Layers, liger_negative_log_likelihood, obstacle, use_layers
from int_lightning.learn.lora import LoRAConfig, adapt
from int_lightning.learn.micro_batches import MicroBatch
from int_lightning.learn.packed_attention import PACKED, positions, unpackable
from int_lightning.learn.self_test import check_repeats, self_test
from int_lightning.model_folder.check import load_config
from int_lightning.model_folder.weights import check_finite, load_causal_lm
from int_lightning.types import UserError
from int_lightning_kernels import (
    Implementation,
    LogProbs,
    Loss,
    Metrics,
    Rows,
    TokenLoss,
    linear_logprob,
    linear_token_loss,
)

PREFIX = "causal_lm."
CPU = torch.device("cpu")

Head = Literal[Implementation, "liger"]
LogitsDtype = Literal["float32"]


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """The token loss -sum_n w_n log p_n.

    Args:
        weights: w, of all N tokens.
    """

    weights: Float32[Tensor, " N"]

    def __call__(
        self, logprob: Float32[Tensor, " R"], _: Float32[Tensor, " R"], rows: Rows
    ) -> tuple[Float32[Tensor, ""], Metrics]:
        """The loss of the R tokens that ``rows`` selects."""
        return -(self.weights[rows] * logprob).sum(), {}


class Policy(nn.Module):
    """A causal language model that scores tokens.

    Args:
        causal_lm: The transformers model.
        temperature: Log-probs are those of logits / temperature.
        dtype: Of the arithmetic. Trained weights stay float32, because small updates vanish in bfloat16 weights.
        head: Implementation of the head's log-probs. ``auto`` suits the device, ``reference`` writes all logits out, ``liger`` is
            Liger's cross-entropy for a ``NegativeLogLikelihood`` and ``auto`` for any other loss.
        logits_dtype: What logits are rounded to; None rounds them to ``dtype``.
    """

    def __init__(
        self,
        causal_lm: PreTrainedModel,
        temperature: float = 1.0,
        dtype: torch.dtype = torch.float32,
        head: Head = "auto",
        logits_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.causal_lm = causal_lm
        self.logits_dtype = logits_dtype
        self.temperature = temperature * logit_divisor(causal_lm.config)
        self.dtype = dtype
        self.head = head
        self.unpackable = unpackable(causal_lm)
        """Why rows cannot share a sequence, or None if they can."""
        if self.unpackable is None:
            causal_lm.set_attn_implementation(PACKED)

    @property
    def packs(self) -> bool:
        """Whether rows can share a sequence."""
        return self.unpackable is None

    def forward(
        self,
        input_ids: Int64[Tensor, "B T"],
        attention_mask: Int64[Tensor, "B T"] | None,
        lengths: Sequence[int],
        scored: Bool[Tensor, "B P"],
        entropy: bool = False,
        token_loss: TokenLoss | None = None,
    ) -> LogProbs | Loss:
        """Log-probs of the tokens that ``scored`` marks, or a loss on them.

        Args:
            input_ids: Token ids.
            attention_mask: 1 for tokens and 0 for padding, which is on the right. None for a packed batch, where B = 1.
            lengths: Tokens of each row, or of each document of a packed batch.
            scored: Entry (b, t) asks for the log-prob of token t+1, given the tokens up to t; P = T - 1.
            entropy: Whether to compute entropies too.
            token_loss: A loss of the scored tokens' log-probs and entropies. The policy then returns it, for three quarters of
                what a loss of returned log-probs costs.

        Returns:
            Float32 tensors [N], N = scored.sum(), in row-major order; or the loss and its metrics.

        Raises:
            UserError: for a packed batch, if the architecture cannot take one.
        """
        body = decoder(self.causal_lm)
        with torch.autocast(input_ids.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if attention_mask is None:
                if self.unpackable is not None:
                    raise UserError(
                        f"{type(self.causal_lm).__name__} cannot take several rows in one sequence: {self.unpackable}"
                    )
                where = {"position_ids": positions(lengths, input_ids.device), "lengths": lengths}
            else:
                where = {"attention_mask": attention_mask}
            hidden = body(input_ids=input_ids, use_cache=False, **where).last_hidden_state
            layer = self.causal_lm.get_output_embeddings()
            tokens = hidden[:, :-1][scored], layer.weight, input_ids[:, 1:][scored]
            softcap = getattr(self.causal_lm.config, "final_logit_softcapping", None)
            if self.head == "liger" and isinstance(token_loss, NegativeLogLikelihood) and len(token_loss.weights):
                rows, weight, targets = tokens
                return Loss(
                    liger_negative_log_likelihood(
                        rows.to(self.dtype),
                        weight.to(self.dtype),
                        targets,
                        token_loss.weights,
                        bias=layer.bias,
                        softcap=softcap,
                        temperature=self.temperature,
                    ),
                    {},
                )
            implementation: Implementation = "auto" if self.head == "liger" else self.head
            if token_loss is not None:
                return linear_token_loss(
                    *tokens,
                    token_loss,
                    temperature=self.temperature,
                    bias=layer.bias,
                    softcap=softcap,
                    implementation=implementation,
                    entropy=entropy,
                    logits_dtype=self.logits_dtype,
                )
            return linear_logprob(
                *tokens,
                temperature=self.temperature,
                bias=layer.bias,
                softcap=softcap,
                entropy=entropy,
                implementation=implementation,
                logits_dtype=self.logits_dtype,
            )

    def log_probs(self, batch: MicroBatch, scored: Bool[Tensor, "B P"], entropy: bool = False) -> LogProbs:
        """Log-probs of the tokens that ``scored`` marks; see ``forward``."""
        scores = self(batch.input_ids, batch.attention_mask, batch.lengths, scored, entropy=entropy)
        assert isinstance(scores, LogProbs)
        return scores

    def loss(self, batch: MicroBatch, token_loss: TokenLoss, entropy: bool = False) -> Loss:
        """A loss on the tokens that carry weight; see ``forward``."""
        place = batch.input_ids, batch.attention_mask, batch.lengths
        loss = self(*place, batch.trained, entropy=entropy, token_loss=token_loss)
        assert isinstance(loss, Loss)
        return loss


def decoder(causal_lm: PreTrainedModel) -> PreTrainedModel:
    """The model without its head. Some architectures answer ``get_decoder`` with the whole model, or with the head."""
    found = [causal_lm.get_decoder(), causal_lm.base_model, getattr(causal_lm, "model", None)]
    return next((m for m in found if isinstance(m, PreTrainedModel) and m is not causal_lm), causal_lm)


def decoder_layers(causal_lm: PreTrainedModel) -> nn.ModuleList:
    """The layers, whatever the architecture calls them."""
    lists = [child for child in decoder(causal_lm).children() if isinstance(child, nn.ModuleList)]
    return max(lists, key=len, default=nn.ModuleList())


def logit_divisor(config: PretrainedConfig) -> float:
    """What the architecture divides its logits by (Granite), or the inverse of what it multiplies them with (Cohere)."""
    return float(getattr(config, "logits_scaling", None) or 1 / (getattr(config, "logit_scale", None) or 1))


def load_policy(
    folder: str,
    *,
    dtype: torch.dtype,
    random_init: bool = False,
    temperature: float = 1.0,
    checkpointing: bool = False,
    head: Head = "auto",
    logits_dtype: LogitsDtype | None = None,
    lora: LoRAConfig | None = None,
    layers: Layers = "transformers",
    device: torch.device = CPU,
    dropout: bool = True,
) -> Policy:
    """Loads a policy from a model folder, or with random weights of that folder's architecture.

    Args:
        folder: The model folder.
        dtype: Of the arithmetic. Weights are float32, unless adapters freeze them: then they have this dtype.
        random_init: Whether to start from random weights.
        temperature: See ``Policy``.
        checkpointing: Whether to recompute activations in the backward pass.
        head: See ``Policy``.
        logits_dtype: See ``Policy``.
        lora: Adapters to train instead of the weights.
        layers: See ``use_layers``.
        device: Where the policy will be moved.
        dropout: Whether the model keeps its own dropout. Without it, its scores in training must be the same in every pass.

    Raises:
        UserError: if the model cannot be scored; see ``self_test`` and ``check_repeats``.
    """
    weights = torch.float32 if lora is None else dtype
    if random_init:
        causal_lm = AutoModelForCausalLM.from_config(load_config(folder), dtype=weights)
    else:
        check_finite(folder)
        causal_lm = load_causal_lm(folder, dtype=weights)
    own_attention = causal_lm.config._attn_implementation
    policy = Policy(causal_lm, temperature, dtype, head, None if logits_dtype is None else torch.float32)
    tested = Policy(causal_lm, dtype=weights)
    tested.unpackable = None

    def score(batch: MicroBatch) -> Tensor:
        return tested.log_probs(batch, batch.trained).logprob

    policy.unpackable = self_test(causal_lm, score, own_attention)
    if not dropout:
        switch_dropout_off(causal_lm)
        check_repeats(causal_lm, score)
    if checkpointing:
        causal_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    use_layers(causal_lm, layers, device)
    missing = obstacle(device) if head == "liger" else None
    if missing:
        raise UserError(f"head: liger: {missing}: set head to auto")
    if lora is not None:
        adapt(causal_lm, lora)
    return policy.train()


def shard(policy: Policy, mesh: DeviceMesh) -> None:
    """FSDP2: shards each decoder layer, and the root with embedding, norm and head, which may be tied.

    Gathered parameters have the policy's dtype, sharded ones and reduced gradients are float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    precision = MixedPrecisionPolicy(param_dtype=policy.dtype, reduce_dtype=torch.float32)
    for layer in decoder_layers(policy.causal_lm):
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(policy, mesh=mesh, mp_policy=precision)
