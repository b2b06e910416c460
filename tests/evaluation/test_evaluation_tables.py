"""What an evaluation keeps, and how it continues where it was killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import int_lightning.cli.commands
from int_lightning.__main__ import main
from int_lightning.collect.store import Store
from int_lightning.evaluation.pass_at_k import EvaluatedProblem, EvaluatedRollout
from int_lightning.models.resolve import resolve_model

from commands import MINI, PORTABLE_ENGINE, without_its_last_line

SIZES = ["--evaluation.rollouts=4", "--evaluation.k=[1,4]", "--evaluation.batch_problems=2", PORTABLE_ENGINE]


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    rows = [{"id": f"p{i}", "problem": f"{i}+{i}", "answer": str(2 * i)} for i in range(7)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def arguments(out: Path, problems: Path) -> list[str]:
    sets = [f"--problems={{sums: {problems}, easy: 'mini:easy:3'}}"]
    return ["evaluate", "-c", str(MINI / "evaluate.yaml"), *SIZES, *sets, f"--out={out}"]


@pytest.fixture(scope="module")
def whole(problems: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation") / "whole"
    assert main(arguments(out, problems)) == 0
    return out


def tables(out: Path) -> tuple[list[EvaluatedRollout], list[EvaluatedProblem]]:
    store = Store(out / "evaluation")
    return list(store.read("rollouts", EvaluatedRollout)), list(store.read("problems", EvaluatedProblem))


def test_every_rollout_and_every_problem_is_kept(whole: Path) -> None:
    rollouts, problems = tables(whole)
    assert [(p.set, p.problem_id, p.gold) for p in problems[:7]] == [("sums", f"p{i}", str(2 * i)) for i in range(7)]
    assert Counter(p.set for p in problems) == {"sums": 7, "easy": 3}
    assert len({(r.set, r.problem_id, r.sample) for r in rollouts}) == len(rollouts) == 4 * 10
    right = Counter[tuple[str, str]]()
    tokens = Counter[tuple[str, str]]()
    for r in rollouts:
        right[r.set, r.problem_id] += int(r.reward)
        tokens[r.set, r.problem_id] += len(r.token_ids)
    assert all((p.correct, p.tokens) == (right[p.set, p.problem_id], tokens[p.set, p.problem_id]) for p in problems)
    scores = json.loads((whole / "results.json").read_text())["sets"]
    for name in ("sums", "easy"):
        own = [p.correct / p.rollouts for p in problems if p.set == name]
        assert scores[name]["pass@1"]["mean"] == pytest.approx(sum(own) / len(own))


def test_what_does_not_count_yet_is_evaluated_again_and_nothing_else(
    whole: Path, problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    assert main(arguments(out, problems)) == 0
    shards = {shard: shard.stat().st_mtime_ns for shard in out.rglob("*.parquet")}
    without_its_last_line(out / "evaluation")
    without_its_last_line(out / "evaluation")
    for shard in (out / "evaluation").glob("*/part-000005.parquet"):
        shard.unlink()
    (out / "results.json").unlink()
    assert main(arguments(out, problems)) == 0
    assert tables(out) == tables(whole)
    assert json.loads((out / "results.json").read_text()) == json.loads((whole / "results.json").read_text())
    kept = [shard for shard in shards if int(shard.stem.removeprefix("part-")) < 4]
    assert len(kept) == 8
    assert all(shard.stat().st_mtime_ns == shards[shard] for shard in kept)
    monkeypatch.delattr(int_lightning.cli.commands, "open_sampler")
    assert main(arguments(out, problems)) == 0


def test_killed_it_ends_with_the_same_tables_and_results(whole: Path, problems: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "int_lightning", *arguments(out, problems)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(out.glob("evaluation/*/*.parquet")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(arguments(out, problems)) == 0
    assert tables(out) == tables(whole)
    assert json.loads((out / "results.json").read_text()) == json.loads((whole / "results.json").read_text())


def test_problems_or_weights_that_changed_meanwhile_are_refused(
    problems: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, file, out = tmp_path / "model", tmp_path / "problems.jsonl", tmp_path / "out"
    shutil.copytree(resolve_model("mini"), model)
    shutil.copy(problems, file)
    given = [*arguments(out, file), f"--model={model}"]
    assert main(given) == 0
    file.write_text(file.read_text().replace("3+3", "3+4"))
    assert main(given) == 2
    said = capfd.readouterr().err
    assert "'p3' of the set 'sums'" in said
    assert "--out" in said
    shutil.copy(problems, file)
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert main(given) == 2
    assert "other weights" in capfd.readouterr().err
