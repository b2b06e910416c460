"""Rewards that configs of the tests name."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from int_lightning.types import Problem, Rollout

NOT_CALLABLE = "a name that is not a function"


def length(problem: Problem, rollout: Rollout) -> float:
    return float(len(rollout.token_ids))


def alternating(problem: Problem, rollout: Rollout) -> float:
    return float(rollout.sample % 2)


def alternating_on_half(problem: Problem, rollout: Rollout) -> float:
    return float(rollout.sample % 2 and int(problem.id.rpartition("-")[2]) % 2)


def alternating_on_one(problem: Problem, rollout: Rollout) -> float:
    return float(rollout.sample % 2 and problem.id == "easy-00000")


def fails_on_wrong(problem: Problem, rollout: Rollout) -> float:
    if not rollout.correct:
        raise KeyError(rollout.text)
    return 1.0


def hangs_on_rank_1(problem: Problem, rollout: Rollout) -> float:
    if os.environ.get("LOCAL_RANK") == "1":
        Path(os.environ["HANGS_SINCE"]).touch()
        time.sleep(600)
    return 0.0


def hangs(problem: Problem, rollout: Rollout) -> float:
    time.sleep(600)
    return 0.0


def not_a_number(problem: Problem, rollout: Rollout) -> float:
    return float("nan") if rollout.correct else 0.0


def exits(problem: Problem, rollout: Rollout) -> float:
    if not rollout.correct:
        sys.exit("enough")
    return 1.0


def interrupts(problem: Problem, rollout: Rollout) -> float:
    if not rollout.correct:
        raise KeyboardInterrupt
    return 1.0


def blanks(problem: Problem, rollout: Rollout) -> float:
    count = np.count_nonzero(rollout.token_ids)
    for values in (rollout.prompt_ids, rollout.token_ids, rollout.logprobs):
        values[:] = 0
    return float(count)


def huge(problem: Problem, rollout: Rollout) -> float:
    return 1e308 if rollout.correct else 0.0
