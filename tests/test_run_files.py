"""Files of a run are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from int_lightning.run_files import replacing, write_whole
from int_lightning.types import UserError


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("before")
    with replacing(path) as aside:
        aside.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_a_folder_with_other_files(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "old").write_text("old")
    with replacing(model) as aside:
        (aside / "adapter").mkdir(parents=True)
        (aside / "adapter" / "new").write_text("new")
    assert [file.name for file in model.rglob("*")] == ["adapter", "new"]
    assert list(tmp_path.iterdir()) == [model]


def test_a_link_replaces_a_link_and_leaves_what_it_pointed_to(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).mkdir()
        with replacing(last) as aside:
            aside.symlink_to(name)
    assert last.readlink() == Path("b.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "b.ckpt", "last.ckpt"]


def test_what_a_killed_process_left_beside_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "model.tmp").mkdir()
    (tmp_path / "model.tmp" / "half").write_text("half")
    with replacing(tmp_path / "model") as aside:
        aside.mkdir()
    assert not list((tmp_path / "model").iterdir())


def test_what_was_there_stays_if_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("before")

    def fail() -> None:
        with replacing(path) as aside:
            aside.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"results.json could not be written \(No space left"):
        fail()
    assert path.read_text() == "before"


def test_every_file_and_folder_is_on_the_disk_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda d: flushed.append(os.path.relpath(os.readlink(f"/proc/self/fd/{d}"), tmp_path))
    )
    with replacing(tmp_path / "model") as aside:
        (aside / "inner").mkdir(parents=True)
        (aside / "inner" / "weights").write_text("")
    assert flushed == ["model.tmp/inner/weights", "model.tmp/inner", "model.tmp", "."]


def test_a_process_that_does_not_write_leaves_everything_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.tmp").write_text("of the writer")
    with replacing(tmp_path / "model", is_writer=False) as aside:
        assert aside == tmp_path / "model.tmp"
    assert [path.name for path in tmp_path.iterdir()] == ["model.tmp"]


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its folder was deleted or moved meanwhile"):
        write_whole(tmp_path / "gone" / "config.yaml", "seed: 0")
