"""Log-probabilities, entropies and policy losses straight from hidden states and head weight."""

from int_lightning_kernels.cross_entropy import linear_cross_entropy
from int_lightning_kernels.dispatch import Implementation, implementation_for
from int_lightning_kernels.head import LogProbs
from int_lightning_kernels.linear_logprob import linear_logprob
from int_lightning_kernels.logits import logprob_from_logits
from int_lightning_kernels.policy_loss import (
    Form,
    Importance,
    KLEstimator,
    PolicyObjective,
    PolicyTokens,
    policy_loss,
    token_policy_loss,
)
from int_lightning_kernels.token_loss import (
    MAX,
    Loss,
    Metrics,
    Rows,
    TokenLoss,
    add_metrics,
    linear_token_loss,
)
from int_lightning_kernels.vocab_parallel import VocabShard

__all__ = [
    "MAX",
    "Form",
    "Implementation",
    "Importance",
    "KLEstimator",
    "LogProbs",
    "Loss",
    "Metrics",
    "PolicyObjective",
    "PolicyTokens",
    "Rows",
    "TokenLoss",
    "VocabShard",
    "add_metrics",
    "implementation_for",
    "linear_cross_entropy",
    "linear_logprob",
    "linear_token_loss",
    "logprob_from_logits",
    "policy_loss",
    "token_policy_loss",
]
