"""What a library objects to in a user's settings when it makes their objects, in one line."""

from __future__ import annotations

import re
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from int_lightning.run_files import causes
from int_lightning.types import UserError

_OURS = Path(__file__).parents[1]
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_PACKAGE = re.compile(
    r"""
    Requirement\ '([\w-]+)                                   # Requirement 'wandb>=0.12' not met
    | No\ module\ named\ '(\w+)                              # No module named 'wandb'
    | Package\ `?([\w-]+)`?\ (?:is\ )?(?:not|required)       # Package `gguf` is not installed
    """,
    re.VERBOSE,
)
_REFUSALS = (ValueError, TypeError, ImportError, RuntimeError, OSError, AttributeError, MisconfigurationException)
_EXTRAS = {"wandb": "wandb", "datasets": "hub", "ray": "ray", "reasoning_gym": "gym", "gguf": "smollm2"}


def refusal(error: BaseException) -> UserError | None:
    """The user's mistake behind an exception that a library raised; None if our own code raised it, or if it is not a refusal."""
    chain = list(causes(error))
    mistake = next((e for e in chain if isinstance(e, UserError)), None)
    if mistake is not None:
        return mistake
    root = chain[-1]
    if not isinstance(root, _REFUSALS) or _is_ours(root):
        return None
    said = re.sub(r"\s+", " ", str(root)).strip()
    classes = _CLASS.findall("\n".join(map(str, chain)))
    where = f"{classes[-1].rpartition('.')[2]}: " if classes else ""
    if package := _PACKAGE.search(said):
        name = package[package.lastindex or 0]
        extra = f"pip install 'int-lightning[{_EXTRAS[name]}]'" if name in _EXTRAS else f"pip install {name}"
        return UserError(f"{where}the package {name} is not installed: {extra}, or leave out what needs it")
    return UserError(f"{where}{_first_sentences(said)}")


def _is_ours(error: BaseException) -> bool:
    """Whether our own code raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and _OURS in Path(trace.tb_frame.f_code.co_filename).parents


def _first_sentences(text: str) -> str:
    """As much of a text as fits a line."""
    if len(text) <= 240:
        return text
    cut = text[:240].rpartition(". ")[0]
    return cut or f"{text[:237]}..."
