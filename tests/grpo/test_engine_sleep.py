"""The engine sleeps while the policy is trained, and wakes in parts around the sync of weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from int_lightning.__main__ import main
from int_lightning.engines import opening
from int_lightning.engines.base import Memory
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.grpo.module import GRPOModule
from int_lightning.learn.module import PolicyModule

from commands import ALTERNATING, MINI, PORTABLE_ENGINE, fit_grpo

SLEEPING = "--engine.sleep_while_training=true"
WAKES = ["wake weights", "load weights", "wake kv_cache"]


class Recording(TransformersEngine):
    """An engine that writes down what is asked of it, and refuses what memory that is asleep cannot do."""

    sleeps = True
    calls: ClassVar[list[str]] = []
    asleep: ClassVar[set[Memory]] = set()

    def generate(self, *arguments: Any) -> Any:
        self._record("generate", set())
        return super().generate(*arguments)

    def score(self, *arguments: Any) -> Any:
        self._record("generate", set())  # a sync asks for both, in an order of its own
        return super().score(*arguments)

    def load_weights(self, *arguments: Any) -> None:
        self._record("load weights", self.asleep - {"weights"})
        super().load_weights(*arguments)

    def sleep(self) -> None:
        self._record("sleep", set())
        Recording.asleep = {"weights", "kv_cache"}

    def wake(self, memory: Memory) -> None:
        self._record(f"wake {memory}", self.asleep)
        Recording.asleep = self.asleep - {memory}

    def _record(self, call: str, may_sleep: set[Memory]) -> None:
        assert self.asleep <= may_sleep, f"{call}, and {self.asleep} is asleep"
        Recording.calls.append(call)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of the engine, and when the policy is trained and scored."""
    opening._held.close()
    monkeypatch.setattr(opening, "TransformersEngine", Recording)
    Recording.calls, Recording.asleep = [], set()
    optimise, score_rows = PolicyModule.optimise, GRPOModule.score_rows

    def optimised(self: PolicyModule, *arguments: Any) -> Any:
        Recording.calls.append("train")
        return optimise(self, *arguments)

    def scored(self: GRPOModule, *arguments: Any) -> Any:
        Recording.calls.append("score rows")
        return score_rows(self, *arguments)

    monkeypatch.setattr(PolicyModule, "optimise", optimised)
    monkeypatch.setattr(GRPOModule, "score_rows", scored)
    yield Recording.calls
    opening._held.close()


def in_short(calls: list[str]) -> list[str]:
    """Calls without repetitions."""
    return [call for call, _ in groupby(calls)]


def test_grpo_sleeps_from_the_end_of_sampling_to_the_next_sync(calls: list[str], tmp_path: Path) -> None:
    twice = ["--data.init_args.updates_per_batch=2", ALTERNATING]
    assert fit_grpo(tmp_path, PORTABLE_ENGINE, SLEEPING, *twice) == 0
    batch = [*WAKES, "generate", "sleep", "score rows", "train"]
    assert in_short(calls) == 2 * batch
    assert calls.count("train") == 4


def test_held_out_problems_wake_the_engine_and_let_it_sleep_again(calls: list[str], tmp_path: Path) -> None:
    validation = ["--data.init_args.validation=mini:easy:2", "--trainer.val_check_interval=2"]
    assert fit_grpo(tmp_path, PORTABLE_ENGINE, SLEEPING, ALTERNATING, *validation) == 0
    sampled = [*WAKES, "generate", "sleep"]
    assert in_short(calls) == 2 * [*sampled, "train", *sampled, "train", *sampled]


def test_sft_with_held_out_problems_and_collection_trains_beside_a_sleeping_engine(
    calls: list[str], tmp_path: Path
) -> None:
    small = {"attempts": 8, "guided": 4, "batch_problems": 4, "attempts_per_problem": 2, "sampling": {"max_tokens": 64}}
    oracle = {"proposals": 2, "sampling": {"max_tokens": 24, "temperature": 0.7}}
    problems = {"problems": "mini:hard-train:12", "prompts": "mini", "collection": small}
    proposing = {"oracle": {"class_path": "PolicyOracle", "init_args": oracle}}
    callbacks = [
        {"class_path": "CollectInterventions", "init_args": problems | proposing},
        {
            "class_path": "HeldOutPassAtK",
            "init_args": {"problems": "mini:easy:2", "prompts": "mini", "every": 1, "rollouts": 2},
        },
    ]
    command = [
        "fit",
        "-c",
        str(MINI / "sft.yaml"),
        f"--out={tmp_path / 'run'}",
        f"--data.init_args.folder={tmp_path / 'rows'}",
    ]
    streaming = ["--data.init_args.streaming=true", "--data.init_args.steps=2", "--data.init_args.batch_size=1"]
    wanted = [
        PORTABLE_ENGINE,
        SLEEPING,
        "--data.init_args.collect_config=null",
        f"--trainer.callbacks={json.dumps(callbacks)}",
    ]
    assert main([*command, *streaming, *wanted]) == 0
    short = in_short(calls)
    assert short.count("train") == 2
    assert all(before == "sleep" for before, call in pairwise(short) if call == "train")
    assert short[-1] == "sleep"


def test_an_engine_without_the_switch_stays_awake(calls: list[str], tmp_path: Path) -> None:
    assert fit_grpo(tmp_path, PORTABLE_ENGINE, ALTERNATING) == 0
    assert "sleep" not in calls


def test_an_engine_that_sleeps_is_woken_for_the_next_stage(calls: list[str], tmp_path: Path) -> None:
    assert fit_grpo(tmp_path / "run", PORTABLE_ENGINE, SLEEPING, ALTERNATING) == 0
    before = len(calls)
    model = f"--model={tmp_path / 'run' / 'model'}"
    sets = ["--problems={easy: 'mini:easy:2'}", "--evaluation.rollouts=8"]
    evaluate = ["evaluate", "-c", str(MINI / "evaluate.yaml"), f"--out={tmp_path / 'evaluate'}", model]
    assert main([*evaluate, *sets, PORTABLE_ENGINE, SLEEPING]) == 0
    assert in_short(calls[before:]) == ["wake weights", "load weights", "wake kv_cache", "generate"]


def test_an_engine_that_cannot_sleep_says_so_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert fit_grpo(tmp_path, PORTABLE_ENGINE, SLEEPING, ALTERNATING) == 0
    assert " ".join(capfd.readouterr().out.split()).count("engine.sleep_while_training needs vLLM on a GPU") == 1
