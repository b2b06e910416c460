"""What a collection leaves behind: ``collection.json``, plots, categories, rows left out, and clear ends when it cannot write."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.collect.categories import ErrorCategory
from int_lightning.collect.store import Store
from int_lightning.prompts.prompt_set import _SHIPPED
from int_lightning.sources.reading import load_problems
from int_lightning.types import Intervention, Rollout

from commands import MINI, PORTABLE_ENGINE, SMALL_COLLECT, collect


def rows_of_the_mini_world(count: int) -> list[dict[str, str]]:
    problems = load_problems(f"mini:hard-train:{count}", None)
    return [{"id": p.id, "problem": p.problem, "solution": p.solution, "answer": p.answer} for p in problems]


def test_statistics_plots_and_the_conditioning_table_with_intervals(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert collect(tmp_path / "run") == 0
    said = capfd.readouterr().out
    record = json.loads((tmp_path / "run" / "collection.json").read_text())
    interventions = list(Store(tmp_path / "run" / "dataset").read("interventions", Intervention))
    accepted = [i for i in interventions if not i.rejected]
    assert record["accepted"] == len(accepted) == record["statistics"]["accepted"]["lengths"]["tokens"]["count"] > 0
    mean = sum(len(i.intervention_ids) for i in accepted) / len(accepted)
    assert record["statistics"]["accepted"]["lengths"]["tokens"]["mean"] == pytest.approx(mean)
    assert record["pool"]["total"]["kept"] == 12
    for row in record["conditioning"].values():
        assert row["low"] <= row["reward"] <= row["high"]
        assert f"{100 * row['high']:.4f}%" in said
    for plot in ("lengths", "locations", "pass_rates"):
        assert (tmp_path / "run" / "plots" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_every_checked_intervention_gets_a_category_where_asked_for(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts", tmp_path / "run"
    shutil.copytree(_SHIPPED["mini"], prompts)
    (prompts / "categorise.txt").write_text("{problem}{attempt}{intervention}")
    assert collect(out, f"--prompts={prompts}", "--collection.categories=true") == 0
    store = Store(out / "dataset")
    checked = [i for i in store.read("interventions", Intervention) if i.guided_total]
    found = list(store.read("categories", ErrorCategory))
    assert sorted(c.proposal_id for c in found) == sorted(i.proposal_id for i in checked)
    assert {c.category for c in found} == {"unknown"}
    locations = json.loads((out / "collection.json").read_text())["statistics"]["located"]["locations"]
    assert locations["unknown"]["count"] == len(checked)


def test_categories_need_their_template(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert collect(tmp_path / "run", "--collection.categories=true") != 0
    assert "categorise.txt" in capfd.readouterr().err


def test_a_row_that_cannot_be_used_is_named_counted_and_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [json.dumps(row) for row in rows_of_the_mini_world(4)]
    rows[2:2] = ['{"id": "torn', json.dumps({**json.loads(rows[0]), "problem": "1+2", "answer": ["1", "2"]})]
    source = tmp_path / "problems.jsonl"
    source.write_text("\n".join(rows) + "\n")
    assert collect(tmp_path / "run", f"--problems={source}", "--quarantine_limit=0.5") == 0
    said = capfd.readouterr().out
    assert f"{source}: row 3" in said
    assert f"{source}: row 4" in said
    record = json.loads((tmp_path / "run" / "collection.json").read_text())
    assert record["problems"] == 4
    assert sum(record["pool"]["total"]["quarantined"].values()) == 2
    assert [q["row"] for q in record["pool"]["quarantined"]] == [3, 4]
    assert collect(tmp_path / "strict", f"--problems={source}") != 0
    assert "row 3" in capfd.readouterr().err


def test_several_sources_from_a_config_each_with_its_own_number_of_attempts(tmp_path: Path) -> None:
    rows, config = rows_of_the_mini_world(6), tmp_path / "sources.yaml"
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows[:3]))
    renamed = [{"question": r["problem"], "worked": r["solution"], "final": r["answer"]} for r in rows[3:]]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(r) + "\n" for r in renamed))
    columns = "{problem: question, solution: worked, answer: final}"
    config.write_text(
        f"problems:\n- {{path: {tmp_path / 'a.jsonl'}, attempts: 4, weight: 2}}\n"
        f"- {{path: {tmp_path / 'b.jsonl'}, columns: {columns}}}\n"
    )
    out, sizes = tmp_path / "run", SMALL_COLLECT[1:]
    assert main(["collect", "-c", str(MINI / "collect.yaml"), "-c", str(config), f"--out={out}", *sizes]) == 0
    drawn: dict[str, int] = {}
    for rollout in Store(out / "dataset").read("attempts", Rollout):
        drawn[rollout.problem_id] = drawn.get(rollout.problem_id, 0) + 1
    assert sorted(drawn.values()) == [4, 4, 4, 8, 8, 8]


def test_a_full_disk_ends_in_one_line_and_what_was_done_is_kept(tmp_path: Path) -> None:
    args = ["collect", "-c", str(MINI / "collect.yaml"), *SMALL_COLLECT[:3], PORTABLE_ENGINE]
    args += ["--problems=mini:hard-train:6", "--collection.batch_problems=2", f"--out={tmp_path}/run"]
    largest = 6_000  # bytes: some shards are smaller, some are not
    without_coverage = {
        k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")
    }  # its file is too large too
    done = subprocess.run(
        [sys.executable, "-m", "int_lightning", *args],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
        capture_output=True,
        text=True,
        env=without_coverage,
    )
    assert done.returncode == 2, done.stderr
    assert "could not be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    kept = {r.id for r in Store(tmp_path / "run" / "dataset").read("attempts", Rollout)}
    assert main(args) == 0
    assert kept <= {r.id for r in Store(tmp_path / "run" / "dataset").read("attempts", Rollout)}
