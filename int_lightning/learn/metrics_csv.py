"""The metrics of a fit as ``metrics.csv``."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from int_lightning.run_files import replacing, written


class MetricsCSV(Logger):
    """``metrics.csv`` in a run's folder, written at every call; columns that come later are added to the rows before.

    A resumed run goes on with the file, where Lightning's own logger deletes it. A row replaces an earlier one of the same
    step and columns, so that steps taken again after a checkpoint are there once.

    Args:
        folder: The run's folder.
    """

    name = ""
    version = ""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: dict[tuple[str, ...], dict[str, str]] = {}
        self._columns: list[str] = []

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, *_: Any) -> None:
        """Nothing: the run's configuration is ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes a row.

        Raises:
            UserError: if the file cannot be written.
        """
        row = {"step": str(step), **{name: str(float(value)) for name, value in metrics.items()}}
        with written(self.path):
            if not self._rows and self.path.exists():
                self._read()
            before = self._rows.get(_kind(row))
            if before == row:
                return
            self._rows[_kind(row)] = row
            if before is None and row.keys() <= set(self._columns):
                with self.path.open("r+", newline="", encoding="utf-8") as file:  # which does not make it anew
                    file.seek(0, os.SEEK_END)
                    csv.DictWriter(file, self._columns).writerow(row)
            else:
                self._columns = sorted({*self._columns, *row})
                self._write()

    def _read(self) -> None:
        """Keeps the rows of the file that is there, but for one that was being written when the run was killed."""
        whole, _, _ = self.path.read_text(encoding="utf-8").rpartition("\n")
        reader = csv.DictReader(whole.splitlines())
        for cells in reader:
            row = {name: value for name, value in cells.items() if value}
            self._rows[_kind(row)] = row
        self._columns = list(reader.fieldnames or ())
        self._write()

    def _write(self) -> None:
        with replacing(self.path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows.values())


def _kind(row: Mapping[str, str]) -> tuple[str, ...]:
    return (row["step"], *sorted(row))
