"""Rewards of rollouts: callables by import path, the right answer by default, several with weights.

A reward is ``reward(problem: Problem, rollout: Rollout) -> float``, and is given a copy of the rollout. If it raises, exits or
does not return a number of a sensible size, that is an error of that rollout: it is named and counted, and the rollout is not
trained on; it never becomes a reward of 0.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import TimeoutError
from multiprocessing.pool import AsyncResult, ThreadPool

from rich.markup import escape

from int_lightning.console import say
from int_lightning.grpo.advantages import rounded_to_zero
from int_lightning.types import Problem, Rollout, UserError
from int_lightning.user_code import load

Reward = Callable[[Problem, Rollout], float]

LARGEST = 1e15
"""Largest reward: beyond it float64 has no tenths, and the squares of gradients overflow float32."""

_THREADS = 8


def right_answer(problem: Problem, rollout: Rollout) -> float:
    """1 for a right final answer, else 0."""
    return float(rollout.correct)


@dataclass(frozen=True)
class RewardConfig:
    """One part of the reward.

    Args:
        path: ``right_answer``, ``module.function``, or ``file.py:function`` of a file given from the working directory or the
            config's folder.
        weight: What its value is multiplied by.
    """

    path: str = "right_answer"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not abs(self.weight) <= LARGEST:
            raise UserError(
                f"data.rewards: the weight of {self.path} is {self.weight}: give one from -{LARGEST:g} to {LARGEST:g}"
            )


class Rewards:
    """The weighted sum of several rewards. They are called from several threads at a time, because many wait for a server.

    Args:
        configs: Its parts.
        timeout: Seconds for all rewards of one call.

    Raises:
        UserError: if a path names nothing that can be called.
    """

    def __init__(self, configs: Sequence[RewardConfig], timeout: float = 300.0) -> None:
        self.parts = [(config, _imported(config.path)) for config in configs]
        self.timeout = timeout

    def __call__(self, pairs: Sequence[tuple[Problem, Rollout]]) -> list[float | None]:
        """The reward of each rollout, None where a part of it raised or was not a number of a sensible size.

        Raises:
            UserError: naming reward and rollout, if they do not all come in time.
        """
        deadline = time.monotonic() + self.timeout
        calls = [_Call(problem, rollout) for problem, rollout in pairs]
        with ThreadPool(_THREADS) as pool:  # its threads are daemons, which do not hold up the end of the process
            results = [pool.apply_async(self._reward, [call]) for call in calls]
            return [self._in_time(*pair, deadline) for pair in zip(calls, results, strict=True)]

    def _in_time(self, call: _Call, result: AsyncResult[float | None], deadline: float) -> float | None:
        try:
            return result.get(max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            raise UserError(
                f"the reward {call.where} did not return within {self.timeout:g} s: fix it, or raise data.groups.reward_timeout"
            ) from error

    def _reward(self, call: _Call) -> float | None:
        total = terms = 0.0
        for config, function in self.parts:
            call.part = config.path
            try:
                value = float(function(call.problem, _copy(call.rollout)))
            except BaseException as error:  # also SystemExit and KeyboardInterrupt, which would end this thread alone
                fault = f"{type(error).__name__}: {error}"
            else:
                total, terms = total + config.weight * value, terms + abs(config.weight * value)
                fault = _fault(value, config.weight, terms)
            if fault:
                say(f"[yellow]reward error:[/] {escape(f'{call.where}: {fault}')}")
                return None
        return rounded_to_zero(total, terms)


@dataclass(slots=True)
class _Call:
    """The reward of one rollout while it is computed; ``part`` is the path of the reward that is called."""

    problem: Problem
    rollout: Rollout
    part: str = ""

    @property
    def where(self) -> str:
        return f"{self.part} of rollout {self.rollout.id}"


def _fault(value: float, weight: float, terms: float) -> str:
    """Why a value cannot be part of a reward, "" if it can."""
    if not math.isfinite(value):
        return f"{value} is not finite"
    if terms > LARGEST:
        return f"{value:g} x weight {weight:g} is too large: keep rewards between -{LARGEST:g} and {LARGEST:g}"
    return ""


def _copy(rollout: Rollout) -> Rollout:
    """With arrays of its own, so that a reward that changes them changes nothing that is trained on."""
    return replace(
        rollout,
        prompt_ids=rollout.prompt_ids.copy(),
        token_ids=rollout.token_ids.copy(),
        logprobs=rollout.logprobs.copy(),
    )


def _imported(path: str) -> Reward:
    if path == right_answer.__name__:  # without its module, so that configs do not depend on where it is
        return right_answer
    found = load(path, "data.rewards")
    if not callable(found):
        raise UserError(f"data.rewards: {path!r} is not a function: give module.function or file.py:function")
    reward: Reward = found
    return reward
