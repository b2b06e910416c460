"""The help of the commands: their keys, those of the model and data first, without importing torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from int_lightning.cli.shipped import SHIPPED
from int_lightning.cli.signatures import Argument, arguments, summary
from int_lightning.types import UserError
from int_lightning.yaml_text import load_yaml

COMMANDS = ("collect", "fit", "validate", "evaluate", "run")
FITTING = ("fit", "validate")
EXAMPLES = {
    "collect": "configs/mini/collect.yaml",
    "fit": "configs/mini/grpo.yaml",
    "validate": "configs/mini/grpo.yaml --data.init_args.validation mini:easy",
    "evaluate": "configs/mini/evaluate.yaml",
    "run": "configs/mini/run.yaml",
}
MODELS = ("GRPOModule", "SFTModule")
DATA = ("RolloutData", "InterventionData")
CALLBACKS = ("InterveneOnFailedGroups", "CollectInterventions", "HeldOutPassAtK")
ORACLES = ("PolicyOracle", "GradeSchoolOracle", "ServerOracle", "AnnotationOracle")
NOT_OFFERED = {
    # one epoch is the whole run, and a step is the data's
    *("max_epochs", "min_epochs", "limit_train_batches", "overfit_batches", "reload_dataloaders_every_n_epochs"),
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    # set by the command
    *("default_root_dir", "enable_progress_bar", "use_distributed_sampler", "inference_mode"),
    *("limit_test_batches", "limit_predict_batches", "fast_dev_run", "barebones", "sync_batchnorm"),
    *("enable_autolog_hparams", "model_registry"),
}
"""Lightning's flags that mean nothing here, or that are refused."""
_USUAL = ("max_steps", "val_check_interval", "devices", "accelerator", "strategy", "callbacks", "logger")
_WIDTH = 110


def help_text(command: str, rest: Iterable[str]) -> str:
    """The help of a command.

    Args:
        command: One of ``COMMANDS``.
        rest: Its arguments: configs, whose classes are shown with their keys, or names of classes, or ``trainer``, to show
            instead.

    Raises:
        UserError: if no such class exists.
    """
    words, configs, asked = list(rest), list[str](), list[str]()
    while words:
        word = words.pop(0)
        if word in ("-c", "--config") and words:
            configs.append(words.pop(0))
        elif not word.startswith("-"):
            asked.append(word)
    if asked:
        return "\n".join(chain.from_iterable(map(_class, asked)))
    return "\n".join(_command(command, _classes(configs)))


def _command(command: str, chosen: Mapping[str, str]) -> Iterator[str]:
    yield f"usage: int-lightning {command} -c CONFIG [--key value ...]"
    yield ""
    yield f"  int-lightning {command} -c {EXAMPLES[command]}"
    if command in FITTING:
        yield f"  int-lightning {command} -c CONFIG --help        the keys of CONFIG's model and data too"
    yield f"  int-lightning {command} --help NAME             the keys of a class that is named below, or of `trainer`"
    yield ""
    yield from _keys(_common(command), "")
    if command in FITTING:
        yield from _model_and_data(command, chosen)
    else:
        yield ""
        yield summary("int_lightning.cli.commands", f"IntTrainer.{command}")
        yield from _keys(arguments("int_lightning.cli.commands", f"IntTrainer.{command}"), "")
        yield from _chosen(command, chosen)
    yield ""
    yield "engine: what samples"
    yield from _keys(arguments("int_lightning.engines.base", "EngineConfig"), "engine.")
    if command in FITTING:
        yield ""
        yield f"trainer: Lightning's keys, such as {', '.join(_USUAL)}; --help trainer lists them"
        yield "  classes for --trainer.callbacks: " + ", ".join(CALLBACKS)
    if command in ("collect", "evaluate"):
        yield ""
        yield f"oracle: {', '.join(ORACLES)}, or module.Class for your own"


def _model_and_data(command: str, chosen: Mapping[str, str]) -> Iterator[str]:
    yield from _chosen(command, chosen)
    if not chosen:
        yield ""
        yield "model and data: classes, whose keys are --model.init_args.KEY and --data.init_args.KEY"
        for name in (*MODELS, *DATA):
            yield f"  {name:<24}{summary(SHIPPED[name], name)}"


def _chosen(command: str, chosen: Mapping[str, str]) -> Iterator[str]:
    for key, path in chosen.items():
        yield ""
        module, _, name = path.rpartition(".")
        try:
            yield f"{key}: {name}: {summary(module, name)}"
            yield from _keys(arguments(module, name), f"{key}.init_args.")
        except LookupError:
            yield f"  `int-lightning {command} --{key}.help {path}` lists its keys"


def _class(name: str) -> Iterator[str]:
    if name == "trainer":
        found = arguments("lightning.pytorch.trainer.trainer", "Trainer")
        yield "trainer: Lightning's keys, but those that mean nothing here"
        yield from _keys((a for a in found if a.name not in NOT_OFFERED), "trainer.")
        return
    path = f"{SHIPPED[name]}.{name}" if name in SHIPPED else name
    module, _, name = path.rpartition(".")
    try:
        yield f"{name}: {summary(module, name)}"
        yield from _keys(arguments(module, name), "init_args.", dashes="")
    except (LookupError, ValueError) as error:
        near = get_close_matches(name, [*SHIPPED, "trainer"], 1)
        hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(SHIPPED)} and trainer"
        raise UserError(f"--help {path}: no such class here: {hint}") from error


def _classes(configs: Iterable[str]) -> dict[str, str]:
    """The classes of model, data and oracle that configs choose, with their modules."""
    chosen: dict[str, str] = {}
    for config in configs:
        try:
            read = load_yaml(Path(config).expanduser().read_text(encoding="utf-8"), config)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"-c {config}: cannot be read ({str(error).splitlines()[0]}): give a YAML file") from error
        for key in ("model", "data", "oracle"):
            value: Any = read.get(key) if isinstance(read, dict) else None
            name = value.get("class_path") if isinstance(value, dict) else None
            if isinstance(name, str):
                chosen[key] = f"{SHIPPED[name]}.{name}" if name in SHIPPED else name
    return chosen


def _common(command: str) -> list[Argument]:
    """What every command takes, and what only some take."""
    keys = [
        Argument("config", "FILE", "", "A YAML file of keys, also -c; what is given later wins."),
        Argument("out", "str", f"runs/{command}", "Folder of the run."),
        Argument("seed_everything", "int", "0", "Seed of the run."),
        Argument("verbose", "bool", "false", "Show what the libraries print; --verbose alone means true."),
    ]
    if command == "fit":
        keys += [
            Argument("checkpoint_every", "int", "50", "Optimiser steps between checkpoints."),
            Argument(
                "export_every",
                "int | null",
                "null",
                "Optimiser steps between exports to exports/step-N; null exports the model at the end only.",
            ),
            Argument("exports_kept", "int", "3", "Newest of these that are kept."),
            Argument("dry_run", "bool", "false", "Only say what would be done."),
        ]
    if command in FITTING:
        keys.append(
            Argument("ckpt_path", "str", "null", "Checkpoint to continue from: a file, or `last` for the run's newest.")
        )
    return keys


def _keys(keys: Iterable[Argument], prefix: str, dashes: str = "--") -> Iterator[str]:
    for key in keys:
        default = f"  ({key.default})" if key.default else ""
        if not key.default and key.name != "config":
            default = "  (to be given)"
        yield f"  {dashes}{prefix}{key.name}  {key.type}{default}"
        yield from wrap(key.description, _WIDTH, initial_indent="      ", subsequent_indent="      ")
