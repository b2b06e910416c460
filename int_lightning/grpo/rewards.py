"""Rewards of rollouts: callables by import path, the right answer by default, several with weights.

A reward is ``reward(problem: Problem, rollout: Rollout) -> float``, and is given a copy of the rollout. One that raises, exits or
returns no number of a sensible size is an error of that rollout: it is named and counted, and the rollout is not trained on; it
never becomes a reward of 0.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.markup import escape

from int_lightning.console import say
from int_lightning.grpo.advantages import rounded_to_zero
from int_lightning.types import Problem, Rollout, UserError
from int_lightning.user_code import load

Reward = Callable[[Problem, Rollout], float]

LARGEST = 1e15
"""Of a reward: beyond it float64 has no tenths, and the squares of gradients overflow float32."""

_THREADS = 8


def right_answer(problem: Problem, rollout: Rollout) -> float:
    """1 for a right final answer, else 0."""
    return float(rollout.correct)


@dataclass(frozen=True)
class RewardConfig:
    """One part of the reward.

    Args:
        path: ``module.function``, or ``file.py:function`` of a file given from the working directory or the config's folder.
        weight: What its value is multiplied by.
    """

    path: str = "int_lightning.grpo.rewards.right_answer"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not abs(self.weight) <= LARGEST:
            raise UserError(
                f"data.rewards: the weight of {self.path} is {self.weight}: give one from -{LARGEST:g} to {LARGEST:g}"
            )


class Rewards:
    """The weighted sum of several rewards. They are called from several threads at a time, for many wait for a server.

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
        """The reward of each rollout, None where a part of it raised or was no number of a sensible size.

        Raises:
            UserError: naming reward and rollout, if they do not all come in time.
        """
        rewards: list[float | None] = [None] * len(pairs)
        under_way = dict.fromkeys(range(len(pairs)), "")
        lock, done, todo = threading.Lock(), threading.Event(), iter(enumerate(pairs))

        def work() -> None:
            while True:
                with lock:
                    item = next(todo, None)
                if item is None:
                    return
                i, (problem, rollout) = item
                rewards[i] = self._reward(problem, rollout, under_way, i)
                with lock:
                    del under_way[i]
                    if not under_way:
                        done.set()

        for _ in range(min(_THREADS, len(pairs))):
            threading.Thread(target=work, daemon=True, name="reward").start()
        if pairs and not done.wait(self.timeout):
            late = next(where for where in list(under_way.values()) if where)
            raise UserError(
                f"the reward {late} did not return within {self.timeout:g} s: mend it, or raise data.groups.reward_timeout"
            )
        return rewards

    def _reward(self, problem: Problem, rollout: Rollout, under_way: dict[int, str], i: int) -> float | None:
        total = terms = 0.0
        for config, function in self.parts:
            under_way[i] = f"{config.path} of rollout {rollout.id}"
            try:
                value = float(function(problem, _copy(rollout)))
            except BaseException as error:  # also SystemExit and KeyboardInterrupt, which would end this thread alone
                say(f"[yellow]reward error:[/] {escape(f'{under_way[i]}: {type(error).__name__}: {error}')}")
                return None
            total, terms = total + config.weight * value, terms + abs(config.weight * value)
            if not math.isfinite(value):
                say(f"[yellow]reward error:[/] {escape(under_way[i])}: {value} is not a finite number")
                return None
            if terms > LARGEST:
                say(
                    f"[yellow]reward error:[/] {escape(under_way[i])}: {value:g} x weight {config.weight:g} is too large: keep "
                    f"rewards between -{LARGEST:g} and {LARGEST:g}"
                )
                return None
        return rounded_to_zero(total, terms)


def _copy(rollout: Rollout) -> Rollout:
    """With arrays of its own, so that a reward that changes them changes nothing that is trained on."""
    return replace(
        rollout,
        prompt_ids=rollout.prompt_ids.copy(),
        token_ids=rollout.token_ids.copy(),
        logprobs=rollout.logprobs.copy(),
    )


def _imported(path: str) -> Reward:
    found = load(path, "data.rewards")
    if not callable(found):
        raise UserError(f"data.rewards: {path!r} is not a function: give module.function or file.py:function")
    reward: Reward = found
    return reward
