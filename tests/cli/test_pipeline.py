"""Collection and Algorithm 1 through the real command line, with the real engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.collect.stages import attempt_defect
from int_lightning.collect.store import Store
from int_lightning.defects import DefectKind
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.oracles.base import Attempt
from int_lightning.sft.targets import TargetConfig, examples
from int_lightning.steps import decode, split_steps
from int_lightning.types import Intervention, Problem, Proposal, Provenance, Rollout, Sampling

from commands import small_run_config


def interventions(out: Path) -> list[Intervention]:
    return list(Store(out / "dataset").read("interventions", Intervention))


def test_the_prefix_is_a_slice_of_the_sampled_tokens(dataset: Path) -> None:
    rollouts = {r.id: r for r in Store(dataset / "dataset").read("attempts", Rollout)}
    proposals = {p.id: p for p in Store(dataset / "dataset").read("proposals", Proposal)}
    accepted = [i for i in interventions(dataset) if not i.rejected]
    assert accepted
    for item in accepted:
        rollout = rollouts[item.rollout_id]
        assert item.prefix_ids == rollout.token_ids[: len(item.prefix_ids)].tolist()
        assert item.prompt_ids == rollout.prompt_ids.tolist()
        assert decode(build_tokenizer(), item.prefix_ids) == "".join(split_steps(rollout.text)[: item.location])
        assert not rollout.correct
        assert proposals[item.proposal_id].content == item.content
        assert rollout.provenance.fingerprint


def test_the_rows_train_on_prefix_and_intervention_and_on_no_end_of_sequence(dataset: Path) -> None:
    tokenizer = build_tokenizer()
    records = {i.id: i for i in interventions(dataset)}
    for example in examples(Store(dataset / "dataset"), TargetConfig(), tokenizer):
        item = records[example.id]
        assert not item.rejected
        trained = [t for t, w in zip(example.token_ids, example.loss_weights, strict=True) if w]
        text = tokenizer.decode(trained)
        assert text == decode(tokenizer, item.prefix_ids) + item.content + "\n\n"
        assert tokenizer.eos_token_id not in trained


def test_rejected_interventions_are_kept_with_their_reason(dataset: Path) -> None:
    records = interventions(dataset)
    results = json.loads((dataset / "results.json").read_text())
    assert len(records) == results["proposals"] == results["accepted"] + sum(results["rejected"].values())
    assert all(i.guided_total == 4 for i in records if not i.rejected)


def test_algorithm_1_end_to_end_twice_and_continued(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = small_run_config(tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["run", "-c", str(config), f"--out={first}"]) == 0
    said = capfd.readouterr()
    assert "with_intervention" in said.out
    assert "INFO" not in said.out + said.err
    results = json.loads((first / "results.json").read_text())
    assert set(results) == {"arms", "conditioning", "seconds", "tokens_generated"}
    assert set(results["arms"]) == {"base", "grpo", "int", "int_grpo"}
    assert set(results["conditioning"]) == {"naive", "from_prefix", "with_intervention"}
    for arm in results["arms"].values():
        for scores in arm.values():
            assert set(scores) == {"pass@1", "pass@8", "problems", "rollouts"}
            assert scores["pass@1"]["low"] <= scores["pass@1"]["mean"] <= scores["pass@1"]["high"]
    assert results["conditioning"]["with_intervention"]["reward"] > results["conditioning"]["naive"]["reward"]
    assert results["tokens_generated"] > 0
    assert main(["run", "-c", str(config), f"--out={second}"]) == 0
    repeated = json.loads((second / "results.json").read_text())
    assert repeated["arms"] == results["arms"]
    assert repeated["conditioning"] == results["conditioning"]
    for part in ("config.yaml", "metrics.csv", "tensorboard", "checkpoints", "model/model.safetensors"):
        assert (first / "int_grpo" / part).exists()
    assert (first / "collect" / "dataset").is_dir()
    shutil.rmtree(second / "evaluate_int")
    untouched = (second / "sft" / "stage.json").stat().st_mtime_ns
    assert main(["run", "-c", str(config), f"--out={second}"]) == 0
    assert json.loads((second / "results.json").read_text())["arms"] == results["arms"]
    assert (second / "sft" / "stage.json").stat().st_mtime_ns == untouched


def test_attempts_that_cannot_be_taken_to_an_oracle_say_why() -> None:
    provenance = Provenance("m", "f", "e", "t", Sampling(), 0)
    problem = Problem("p", "1+1", "2\n\n\\boxed{2}", "3")

    def attempt(text: str) -> Attempt:
        rollout = Rollout("r", "p", 0, [1], [2], [0.0], text, "stop", "", False, provenance)
        return Attempt(problem, rollout, split_steps(text))

    attempts = {"one step": "all at once", "the reference": problem.solution, "usable": "1+1=4\n\n\\boxed{4}"}
    found = {name: attempt_defect(attempt(text)) for name, text in attempts.items()}
    kinds = {name: defect.kind for name, defect in found.items() if defect is not None}
    assert kinds == {"one step": DefectKind.ONE_STEP, "the reference": DefectKind.EQUALS_REFERENCE}
