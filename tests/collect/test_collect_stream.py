"""The stream of problems: what a kill leaves, what a waiting oracle leaves, waves, a dry run, and engines on a Ray cluster."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.__main__ import main
from int_lightning.collect.pipeline import TABLES, Collector
from int_lightning.collect.stages import ProblemStages, Work, waves
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.defects import Defect, DefectKind
from int_lightning.engines.base import Engine, EngineConfig
from int_lightning.engines.loop import EngineLoop
from int_lightning.engines.opening import open_engine
from int_lightning.models.resolve import resolve_model
from int_lightning.oracles.base import Attempt
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Outcome, Problem, Proposal, Sampling, UserError

from commands import ENGINE, MINI, PORTABLE_ENGINE, SMALL_COLLECT, collect, without_its_last_line


def records(out: Path) -> dict[str, dict[str, object]]:
    """Every record by table and id; ids that occur twice are a failure."""
    found: dict[str, dict[str, object]] = {}
    for table, record in {**TABLES, "problems": Problem}.items():
        rows = list(Store(out / "dataset").read(table, record))
        found[table] = {row.id: row for row in rows}
        assert len(found[table]) == len(rows), f"{table} holds records twice"
    return found


@given(st.integers(1, 40), st.integers(1, 200))
def test_waves_draw_every_sample_once_and_double(first: int, total: int) -> None:
    drawn = list(waves(first, total))
    assert list(chain.from_iterable(drawn)) == list(range(total))
    assert all(len(wave) == wave.start for wave in drawn[1:-1])


class OneIsRefused:
    """Stages that never end, except for one problem, which is refused after its first completion."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loop = EngineLoop(engine)

    async def run(self, problem: Problem, earlier: Work | None = None) -> Work:
        while True:
            await self.loop.generate([[5, 6]], Sampling(max_tokens=2), [0])
            if problem.id == "refused":
                self.sampled = self.engine.tokens_generated
                raise UserError("problem 'refused': no")


def test_after_a_mistake_in_one_problem_nothing_more_is_sampled(tmp_path: Path) -> None:
    stages = OneIsRefused(open_engine(resolve_model("mini"), EngineConfig("transformers", max_model_len=64)))
    problems = [Problem(id, "1+2", "3", "3") for id in ("refused", "other", "another")]
    with pytest.raises(UserError, match="'refused'"):
        Collector(Store(tmp_path), 6).run(cast(ProblemStages, stages), problems, lambda work: None)
    assert stages.engine.tokens_generated == stages.sampled > 0


def test_easy_problems_cost_one_wave(tmp_path: Path) -> None:
    args = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path / 'out'}", ENGINE, "--problems=mini:easy:6"]
    assert main([*args, "--collection.attempts=32", "--collection.first_wave=4"]) != 0
    outcomes = list(Store(tmp_path / "out" / "dataset").read(OUTCOMES, Outcome))
    assert {o.status for o in outcomes} == {"solved"}
    assert [o.attempts for o in outcomes] == [4] * 6


def test_a_batch_that_does_not_count_yet_is_made_again(dataset: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert collect(again) == 0
    without_its_last_line(again / "dataset")
    assert len(records(again)["attempts"]) < len(records(dataset)["attempts"])
    assert collect(again) == 0
    assert records(again) == records(dataset)
    assert (again / "results.json").read_bytes() == (dataset / "results.json").read_bytes()


def test_killed_again_and_again_it_ends_with_the_same_dataset(tmp_path: Path) -> None:
    args = ["collect", "-c", str(MINI / "collect.yaml"), *SMALL_COLLECT[:-1], PORTABLE_ENGINE]
    args += ["--problems=mini:hard-train:8", "--collection.batch_problems=2"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main([*args, f"--out={whole}"]) == 0
    command = [sys.executable, "-m", "int_lightning", *args, f"--out={killed}"]
    chance, kills = random.Random(0), 0
    while kills < 2:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_a_shard(process, killed, chance.uniform(0, 3))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills
    assert main([*args, f"--out={killed}"]) == 0
    assert records(killed) == records(whole)


def _wait_for_a_shard(process: subprocess.Popen[bytes], out: Path, further: float) -> None:
    """Returns ``further`` seconds after this process has stored its first batch, or when it has ended."""
    before = len(list(out.glob("dataset/*/*.parquet")))
    while process.poll() is None and len(list(out.glob("dataset/*/*.parquet"))) == before:
        time.sleep(0.02)
    time.sleep(further)


class LateOracle(PolicyOracle):
    """Owes its answers for half of the problems until a file exists."""

    def __init__(self, answered: str) -> None:
        super().__init__(4, Sampling(max_tokens=24, temperature=0.7, top_p=0.8, top_k=20))
        self.answered = answered

    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        found = await super().propose(attempts, sampler)
        if Path(self.answered).exists() or int(attempts[0].problem.id[-1]) % 2:
            return found
        not_yet = Defect(DefectKind.WAITING, "not yet")
        return [[replace(p, defect=not_yet) for p in proposals] for proposals in found]


def test_what_an_oracle_owes_is_asked_again_and_nothing_else(tmp_path: Path) -> None:
    answered = tmp_path / "answered"
    oracle = ["--oracle.class_path=test_collect_stream.LateOracle", f"--oracle.init_args.answered={answered}"]
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert collect(out, *oracle) == 0
    first = json.loads((out / "results.json").read_text())
    assert first["waiting"] > 0
    attempts = records(out)["attempts"]
    answered.touch()
    assert collect(out, *oracle) == 0
    second = json.loads((out / "results.json").read_text())
    assert second["waiting"] == 0
    assert records(out)["attempts"] == attempts
    assert second["proposals"] > first["proposals"]
    assert collect(whole, *oracle) == 0
    assert records(out) == records(whole)


def test_a_dry_run_counts_and_samples_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "problems.jsonl"
    rows = [{"problem": f"{i}+1", "solution": f"{i + 1}", "answer": str(i + 1)} for i in range(5)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path / 'out'}", ENGINE]
    assert main([*args, f"--source={source}", "--dry-run"]) == 0
    plan = json.loads((tmp_path / "out" / "dry-run.json").read_text())["plan"]
    assert plan["problems"] == 5
    stages = {s["name"]: s for s in plan["stages"]}
    assert stages["attempts"]["completions"] == 5 * 64
    assert stages["attempts"]["generated_tokens"] == 5 * 64 * 64
    assert plan["prompts"]["solve"] == "<|user|>0+1<|assistant|>"
    assert plan["prompts"]["solve"] in capfd.readouterr().out
    assert not (tmp_path / "out" / "dataset").exists()


def test_a_ray_cluster_of_two_engines_accepts_the_same_interventions(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    command = [sys.executable, "-m", "int_lightning", "collect", "-c", str(MINI / "collect.yaml"), *SMALL_COLLECT]
    command += [f"--out={tmp_path / 'out'}", "--executor=ray", "--actors=2"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"RAY_DEDUP_LOGS": "0"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert records(tmp_path / "out") == records(dataset)
