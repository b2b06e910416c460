"""A resumed fit has the rows, rates, metrics and weights of the uninterrupted one, with the shipped configs. What differs from
its earlier settings is honoured, or refused in one line."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from int_lightning.__main__ import main
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.learn.micro_batches import Step
from int_lightning.models.resolve import resolve_model
from int_lightning.models.smollm2 import SMOLLM2
from int_lightning.prompts.chat import encode_chat
from int_lightning.run_files import digest
from int_lightning.sources.reading import load_problems
from int_lightning.types import Intervention, Outcome, Problem, UserError

from commands import MINI, PORTABLE_ENGINE, ROOT, fit_grpo, fit_sft, metrics, sft_command, short_grpo
from killing import KILLS, killed

WATCHED = ("step", "train/loss", "train/grad_norm")
RATE = ("step", "lr-AdamW")
ROWS = "--trainer.callbacks=[{class_path: test_resume.RowsSeen}]"
SCHEDULE = "--model.init_args.scheduler={class_path: WarmupCosine}"
CONSTANT = "--model.init_args.scheduler=null"
Fails = Callable[..., str]


class RowsSeen(Callback):
    """Records the token ids of each optimiser step in ``rows.jsonl`` of the run's folder."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Step, batch_idx: int
    ) -> None:
        ids = [micro.input_ids.tolist() for micro in batch.batches]
        with (Path(trainer.default_root_dir) / "rows.jsonl").open("a") as file:
            file.write(json.dumps([trainer.global_step, digest(ids)]) + "\n")


def rows_seen(out: Path) -> dict[int, str]:
    """The rows of each step; for a step that was repeated after a kill, those of the last time."""
    return dict(json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines())


def assert_same_run(whole: Path, parts: Path) -> None:
    """Bit for bit: rows, rates, metrics, weights."""
    assert rows_seen(parts) == rows_seen(whole)
    assert metrics(parts, *RATE) == metrics(whole, *RATE)
    assert metrics(parts, *WATCHED) == metrics(whole, *WATCHED)
    left, right = (load_file(out / "model" / "model.safetensors") for out in (whole, parts))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs a fit that is refused; returns its one line."""

    def run(fit: Callable[..., int], *args: Any) -> str:
        capfd.readouterr()
        assert fit(*args) == 2
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        lines = said.err.strip().splitlines()
        assert len(lines) == 1, said.err
        return lines[0]

    return run


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped SFT, uninterrupted."""
    out = tmp_path_factory.mktemp("sft") / "whole"
    assert fit_sft(out, dataset, ROWS) == 0
    return out


@pytest.fixture(scope="module")
def begun(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, cut short after 3 steps. Copy it, or have it refused; do not change it."""
    out = tmp_path_factory.mktemp("sft") / "begun"
    assert fit_sft(out, dataset, ROWS, "--trainer.max_steps=3") == 0
    return out


@pytest.fixture
def parts(begun: Path, tmp_path: Path) -> Path:
    """A copy of ``begun`` in another place."""
    return shutil.copytree(begun, tmp_path / "parts", symlinks=True)


def test_the_shipped_sft_resumed_twice_is_the_uninterrupted_one(whole: Path, parts: Path, dataset: Path) -> None:
    """Its folder is moved in between, and named differently."""
    spelt = parts / ".." / parts.name
    assert fit_sft(spelt, dataset, ROWS, "--trainer.max_steps=5", "--ckpt_path=last") == 0
    assert fit_sft(parts, dataset, ROWS, "--ckpt_path=last") == 0
    assert_same_run(whole, parts)
    assert [path.name for path in (parts / "checkpoints").glob("step-*")] == [f"step-{len(rows_seen(whole))}.ckpt"]


def test_the_shipped_sft_with_held_out_rows_resumed_is_the_uninterrupted_one(dataset: Path, tmp_path: Path) -> None:
    held_out = [ROWS, "--data.init_args.validation=0.3", "--trainer.val_check_interval=2"]
    assert fit_sft(tmp_path / "whole", dataset, *held_out) == 0
    assert fit_sft(tmp_path / "parts", dataset, *held_out, "--trainer.max_steps=3") == 0
    assert fit_sft(tmp_path / "parts", dataset, *held_out, "--ckpt_path=last") == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert metrics(tmp_path / "whole", "step", "val/nll") == metrics(tmp_path / "parts", "step", "val/nll")


def test_the_shipped_pretraining_resumed_is_the_uninterrupted_one(tmp_path: Path) -> None:
    sizes = ["--data.init_args.steps=4", "--data.init_args.batch_size=4", ROWS]
    for out, *cut in ([tmp_path / "whole"], [tmp_path / "parts", "--trainer.max_steps=2"]):
        assert main(["fit", "-c", str(MINI / "pretrain.yaml"), f"--out={out}", *sizes, *cut]) == 0
    again = [f"--out={tmp_path / 'parts'}", *sizes, "--ckpt_path=last"]
    assert main(["fit", "-c", str(MINI / "pretrain.yaml"), *again]) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_the_shipped_sft_of_smollm2_resumed_is_the_uninterrupted_one(tmp_path: Path) -> None:
    try:
        folder = resolve_model(SMOLLM2)
    except UserError as error:
        pytest.skip(str(error))
    two_rows(tmp_path / "data", folder)
    sizes = [
        f"--data.init_args.folder={tmp_path / 'data'}",
        "--data.init_args.batch_size=1",
        "--data.init_args.epochs=1",
    ]
    command = ["fit", "-c", str(ROOT / "configs" / "smollm2" / "sft.yaml"), *sizes, ROWS]
    assert main([*command, f"--out={tmp_path / 'whole'}"]) == 0
    assert main([*command, f"--out={tmp_path / 'parts'}", "--trainer.max_steps=1"]) == 0
    assert main([*command, f"--out={tmp_path / 'parts'}", "--ckpt_path=last"]) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    for out in ("whole", "parts"):
        shutil.rmtree(tmp_path / out)


def two_rows(run: Path, model: str) -> None:
    """A collection of two interventions, in a model's tokens."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    interventions = [
        Intervention(
            id=f"p{i}/a/0/intervention",
            problem_id=f"p{i}",
            rollout_id=f"p{i}/a",
            proposal_id=f"p{i}/a/0",
            location=1,
            steps=3,
            content=f"So it is {i}.",
            prompt_ids=encode_chat(tokenizer, [{"role": "user", "content": f"What is {i} + 1 - 1?"}]),
            prefix_ids=tokenizer.encode("We compute.\n\n"),
            intervention_ids=tokenizer.encode(f"So it is {i}.\n\n"),
            exact=True,
            guided_correct=1,
            guided_total=1,
        )
        for i in range(2)
    ]
    problems = [Problem(f"p{i}", f"What is {i} + 1 - 1?", f"It is {i}.", str(i)) for i in range(2)]
    outcomes = [Outcome(p.id, "x", "hard", 1, 0, 10) for p in problems]
    Store(run / "dataset").commit({"problems": problems, "interventions": interventions, OUTCOMES: outcomes})


LONG = [ROWS, "--data.init_args.epochs=16", "--checkpoint_every=3"]


@pytest.fixture(scope="module")
def long(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SFT that takes long enough to be killed."""
    out = tmp_path_factory.mktemp("sft") / "long"
    assert fit_sft(out, dataset, *LONG) == 0
    return out


@pytest.mark.parametrize("seed", range(KILLS))
def test_the_shipped_sft_killed_at_a_random_moment_and_resumed_is_the_uninterrupted_one(
    seed: int, long: Path, dataset: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "int_lightning", *sft_command(tmp_path, dataset), *LONG]
    if killed(command, tmp_path, random.Random(seed)):
        assert fit_sft(tmp_path, dataset, *LONG, "--ckpt_path=last") == 0
    assert_same_run(long, tmp_path)


@pytest.mark.parametrize("cut", [True, False], ids=["cut by max_steps", "at its end"])
def test_killed_before_the_model_was_written_only_that_is_left_to_do(
    cut: bool, begun: Path, whole: Path, dataset: Path, tmp_path: Path
) -> None:
    run, options = (begun, ["--trainer.max_steps=3"]) if cut else (whole, [])
    out = shutil.copytree(run, tmp_path / "run", symlinks=True)
    (out / "model").rename(out / "model.tmp")
    (out / "results.json").unlink()
    assert fit_sft(out, dataset, ROWS, *options, "--ckpt_path=last") == 0
    assert_same_run(run, out)


CHANGED_SFT = {
    "--model.init_args.optimizer.init_args.lr=0.01": ("model.init_args.optimizer.init_args.lr", "0.0003", "0.01"),
    "--model.init_args.optimizer.class_path=torch.optim.SGD": ("optimizer.class_path", "torch.optim.AdamW", "SGD"),
    "--model.init_args.scheduler.init_args.minimum=0.5": ("scheduler.init_args.minimum", "0.1", "0.5"),
    "--model.init_args.max_grad_norm=0.5": ("model.init_args.max_grad_norm", "1.0", "0.5"),
    "--model.init_args.dtype=bfloat16": ("model.init_args.dtype", "float32", "bfloat16"),
    "--model.init_args.lora={rank: 2}": ("model.init_args.lora.rank", "not set", "2"),
    "--data.init_args.batch_size=8": ("data.init_args.batch_size", "4", "8"),
    "--data.init_args.target=intervention_only": ("data.init_args.target", "prefix_intervention", "intervention_only"),
    "--data.init_args.weights={prefix: 0.5}": ("data.init_args.weights.prefix", "not set", "0.5"),
    "--data.init_args.epochs=8": ("data.init_args.epochs", "4", "8"),
    "--data.init_args.seed=1": ("data.init_args.seed", "0", "1"),
    "--seed_everything=1": ("seed_everything", "0", "1"),
    "--trainer.precision=bf16-true": ("trainer.precision", "null", "bf16-true"),
}


@pytest.mark.parametrize("changed", CHANGED_SFT)
def test_a_changed_setting_of_sft_is_refused_with_both_values(
    changed: str, begun: Path, dataset: Path, fails: Fails
) -> None:
    before = (begun / "config.yaml").read_bytes()
    said = fails(fit_sft, begun, dataset, ROWS, "--ckpt_path=last", changed)
    assert all(part in said for part in CHANGED_SFT[changed])
    assert (begun / "config.yaml").read_bytes() == before


def test_what_only_says_where_and_how_fast_may_change_and_the_config_says_so(
    whole: Path, parts: Path, dataset: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(dataset, tmp_path / "elsewhere")
    base = shutil.copytree(resolve_model("mini"), tmp_path / "base")
    options = ["--data.init_args.max_tokens=200", "--checkpoint_every=7", f"--model.init_args.model={base}"]
    assert fit_sft(parts, moved, ROWS, *options, "--ckpt_path=last") == 0
    assert len(rows_seen(parts)) == len(rows_seen(whole))
    assert metrics(parts, *RATE) == metrics(whole, *RATE)
    config = yaml.safe_load((parts / "config.yaml").read_text())
    assert config["data"]["init_args"]["max_tokens"] == 200
    assert config["data"]["init_args"]["folder"] == str(moved)


def test_rows_or_weights_that_changed_in_their_folder_are_refused(dataset: Path, tmp_path: Path, fails: Fails) -> None:
    rows = shutil.copytree(dataset, tmp_path / "rows")
    base = shutil.copytree(resolve_model("mini"), tmp_path / "base")
    out, of_base = tmp_path / "run", f"--model.init_args.model={base}"
    assert fit_sft(out, rows, of_base, "--trainer.max_steps=1") == 0
    store = Store(rows / "dataset")
    row = next(i for i in store.read("interventions", Intervention) if not i.rejected and i.guided_correct)
    another = replace(row, id=f"{row.id}/again", rollout_id=f"{row.rollout_id}/again")
    store.commit({"interventions": [another], OUTCOMES: [Outcome(row.problem_id, "x", "hard", 1, 0, 10)]})
    assert "data.init_args.folder" in fails(fit_sft, out, rows, of_base, "--ckpt_path=last")
    weights = load_file(base / "model.safetensors")
    save_file({k: 1.5 * v for k, v in weights.items()}, base / "model.safetensors", metadata={"format": "pt"})
    assert "model.init_args.model" in fails(fit_sft, out, dataset, of_base, "--ckpt_path=last")


def test_a_run_at_a_constant_rate_is_extended_to_the_longer_one(dataset: Path, tmp_path: Path, fails: Fails) -> None:
    long, short = tmp_path / "long", tmp_path / "short"
    assert fit_sft(long, dataset, CONSTANT, ROWS, "--data.init_args.epochs=3") == 0
    assert fit_sft(short, dataset, CONSTANT, ROWS, "--data.init_args.epochs=1") == 0
    said = fails(fit_sft, short, dataset, CONSTANT, ROWS, "--data.init_args.epochs=1", "--ckpt_path=last")
    assert "raise data.init_args.epochs" in said
    assert fit_sft(short, dataset, CONSTANT, ROWS, "--data.init_args.epochs=3", "--ckpt_path=last") == 0
    assert_same_run(long, short)
    assert "no step is left" in fails(
        fit_sft, short, dataset, CONSTANT, ROWS, "--data.init_args.epochs=2", "--ckpt_path=last"
    )


def test_no_step_left_to_take_is_an_error_that_says_what_to_write(
    begun: Path, whole: Path, dataset: Path, fails: Fails
) -> None:
    for steps in (2, 3):
        said = fails(fit_sft, begun, dataset, ROWS, f"--trainer.max_steps={steps}", "--ckpt_path=last")
        assert "raise trainer.max_steps" in said
    assert "--model.init_args.model" in fails(fit_sft, whole, dataset, ROWS, "--ckpt_path=last")


REFUSED = {
    "--trainer.max_epochs=2": "data.init_args.epochs",
    "--trainer.gradient_clip_val=1.0": "model.init_args.max_grad_norm",
    "--trainer.accumulate_grad_batches=2": "data.init_args.batch_size",
    "--trainer.limit_train_batches=2": "trainer.max_steps",
    "--trainer.logger=false": "trainer.logger",
    "--trainer.max_steps=-5": "at least 1",
    "--trainer.max_steps=0": "at least 1",
    "--data.init_args.epochs=0": "data.epochs",
    "--ckpt_path=best": "give last",
    "--ckpt_path=nowhere/step-3.ckpt": "nowhere/step-3.ckpt",
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_would_mean_nothing_is_refused(mistake: str, dataset: Path, tmp_path: Path, fails: Fails) -> None:
    assert REFUSED[mistake] in fails(fit_sft, tmp_path, dataset, mistake)


def test_another_run_of_the_folder_is_not_overwritten_by_a_checkpoint_from_elsewhere(
    begun: Path, parts: Path, dataset: Path, fails: Fails
) -> None:
    elsewhere = begun / "checkpoints" / "last.ckpt"
    assert "is of another one" in fails(fit_sft, parts, dataset, ROWS, f"--ckpt_path={elsewhere}")


@pytest.fixture(scope="module")
def grpo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GRPO with a schedule on problems from a file, cut short after 2 steps; its model and problems are beside it."""
    folder = tmp_path_factory.mktemp("grpo")
    write_problems(folder / "problems.jsonl", load_problems("mini:easy:8"))
    assert fit_grpo(folder / "run", *of_file(folder / "problems.jsonl"), "--trainer.max_steps=2") == 0
    return folder / "run"


def write_problems(path: Path, problems: list[Problem]) -> None:
    rows = [{"id": p.id, "problem": p.problem, "solution": p.solution, "answer": p.answer} for p in problems]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def of_file(problems: Path) -> list[str]:
    return [SCHEDULE, ROWS, PORTABLE_ENGINE, f"--data.init_args.problems={problems}"]


CHANGED_GRPO = {
    "--data.init_args.prompts_per_batch=2": ("data.init_args.prompts_per_batch", "4", "2"),
    "--data.init_args.updates_per_batch=2": ("data.init_args.updates_per_batch", "1", "2"),
    "--data.init_args.rollouts_per_prompt=2": ("data.init_args.rollouts_per_prompt", "4", "2"),
    "--data.init_args.sampling.temperature=0.5": ("data.init_args.sampling.temperature", "1.5", "0.5"),
    "--data.init_args.groups.advantage=standardised": ("data.init_args.groups.advantage", "mean", "standardised"),
    "--data.init_args.rewards=[{path: example_rewards.alternating}]": ("rewards.0.path", "not set", "alternating"),
    "--data.init_args.problems=mini:easy:7": ("data.init_args.problems", "problems.jsonl", "mini:easy:7"),
    "--data.init_args.steps=9": ("data.init_args.steps", "4", "9"),
    "--model.init_args.objective.clip_high=0.5": ("model.init_args.objective.clip_high", "0.35", "0.5"),
    "--engine.dtype=bfloat16": ("engine.dtype", "float32", "bfloat16"),
    "--seed_everything=1": ("seed_everything", "0", "1"),
}


@pytest.mark.parametrize("changed", CHANGED_GRPO)
def test_a_changed_setting_of_grpo_is_refused_with_both_values(changed: str, grpo: Path, fails: Fails) -> None:
    options = [*of_file(grpo.with_name("problems.jsonl")), "--ckpt_path=last", changed]
    said = fails(fit_grpo, grpo, *options)
    assert all(part in said for part in CHANGED_GRPO[changed])


def test_other_prompts_are_refused(grpo: Path, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "solve.txt").write_text("0+{problem}")
    options = [*of_file(grpo.with_name("problems.jsonl")), "--ckpt_path=last", f"--data.init_args.prompts={tmp_path}"]
    said = fails(fit_grpo, grpo, *options)
    assert "data.init_args.prompts" in said
    assert str(tmp_path) in said


def test_a_problems_file_that_changed_is_refused_and_a_copy_of_it_is_not(
    grpo: Path, tmp_path: Path, fails: Fails
) -> None:
    out = shutil.copytree(grpo, tmp_path / "run", symlinks=True)
    problems = load_problems("mini:easy:8")
    write_problems(tmp_path / "other.jsonl", problems[:7])
    assert "data.init_args.problems" in fails(fit_grpo, out, *of_file(tmp_path / "other.jsonl"), "--ckpt_path=last")
    write_problems(tmp_path / "copy.jsonl", problems)
    assert fit_grpo(out, *of_file(tmp_path / "copy.jsonl"), "--ckpt_path=last") == 0
    assert fit_grpo(tmp_path / "whole", *of_file(tmp_path / "copy.jsonl")) == 0
    assert_same_run(tmp_path / "whole", out)


def test_fewer_than_one_step_of_grpo_is_refused(tmp_path: Path, fails: Fails) -> None:
    for steps in (0, -3):
        assert "data.steps" in fails(main, ["fit", *short_grpo(tmp_path), f"--data.init_args.steps={steps}"])
