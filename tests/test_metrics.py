"""pass@k against enumeration, its intervals, and metrics that accumulate."""

from itertools import combinations

import pytest
import torch

from int_lightning.metrics import PassAtK, bootstrap, pass_at_k


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n: int) -> None:
    for k in range(1, n + 1):
        expected = []
        for c in range(n + 1):
            subsets = list(combinations([True] * c + [False] * (n - c), k))
            expected.append(sum(map(any, subsets)) / len(subsets))
        got = pass_at_k(torch.arange(n + 1), n, k)
        assert got.dtype == torch.float64
        assert got.tolist() == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_of_many_rollouts_stays_exact() -> None:
    assert pass_at_k(torch.tensor([0, 1, 1000]), 1000, 100).tolist() == pytest.approx([0.0, 0.1, 1.0], abs=1e-12)


def test_more_tries_than_rollouts_are_refused() -> None:
    with pytest.raises(ValueError, match="pass@5 needs at least 5 rollouts"):
        pass_at_k(torch.tensor([1]), 4, 5)


def test_bootstrap_is_deterministic_and_contains_the_mean() -> None:
    values = torch.rand(80, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(1)
    one = bootstrap(values)
    torch.manual_seed(2)
    assert bootstrap(values) == one
    assert bootstrap(values, seed=1) != one
    assert one["mean"] == pytest.approx(float(values.mean()))
    assert one["low"] < one["mean"] < one["high"]
    assert bootstrap(values, level=0.5)["low"] > one["low"]
    assert bootstrap(values, level=0.5)["high"] < one["high"]


@pytest.mark.parametrize("resamples", [1, 99, 250])
def test_bootstrap_draws_its_resamples_as_if_one_by_one(resamples: int) -> None:
    values = torch.rand(23, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(7)
    means = [float(values[torch.randint(23, (23,), generator=generator)].mean()) for _ in range(resamples)]
    low, high = torch.quantile(
        torch.tensor(means, dtype=torch.float64), torch.tensor([0.025, 0.975], dtype=torch.float64)
    ).tolist()
    found = bootstrap(values, seed=7, resamples=resamples)
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-12)


def test_bootstrap_agrees_with_the_normal_interval_of_many_problems() -> None:
    values = torch.rand(400, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    estimate = bootstrap(values)
    half = 1.96 * float(values.std()) / 20
    assert estimate["high"] - estimate["mean"] == pytest.approx(half, rel=0.1)
    assert estimate["mean"] - estimate["low"] == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("values", [torch.full((9,), 0.25, dtype=torch.float64), torch.ones(1, dtype=torch.float64)])
def test_bootstrap_of_equal_values_is_a_point(values: torch.Tensor) -> None:
    value = float(values[0])
    assert bootstrap(values) == pytest.approx({"mean": value, "low": value, "high": value})


def test_pass_at_k_accumulates_over_updates() -> None:
    grades = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 1, 1]], dtype=torch.bool)
    metric = PassAtK(2)
    metric.update(grades[:2])
    metric.update(grades[2:3])
    metric.update(grades[3:])
    assert metric.per_problem().tolist() == pytest.approx([1 / 2, 0.0, 5 / 6, 1.0, 1.0])
    assert float(metric.compute()) == pytest.approx((1 / 2 + 5 / 6 + 2) / 5)
    metric.reset()
    metric.update(grades[1:2])
    assert float(metric.compute()) == 0.0
    assert metric.per_problem().tolist() == [0.0]


def test_pass_at_1_is_the_share_of_right_rollouts() -> None:
    grades = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) < 0.3
    metric = PassAtK(1)
    metric.update(grades)
    assert float(metric.compute()) == pytest.approx(float(grades.double().mean()))
