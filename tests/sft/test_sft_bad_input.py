"""Input that an SFT cannot be right with ends it: exit status 2, and one line that says what, where and what to do."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from int_lightning.__main__ import main
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.mini.mini_tokenizer import CHAT_TEMPLATE, build_tokenizer
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.recorded_tokenizer import record_tokenizer
from int_lightning.types import Intervention, Outcome, Problem

from commands import MINI, fit_sft, metrics, without_its_last_line

TOKENIZER = build_tokenizer()
ANSWER_ONLY = CHAT_TEMPLATE.replace("message['content']", "message['content'].split(' > ')[-1]")


def intervention(number: int) -> Intervention:
    return Intervention(
        id=f"p{number}/a/0/intervention",
        problem_id=f"p{number}",
        rollout_id=f"p{number}/a",
        proposal_id=f"p{number}/a/0",
        location=1,
        steps=3,
        content="3@4=2",
        prompt_ids=encode_chat(TOKENIZER, [{"role": "user", "content": f"{number}+2@4"}]),
        prefix_ids=TOKENIZER.encode("1+2=3\n\n"),
        intervention_ids=TOKENIZER.encode("3@4=2\n\n"),
        exact=True,
        guided_correct=1,
        guided_total=1,
    )


def commit(run: Path, *interventions: Intervention) -> None:
    """One more batch of a collection."""
    Store(run / "dataset").commit(
        {
            "problems": [Problem(i.problem_id, "1+2@4", "3 > 2 > \\boxed{2}", "2") for i in interventions],
            "interventions": interventions,
            OUTCOMES: [Outcome(i.problem_id, "x", "hard", 1, 0, 10) for i in interventions],
        }
    )


def collected(run: Path, *interventions: Intervention, model: Path | None = None) -> Path:
    """A run folder with a batch, made with the tokenizer of a model, or with one that was not recorded."""
    if model is not None:
        record_tokenizer(run / "dataset", AutoTokenizer.from_pretrained(model), str(model))
    commit(run, *interventions)
    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the mini model, to be damaged."""
    return Path(shutil.copytree(resolve_model("mini"), tmp_path / "model"))


def fit(tmp_path: Path, run: Path, *overrides: str) -> int:
    return fit_sft(
        tmp_path / "fit", run, "--data.init_args.collect_config=null", "--data.init_args.epochs=1", *overrides
    )


def refused(capsys: pytest.CaptureFixture[str], status: int) -> str:
    """What a command that a user's mistake ended said."""
    said = capsys.readouterr()
    assert status == 2
    assert "Traceback" not in said.out + said.err
    (line,) = (line for line in said.err.splitlines() if line.startswith("int-lightning: "))
    return line


def test_a_tokenizer_without_chat_template_collects_nothing(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "chat_template.jinja").unlink()
    command = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path / 'run'}", f"--model={model}"]
    said = refused(capsys, main([*command, "--problems=mini:hard-train:2"]))
    assert str(model) in said
    assert "add chat_template.jinja" in said
    assert not (tmp_path / "run" / "dataset").exists()


def test_a_tokenizer_without_chat_template_takes_no_full_solutions(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "chat_template.jinja").unlink()
    run = collected(tmp_path / "run", intervention(1))
    target = f"--model.init_args.model={model}", "--data.init_args.target=reference"
    said = refused(capsys, fit(tmp_path, run, *target))
    assert str(model) in said
    assert "add chat_template.jinja" in said


def test_a_template_that_strips_what_comes_before_the_answer_takes_no_full_solutions(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "chat_template.jinja").write_text(ANSWER_ONLY)
    run = collected(tmp_path / "run", intervention(1), model=model)
    target = f"--model.init_args.model={model}", "--data.init_args.target=reference"
    said = refused(capsys, fit(tmp_path, run, *target))
    for part in ("row 'p1/reference'", str(model), "'\\\\boxed{2}<|end|>'", "give the model folder"):
        assert part in said


def test_a_dataset_of_another_tokenizer_is_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = collected(tmp_path / "run", intervention(1), model=model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    known = tokenizer["model"]["vocab"]
    known["1"], known["2"] = known["2"], known["1"]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = refused(capsys, fit(tmp_path, run, f"--model.init_args.model={model}"))
    for part in (str(run / "dataset"), str(model), "collect again"):
        assert part in said


def test_a_dataset_of_another_chat_template_is_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = collected(tmp_path / "run", intervention(1), model=model)
    (model / "chat_template.jinja").write_text(ANSWER_ONLY)
    said = refused(capsys, fit(tmp_path, run, f"--model.init_args.model={model}"))
    for part in (str(run / "dataset"), str(model), "chat template", "collect again"):
        assert part in said


@pytest.mark.parametrize("token_id", [36, 100_000, -1])
def test_a_token_beyond_the_vocabulary_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], token_id: int
) -> None:
    beyond = replace(intervention(2), prefix_ids=[5, token_id])
    run = collected(tmp_path / "run", intervention(1), beyond)
    said = refused(capsys, fit(tmp_path, run))
    for part in ("row 'p2/a/0/intervention'", str(token_id), "collect"):
        assert part in said


def test_a_token_that_the_model_has_no_embedding_of_is_named(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["wait"])
    tokenizer.save_pretrained(model)
    token_id = tokenizer.convert_tokens_to_ids("wait")
    assert token_id == json.loads((model / "config.json").read_text())["vocab_size"]
    beyond = replace(intervention(1), prefix_ids=[token_id])
    run = collected(tmp_path / "run", beyond, model=model)
    said = refused(capsys, fit(tmp_path, run, f"--model.init_args.model={model}"))
    for part in (str(model), f"'wait', {token_id}"):
        assert part in said


def test_weights_whose_scores_are_not_finite_end_the_fit_before_its_first_step(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"] *= 1e38  # finite, but not the logits
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    before = (model / "model.safetensors").read_bytes()
    run = collected(tmp_path / "run", intervention(1))
    said = refused(capsys, fit(tmp_path, run, f"--model.init_args.model={model}"))
    assert f"{model}: its weights give tokens log-probs that are not finite" in said
    assert "checkpoint" not in said
    assert (model / "model.safetensors").read_bytes() == before
    assert not (tmp_path / "fit" / "model").exists()


def test_a_loss_that_stops_being_a_number_leaves_the_checkpoint_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = collected(tmp_path / "run", *(intervention(i) for i in range(4)))
    rate = "--model.init_args.optimizer.init_args.lr=1e30"
    said = refused(capsys, fit(tmp_path, run, rate, "--data.init_args.batch_size=1", "--checkpoint_every=1"))
    for part in ("step 1", "not finite", str(tmp_path / "fit" / "checkpoints" / "last.ckpt"), "learning rate"):
        assert part in said
    assert (tmp_path / "fit" / "checkpoints" / "last.ckpt").exists()
    assert not (tmp_path / "fit" / "model").exists()


def test_a_row_that_trains_on_nothing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = collected(tmp_path / "run", intervention(1))
    said = refused(capsys, fit(tmp_path, run, "--data.init_args.weights={prefix: 0, intervention: 0}"))
    assert "row 'p1/a/0/intervention'" in said


def test_a_truncated_intervention_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = replace(intervention(1), intervention_ids=intervention(1).intervention_ids[:-2])
    said = refused(capsys, fit(tmp_path, collected(tmp_path / "run", cut)))
    for part in ("row 'p1/a/0/intervention'", "'3@4=2'", "'3@4='"):
        assert part in said


def test_a_prompt_cannot_be_given_a_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = collected(tmp_path / "run", intervention(1))
    said = refused(capsys, fit(tmp_path, run, "--data.init_args.weights={prompt: 1}"))
    assert "prompt" in said


def test_a_dataset_that_is_being_written_is_read_up_to_its_last_finished_batch(tmp_path: Path) -> None:
    run = collected(tmp_path / "run", intervention(1), intervention(2))
    commit(run, intervention(3))
    dataset = run / "dataset"
    whole = (dataset / "manifest.jsonl").read_bytes()
    without_its_last_line(dataset)
    (dataset / "interventions" / "part-000002.tmp").write_bytes(b"PAR1 half a shard")
    (dataset / OUTCOMES / "part-000001.tmp").write_bytes(b"")
    one_by_one = "--data.init_args.batch_size=1"
    assert fit(tmp_path, run, one_by_one) == 0
    assert len(metrics(tmp_path / "fit", "train/loss")) == 2
    (dataset / "manifest.jsonl").write_bytes(whole)
    assert fit(tmp_path / "again", run, one_by_one) == 0
    assert len(metrics(tmp_path / "again" / "fit", "train/loss")) == 3
