"""What a run is trained with, kept in its checkpoints and in ``config.yaml``, and compared when it is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import lightning as L
from lightning.pytorch.callbacks import Callback

from int_lightning.learn.callbacks import finished_steps
from int_lightning.learn.module import PolicyModule, run_length
from int_lightning.models.resolve import fingerprint
from int_lightning.run_files import RESULTS, write_whole
from int_lightning.run_folder.checkpoints import FORMAT, RECORD, Saved
from int_lightning.run_folder.settings import differences
from int_lightning.types import UserError

_FREE = {
    "": "out config verbose dry_run ckpt_path weights_only checkpoint_every export_every exports_kept",
    "trainer.": "accelerator devices num_nodes strategy logger log_every_n_steps max_steps max_time val_check_interval "
    "check_val_every_n_epoch limit_val_batches enable_progress_bar enable_model_summary default_root_dir profiler",
    "engine.": "name url weights_folder max_num_seqs threads kv_cache_gib gpu_memory_utilization sleep_while_training "
    "tensor_parallel_size time_limit",
    "model.init_args.": "gradient_checkpointing head layers",
    "data.init_args.": "epochs steps max_tokens packing patience collect_config show_every",
}
FREE: list[str] = []
"""Keys that may change when a run is resumed: they say how long it is, where and how fast it runs, or what is shown."""
for _prefix, _names in _FREE.items():
    FREE += [_prefix + name for name in _names.split()]

NAMING = ["model.init_args.model", "data.init_args.folder", "data.init_args.problems", "data.init_args.prompts"]
"""Keys that name something whose content is compared, not its name."""


@runtime_checkable
class WithContents(Protocol):
    """Data that can say whether what their keys name is still the same."""

    def contents(self) -> Mapping[str, str]:
        """A digest for each key whose content must not change during the run."""


class RunRecord(Callback):
    """Keeps the record, compares it, and refuses to continue with other settings or content, or without a step left to take.

    Args:
        folder: The run's folder.
        config: Text of ``config.yaml``, which is written once the run is known to match its checkpoint.
        settings: The same settings, flat.
        resumed: The checkpoint the run resumes from.
    """

    def __init__(self, folder: Path, config: str, settings: Mapping[str, Any], resumed: Saved | None) -> None:
        self.folder = folder
        self.config = config
        self.settings = settings
        self.resumed = resumed

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Compares settings and content, and writes ``config.yaml``.

        Raises:
            UserError: naming what differs.
        """
        self.steps = run_length(trainer)
        if not trainer.is_global_zero:
            return
        if self.resumed is not None:
            check_contents(self.resumed, self.settings, self._contents(trainer))
            self._check_steps(trainer, self.resumed)
        write_whole(self.folder / "config.yaml", self.config)
        (self.folder / RESULTS).unlink(missing_ok=True)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the record."""
        contents = self._contents(trainer) if trainer.is_global_zero else {}
        checkpoint[RECORD] = {"format": FORMAT, "settings": dict(self.settings), "contents": contents}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Opens the epoch again if a finished run is to take more steps."""
        if checkpoint["global_step"] < self.steps:
            checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False

    def _contents(self, trainer: L.Trainer) -> dict[str, str]:
        module, data = self._module(trainer), cast(Any, trainer).datamodule
        found = {"model.init_args.model": model_digest(module.folder)}
        if isinstance(data, WithContents):
            found |= {f"data.init_args.{key}": digest for key, digest in data.contents().items()}
        if module.rates_span_run:
            found[_length_key(self.settings)] = f"{self.steps} steps, over which the learning rate is scheduled"
        return found

    def _check_steps(self, trainer: L.Trainer, resumed: Saved) -> None:
        cut = 0 < trainer.max_steps < self.steps
        end = trainer.max_steps if cut else self.steps
        if resumed.step < end or (resumed.step == end and finished_steps(self.folder) != end):
            return  # a run that was killed before its model was written has only that left to do
        further = f"start another run from its weights with --model.init_args.model {self.folder / 'model'}"
        if cut or not self._module(trainer).rates_span_run:
            further = f"raise {'trainer.max_steps' if cut else _length_key(self.settings)}, or {further}"
        raise UserError(
            f"{resumed.path} has taken {resumed.step} steps and the run ends after {end}, and no step is left: {further}"
        )

    @staticmethod
    def _module(trainer: L.Trainer) -> PolicyModule:
        assert isinstance(trainer.lightning_module, PolicyModule)
        return trainer.lightning_module


def check_settings(resumed: Saved, settings: Mapping[str, Any]) -> None:
    """Compares settings with those of a checkpoint.

    Raises:
        UserError: naming the keys that differ and both values.
    """
    if found := differences(resumed.settings, settings, [*FREE, *NAMING]):
        raise UserError(
            f"{resumed.path} is of a run with other settings: {found}. Resume with those it had, or start afresh in another --out"
        )


def check_contents(resumed: Saved, settings: Mapping[str, Any], contents: Mapping[str, str]) -> None:
    """Compares the content that settings name with the content that a checkpoint's settings named.

    Raises:
        UserError: naming the key and both values.
    """
    before = {key: _spelt(key, resumed.settings, digest) for key, digest in resumed.contents.items()}
    now = {key: _spelt(key, settings, digest) for key, digest in contents.items()}
    same = [key for key, digest in contents.items() if resumed.contents.get(key) == digest]
    if found := differences(before, now, same):
        raise UserError(
            f"{resumed.path} is of a run on something else: {found}. Resume with what it had, or start afresh in another --out"
        )


def model_digest(folder: str) -> str:
    """A digest of weights, configuration and tokenizer in a model folder; a hub id is its own digest."""
    path = Path(folder)
    if not path.is_dir():
        return folder
    digest = hashlib.blake2b(fingerprint(path).encode(), digest_size=8)
    for file in sorted(path.iterdir()):
        if file.suffix in (".json", ".jinja", ".model", ".txt"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _length_key(settings: Mapping[str, Any]) -> str:
    return "data.init_args.steps" if settings.get("data.init_args.steps") is not None else "data.init_args.epochs"


def _spelt(key: str, settings: Mapping[str, Any], digest: str) -> str:
    named = settings.get(key)
    return digest if named is None else f"{named} ({digest})"
