"""TensorBoard events in a run's folder, whose writer fails late and in another thread."""

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
        """The writer, which makes its file when it is first asked for.

        Raises:
            UserError: if it cannot.
        """
        with written(Path(self.log_dir)):
            return super().experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds events.

        Raises:
            UserError: if they, or earlier ones, cannot be written.
        """
        with written(Path(self.log_dir)):
            try:
                super().log_metrics(metrics, step)
            except ValueError as error:  # which Lightning makes of every exception
                raise next((e for e in causes(error) if isinstance(e, OSError)), error) from None

    def save(self) -> None:
        """Writes hyperparameters."""
        with written(Path(self.log_dir)):
            super().save()

    def finalize(self, status: str) -> None:
        """Writes what is left; after a failure, as far as it can be."""
        with written(Path(self.log_dir)):
            super().finalize(status)
