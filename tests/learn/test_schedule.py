"""The learning rate over a run."""

import math

import pytest
import torch

from int_lightning.learn.schedule import WarmupCosine


def optimizer(*rates: float) -> torch.optim.SGD:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=0.0)


def rates(schedule: WarmupCosine, steps: int, group: int = 0) -> list[float]:
    """The rates of the next steps, and the one after them."""
    seen = [schedule.optimizer.param_groups[group]["lr"]]
    for _ in range(steps):
        schedule.optimizer.step()
        schedule.step()
        seen.append(schedule.optimizer.param_groups[group]["lr"])
    return seen


def test_start_end_of_warm_up_middle_and_end() -> None:
    seen = rates(WarmupCosine(optimizer(2.0), warmup=0.1, minimum=0.1, total_steps=100), 100)
    assert seen[0] == pytest.approx(2.0 / 10)
    assert seen[4] == pytest.approx(2.0 * 5 / 10)
    assert seen[9] == seen[10] == pytest.approx(2.0)
    assert seen[55] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert seen[100] == pytest.approx(0.2)
    assert seen[:10] == sorted(seen[:10])
    assert seen[10:] == sorted(seen[10:], reverse=True)
    assert min(seen) > 0


def test_the_cosine_written_out() -> None:
    seen = rates(WarmupCosine(optimizer(1.0), warmup=0.25, minimum=0.0, total_steps=8), 8)
    cosine = [0.5 * (1 + math.cos(math.pi * t / 6)) for t in range(7)]
    assert seen == pytest.approx([0.5, 1.0, *cosine], abs=1e-12)


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert rates(WarmupCosine(optimizer(3.0), warmup=0.0, minimum=1.0, total_steps=5), 5) == pytest.approx([3.0] * 6)
    assert rates(WarmupCosine(optimizer(3.0), warmup=0.0, minimum=0.5, total_steps=5), 0) == [3.0]


def test_after_the_end_it_stays_at_the_minimum() -> None:
    seen = rates(WarmupCosine(optimizer(1.0), warmup=0.2, minimum=0.1, total_steps=10), 14)
    assert seen[10:] == pytest.approx([0.1] * 5)


def test_the_length_may_be_told_later() -> None:
    told = WarmupCosine(optimizer(1.0), warmup=0.1, minimum=0.1)
    told.set_total_steps(30)
    assert rates(told, 30) == pytest.approx(rates(WarmupCosine(optimizer(1.0), 0.1, 0.1, 30), 30))


def test_every_group_keeps_its_own_peak() -> None:
    schedule = WarmupCosine(optimizer(1.0, 0.01), warmup=0.5, minimum=0.0, total_steps=4)
    assert rates(schedule, 1, group=1) == pytest.approx([0.005, 0.01])
    assert schedule.optimizer.param_groups[0]["lr"] == pytest.approx(1.0)


def test_a_restored_schedule_goes_on() -> None:
    whole = rates(WarmupCosine(optimizer(1.0), total_steps=20), 20)
    first = WarmupCosine(optimizer(1.0), total_steps=20)
    rates(first, 7)
    second = WarmupCosine(optimizer(1.0))
    second.set_total_steps(20)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(second, 13) == pytest.approx(whole[7:])
