"""What a fit says about held-out rows and problems, through the real command line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from int_lightning.__main__ import main
from int_lightning.cli.commands import IntTrainer
from int_lightning.collect.store import Store
from int_lightning.engines.base import EngineConfig
from int_lightning.models.resolve import resolve_model
from int_lightning.sft.targets import TargetConfig, examples

from commands import ENGINE, LINEAR, MINI, fit_grpo, fit_sft, fit_sft_sharded, metrics

VALIDATION = 0.3
OF_ROWS = ("val/nll", "val/entropy", "val/entropy_drift")
OF_PROBLEMS = ("val/pass@1", "val/pass@4", "val/reward", "val/length", "val/truncated")
HELD_OUT_ROWS = [f"--data.init_args.validation={VALIDATION}", "--trainer.val_check_interval=2"]


def held_out_problems(**arguments: Any) -> str:
    """The option that adds the callback."""
    sampling = {"max_tokens": 48, "temperature": 1.5}
    small = {"problems": "mini:easy:6", "prompts": "mini", "every": 2, "rollouts": 4, "sampling": sampling}
    callback = {
        "class_path": "HeldOutPassAtK",
        "init_args": {**small, **arguments},
    }
    return f"--trainer.callbacks={json.dumps([callback])}"


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SFT with held-out rows and problems."""
    out = tmp_path_factory.mktemp("fit") / "run"
    assert fit_sft(out, dataset, ENGINE, LINEAR, *HELD_OUT_ROWS, held_out_problems()) == 0
    return out


def steps_of(run: Path, name: str) -> list[int]:
    return [int(step) for step, _ in metrics(run, "step", name)]


def last_step(run: Path) -> int:
    return steps_of(run, "train/loss")[-1] + 1


def written_out(model: str, dataset: Path) -> tuple[float, float]:
    """NLL and entropy per intervention token of the held-out rows, from all logits of a model folder."""
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    tokenizer = AutoTokenizer.from_pretrained(model)
    nll, entropy, tokens = 0.0, 0.0, 0
    for example in examples(Store(dataset / "dataset"), TargetConfig("prefix_intervention"), tokenizer):
        if random.Random(f"0/{example.problem_id}").random() >= VALIDATION:
            continue
        assert [span.name for span in example.spans] == ["prompt", "prefix", "intervention"]
        ids = torch.tensor([example.token_ids])
        with torch.no_grad():
            logprobs = lm(input_ids=ids).logits[0].log_softmax(-1)
        for position in range(len(example.token_ids) - example.spans[-1].tokens, len(example.token_ids)):
            predicted = logprobs[position - 1]
            nll -= float(predicted[example.token_ids[position]])
            entropy -= float((predicted.exp() * predicted).sum())
            tokens += 1
    assert tokens > 0
    return nll / tokens, entropy / tokens


def test_held_out_rows_are_scored_before_the_first_step_and_at_every_interval(run: Path) -> None:
    last = last_step(run)
    assert last >= 4
    assert steps_of(run, "val/nll") == [0, *range(2, last + 1, 2)]
    scores = metrics(run, *OF_ROWS)
    assert scores[0][2] == 0.0
    assert all(drift != 0.0 for _, _, drift in scores[1:])
    assert all(drift == pytest.approx(entropy - scores[0][1]) for _, entropy, drift in scores)


def test_nll_of_held_out_interventions_falls(run: Path) -> None:
    scores = [nll for (nll,) in metrics(run, "val/nll")]
    assert scores[-1] < 0.9 * scores[0]


def test_nll_and_entropy_are_those_written_out_with_transformers(run: Path, dataset: Path) -> None:
    scored = metrics(run, "val/nll", "val/entropy")
    assert scored[0] == pytest.approx(written_out(resolve_model("mini"), dataset), rel=1e-4)
    assert last_step(run) % 2 == 0, "the last step is not a scored one"
    assert scored[-1] == pytest.approx(written_out(str(run / "model"), dataset), rel=1e-4)


def test_held_out_problems_are_sampled_before_the_first_step_at_every_interval_and_after_the_last(run: Path) -> None:
    last = last_step(run)
    assert steps_of(run, "val/pass@1") == sorted({0, *range(2, last, 2), last})
    for once, ever, reward, length, truncated in metrics(run, *OF_PROBLEMS):
        assert 0 <= once <= ever <= 1
        assert reward == pytest.approx(once)
        assert 0 < length <= 48
        assert 0 <= truncated <= 1


def test_the_last_step_is_sampled_though_it_is_no_multiple_and_progress_shows_the_newest_scores(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert fit_sft(run, dataset, ENGINE, *HELD_OUT_ROWS, held_out_problems(), "--trainer.max_steps=3") == 0
    assert steps_of(run, "val/pass@1") == [0, 2, 3]
    assert steps_of(run, "val/nll") == [0, 2]
    nll, passed = (metrics(run, name)[-1][0] for name in ("val/nll", "val/pass@1"))
    assert f"val/nll {nll:.4g} val/pass@1 {passed:.4g}" in capfd.readouterr().out


def test_watching_changes_nothing_of_the_training(run: Path, dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "plain", dataset, ENGINE, LINEAR, *HELD_OUT_ROWS) == 0
    plain, watched = (load_file(out / "model" / "model.safetensors") for out in (tmp_path / "plain", run))
    assert all(torch.equal(plain[k], watched[k]) for k in watched)


def test_a_resumed_run_logs_what_the_uninterrupted_one_does(run: Path, dataset: Path, tmp_path: Path) -> None:
    watching = [ENGINE, LINEAR, *HELD_OUT_ROWS, held_out_problems()]
    parts = tmp_path / "parts"
    assert fit_sft(parts, dataset, *watching, "--trainer.max_steps=2") == 0
    assert fit_sft(parts, dataset, *watching, "--ckpt_path=last") == 0
    for names in (OF_ROWS, OF_PROBLEMS):
        assert metrics(parts, "step", *names) == metrics(run, "step", *names)


def test_validate_without_a_checkpoint_has_no_drift_and_with_one_that_of_its_run(
    run: Path, dataset: Path, tmp_path: Path
) -> None:
    command = ["validate", "-c", str(MINI / "sft.yaml"), f"--data.init_args.folder={dataset}", HELD_OUT_ROWS[0]]
    assert main([*command, f"--out={tmp_path / 'base'}"]) == 0
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert main([*command, f"--out={tmp_path / 'patched'}", f"--ckpt_path={checkpoint}"]) == 0
    base, patched = (json.loads((tmp_path / out / "results.json").read_text()) for out in ("base", "patched"))
    assert base["val/entropy_drift"] == 0.0
    first, last = metrics(run, *OF_ROWS)[0], metrics(run, *OF_ROWS)[-1]
    assert [base[name] for name in OF_ROWS] == pytest.approx(first, rel=1e-6)
    assert [patched[name] for name in OF_ROWS] == pytest.approx(last, rel=1e-6)


def test_two_processes_are_one(run: Path, dataset: Path, tmp_path: Path) -> None:
    fit_sft_sharded(tmp_path / "two", dataset, 2, ENGINE, LINEAR, *HELD_OUT_ROWS, held_out_problems())
    for names in (OF_ROWS, OF_PROBLEMS):
        one, two = (torch.tensor(metrics(out, "step", *names)) for out in (run, tmp_path / "two"))
        assert len(one)
        assert torch.allclose(one, two, atol=1e-5, rtol=1e-5)


def test_grpo_logs_held_out_problems_and_trains_as_without(tmp_path: Path) -> None:
    assert fit_grpo(tmp_path / "plain") == 0
    assert fit_grpo(tmp_path / "watched", held_out_problems(every=3)) == 0
    assert steps_of(tmp_path / "watched", "val/pass@1") == [0, 3, 4]
    watched = ("train/reward", "train/length", "train/grad_norm")
    assert metrics(tmp_path / "plain", *watched) == metrics(tmp_path / "watched", *watched)


def test_a_run_has_one_engine_which_keeps_the_weights_it_was_given() -> None:
    trainer = IntTrainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.engine_config = EngineConfig(name="transformers", max_model_len=64)
    folder = resolve_model("mini")
    engine = trainer.open_engine(folder)
    before = engine.score([[6, 7, 8]])
    engine.load_weights((n, torch.zeros_like(w)) for n, w in load_file(f"{folder}/model.safetensors").items())
    assert trainer.open_engine(folder) is engine
    assert engine.score([[6, 7, 8]]) != before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"every": 0}, ["HeldOutPassAtK.every is 0", "at least 1"]),
        ({"rollouts": 0}, ["HeldOutPassAtK.rollouts is 0", "at least 1"]),
        ({"limit": 0}, ["limit is 0", "at least 1"]),
        ({"problems": "gone.jsonl"}, ["gone.jsonl"]),
        ({"problems": "mini:hard"}, ["no split 'hard'", "hard-test"]),
        ({"prompts": "nowhere"}, ["nowhere", "solve.txt"]),
        ({"sampling": {"max_tokens": 0}}, ["sampling.max_tokens is 0", "at least 1"]),
        ({"evry": 3}, ["evry"]),
        ({"every": "often"}, ["every", "often"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_gives_one_clear_message(
    arguments: dict[str, Any], said: list[str], dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = fit_sft(tmp_path / "run", dataset, held_out_problems(**arguments))
    except SystemExit as exit_:
        status = exit_.code
    message = capsys.readouterr().err
    assert status not in (0, None)
    assert "Traceback" not in message
    for part in said:
        assert part in message
