"""What GRPO can be told: interventions in the loop, hints, estimators; and what it says to a mistake."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from int_lightning.grpo.hints import HintConfig, hint
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.sources.reading import load_problems
from int_lightning.types import Problem, UserError

from commands import ALTERNATING, COLD, PORTABLE_ENGINE, ROOT, fit_grpo, fit_sft, metrics

HARD = "--data.init_args.problems=mini:hard-train:4"
IN_LOOP = "InterveneOnFailedGroups"
ORACLE = "{class_path: PolicyOracle, init_args: {proposals: 4, sampling: {max_tokens: 24}}}"


def in_loop(use: str, weight: float = 1.0) -> str:
    arguments = f"{{use: {use}, weight: {weight}, guided: 4, attempts_per_group: 2, oracle: {ORACLE}}}"
    return f"--trainer.callbacks=[{{class_path: {IN_LOOP}, init_args: {arguments}}}]"


@pytest.mark.parametrize("use", ["guided", "sft", "both"])
def test_interventions_give_failed_groups_something_to_learn_from(use: str, tmp_path: Path) -> None:
    assert fit_grpo(tmp_path, HARD, COLD, "--data.init_args.steps=2", in_loop(use)) == 0
    names = ("failed_groups", "interventions", "grad_norm", "correct")
    rows = metrics(tmp_path, *(f"train/{name}" for name in names))
    assert rows[0][0] == 4.0
    assert rows[0][3] == 0.0
    assert sum(interventions for _, interventions, _, _ in rows) > 0
    if use != "guided":  # guided rollouts may all be right: then their group has no advantage
        assert any(norm > 0 for _, _, norm, _ in rows)
    table = pq.read_table(tmp_path / "rollouts" / "batch-000000.parquet").to_pydict()
    assert (len(table["problem_id"]) > 16) == (use != "sft")
    known = {p.id: (p.problem, p.answer) for p in load_problems("mini:hard-train")}
    rows = zip(table["problem_id"], table["problem"], table["gold"], strict=True)
    assert all(known[i] == (problem, gold) for i, problem, gold in rows)


def test_failed_groups_that_leave_no_room_for_an_oracle_are_left_as_they_are(tmp_path: Path) -> None:
    hinted, short = "--data.init_args.hints={first: 0.6, last: 0.6}", "--engine.max_model_len=64"
    options = [HARD, COLD, in_loop("both"), hinted, PORTABLE_ENGINE, short, "--data.init_args.steps=2"]
    assert fit_grpo(tmp_path, *options) == 0
    rows = metrics(tmp_path, "train/failed_groups", "train/interventions")
    assert len(rows) == 2
    assert rows[0][0] > 0
    assert all(interventions == 0 for _, interventions in rows)


def test_without_interventions_failed_groups_teach_nothing(tmp_path: Path) -> None:
    assert fit_grpo(tmp_path, HARD, COLD, "--data.init_args.steps=2") == 0
    assert all(norm == 0 for (norm,) in metrics(tmp_path, "train/grad_norm"))


def test_a_run_with_nothing_to_learn_from_ends_where_it_is_told_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_grpo(tmp_path, HARD, COLD, "--data.init_args.groups.patience=2") == 2
    assert "batches 0 to 1 had no group with an advantage" in capfd.readouterr().err


def test_hints_are_shown_with_the_problems_and_fade(tmp_path: Path) -> None:
    assert fit_grpo(tmp_path, "--data.init_args.hints={first: 0.5, last: 0.0, until: 0.5}", "--engine.name=vllm") == 0
    assert metrics(tmp_path, "train/hint") == [[0.5], [0.25], [0.0], [0.0]]


def test_a_problem_whose_hint_leaves_no_room_is_shown_without_it_and_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = 28
    whole = "--data.init_args.hints={first: 1.0, last: 1.0}"
    assert fit_grpo(tmp_path, whole, PORTABLE_ENGINE, f"--engine.max_model_len={context}") == 0
    tokenizer, prompts = load_tokenizer(resolve_model("mini")), PromptSet("mini")
    hinted = {p.id: len(encode_chat(tokenizer, prompts.hint(p, hint(p, 1.0)))) for p in load_problems("mini:easy:8")}
    left_out: list[float] = []
    for batch in range(4):
        table = pq.read_table(tmp_path / "rollouts" / f"batch-{batch:06d}.parquet").to_pydict()
        left_out.append(sum(hinted[i] >= context for i in set(table["problem_id"])))
    assert 0 < sum(left_out) < 16
    assert [n for (n,) in metrics(tmp_path, "train/hints_left_out")] == left_out
    said = " ".join(capfd.readouterr().out.split())
    assert said.count("shown without their hint") == 1


def test_a_hint_is_the_leading_share_of_the_references_words() -> None:
    problem = Problem("p", "", "\nOne two\n\nthree  four.", "4")
    assert [hint(problem, share) for share in (0.0, 0.2, 0.5, 0.76, 1.0)] == [
        "",
        "",
        "One two",
        "One two\n\nthree",
        "One two\n\nthree  four.",
    ]
    schedule = HintConfig(first=0.8, last=0.2, until=0.5)
    assert [schedule.share(p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.8, 0.5, 0.2, 0.2])
    with pytest.raises(UserError, match=r"data\.hints\.first is 2"):
        HintConfig(first=2.0)


@pytest.mark.parametrize("algorithm", ["grpo", "dr-grpo", "dapo", "cispo", "gspo", "rloo"])
def test_every_algorithm_trains(algorithm: str, tmp_path: Path) -> None:
    overlay = str(ROOT / "configs" / "algorithms" / f"{algorithm}.yaml")
    twice = ["--data.init_args.updates_per_batch=2", "--data.init_args.steps=2"]
    assert fit_grpo(tmp_path, "-c", overlay, *twice, ALTERNATING) == 0
    rows = torch.tensor(metrics(tmp_path, "train/loss", "train/grad_norm", "train/ratio"))
    assert rows.isfinite().all()
    assert (rows[:, 1] > 0).all()
    assert rows[0, 2] == pytest.approx(1.0, abs=1e-4)


def test_groups_with_an_advantage_are_dealt_to_all_steps_of_a_batch(tmp_path: Path) -> None:
    reward = "--data.init_args.rewards=[{path: example_rewards.alternating_on_half}]"
    sizes = ["--data.init_args.prompts_per_batch=8", "--data.init_args.updates_per_batch=2", "--data.init_args.steps=2"]
    assert fit_grpo(tmp_path, *sizes, reward) == 0
    assert metrics(tmp_path, "train/zero_advantage_ratio") == [[0.5], [0.5]]
    assert all(norm > 0 for (norm,) in metrics(tmp_path, "train/grad_norm"))


def test_samples_are_shown_and_every_step_says_where_its_time_went(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_grpo(tmp_path, "--data.init_args.show_every=4", COLD, ALTERNATING) == 0
    said = capfd.readouterr().out
    assert "Batch 0: best and worst rollout of 4 groups" in said
    assert "Batch 1:" not in said
    names = ("seconds_sync", "seconds_generate", "seconds_train", "tokens_per_second", "sync_gap", "engine_gap_max")
    rows = metrics(tmp_path, *(f"train/{name}" for name in names))
    assert [seconds > 0 for _, _, seconds, *_ in rows] == [False, True, True, True]
    assert all(sync > 0 and generate > 0 and rate > 0 for sync, generate, _, rate, _, _ in rows)
    assert all(gap < 1e-4 and largest < 1e-3 for *_, gap, largest in rows)


def test_a_logger_of_the_users_gets_the_metrics_too(tmp_path: Path) -> None:
    own = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'own'}"]
    assert fit_grpo(tmp_path / "run", "--engine.name=transformers", *own) == 0
    (theirs,) = (tmp_path / "own").rglob("metrics.csv")
    names = ("step", "train/reward", "train/length")
    assert metrics(theirs.parent, *names) == metrics(tmp_path / "run", *names) != []


MISTAKES = [
    (["--data.init_args.rollouts_per_prompt=1"], "a group of one never has an advantage"),
    (
        [
            "--model.init_args.objective={importance_cap: 2}",
            "--data.init_args.sampling={temperature: 0, max_tokens: 9}",
        ],
        "set data.init_args.sampling.temperature above 0",
    ),
    (["--model.init_args.head=reference", "--model.init_args.logits_dtype=float32"], "set head to auto"),
    ([f"--trainer.callbacks=[{IN_LOOP}, {IN_LOOP}]"], "several callbacks that intervene in failed groups"),
    (["--engine.max_model_len=8"], "no problem's prompt fits into engine.max_model_len = 8"),
    (
        ["--data.init_args.prompts=math", "--data.init_args.hints={first: 0.5}", "--data.init_args.problems={nowhere}"],
        "nowhere",
    ),
]


@pytest.mark.parametrize(("given", "said"), MISTAKES)
def test_a_mistake_gets_one_message(
    given: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_grpo(tmp_path / "run", *given) == 2
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_interventions_in_the_loop_need_groups(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_sft(tmp_path / "run", dataset, f"--trainer.callbacks=[{IN_LOOP}]") == 2
    assert "InterveneOnFailedGroups needs the groups of a RolloutData" in capfd.readouterr().err


def test_truncated_importance_weights_and_masks_run(tmp_path: Path) -> None:
    for how in ("truncate", "mask"):
        weights = ["--model.init_args.objective.importance_cap=2", f"--model.init_args.objective.importance={how}"]
        assert fit_grpo(tmp_path / how, COLD, ALTERNATING, "--data.init_args.steps=1", *weights) == 0
        ((importance,),) = metrics(tmp_path / how, "train/importance")
        assert importance == pytest.approx(1.0, abs=1e-3)


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_grpo(tmp_path / "run", "--dry-run", "--model.init_args.objective.kl_coefficient=0.1") == 0
    said = capfd.readouterr().out
    for part in ("4 x 4 = 16", "sampled tokens a step, at most", "reference policy", "engine: KV cache", "together"):
        assert part in said
    assert not (tmp_path / "run").exists()
