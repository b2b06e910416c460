"""pass@k, also as a torchmetric that accumulates over processes, and bootstrap intervals over problems."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torchmetrics import Metric

_CHUNK = 100  # number of resamples drawn at a time


def pass_at_k(correct: Tensor, n: int, k: int) -> Tensor:
    """The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. (2021), float64 [P], for c correct rollouts of n.

    Args:
        correct: The number of correct rollouts of each problem, integer [P].
        n: The number of rollouts of every problem.
        k: The number of tries.

    Raises:
        ValueError: if k is larger than n.
    """
    if k > n:
        raise ValueError(f"pass@{k} needs at least {k} rollouts a problem: there are {n}")
    wrong = n - correct.to(torch.float64)
    factors = torch.stack([(wrong - i).clamp(min=0) / (n - i) for i in range(k)])
    return 1 - factors.prod(0)


def bootstrap(values: Tensor, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> dict[str, float]:
    """Mean over problems with its percentile bootstrap interval, as ``{"mean", "low", "high"}``.

    Args:
        values: One value for each problem, floating point [P], P at least 1.
        seed: Seed of the resampling; the global random state is not touched.
        resamples: Number of resamples.
        level: Share of the resampled means that lie within the interval.
    """
    means = [values[drawn].mean(1) for drawn in _resampled_problems(len(values), seed, resamples)]
    return with_interval(values.mean(), torch.cat(means), level)


def bootstrap_ratios(above: Tensor, below: Tensor, seed: int = 0, resamples: int = 2000) -> list[dict[str, float]]:
    """The ratio sum(above) / sum(below) over problems of each column, with its 95% percentile bootstrap interval.

    All columns share their resamples. With ones below, each is the ``bootstrap`` of its column above.

    Args:
        above: float64 [P, C].
        below: float64 [P, C].
    """
    ratios = []
    for drawn in _resampled_problems(len(above), seed, resamples):
        times = torch.zeros(drawn.shape, dtype=above.dtype)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        ratios.append((times @ above) / (times @ below))
    estimates = above.sum(0) / below.sum(0)
    return [with_interval(*column) for column in zip(estimates, torch.cat(ratios).T, strict=True)]


def with_interval(estimate: Tensor, resampled: Tensor, level: float = 0.95) -> dict[str, float]:
    """An estimate, scalar, with the percentile interval of its resampled values [R], as ``{"mean", "low", "high"}``."""
    levels = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=resampled.dtype)
    low, high = torch.quantile(resampled, levels).tolist()
    return {"mean": float(estimate), "low": low, "high": high}


def _resampled_problems(problems: int, seed: int, resamples: int) -> Iterator[Tensor]:
    """Indices of problems drawn with replacement, int64 [R, P], at most ``_CHUNK`` resamples at a time."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, resamples, _CHUNK):
        yield torch.randint(problems, (min(_CHUNK, resamples - start), problems), generator=generator)


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
            ValueError: if n differs from that of the earlier updates.
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
