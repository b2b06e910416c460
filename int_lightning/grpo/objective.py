"""Which loss of the GRPO family a policy is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from int_lightning.types import UserError
from int_lightning_kernels import Form, Importance, KLEstimator, PolicyObjective


@dataclass(frozen=True)
class ObjectiveConfig(PolicyObjective):
    """The objective's keys, with the paper's clip for defaults; ``PolicyObjective`` has the formulas.

    Args:
        form: ``clip`` (PPO, GRPO, DAPO, GSPO) or ``cispo``.
        ratio: Of each ``token``, or of its whole ``sequence``, length-normalised (GSPO).
        clip_low: Lower clip of the ratio.
        clip_high: Upper clip of the ratio.
        kl: Estimator of the KL term, k2 or k3. The loss differentiates the estimate itself: the gradient of k2 is in expectation
            that of KL(pi, reference) on the policy's own samples, that of k3 is that of KL(reference, pi), and that of k1, which
            is log pi minus a constant, is 0. So k1 would add noise and no pull towards the reference, and is refused.
        kl_coefficient: Weight of the KL term to the policy the run started from; 0 loads no reference.
        entropy_coefficient: Weight of the entropy bonus.
        importance_cap: Bound of the weights pi_old / pi_engine that correct for an engine whose log-probs differ (truncated
            importance sampling); null leaves them out.
        importance: Beyond the bound: ``truncate`` the weight to it, or ``mask`` the token, also below 1 / importance_cap.

    Raises:
        UserError: if a bound is negative, and for ``kl: k1``.
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

    @property
    def acts_without_advantage(self) -> bool:
        """Whether a term of the loss acts on rollouts without an advantage: the KL term or the entropy bonus."""
        return bool(self.kl_coefficient or self.entropy_coefficient)

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except ValueError as error:
            raise UserError(f"model.objective: {error}") from error
        if self.kl == "k1":
            raise UserError(
                "model.init_args.objective.kl is k1, whose gradient is 0 in expectation, so that as a loss it is only noise: "
                "write k2 (the gradient of the KL to the reference, on the policy's own samples) or k3 (never negative)"
            )
