"""The folder of a collection: its settings, records and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.prompts.recorded_tokenizer import check_tokenizer, recorded_tokenizer
from int_lightning.steps import Segmentation
from int_lightning.types import UserError
from int_lightning.yaml_text import load_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_GENERIC = "TokenizersBackend"


@dataclass(frozen=True, slots=True)
class Run:
    """The output folder of ``int-lightning collect``."""

    folder: Path
    store: Store
    config: Mapping[str, Any]

    @property
    def segmentation(self) -> Segmentation:
        """How its attempts are cut into steps."""
        return cast(Segmentation, self.config["collection"].get("segmentation", "blank_lines"))

    def tokenizer(self, model: str | None = None) -> PreTrainedTokenizerBase:
        """The tokenizer that made its token ids.

        Args:
            model: Load it from this model; by default, from the model that was sampled.

        Raises:
            UserError: if the model cannot be found, or another tokenizer made the token ids.
        """
        tokenizer = _load_tokenizer(model_folder(model) if model else self._model_folder())
        check_tokenizer(self.store.folder, tokenizer)
        return tokenizer

    def _model_folder(self) -> str:
        """The folder the tokenizer was loaded from when it made the token ids, if it still exists; otherwise that of the config's
        model."""
        record = recorded_tokenizer(self.store.folder)
        if record and record["folder"] and Path(record["folder"]).is_dir():
            return record["folder"]
        return model_folder(self.config["model"])


def _load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """A model's tokenizer.

    The class that the project saves, transformers' generic one, is loaded without AutoTokenizer, which imports torch: ``inspect``
    starts without torch. For the same reason, imports stand where they are needed.
    """
    try:
        settings = Path(folder) / "tokenizer_config.json"
        if settings.is_file() and json.loads(settings.read_text(encoding="utf-8"))["tokenizer_class"] == _GENERIC:
            from transformers import PreTrainedTokenizerFast

            tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
            tokenizer.clean_up_tokenization_spaces = False
            return tokenizer
        from int_lightning.model_folder.tokenizer import load_tokenizer

        return load_tokenizer(folder)
    except OSError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the tokenizer of {folder} cannot be loaded ({reason}): name a model with --model") from error


def model_folder(model: str) -> str:
    """The folder of a model, or its hub id."""
    # imports torch, without which ``inspect`` starts
    from int_lightning.models.resolve import resolve_model

    return resolve_model(model)


def open_run(folder: Path) -> Run:
    """Opens the folder of a collection.

    Raises:
        UserError: if the folder does not hold a collection.
    """
    store, saved = Store(folder / "dataset"), folder / "config.yaml"
    first = next(store.columns(OUTCOMES, "problem_id"), None)
    if first is None or not saved.is_file():
        raise UserError(
            f"{folder} holds no collection: give the output folder of `int-lightning collect` (its --out; in the folder of "
            "`int-lightning run`, the folder `collect`)"
        )
    return Run(folder, store, load_yaml(saved.read_text(encoding="utf-8"), saved))
