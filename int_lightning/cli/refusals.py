"""What a library says against a user's settings when their objects are made, in one line."""

from __future__ import annotations

import re
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from int_lightning.run_files import causes
from int_lightning.types import UserError

_OURS = Path(__file__).parents[1]
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_PACKAGE = re.compile(r"Requirement '([\w-]+)|No module named '(\w+)|Package `?([\w-]+)`? (?:is )?(?:not|required)")
_REFUSALS = (ValueError, TypeError, ImportError, RuntimeError, OSError, AttributeError, MisconfigurationException)
_EXTRAS = {"wandb": "wandb", "datasets": "hub", "ray": "ray", "reasoning_gym": "gym", "gguf": "smollm2"}


def refusal(error: BaseException) -> UserError | None:
    """A mistake of the user's behind an exception that a library raised; None for one of ours, and for what is not a refusal."""
    chain = list(causes(error))
    if mistake := next((e for e in chain if isinstance(e, UserError)), None):
        return mistake
    root = chain[-1]
    if not isinstance(root, _REFUSALS) or _is_ours(root):
        return None
    said = re.sub(r"\s+", " ", str(root)).strip()
    classes = [name for e in chain for name in _CLASS.findall(str(e))]
    where = f"{classes[-1].rpartition('.')[2]}: " if classes else ""
    if package := _PACKAGE.search(said):
        name = next(filter(None, package.groups()))
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
