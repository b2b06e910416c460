"""pass@k, as a torchmetric that is summed over processes, and bootstrap intervals."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


def pass_at_k(correct: Tensor, n: int, k: int) -> Tensor:
    """The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. (2021), float64 [P], for c correct of n samples each.

    Raises:
        ValueError: if k is larger than n.
    """
    if k > n:
        raise ValueError(f"pass@{k} needs at least {k} rollouts a problem, there are {n}")
    wrong = n - correct.to(torch.float64)
    factors = torch.stack([(wrong - i).clamp(min=0) / (n - i) for i in range(k)])
    return 1 - factors.prod(0)


def bootstrap(values: Tensor, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> dict[str, float]:
    """Mean of per-problem values [P] with its percentile bootstrap interval over problems."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack(
        [values[torch.randint(len(values), (len(values),), generator=generator)].mean() for _ in range(resamples)]
    )
    low, high = torch.quantile(means, torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=means.dtype)).tolist()
    return {"mean": float(values.mean()), "low": low, "high": high}


class PassAtK(Metric):
    """pass@k over problems; update it with the grades of each problem's n rollouts.

    Args:
        k: Number of tries.
    """

    full_state_update = False
    correct: list[Tensor]
    n: int

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.add_state("correct", default=[], dist_reduce_fx="cat")

    def update(self, grades: Tensor) -> None:
        """Adds problems: bool [P, n].

        Raises:
            ValueError: if n is not that of the earlier updates.
        """
        if self.correct and grades.shape[1] != self.n:
            raise ValueError(f"{grades.shape[1]} rollouts a problem after updates with {self.n}")
        self.n = grades.shape[1]
        self.correct.append(grades.sum(1))

    def compute(self) -> Tensor:
        """The mean over problems, float64 scalar."""
        return self.per_problem().mean()

    def per_problem(self) -> Tensor:
        """pass@k of each problem, float64 [P]."""
        correct = self.correct if isinstance(self.correct, Tensor) else torch.cat(self.correct)
        return pass_at_k(correct, self.n, self.k)
