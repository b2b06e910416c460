"""TensorBoard events in a run's folder. TensorBoard's writer fails late, and in another thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from int_lightning.run_files import causes, written


class RunTensorBoard(TensorBoardLogger):
    """Events in ``tensorboard/`` of a run's folder.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder, name="", version="tensorboard")

    @property
    def experiment(self) -> Any:
        """The writer, whose file is made on first use.

        Raises:
            UserError: if the file cannot be made.
        """
        with written(Path(self.log_dir)):
            return super().experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds events.

        Raises:
            UserError: if these events, or earlier ones, cannot be written.
        """
        with written(Path(self.log_dir)):
            try:
                super().log_metrics(metrics, step)
            except ValueError as error:  # Lightning turns every exception into one
                cause = next((e for e in causes(error) if isinstance(e, OSError)), error)
                raise cause from None

    def save(self) -> None:
        """Writes hyperparameters."""
        with written(Path(self.log_dir)):
            super().save()

    def finalize(self, status: str) -> None:
        """Writes what is left, as far as possible after a failure."""
        with written(Path(self.log_dir)):
            super().finalize(status)
