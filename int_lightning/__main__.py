"""Entry point. ``--help``, ``--version``, ``grade`` and ``inspect`` need no torch; the rest imports the command line proper."""

from __future__ import annotations

import gc
import sys
import traceback
from types import TracebackType

from int_lightning import __version__
from int_lightning.cli.help import COMMANDS, help_text
from int_lightning.console import exit_status
from int_lightning.visible import visible

HELP = """\
usage: int-lightning COMMAND -c CONFIG [--key value ...]

Train reasoning models by interventions (InT).

commands:
  collect    sample attempts, propose and check interventions, write the dataset D_InT
  fit        train a policy: masked SFT on interventions, or GRPO
  validate   score a policy on held-out rows or problems
  evaluate   pass@k of a model, or how well an oracle finds first wrong steps, with intervals
  run        the paper's Algorithm 1 end to end: base, GRPO, InT, InT then GRPO
  grade      compare the answers of a JSONL file, and count agreement with their labels: int-lightning grade FILE
  inspect    look at a collection's training rows token by token: int-lightning inspect RUN [--html FILE]

  -c, --config FILE   a YAML file; any key of it can be given on the command line as --key value
  --out FOLDER        the run's folder: config, metrics, checkpoints, datasets, results
  --verbose           show what the engine and the libraries print
  --version

`int-lightning COMMAND --help` lists a command's keys, and `int-lightning fit -c CONFIG --help` those of its model and data too.
"""


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints what Python prints for an unexpected exception, whose text may come from anywhere."""
    sys.stderr.write(visible("".join(traceback.format_exception(kind, error, trace))))


def main(args: list[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    arguments = sys.argv[1:] if args is None else args
    sys.excepthook = show_traceback
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    if arguments[0] in COMMANDS and {"-h", "--help"} & set(arguments[1:]):
        return exit_status(lambda: print(visible(help_text(arguments[0], arguments[1:]))))
    gc.disable()  # imports allocate much and free little: a sixth of their time is garbage collection
    # each command imports only what it needs, so that grade and inspect start without torch
    if arguments[0] == "grade":
        from int_lightning.grading.command import main as grade

        gc.enable()
        return grade(arguments[1:])
    if arguments[0] == "inspect":
        from int_lightning.inspection.command import main as inspect

        gc.enable()
        return inspect(arguments[1:])
    from int_lightning.cli.command_line import run_command

    gc.enable()
    return run_command(arguments)


if __name__ == "__main__":
    sys.exit(main())
