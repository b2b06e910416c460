"""How a fit reads a checkpoint: a folder that several processes wrote into one process too, and one line if it cannot."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.checkpoint.api import CheckpointException

from int_lightning.learn.lightning_internals import CheckpointConnector, load_distributed_checkpoint, use_connector
from int_lightning.types import UserError


def prepare_to_restore(trainer: L.Trainer) -> None:
    """Has a trainer read checkpoints with ``Connector`` and ``FilesAndFolders``."""
    use_connector(trainer, Connector(trainer))
    if not isinstance(trainer.strategy, ModelParallelStrategy):  # which reads both kinds itself
        trainer.strategy.checkpoint_io = FilesAndFolders()


class Connector(CheckpointConnector):
    """Lightning's own, with one line for a checkpoint that cannot be read."""

    def resume_start(self, checkpoint_path: Any = None, weights_only: bool | None = None) -> None:
        """Reads the checkpoint.

        Raises:
            UserError: if that fails.
        """
        try:
            super().resume_start(checkpoint_path, weights_only)
        except UserError:
            raise
        except (Exception, CheckpointException) as error:  # the latter is a BaseException only
            reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:200]
            if isinstance(error, CheckpointException):
                reason = "a shard of it is missing or damaged"
            raise UserError(
                f"{checkpoint_path} cannot be read as a checkpoint of this run ({reason}): resume from another one, or start "
                "the run again in another --out"
            ) from error

    def restore_model(self) -> None:
        """Gives the model its weights.

        Raises:
            UserError: if they are of another architecture.
        """
        try:
            super().restore_model()
        except RuntimeError as error:
            if "loading state_dict" not in str(error):
                raise
            raise UserError(
                f"the weights of {self._ckpt_path} are not those of the architecture of model.init_args.model: give the model "
                "that the checkpoint was trained from"
            ) from error


class FilesAndFolders(TorchCheckpointIO):
    """Reads checkpoint files, and folders of shards as if they were one file."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The checkpoint, on the CPU."""
        if not Path(path).is_dir():
            loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
            return loaded
        checkpoint: dict[str, Any] = load_distributed_checkpoint(Path(path))
        optimizers = sorted(key for key in checkpoint if key.startswith("optimizer_") and key != "optimizer_states")
        checkpoint["optimizer_states"] = [numbered(checkpoint.pop(key)) for key in optimizers]
        return checkpoint


def numbered(state: dict[str, Any]) -> dict[str, Any]:
    """An optimiser's state that names its parameters, with numbers instead, as one process has it."""
    names = chain.from_iterable(group["params"] for group in state["param_groups"])
    number = {name: i for i, name in enumerate(names)}
    groups = [{**group, "params": [number[name] for name in group["params"]]} for group in state["param_groups"]]
    return {"state": {number[name]: values for name, values in state["state"].items()}, "param_groups": groups}
