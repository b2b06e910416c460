"""A model folder is checked as a whole, once in a process, before anything is sampled from it or trained."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.markup import escape
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from int_lightning.console import say
from int_lightning.model_folder.ends import ends_by_source
from int_lightning.model_folder.files import check_files, read_json, reason
from int_lightning.model_folder.tokenizer import check_vocabulary, load_tokenizer
from int_lightning.model_folder.weights import check_tensors
from int_lightning.types import UserError

log = logging.getLogger(__name__)
_STRETCHED = ("linear", "dynamic", "yarn")
"""Kinds of RoPE whose factor extends the context beyond ``max_position_embeddings``."""


@dataclass(frozen=True)
class ModelReport:
    """What a model folder holds.

    Args:
        folder: The folder.
        architecture: Class of the model.
        parameters: Their number; 0 if they were not counted, because the weights are quantised or come with their own code.
        context: Tokens that a sequence may have; None if the configuration does not bound it.
        ends: Names of the tokens that end a completion, by the file that says so.
        dropout: Keys of config.json that turn dropout on in training.
    """

    folder: str
    architecture: str
    parameters: int
    context: int | None
    ends: dict[str, list[str]]
    dropout: list[str]

    def __str__(self) -> str:
        speakers: dict[str, list[str]] = {}
        for source, tokens in self.ends.items():
            for token in tokens:
                speakers.setdefault(token, []).append(source)
        ends = ", ".join(f"{token} ({', '.join(sources)})" for token, sources in speakers.items())
        dropout = f", dropout {', '.join(self.dropout)}" if self.dropout else ""
        size = f"{self.parameters:,} parameters, context {self.context}"
        return f"{self.folder}: {self.architecture}, {size}, ends at {ends}{dropout}"


def check_model_folder(folder: str | Path) -> ModelReport:
    """Checks configuration, tokenizer, ends and the headers of the weights. Says so if its files name different ends.

    Raises:
        UserError: naming folder, file, and tensor or key.
    """
    folder = Path(folder)
    check_files(folder)
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    return _checked(str(folder), tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files))


def load_config(folder: str, trust_remote_code: bool = False) -> PretrainedConfig:
    """A model's configuration.

    Args:
        folder: Model folder or hub id.
        trust_remote_code: Whether the folder's own code may define it.

    Raises:
        UserError: if transformers cannot read it.
    """
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise UserError(f"model {folder}: its config.json cannot be used: {reason(error)}") from error


def context_of(config: PretrainedConfig) -> int | None:
    """Tokens that a sequence may have; None if the configuration does not bound it."""
    text = config.get_text_config()
    longest = getattr(text, "max_position_embeddings", None)
    if not isinstance(longest, int) or longest < 1:
        return None
    rope: Any = getattr(text, "rope_parameters", None) or {}
    kinds = [kind for kind in (rope, *rope.values()) if isinstance(kind, dict)]
    factors = [kind.get("factor") or 1 for kind in kinds if kind.get("rope_type") in _STRETCHED]
    return int(longest * max(factors, default=1))


def check_context(folder: str, max_model_len: int, trust_remote_code: bool) -> None:
    """Compares an engine's longest sequence with the model's context.

    Raises:
        UserError: if it is longer.
    """
    context = context_of(load_config(folder, trust_remote_code))
    if context is not None and max_model_len > context:
        raise UserError(
            f"engine.max_model_len is {max_model_len}, and the context of {folder} has {context} tokens (config.json, "
            f"max_position_embeddings): set engine.max_model_len to {context} or less"
        )


def check_heads(folder: str, tensor_parallel_size: int, trust_remote_code: bool) -> None:
    """Whether the devices of an engine can share a model's attention heads evenly.

    Raises:
        UserError: if not.
    """
    text = load_config(folder, trust_remote_code).get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    if isinstance(heads, int) and heads % tensor_parallel_size:
        raise UserError(
            f"engine.tensor_parallel_size is {tensor_parallel_size}, and {folder} has {heads} attention heads (config.json, "
            "num_attention_heads), which that many devices cannot share evenly: set it to a divisor of their number"
        )


@lru_cache(maxsize=64)
def _checked(folder: str, _: tuple[tuple[str, int, int], ...]) -> ModelReport:
    stored = read_json(Path(folder) / "config.json")
    own_code = "AutoModelForCausalLM" in stored.get("auto_map", {}) and stored.get("model_type") not in CONFIG_MAPPING
    config = None if own_code else load_config(folder)
    tokenizer = load_tokenizer(folder)
    ends = ends_by_source(folder, tokenizer)
    context, dropout, parameters = None, [], 0
    if config is not None:
        context, dropout = context_of(config), dropouts(config)
        check_vocabulary(tokenizer, int(config.get_text_config().vocab_size))
        if "quantization_config" not in stored:
            parameters = check_tensors(Path(folder)).num_parameters()
    named = {source: [str(tokenizer.convert_ids_to_tokens(i)) for i in ids] for source, ids in ends.items()}
    architecture = ", ".join(stored.get("architectures") or ["unnamed architecture"])
    report = ModelReport(folder, architecture, parameters, context, named, dropout)
    log.info("model %s", report)
    _say_disagreement(report)
    return report


def dropouts(config: PretrainedConfig) -> list[str]:
    """Keys of a configuration whose dropout is not 0."""
    settings = config.get_text_config().to_dict()
    return [
        f"{key} {value}"
        for key, value in settings.items()
        if is_dropout(key) and isinstance(value, float) and value > 0
    ]


def is_dropout(key: str) -> bool:
    """Whether a name is that of a rate of dropout: resid_pdrop, attention_dropout, layerdrop."""
    return "drop" in key


def _say_disagreement(report: ModelReport) -> None:
    """Names a folder whose template or tokenizer ends a turn with a token that its configuration does not list."""
    *speakers, last = report.ends.items()
    others = [(source, tokens) for source, tokens in speakers if not set(tokens) <= set(last[1])]
    if others:
        said = "; ".join(f"{source}: {' '.join(tokens)}" for source, tokens in (*others, last))
        say(
            f"[yellow]note:[/] the files of {escape(report.folder)} name different ends ({escape(said)}): completions end at any"
        )
