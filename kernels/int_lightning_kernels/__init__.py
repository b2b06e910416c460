"""Log-probabilities and entropies straight from hidden states and head weights."""

from int_lightning_kernels.linear_logprob import LogProbs, linear_logprob

__all__ = ["LogProbs", "linear_logprob"]
