"""The command line: LightningCLI with more commands, one run folder, and errors that a person can read."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import lightning as L
import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from rich.markup import escape

from int_lightning.captured_output import configure_logging, library_output_to
from int_lightning.cli.commands import IntTrainer
from int_lightning.cli.fit_plan import show_fit_plan
from int_lightning.cli.fit_setup import FIT_DEFAULTS, collect_first, run_checkpoints, run_loggers
from int_lightning.cli.folder_claim import check_trainer_options, checkpoint_of, claim
from int_lightning.cli.next_steps import after_collect, after_fit, said_of
from int_lightning.cli.parser import Parser, config_files, diagnose, parse
from int_lightning.cli.refusals import refusal
from int_lightning.cli.shipped import with_short_names
from int_lightning.console import (
    INTERRUPTED,
    USER_ERROR,
    print_error,
    say,
    show_table,
)
from int_lightning.engines.base import EngineConfig
from int_lightning.grpo.module import GRPOModule
from int_lightning.learn.callbacks import ExportModel, ExportSteps, FitProgress, StepTimeLimit
from int_lightning.learn.lightning_internals import CommandLine, rank_of_process
from int_lightning.learn.module import PolicyModule
from int_lightning.learn.ranks import RanksAlive
from int_lightning.learn.restoring import prepare_to_restore
from int_lightning.learn.run_record import RunRecord
from int_lightning.learn.strategy import prepare_strategy
from int_lightning.run_files import RESULTS, causes, lacked_room, not_written, write_json
from int_lightning.run_folder.checkpoints import Saved
from int_lightning.run_folder.lock import locked
from int_lightning.run_folder.settings import flat
from int_lightning.sft.data import InterventionData
from int_lightning.types import UserError
from int_lightning.yaml_text import load_yaml


class IntCLI(CommandLine):
    """``fit`` and ``validate`` take a model and a data class; the other commands take the arguments of their method."""

    _FITTING = ("fit", "validate")
    checkpoint: Saved | None = None

    def __init__(self, args: list[str], resources: ExitStack) -> None:
        self.resources = resources
        super().__init__(
            PolicyModule,
            L.LightningDataModule,
            save_config_callback=None,
            trainer_class=IntTrainer,
            trainer_defaults=dict(FIT_DEFAULTS),
            seed_everything_default=0,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=Parser,
            auto_configure_optimizers=False,
            args=args,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and the arguments of their methods that the command line fills in itself."""
        fitting = {
            k: v | {"weights_only", "verbose"} for k, v in LightningCLI.subcommands().items() if k in IntCLI._FITTING
        }
        return {"collect": set(), **fitting, "evaluate": set(), "run": set()}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        self._preparing = subcommand
        return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Trainer, model and data for fit and validate; nothing for the others."""
        if self._preparing in self._FITTING:
            super().add_core_arguments_to_parser(parser)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What every command takes."""
        parser.add_argument("--out", type=str, default=f"runs/{self._preparing}", help="Folder of the run.")
        parser.add_argument("--verbose", type=bool, default=False, help="Show what the libraries print.")
        parser.add_class_arguments(EngineConfig, "engine")
        if self._preparing == "fit":
            parser.add_argument(
                "--checkpoint_every", type=PositiveInt, default=50, help="Optimiser steps between checkpoints."
            )
            parser.add_argument(
                "--export_every",
                type=PositiveInt | None,
                default=None,
                help="Optimiser steps between exports to exports/step-N; null exports the model at the end only.",
            )
            parser.add_argument("--exports_kept", type=PositiveInt, default=3, help="Newest of these that are kept.")
            parser.add_argument("--dry_run", type=bool, default=False, help="Only say what would be done.")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses; ``--verbose`` and ``--dry-run`` alone mean true."""
        switches = {"--verbose": "--verbose", "--dry-run": "--dry_run", "--dry_run": "--dry_run"}
        self.arguments = []
        for given, after in pairwise([*args, ""]):
            name = switches.get(given, given)
            alone = given in switches and after not in ("true", "false")
            self.arguments.append(f"{name}=true" if alone else name)
        self.config = parse(parser, self.arguments)

    def _parse_ckpt_path(self) -> None:
        """Keeps the command line's values: those stored in a checkpoint must not override them."""

    def after_parsing(self) -> None:
        """Checks the seed and opens the run's folder.

        Raises:
            UserError: see ``open_run_folder``.
        """
        seed = self._get(self.config, "seed_everything")
        if not 0 <= seed < 1 << 32:
            raise UserError(f"seed_everything is {seed}: give a whole number from 0 to {(1 << 32) - 1}")
        self.open_run_folder()

    def open_run_folder(self) -> None:
        """Claims the run's folder, and sends library output to a file there.

        Raises:
            UserError: if the folder holds another run, or if another command is using it.
        """
        command = self.config["subcommand"]
        config = self.config[command]
        if command in self._FITTING:
            check_trainer_options(config)
        if config.get("dry_run"):
            log = Path(self.resources.enter_context(TemporaryDirectory())) / "library.log"
            self.resources.enter_context(library_output_to(log))
            configure_logging(config["verbose"])
            return
        if not config["out"].strip():
            raise UserError("--out is empty: give the folder that the run is written into")
        folder = Path(config["out"])
        rank = rank_of_process()
        if rank == 0:
            self.resources.enter_context(locked(folder))
        self.resolved = with_short_names(self._parser(command).dump(config, skip_unset=False))
        if command in self._FITTING:
            self.settings = flat(load_yaml(self.resolved))
            self.checkpoint = checkpoint_of(folder, command, config["ckpt_path"], self.settings, rank)
        if command != "fit" and rank == 0:  # a fit writes its config once it is known to match its checkpoint
            claim(folder, self.resolved, ("limit",) if command == "collect" else ())
        if not config["verbose"]:
            name = f"library-{rank}.log" if rank else "library.log"
            self.resources.enter_context(library_output_to(folder / name))
        configure_logging(config["verbose"])

    def before_instantiate_classes(self) -> None:
        """Redirects loggers that would write into the working directory to the run's folder."""
        for logger in _listed(self.config[self.config["subcommand"]].get("trainer.logger")):
            given = logger.get("init_args") if isinstance(logger, Namespace) else None
            if given is not None and str(given.get("save_dir")) == ".":
                given["save_dir"] = self._get(self.config, "out")

    def instantiate_classes(self) -> None:
        """Makes model, data and trainer.

        Raises:
            UserError: saying which settings they refuse.
        """
        try:
            super().instantiate_classes()
        except Exception as error:
            diagnose(self.parser, self.arguments)
            if (mistake := refusal(error)) is None:
                raise
            raise mistake from error
        if isinstance(self.model, GRPOModule) and isinstance(self.datamodule, InterventionData):
            raise UserError(
                "model GRPOModule does not train on data InterventionData: choose data RolloutData, or model SFTModule"
            )
        if isinstance(self.model, PolicyModule):
            _ = self.model.folder  # last, because the model may have to be converted

    def instantiate_trainer(self, **kwargs: Any) -> IntTrainer:
        """The trainer, writing everything into the run's folder."""
        out = self._get(self.config, "out")
        kwargs["default_root_dir"] = out
        if self.subcommand in self._FITTING:
            given = self._get(self.config_init, "trainer")
            kwargs["logger"] = [*run_loggers(out), *_listed(given.get("logger"))]
            limit = StepTimeLimit(self._get(self.config_init, "engine").time_limit)
            callbacks = [limit, *_listed(given.get("callbacks")), FitProgress(type(self.model).__name__)]
            callbacks += [LearningRateMonitor("step"), ExportModel(out), ranks := RanksAlive()]
            if self.subcommand == "fit" and not self._get(self.config, "dry_run"):
                callbacks.append(RunRecord(Path(out), self.resolved, self.settings, self.checkpoint))
            if self.subcommand == "fit" and not any(isinstance(c, ModelCheckpoint) for c in callbacks):
                callbacks.append(run_checkpoints(out, self._get(self.config, "checkpoint_every")))
            if self.subcommand == "fit" and (every := self._get(self.config, "export_every")):
                callbacks.append(ExportSteps(out, every, self._get(self.config, "exports_kept")))
            trainer = super().instantiate_trainer(**kwargs, callbacks=callbacks)
            prepare_strategy(trainer, self._get(self.config_init, "engine"))
            ranks.watch(trainer)
        else:
            trainer = IntTrainer(logger=False, enable_checkpointing=False, enable_model_summary=False, **kwargs)
        assert isinstance(trainer, IntTrainer)
        trainer.engine_config = self._get(self.config_init, "engine")
        if trainer.engine_config.threads:
            torch.set_num_threads(trainer.engine_config.threads)
        trainer.seed = int(self._get(self.config, "seed_everything"))
        trainer.run_stage = run_stage
        prepare_to_restore(trainer)
        return trainer

    def before_fit(self) -> None:
        """Collects the interventions first, if the data says how and the collection is not complete."""
        data = self.datamodule
        if isinstance(data, InterventionData) and data.collection_missing and rank_of_process() == 0:
            collect_first(data)

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand == "fit" and self._get(self.config, "dry_run"):
            show_fit_plan(self.model, self.datamodule, cast(IntTrainer, self.trainer))
        else:
            super()._run_subcommand(subcommand)

    def say_what_is_next(self) -> None:
        """Says where the result is, and which command continues from there."""
        out, lines = Path(self._get(self.config, "out")), iter(list[str]())
        configs = config_files(self.arguments)
        if self.subcommand == "collect" and not self._get(self.config, "dry_run"):
            lines = after_collect(out, self._get(self.config, "model"), configs)
        elif self.subcommand == "fit" and not self._get(self.config, "dry_run"):
            lines = after_fit(out, isinstance(self.model, GRPOModule), said_of(self.datamodule), configs)
        for line in lines:
            say(escape(line))

    def after_validate(self) -> None:
        """Shows the scores and keeps them as ``results.json``."""
        scores = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        if not scores:
            raise UserError(
                "there is nothing to validate on: give --data.init_args.validation, problems or a share of the rows"
            )
        write_json(Path(self._get(self.config, "out")) / RESULTS, scores)
        show_table("Validation", ["metric", "value"], [[k, f"{v:.6g}"] for k, v in scores.items()])

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand not in self._FITTING:
            kwargs["model"] = self._get(self.config_init, "model")
            return {k: v for k, v in kwargs.items() if k in self._subcommand_method_arguments[subcommand]}
        return {**kwargs, "ckpt_path": str(self.checkpoint.path) if self.checkpoint else None, "weights_only": True}


def run_stage(args: list[str]) -> None:
    """Runs one command line as a stage of another."""
    with ExitStack() as resources:
        IntCLI(args, resources)


def run_command(args: list[str]) -> int:
    """Runs one command line; returns the exit status."""
    try:
        with ExitStack() as resources:
            IntCLI(args, resources).say_what_is_next()
        return 0
    except KeyboardInterrupt:
        print_error("interrupted; what was finished is in the run's folder")
        return INTERRUPTED
    except Exception as error:
        mistake = _user_error(error)
        if mistake is None:
            raise
        print_error(str(mistake))
        return USER_ERROR


def _user_error(error: BaseException) -> UserError | None:
    """The user's mistake, or the full disk, behind an exception that may be wrapped, for instance by the parser."""
    mistake = next((cause for cause in causes(error) if isinstance(cause, UserError)), None)
    if mistake is None and (full := lacked_room(error)) is not None:
        return not_written(full.filename or "a file", full)
    return mistake


def _listed(given: Any) -> list[Any]:
    """One or several objects, or none (a logger of ``true`` is the default)."""
    if given is None or given is True:
        return []
    return given if isinstance(given, list) else [given]
