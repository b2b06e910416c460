"""One command at a time in a run's folder, and a lock that ends with its process in every case."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.collect.store import Store
from int_lightning.run_folder.lock import locked
from int_lightning.types import UserError

from commands import MINI, PORTABLE_ENGINE, SMALL_COLLECT, collect, fit_sft, sft_command

HOLDER = """
import os, sys, time
from pathlib import Path
from int_lightning.run_folder.lock import locked
with locked(Path(sys.argv[1])):
    if "fork" in sys.argv and os.fork() == 0:
        os.write(1, b"child\\n")  # in one piece, whatever the parent writes
        time.sleep(60)
        os._exit(0)
    os.write(1, b"held\\n")
    time.sleep(60)
"""


def holder(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A process that holds a folder's lock, and has a child if told to ``fork``."""
    command = [sys.executable, "-c", HOLDER, str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = {process.stdout.readline() for _ in range(1 + len(options))}
    assert lines == ({"held\n", "child\n"} if options else {"held\n"})
    return process


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A folder in which another command is at work, without any file of its yet."""
    return tmp_path / "run"


def commands(out: Path, dataset: Path) -> dict[str, list[str]]:
    """Every command that writes into a run's folder."""
    validate = [*sft_command(out, dataset), "--data.init_args.validation=0.5"]
    stages = [f"--{stage}={MINI / f'{stage}.yaml'}" for stage in ("collect", "sft", "grpo", "evaluate")]
    return {
        "fit": sft_command(out, dataset),
        "a resumed fit": [*sft_command(out, dataset), "--ckpt_path=last"],
        "validate": ["validate", *validate[1:]],
        "collect": ["collect", "-c", str(MINI / "collect.yaml"), f"--out={out}", PORTABLE_ENGINE],
        "evaluate": ["evaluate", "-c", str(MINI / "evaluate.yaml"), f"--out={out}", PORTABLE_ENGINE],
        "run": ["run", f"--out={out}", *stages],
    }


@pytest.mark.parametrize("name", ["fit", "a resumed fit", "validate", "collect", "evaluate", "run"])
def test_a_second_command_is_refused_in_one_line_that_names_folder_and_process(
    name: str, held: Path, dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with locked(held):
        before = {path: path.read_bytes() for path in held.iterdir()}
        assert main(commands(held, dataset)[name]) == 2
        assert {path: path.read_bytes() for path in held.iterdir()} == before
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert str(held) in line
    assert f"process {os.getpid()} on" in line


@pytest.mark.parametrize("options", [[], ["fork"]], ids=["alone", "with a child that lives on"])
def test_the_lock_of_a_killed_process_does_not_block(options: list[str], held: Path) -> None:
    process = holder(held, *options)
    with pytest.raises(UserError, match=f"process {process.pid} on"), locked(held):
        pass
    process.kill()
    process.wait()
    with locked(held):
        pass


def test_of_two_collections_at_once_one_is_refused_and_nothing_is_doubled(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "int_lightning", "collect", "-c", str(MINI / "collect.yaml"), f"--out={out}"]
    command += [*SMALL_COLLECT, PORTABLE_ENGINE]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "config.yaml").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert collect(out, PORTABLE_ENGINE) == 2
    assert first.wait(timeout=200) == 0
    assert collect(out, PORTABLE_ENGINE) == 0
    ids = [id for (id,) in Store(out / "dataset").columns("attempts", "id")]
    assert len(ids) == len(set(ids)) > 0


def test_a_finished_command_lets_go_of_its_folder_and_a_mistake_does_too(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path, dataset, "--model.init_args.model=nowhere") == 2
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=1") == 0
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=2", "--ckpt_path=last") == 0


def test_a_collection_within_a_fit_keeps_others_out_of_its_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows"
    callback = "--trainer.callbacks=[{class_path: CollectInterventions, init_args: "
    callback += "{problems: 'mini:hard-train:4', prompts: mini}}]"
    streaming = ["--data.init_args.streaming=true", "--data.init_args.steps=1"]
    with locked(rows):
        assert fit_sft(tmp_path / "fit", rows, callback, *streaming, PORTABLE_ENGINE) == 2
    assert f"{rows} is in use by process" in capfd.readouterr().err


def test_a_collection_that_a_fit_starts_ends_with_the_fit(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    command = [sys.executable, "-m", "int_lightning", *sft_command(tmp_path / "fit", rows)]
    fit = subprocess.Popen(
        [*command, f"--data.init_args.collect_config={MINI / 'collect.yaml'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (rows / "config.yaml").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(UserError), locked(rows):
        pass
    fit.send_signal(signal.SIGKILL)
    fit.wait()
    for _ in range(100):
        try:
            with locked(rows):
                return
        except UserError:
            time.sleep(0.1)
    pytest.fail("the collection lives on")


def test_where_the_file_system_has_no_locks_a_line_says_so(
    held: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locked(held):
        pass
    assert "has no locks" in capfd.readouterr().out


def test_a_collection_that_was_moved_or_is_spelt_differently_is_the_same_run(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(dataset, tmp_path / "moved")
    assert collect(tmp_path / "." / "x" / ".." / "moved") == 0
    assert collect(moved) == 0
    capfd.readouterr()
    assert collect(moved, "--collection.attempts=4") == 2
    said = capfd.readouterr().err
    assert "collection.attempts was 8 and is 4 now" in said
