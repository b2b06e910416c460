"""Rows that are trained on while they are collected: by another process, or by a callback of the fit."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.sft.live_rows import LiveRows

from commands import (
    ENGINE,
    LINEAR,
    MINI,
    PORTABLE_ENGINE,
    SMALL_COLLECT,
    fit_sft,
    fit_sft_sharded,
    metrics,
    without_its_last_line,
)

STREAMING = ["--data.init_args.streaming=true", "--data.init_args.steps=7"]
CALLBACK = (
    "--trainer.callbacks={class_path: CollectInterventions, init_args: {problems: "
    "'mini:hard-train:12', prompts: mini, collection: {attempts: 8, guided: 4, batch_problems: 4, attempts_per_problem: 2, "
    "leakage: stated, sampling: {max_tokens: 64}}, oracle: {class_path: PolicyOracle, "
    "init_args: {proposals: 2, sampling: {max_tokens: 24, temperature: 0.7}}}}}"
)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def same_weights(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def live(batches: list[list[int]], batch_size: int) -> LiveRows[int]:
    """A collection that is empty at first and gets a batch whenever it is asked for one."""
    there: list[int] = []

    def more() -> bool:
        there.append(len(there))
        return len(there) <= len(batches)

    def read(number: int) -> Iterator[int]:
        return iter(batches[number])

    return LiveRows(read, lambda: there[: len(batches)], more, batch_size)


@given(st.lists(st.lists(st.integers(), max_size=7), max_size=6), st.integers(1, 5), st.integers(0, 8))
def test_rows_come_in_order_whole_and_from_wherever_a_run_is_resumed(
    batches: list[list[int]], batch_size: int, resumed: int
) -> None:
    rows = [row for batch in batches for row in batch]
    wanted = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    stream = live(batches, batch_size)
    found = [stream.rows_of(step) for step in range(len(wanted) + 2)]
    assert found == [*wanted, [], []]
    assert stream.steps_taken == len(wanted)
    again = live(batches, batch_size)
    assert [again.rows_of(step) for step in range(resumed, len(wanted))] == wanted[resumed:]


def test_no_more_is_held_than_a_batch_and_a_step() -> None:
    stream = live([[0] * 10] * 20, 3)
    for step in range(60):
        stream.rows_of(step)
        assert len(stream._buffer) <= 10 + 3


def test_a_dataset_is_read_up_to_its_last_finished_batch(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    shutil.copytree(dataset, folder)
    whole = Store(folder / "dataset").batches()
    assert len(whole) >= 2
    without_its_last_line(folder / "dataset")
    (folder / "dataset" / "interventions" / "part-000099.tmp").write_bytes(b"PAR1")
    assert Store(folder / "dataset").batches() == whole[:-1]
    assert fit_sft(tmp_path / "fit", folder, "--data.init_args.epochs=1") == 0


def test_after_the_first_pass_a_stream_goes_on_with_all_rows(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "fit", dataset, "--data.init_args.streaming=true", "--data.init_args.steps=20") == 0
    assert [step for (step,) in metrics(tmp_path / "fit", "step")][-1] == 19


def test_a_resumed_stream_is_the_uninterrupted_one(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "whole", dataset, *STREAMING) == 0
    assert fit_sft(tmp_path / "parts", dataset, *STREAMING, "--trainer.max_steps=3") == 0
    assert fit_sft(tmp_path / "parts", dataset, *STREAMING, "--ckpt_path=last") == 0
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


def test_a_fit_beside_a_collection_is_the_fit_after_it(dataset: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    command = [sys.executable, "-m", "int_lightning", "collect", "-c", str(MINI / "collect.yaml"), f"--out={beside}"]
    running = subprocess.Popen([*command, *SMALL_COLLECT], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert fit_sft(tmp_path / "during", beside, *STREAMING) == 0
        assert running.wait(timeout=120) == 0, running.communicate()[1]
    finally:
        running.kill()
        running.communicate()
    assert fit_sft(tmp_path / "after", beside, *STREAMING) == 0
    assert same_weights(tmp_path / "during", tmp_path / "after")


def test_a_callback_collects_in_the_fit_and_a_resumed_one_is_the_uninterrupted_one(tmp_path: Path) -> None:
    for name, stop in (("whole", 7), ("parts", 3)):
        data = tmp_path / f"{name}-data"
        assert fit_sft(tmp_path / name, data, *STREAMING, CALLBACK, ENGINE, f"--trainer.max_steps={stop}") == 0
    assert fit_sft(tmp_path / "parts", tmp_path / "parts-data", *STREAMING, CALLBACK, ENGINE, "--ckpt_path=last") == 0
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    store = Store(tmp_path / "whole-data" / "dataset")
    assert len(list(store.columns(OUTCOMES, "problem_id"))) in (4, 8, 12)
    models = {p["fingerprint"] for (p,) in store.columns("attempts", "provenance")}
    assert "step 0" in models


def test_two_processes_collect_and_train_as_one(tmp_path: Path) -> None:
    collecting = [*STREAMING, CALLBACK, PORTABLE_ENGINE, LINEAR]
    assert fit_sft(tmp_path / "one", tmp_path / "one-data", *collecting) == 0
    fit_sft_sharded(tmp_path / "two", tmp_path / "two-data", 2, *collecting)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[k], two[k], atol=1e-4) for k in one)


def test_a_collection_that_does_not_go_on_is_given_up(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "stopped"
    shutil.copytree(dataset, folder)
    (folder / "results.json").unlink()
    began = time.monotonic()
    patience = ["--data.init_args.patience=1", "--data.init_args.streaming=true", "--data.init_args.steps=99"]
    assert fit_sft(tmp_path / "fit", folder, *patience) == 2
    assert time.monotonic() - began < 60
    said = capfd.readouterr().err
    assert "no new batch for 1 s" in said
    assert "--ckpt_path last" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data.init_args.streaming=true"], "data.steps goes with data.streaming"),
        (["--data.init_args.steps=3"], "data.steps goes with data.streaming"),
        ([*STREAMING, "--data.init_args.validation=0.1"], "leave it out with data.streaming"),
        ([CALLBACK], "CollectInterventions needs an InterventionData with data.streaming true"),
    ],
)
def test_arguments_that_do_not_go_together(
    given: list[str], said: str, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_sft(tmp_path / "fit", dataset, *given) == 2
    assert said in capfd.readouterr().err
