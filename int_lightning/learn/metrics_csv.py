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
    """``metrics.csv`` in a run's folder, written at every call. New columns are added to earlier rows.

    A resumed run continues the file, which Lightning's own logger would delete. A row replaces an earlier one of the same step
    and columns, so that a step that is repeated after a checkpoint has one row.

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
        """Does nothing: the run's configuration is in ``config.yaml``."""

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
                with self.path.open("r+", newline="", encoding="utf-8") as file:  # does not recreate it if it is gone
                    file.seek(0, os.SEEK_END)
                    csv.DictWriter(file, self._columns).writerow(row)
            else:
                self._columns = sorted({*self._columns, *row})
                self._write()

    def _read(self) -> None:
        """Keeps the rows of an existing file, except one that was cut short when the run was killed."""
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
