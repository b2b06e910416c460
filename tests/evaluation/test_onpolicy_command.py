"""The on-policyness report: its datasets, the command, and what cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread
from onpolicy_runs import MODEL, TOKENIZER, fails, report, rows

import int_lightning.cli.commands
from int_lightning.collect.store import Store
from int_lightning.evaluation.onpolicy_sets import OnPolicySet
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Outcome, Problem, Provenance, Rollout, Sampling, Span

from commands import fit_sft


def test_the_command_reports_every_dataset_under_every_model(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(int_lightning.cli.commands, "open_sampler")
    assert fit_sft(tmp_path / "sft", run, "--trainer.max_steps=6") == 0
    sets = {"own": "attempts", "int": "prefix_intervention", "reference": "reference"}
    args = [f"--onpolicy.{name}={{folder: {run}, target: {target}}}" for name, target in sets.items()]
    models = ["--models.base=mini", f"--models.patched={tmp_path / 'sft' / 'model'}"]
    found = report(tmp_path / "report", *args, *models)

    def trained(model: str, name: str, quantity: str = "nll") -> float:
        return found[model][name]["parts"]["trained"][quantity]["per_row"]["mean"]

    assert list(found) == ["base", "patched"]
    assert trained("base", "own") < trained("base", "int") < trained("base", "reference")
    assert trained("patched", "int") < trained("base", "int")
    assert trained("patched", "own", "entropy") != trained("base", "own", "entropy")
    own = {(m, s): result["own_rollouts"] for m, results in found.items() for s, result in results.items()}
    assert [key for key, value in own.items() if value] == [("base", "own")]
    for name, target in sets.items():
        assert found["base"][name]["rows"] == len(rows(run, target))
        assert found["base"][name]["left_out"] == 0
    said = capfd.readouterr().out
    assert "On-policyness under base" in said and "On-policyness under patched" in said
    assert f"{trained('base', 'int'):.3f} [" in said
    assert "own rollouts" in said
    height, width = imread(tmp_path / "report" / "onpolicy.png").shape[:2]
    report(tmp_path / "alone", args[0])
    assert imread(tmp_path / "alone" / "onpolicy.png").shape[0] == height / 2 < width


def test_solutions_from_a_file_score_as_references_of_the_collection(run: Path, tmp_path: Path) -> None:
    hard = {e.problem_id for e in rows(run, "reference")}
    problems = [p for p in Store(run / "dataset").read("problems", Problem) if p.id in hard]
    lines = [json.dumps({"problem": p.problem, "solution": p.solution}) + "\n" for p in problems]
    file = tmp_path / "solutions.jsonl"
    file.write_text("".join(lines))
    from_file = f"--onpolicy.file={{file: {file}}}"
    found = report(tmp_path / "out", from_file, f"--onpolicy.collected={{folder: {run}, target: reference}}")["mini"]
    assert found["file"]["parts"]["trained"]["tokens"] == found["collected"]["parts"]["trained"]["tokens"]
    for part in ("prompt", "solution", "end"):
        for quantity in ("nll", "entropy"):
            for kind in ("per_token", "per_row", "per_sequence"):
                a, b = (found[s]["parts"][part][quantity][kind]["mean"] for s in ("file", "collected"))
                assert a == pytest.approx(b, rel=1e-5)
    few = report(tmp_path / "few", from_file, "--limit=2")["mini"]["file"]
    assert (few["rows"], few["problems"]) == (2, 2)


def test_a_rollout_that_was_cut_off_has_no_end(tmp_path: Path) -> None:
    def rollout(name: str, finish: str) -> Rollout:
        provenance = Provenance("mini", f"weights of {name}", "vllm", "solve@1f2e3d4c", Sampling(), 0)
        return Rollout(name, "p", 0, [5, 6], [7, 8, 1], [-1.0] * 3, "", finish, "", False, provenance)

    Store(tmp_path / "dataset").commit(
        {
            "naive": [rollout("p/0", "stop"), rollout("p/1", "length")],
            "outcomes": [Outcome("p", "x.jsonl", "hard", 2, 0, 6)],
        }
    )
    data = OnPolicySet(str(tmp_path), "naive")
    whole, cut = data.rows(TOKENIZER, PromptSet("mini"))
    assert whole.token_ids == cut.token_ids == [5, 6, 7, 8, 1]
    assert whole.spans == [Span("prompt", 2, 0.0), Span("solution", 2, 1.0), Span("end", 1, 1.0)]
    assert cut.spans == [Span("prompt", 2, 0.0), Span("solution", 3, 1.0), Span("end", 0, 1.0)]
    assert data.samplers() == {"weights of p/0", "weights of p/1"}
    assert OnPolicySet(str(tmp_path), "reference").samplers() == set()


def test_rows_beyond_the_models_context_are_left_out_and_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = sorted(len(e.token_ids) for e in rows(run, "attempts"))
    data = f"--onpolicy.own={{folder: {run}, target: attempts}}"
    narrow = tmp_path / "narrow"
    shutil.copytree(MODEL, narrow)
    config = json.loads((narrow / "config.json").read_text())
    middle = lengths[len(lengths) // 2]
    (narrow / "config.json").write_text(json.dumps(config | {"max_position_embeddings": middle}))
    found = report(tmp_path / "out", data, f"--model={narrow}")[str(narrow)]["own"]
    assert found["left_out"] == sum(n > middle for n in lengths) > 0
    assert found["rows"] == sum(n <= middle for n in lengths)
    (narrow / "config.json").write_text(json.dumps(config | {"max_position_embeddings": lengths[0] - 1}))
    said = fails(capsys, tmp_path / "none", data, f"--model={narrow}")
    assert "onpolicy.own" in said
    assert "longer than the context" in said


def test_rows_of_another_tokenizer_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other)
    (other / "dataset" / "tokenizer.json").write_text(json.dumps({"model": "another", "fingerprint": "0"}))
    assert "another" in fails(capsys, tmp_path / "out", f"--onpolicy.x={{folder: {other}}}")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{folder: gone}", ["gone", "collect"]),
        ("{folder: RUN, target: rollout}", ["onpolicy.x", "rollout", "no rows"]),
        ("{folder: RUN, target: refernce}", ["onpolicy", "refernce"]),
        ("{folder: RUN, file: a.jsonl}", ["either a folder or a file"]),
        ("{target: reference}", ["either a folder or a file"]),
        ("{file: gone.jsonl}", ["gone.jsonl", "no such file"]),
    ],
)
def test_a_dataset_of_no_use_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, said: list[str]
) -> None:
    message = fails(capsys, tmp_path / "out", f"--onpolicy.x={data.replace('RUN', str(run))}")
    for part in said:
        assert part in message
    assert not (tmp_path / "out" / "onpolicy.png").exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"problem": "1+1"}, ["row 2", "'solution'"]),
        ({"problem": "1+1", "solution": " "}, ["row 2", "'solution'"]),
        ({"problem": 3, "solution": "2"}, ["row 2", "'problem'"]),
        ([], ["row 2", "JSON object"]),
    ],
)
def test_a_row_of_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, said: list[str]
) -> None:
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps({"problem": "1+1", "solution": "2"}) + "\n" + json.dumps(row) + "\n")
    message = fails(capsys, tmp_path / "out", f"--onpolicy.x={{file: {file}}}")
    for part in [str(file), *said]:
        assert part in message


def test_text_that_is_not_utf8_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "solutions.jsonl"
    file.write_bytes(b'{"problem": "1+1", "solution": "2\xff"}\n')
    assert "UTF-8" in fails(capsys, tmp_path / "out", f"--onpolicy.x={{file: {file}}}")


def test_limit_and_nothing_to_evaluate_are_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "limit is 0" in fails(capsys, tmp_path / "a", f"--onpolicy.x={{folder: {run}}}", "--limit=0")
    assert "onpolicy" in fails(capsys, tmp_path / "b")
