"""The per-token losses of the GRPO family, alone and fused with the head.

With rho = pi(y) / pi_old(y), where pi is the current policy and pi_old the one that sampled, both as the trainer computes
them; A the advantage of the token's rollout; w the token's weight (which carries the aggregation: 1 / tokens of the batch,
1 / (sequences * tokens of the sequence), or a constant); and s = pi_old(y) / pi_engine(y), bounded, or 1, which corrects for
an engine that samples from another distribution pi_engine, be it by rounding or by truncation (top_p, top_k):

    clip   (PPO, GRPO; DAPO with clip_high > clip_low)   -min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A)
    dual   (clip with dual_clip c; Ye et al. 2020)        where A < 0: at most -c A, so that a large rho has no gradient
    gspo   (clip with sequence_ratio for rho)             one ratio for all tokens of a rollout
    cispo  (MiniMax-M1)                                   -stop_gradient(min(rho, 1 + clip_high)) A log pi(y)

    L = sum w (s * surrogate + kl_coefficient * KL - entropy_coefficient * H)

Nothing here divides by a standard deviation or subtracts a baseline: advantages come ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from int_lightning_kernels.dispatch import Implementation
from int_lightning_kernels.inputs import check_devices
from int_lightning_kernels.token_loss import MAX, Loss, Metrics, Rows, linear_token_loss
from int_lightning_kernels.vocab_parallel import VocabShard

Form = Literal["clip", "cispo"]
Importance = Literal["truncate", "mask"]
KLEstimator = Literal["k1", "k2", "k3"]


@dataclass(frozen=True)
class PolicyObjective:
    """Which loss.

    Args:
        form: ``clip`` or ``cispo``.
        clip_low: Lower clip of the ratio.
        clip_high: Upper clip of the ratio.
        dual_clip: Bound of the ratio where the advantage is negative, above 1; only for ``clip``. None leaves it out.
        kl: Estimator of KL(pi, reference) from g = log reference - log pi: k1 = -g, k2 = g^2 / 2, k3 = exp(g) - g - 1.
        kl_coefficient: Weight of the KL term.
        entropy_coefficient: Weight of the entropy bonus.
        importance_cap: Upper bound of the importance weight s = pi_old / pi_engine; None leaves it out.
        importance: Beyond the bound: ``truncate`` the weight to it, or ``mask`` the token, also below 1 / importance_cap.

    Raises:
        ValueError: if a choice is unknown or a bound negative.
    """

    form: Form = "clip"
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl: KLEstimator = "k3"
    kl_coefficient: float = 0.0
    entropy_coefficient: float = 0.0
    importance_cap: float | None = None
    importance: Importance = "truncate"
    dual_clip: float | None = None

    def __post_init__(self) -> None:
        if self.form not in ("clip", "cispo"):
            raise ValueError(f"form must be clip or cispo, not {self.form!r}")
        if self.kl not in ("k1", "k2", "k3"):
            raise ValueError(f"kl must be k1, k2 or k3, not {self.kl!r}")
        if self.clip_low < 0 or self.clip_high < 0:
            raise ValueError(f"clip_low and clip_high must not be negative, not {self.clip_low} and {self.clip_high}")
        if self.importance not in ("truncate", "mask"):
            raise ValueError(f"importance must be truncate or mask, not {self.importance!r}")
        if self.importance_cap is not None and not self.importance_cap > 0:
            raise ValueError(f"importance_cap must be positive, not {self.importance_cap}")
        if self.importance == "mask" and self.importance_cap is not None and self.importance_cap < 1:
            raise ValueError(f"importance_cap must be at least 1 for importance: mask, not {self.importance_cap}")
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise ValueError(f"dual_clip must be above 1, not {self.dual_clip}")
        if self.dual_clip is not None and self.form != "clip":
            raise ValueError("dual_clip is for form: clip; cispo bounds every ratio by clip_high")


@dataclass(frozen=True, slots=True)
class PolicyTokens:
    """What is known of N tokens apart from their current log-probs; constants.

    Args:
        advantage: A of the token's rollout.
        weight: w.
        old_logprob: log pi_old, computed by the trainer; None where pi_old is the current policy (rho = 1).
        reference_logprob: Under the reference policy.
        engine_logprob: log pi_engine, for the importance weight; NaN for tokens that the engine did not sample.
        sequence_importance: Takes the place of pi_old / pi_engine, before it is bounded: the product of these ratios over the
            token's whole rollout.
        sequence_ratio: exp(mean_t(log pi - log pi_old)) over the token's whole rollout, which takes the place of rho (GSPO).
            Its gradient is that of rho_t scaled, which is GSPO's where all tokens of a rollout share advantage and weight.
    """

    advantage: Float32[Tensor, " N"]
    weight: Float32[Tensor, " N"]
    old_logprob: Float32[Tensor, " N"] | None = None
    reference_logprob: Float32[Tensor, " N"] | None = None
    engine_logprob: Float32[Tensor, " N"] | None = None
    sequence_ratio: Float32[Tensor, " N"] | None = None
    sequence_importance: Float32[Tensor, " N"] | None = None

    def rows(self, rows: Rows) -> PolicyTokens:
        """The same for some of the tokens."""

        def some(values: Float32[Tensor, " N"] | None) -> Float32[Tensor, " n"] | None:
            return None if values is None else values[rows]

        return PolicyTokens(
            advantage=self.advantage[rows],
            weight=self.weight[rows],
            old_logprob=some(self.old_logprob),
            reference_logprob=some(self.reference_logprob),
            engine_logprob=some(self.engine_logprob),
            sequence_ratio=some(self.sequence_ratio),
            sequence_importance=some(self.sequence_importance),
        )


def token_policy_loss(
    logprob: Float32[Tensor, " n"], entropy: Float32[Tensor, " n"], tokens: PolicyTokens, objective: PolicyObjective
) -> tuple[Float32[Tensor, ""], Metrics]:
    """The loss of some tokens, and sums over them for metrics.

    Args:
        logprob: log pi(y), with gradient.
        entropy: With gradient where the bonus is to have one.

    Returns:
        The loss, and sums over tokens: ``clip_low`` and ``clip_high`` (tokens whose gradient the clip removes or, for
        cispo, whose ratio it bounds), ``ratio``, ``entropy``, and where they apply ``dual_clip`` (tokens whose gradient it
        removes), ``kl``, ``importance``, ``engine_gap`` (absolute difference of log pi_old and log pi_engine), ``engine_kl``
        (k3 of the two) and ``engine_gap_max``, which is the largest difference instead of a sum.
    """
    old = logprob.detach() if tokens.old_logprob is None else tokens.old_logprob
    ratio = (logprob - old).exp()
    if tokens.sequence_ratio is not None:
        ratio = tokens.sequence_ratio * (logprob - logprob.detach()).exp()
    advantage, above = tokens.advantage, 1 + objective.clip_high
    if objective.form == "clip":
        clipped = ratio.clamp(1 - objective.clip_low, above)
        surrogate = -torch.minimum(ratio * advantage, clipped * advantage)
        low, high = (ratio < 1 - objective.clip_low) & (advantage < 0), (ratio > above) & (advantage > 0)
    else:
        surrogate = -ratio.detach().clamp(max=above) * advantage * logprob
        low, high = torch.zeros_like(ratio, dtype=torch.bool), ratio > above
    metrics = {"clip_low": low.sum(), "clip_high": high.sum(), "ratio": ratio.sum(), "entropy": entropy.sum()}
    if objective.dual_clip is not None:
        surrogate = torch.where(advantage < 0, surrogate.minimum(-objective.dual_clip * advantage), surrogate)
        metrics["dual_clip"] = ((advantage < 0) & (ratio > objective.dual_clip)).sum()
    if tokens.engine_logprob is not None:
        gap = (old - tokens.engine_logprob).nan_to_num(nan=0.0)
        metrics["engine_gap"] = gap.abs().sum()
        metrics["engine_kl"] = _kl(gap, "k3").sum()
        metrics["engine_gap_max"] = gap.abs().max() if gap.numel() else gap.sum()
        if objective.importance_cap is not None:
            weight = gap.exp() if tokens.sequence_importance is None else tokens.sequence_importance
            importance = _importance(weight, objective.importance_cap, objective.importance)
            surrogate = importance * surrogate
            metrics["importance"] = importance.sum()
    loss = surrogate
    if tokens.reference_logprob is not None:
        kl = _kl(tokens.reference_logprob - logprob, objective.kl)
        metrics["kl"] = kl.sum()
        loss = loss + objective.kl_coefficient * kl
    if objective.entropy_coefficient:
        loss = loss - objective.entropy_coefficient * entropy
    return (tokens.weight * loss).sum(), {name: value.detach().float() for name, value in metrics.items()}


def policy_loss(
    hidden: Float[Tensor, "*tokens H"],
    weight: Float[Tensor, "V H"],
    targets: Int[Tensor, "*tokens"],
    *,
    advantage: Float[Tensor, "*tokens"],
    token_weight: Float[Tensor, "*tokens"],
    old_logprob: Float[Tensor, "*tokens"] | None = None,
    reference_logprob: Float[Tensor, "*tokens"] | None = None,
    engine_logprob: Float[Tensor, "*tokens"] | None = None,
    form: Form = "clip",
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    kl: KLEstimator = "k3",
    kl_coefficient: float = 0.0,
    entropy_coefficient: float = 0.0,
    importance_cap: float | None = None,
    importance: Importance = "truncate",
    dual_clip: float | None = None,
    temperature: float | Float[Tensor, "*#tokens"] = 1.0,
    bias: Float[Tensor, " V"] | None = None,
    softcap: float | None = None,
    active: Int64[Tensor, " n"] | None = None,
    shard: VocabShard | None = None,
    implementation: Implementation = "auto",
    logits_bytes: int | None = None,
    logits_dtype: torch.dtype | None = None,
) -> Loss:
    """``token_policy_loss`` fused with the head: three units of work, and no waiting for a GPU.

    Args:
        advantage: A per token.
        token_weight: w per token.
        active: The row numbers of the tokens that count; the others cost nothing. If it is not given, tokens whose loss is
            always zero are found and left out on CPU.

    Returns:
        The loss, and as metrics the means of ``token_policy_loss``'s sums over the tokens that count.

    The other arguments, and errors, are those of ``PolicyObjective`` and ``linear_logprob``.
    """
    objective = PolicyObjective(
        form, clip_low, clip_high, kl, kl_coefficient, entropy_coefficient, importance_cap, importance, dual_clip
    )
    named = {
        "advantage": advantage,
        "token_weight": token_weight,
        "old_logprob": old_logprob,
        "reference_logprob": reference_logprob,
        "engine_logprob": engine_logprob,
    }
    for name, value in named.items():
        if value is not None and value.shape != targets.shape:
            raise ValueError(f"{name} must be {list(targets.shape)} like targets, not {list(value.shape)}")
    check_devices(hidden, targets=targets, **named)
    if importance_cap is not None and engine_logprob is None:
        raise ValueError("importance_cap needs engine_logprob")
    if kl_coefficient and reference_logprob is None:
        raise ValueError("kl_coefficient needs reference_logprob")
    tokens = PolicyTokens(
        advantage=_flat(advantage),
        weight=_flat(token_weight),
        old_logprob=None if old_logprob is None else _flat(old_logprob),
        reference_logprob=None if reference_logprob is None else _flat(reference_logprob),
        engine_logprob=None if engine_logprob is None else _flat(engine_logprob),
    )
    if active is None and not hidden.is_cuda:
        counts = tokens.weight != 0
        if not kl_coefficient and not entropy_coefficient:
            counts &= tokens.advantage != 0
        active = counts.nonzero().squeeze(1)

    def chunk_loss(
        logprob: Float32[Tensor, " n"], entropy: Float32[Tensor, " n"], rows: Rows
    ) -> tuple[Float32[Tensor, ""], Metrics]:
        return token_policy_loss(logprob, entropy, tokens.rows(rows), objective)

    loss, sums = linear_token_loss(
        hidden,
        weight,
        targets,
        chunk_loss,
        temperature=temperature,
        bias=bias,
        softcap=softcap,
        active=active,
        shard=shard,
        implementation=implementation,
        logits_bytes=logits_bytes,
        logits_dtype=logits_dtype,
    )
    count = max(1, targets.numel() if active is None else len(active))
    means = {name: value / count for name, value in sums.items() if not name.endswith(MAX)}
    return Loss(loss, sums | means)


def _flat(values: Float[Tensor, "*tokens"]) -> Float32[Tensor, " N"]:
    """One row of constants."""
    return values.detach().reshape(-1).float()


def _importance(weight: Float32[Tensor, " n"], cap: float, how: Importance) -> Float32[Tensor, " n"]:
    if how == "truncate":
        return weight.clamp(max=cap)
    return weight.where((weight <= cap) & (weight >= 1 / cap), 0.0)


def _kl(gap: Float32[Tensor, " n"], estimator: KLEstimator) -> Float32[Tensor, " n"]:
    if estimator == "k1":
        return -gap
    return gap.square() / 2 if estimator == "k2" else gap.exp() - gap - 1
