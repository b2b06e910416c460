"""Which loss of the GRPO family a policy is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from int_lightning.types import Sampling, UserError
from int_lightning_kernels import Form, Importance, KLEstimator, PolicyObjective


@dataclass(frozen=True)
class ObjectiveConfig(PolicyObjective):
    """The objective's keys, with the paper's clip for defaults; ``PolicyObjective`` has the formulas.

    Args:
        form: ``clip`` (PPO, GRPO, DAPO, GSPO) or ``cispo``.
        ratio: Of each ``token``, or of its whole ``sequence``, length-normalised (GSPO).
        clip_low: Lower clip of the ratio.
        clip_high: Upper clip of the ratio.
        dual_clip: Bound of the ratio of tokens with a negative advantage, whose loss nothing else bounds; above 1, such as 3, and
            only for ``form: clip``. Null leaves it out.
        kl: Estimator of the KL term, k2 or k3. The loss differentiates the estimate itself: the gradient of k2 is in expectation
            that of KL(pi, reference) on the policy's own samples, that of k3 is that of KL(reference, pi), and that of k1, which
            is log pi minus a constant, is 0. So k1 would add noise and no pull towards the reference, and is refused.
        kl_coefficient: Weight of the KL term to the policy the run started from; 0 loads no reference.
        entropy_coefficient: Weight of the entropy bonus.
        importance_cap: Bound of the weights pi_old / pi_engine that correct for an engine which samples from another
            distribution than the trainer's; null leaves them out. Both are taken at ``sampling.temperature``. pi_old is the
            trainer's, and whole, because that is what is trained; pi_engine is the one that tokens were drawn from, after top_k
            and top_p, which divide it by the mass of the tokens that they keep. So the mean weight is that mass, at most 1, and
            what stays uncorrected is the rest, which is never drawn.
        importance: Beyond the bound: ``truncate`` the weight to it, or ``mask`` what it weighs, also below 1 / importance_cap.
        importance_level: A weight for each ``token``, or for its whole ``sequence``: then the product over its tokens (not their
            geometric mean), which weighs, and is masked with, all of a rollout. The product falls with the length of a rollout
            where top_p or top_k truncate, so that ``sequence`` is refused there.

    Raises:
        UserError: if a bound is out of range, for ``kl: k1``, and where weights are described but not bounded.
    """

    form: Form = "clip"
    ratio: Literal["token", "sequence"] = "token"
    clip_low: float = 0.2
    clip_high: float = 0.35
    kl: KLEstimator = "k3"
    kl_coefficient: float = 0.0
    entropy_coefficient: float = 0.0
    importance_cap: float | None = None
    importance: Importance = "truncate"
    dual_clip: float | None = None
    importance_level: Literal["token", "sequence"] = "token"

    @property
    def acts_without_advantage(self) -> bool:
        """Whether a term of the loss acts on rollouts without an advantage: the KL term or the entropy bonus."""
        return bool(self.kl_coefficient or self.entropy_coefficient)

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except ValueError as error:
            raise UserError(f"model.objective: {error}") from error
        if self.importance_cap is None and (self.importance, self.importance_level) != ("truncate", "token"):
            raise UserError(
                "model.init_args.objective has importance or importance_level and no importance_cap, so that nothing is weighed: "
                "give the weights' bound, such as importance_cap: 2"
            )
        if self.kl == "k1":
            raise UserError(
                "model.init_args.objective.kl is k1, whose gradient is 0 in expectation, so that as a loss it is only noise: "
                "write k2 (the gradient of the KL to the reference, on the policy's own samples) or k3 (never negative)"
            )


def check_importance(objective: ObjectiveConfig, sampling: Sampling) -> None:
    """Refuses importance weights that sampling makes meaningless.

    Raises:
        UserError: for greedy sampling, and for weights of whole rollouts from a truncated distribution.
    """
    if objective.importance_cap is None:
        return
    if sampling.temperature == 0:
        raise UserError(
            "model.init_args.objective.importance_cap weighs tokens by pi_old / pi_engine, and greedy sampling draws from "
            "neither: set data.init_args.sampling.temperature above 0, or drop importance_cap"
        )
    if objective.importance_level == "sequence" and sampling.truncates:
        raise UserError(
            "model.init_args.objective.importance_level: sequence multiplies the weights of a rollout, each below 1 where "
            "data.init_args.sampling has top_p or top_k, so that long ones get none: set importance_level: token, or top_p 1 and "
            "top_k 0"
        )
