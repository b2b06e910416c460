"""A run's ``metrics.csv``: new columns, resumed runs, a row cut short by a kill."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from int_lightning.learn.metrics_csv import MetricsCSV
from int_lightning.types import UserError


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_that_come_later_are_empty_in_the_rows_before(tmp_path: Path) -> None:
    log = MetricsCSV(str(tmp_path))
    log.log_metrics({"loss": 0.1}, 0)
    log.log_metrics({"val": 2.0}, 0)
    log.log_metrics({"loss": 1e-30}, 1)
    assert rows(tmp_path) == [
        {"loss": "0.1", "step": "0", "val": ""},
        {"loss": "", "step": "0", "val": "2.0"},
        {"loss": "1e-30", "step": "1", "val": ""},
    ]


def test_a_resumed_run_replaces_the_steps_that_it_takes_again(tmp_path: Path) -> None:
    before = MetricsCSV(str(tmp_path))
    for step in range(3):
        before.log_metrics({"loss": float(step)}, step)
    after = MetricsCSV(str(tmp_path))
    after.log_metrics({"loss": 1.0}, 1)
    after.log_metrics({"loss": 7.0}, 2)
    after.log_metrics({"loss": 3.0}, 3)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [
        ("0", "0.0"),
        ("1", "1.0"),
        ("2", "7.0"),
        ("3", "3.0"),
    ]


@pytest.mark.parametrize("cut", [1, 2, 6])
def test_a_row_that_a_kill_cut_is_dropped(cut: int, tmp_path: Path) -> None:
    before = MetricsCSV(str(tmp_path))
    before.log_metrics({"loss": 0.25, "reward": 0.5}, 0)
    before.log_metrics({"loss": 0.125, "reward": 0.75}, 1)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes().rstrip()[:-cut])
    MetricsCSV(str(tmp_path)).log_metrics({"loss": 0.5, "reward": 1.0}, 2)
    assert [row["step"] for row in rows(tmp_path)] == ["0", "2"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match=r"run/metrics\.csv"):
        MetricsCSV(str(tmp_path / "run")).log_metrics({"loss": 1.0}, 0)
