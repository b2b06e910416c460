"""A dataset that was damaged: found before anything is generated or trained on, by every command that reads it, in one line."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.__main__ import main
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.types import Outcome, Problem, UserError

from commands import PORTABLE_ENGINE, collect, fit_sft, without_its_last_line

OUTCOME = Outcome("p", "x.jsonl", "hard", 8, 0, 100)
SHARD = Path("problems") / "part-000001.parquet"


def add(store: Store, *ids: str) -> None:
    store.commit({"problems": [Problem(i, f"{i} + 1", "", "2") for i in ids], OUTCOMES: [OUTCOME] * len(ids)})


def make(folder: Path, batches: int = 4) -> Path:
    """A dataset of a few batches of problems."""
    store = Store(folder)
    for i in range(batches):
        add(store, f"a{i}", f"b{i}")
    return folder


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    file.write_bytes(content)


def cut_short(dataset: Path) -> Path:
    content = (dataset / SHARD).read_bytes()
    (dataset / SHARD).write_bytes(content[: len(content) // 2])
    return SHARD


def overwritten(make_content: Callable[[int], bytes]) -> Callable[[Path], Path]:
    def damage(dataset: Path) -> Path:
        (dataset / SHARD).write_bytes(make_content((dataset / SHARD).stat().st_size))
        return SHARD

    return damage


def flipped(dataset: Path) -> Path:
    flip(dataset / SHARD, 12345)
    return SHARD


def missing(dataset: Path) -> Path:
    (dataset / SHARD).unlink()
    return SHARD


def table_missing(dataset: Path) -> Path:
    shutil.rmtree(dataset / "problems")
    return Path("problems") / "part-000000.parquet"


def exchanged(dataset: Path) -> Path:
    other = dataset / "problems" / "part-000002.parquet"
    content = other.read_bytes()
    other.write_bytes((dataset / SHARD).read_bytes())
    (dataset / SHARD).write_bytes(content)
    return SHARD


def there_twice(name: str) -> Callable[[Path], Path]:
    def damage(dataset: Path) -> Path:
        shutil.copy(dataset / SHARD, dataset / "problems" / name)
        return Path("problems") / name

    return damage


def of_another_run(name: str) -> Callable[[Path], Path]:
    def damage(dataset: Path) -> Path:
        other = make(dataset.with_name("other"), 5)
        shutil.copy(other / "problems" / "part-000004.parquet", dataset / "problems" / name)
        return Path("problems") / name

    return damage


def line_missing(dataset: Path) -> Path:
    manifest = dataset / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    return Path("manifest.jsonl")


def lines_missing(dataset: Path) -> Path:
    without_its_last_line(dataset)
    without_its_last_line(dataset)
    return Path(OUTCOMES) / "part-000003.parquet"


def manifest_missing(dataset: Path) -> Path:
    (dataset / "manifest.jsonl").unlink()
    return Path("manifest.jsonl")


def manifest_empty(dataset: Path) -> Path:
    (dataset / "manifest.jsonl").write_bytes(b"")
    return Path("manifest.jsonl")


DAMAGES = {
    "missing": missing,
    "a table missing": table_missing,
    "cut short": cut_short,
    "empty": overwritten(lambda size: b""),
    "zeroed": overwritten(bytes),
    "random": overwritten(random.Random(0).randbytes),
    "longer": overwritten(lambda size: bytes(size + 1)),
    "a bit flipped": flipped,
    "exchanged": exchanged,
    "there twice": there_twice("part-000050.parquet"),
    "there twice as the next": there_twice("part-000004.parquet"),
    "there twice under another name": there_twice("part-abc.parquet"),
    "of another run": of_another_run("part-000077.parquet"),
    "of another run as the next": of_another_run("part-000004.parquet"),
    "in place of another": of_another_run(SHARD.name),
    "a line of the manifest missing": line_missing,
    "lines of the manifest missing": lines_missing,
    "the manifest missing": manifest_missing,
    "the manifest empty": manifest_empty,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_named_before_anything_is_read_or_added(damage: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = make(tmp_path / "dataset")
    assert len(list(Store(dataset).read("problems", Problem))) == 8
    named = str(dataset / damage(dataset))
    for use in (Store.begin, Store.batches, lambda store: add(store, "c"), lambda store: list(store.columns(OUTCOMES))):
        with pytest.raises(UserError) as caught:
            use(Store(dataset))
        assert named in str(caught.value)
        assert "\n" not in str(caught.value)
        assert any(remedy in str(caught.value) for remedy in ("put back", "put it back", "move it out"))


@given(data=st.data())
def test_no_flipped_bit_passes(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    dataset = make(tmp_path_factory.mktemp("flipped") / "dataset", 2)
    files = sorted(f for f in dataset.rglob("*") if f.is_file())
    file = data.draw(st.sampled_from(files))
    last = 8 * file.stat().st_size - 1
    flip(file, data.draw(st.integers(0, last - 8)))  # a manifest without its last newline counts as cut off by a kill
    with pytest.raises(UserError, match=file.name):
        Store(dataset).batches()


@given(cut=st.integers(1, 200))
def test_a_manifest_that_a_kill_cut_off_loses_its_last_batch_alone(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dataset = make(tmp_path_factory.mktemp("cut") / "dataset", 2)
    manifest = dataset / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-cut])
    store = Store(dataset)
    assert [i for (i,) in store.columns("problems", "id")] == ["a0", "b0"]
    add(store, "c")
    add(store, "d")
    assert [i for (i,) in Store(dataset).columns("problems", "id")] == ["a0", "b0", "c", "d"]


def test_a_dataset_that_vanishes_while_it_is_added_to_is_not_a_new_one(tmp_path: Path) -> None:
    for gone in (tmp_path / "dataset", tmp_path / "dataset" / "manifest.jsonl"):
        store = Store(make(tmp_path / "dataset"))
        store.begin()
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        with pytest.raises(UserError, match="was deleted meanwhile"):
            add(store, "c")
        shutil.rmtree(tmp_path / "dataset", ignore_errors=True)


def test_what_another_process_added_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    one, two = Store(make(tmp_path)), Store(tmp_path)
    one.begin()
    two.begin()
    add(two, "c")
    add(one, "d")
    assert [i for (i,) in Store(tmp_path).columns("problems", "id")][-2:] == ["c", "d"]


@pytest.fixture(scope="module")
def damaged(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished collection, with one shard of its attempts cut short."""
    run = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(dataset, run)
    shard = run / "dataset" / "attempts" / "part-000000.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    return run


def same_collection(run: Path, out: Path) -> int:
    config = run / "config.yaml"
    config.write_text(re.sub(r"^out: .*$", f"out: {run}", config.read_text(), flags=re.M))
    return collect(run)


@pytest.mark.parametrize(
    "command",
    [
        same_collection,
        lambda run, out: fit_sft(out, run),
        lambda run, out: fit_sft(out, run, "--data.init_args.streaming=true", "--data.init_args.steps=2"),
        lambda run, out: main(["inspect", str(run)]),
        lambda run, out: main(
            ["evaluate", f"--onpolicy.x={{folder: {run}}}", "--prompts=mini", f"--out={out}", PORTABLE_ENGINE]
        ),
    ],
    ids=["collect", "fit", "streaming", "inspect", "onpolicy"],
)
def test_every_command_says_so_in_one_line(
    command: Callable[[Path, Path], int], damaged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(damaged, tmp_path / "out") == 2
    said = capfd.readouterr()
    (line,) = (line for line in said.err.splitlines() if not line.startswith("INFO: "))
    assert str(damaged / "dataset" / "attempts" / "part-000000.parquet") in line
    assert "put back a copy of it" in line
    assert said.out == ""
    assert not (tmp_path / "out" / "metrics.csv").exists()
