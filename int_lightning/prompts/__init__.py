"""Prompt templates as text files, and how they become token ids through a model's chat template.

A set is a folder with ``solve.txt``, ``verify.txt`` where the policy proposes, and ``guide.txt`` where it does so in two turns:
turn 1 works the problem through with the reference in view, turn 2 shows the numbered attempt. ``{problem}``,
``{reference}`` and ``{attempt}`` are replaced; every other brace is left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from int_lightning.steps import number_steps
from int_lightning.types import Problem, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HERE = Path(__file__).parent
_SHIPPED = {"math": _HERE / "math", "gradeschool": _HERE / "gradeschool", "mini": _HERE.parent / "mini" / "prompts"}


class PromptSet:
    """The templates of one folder.

    Args:
        name: ``math``, ``gradeschool``, ``mini`` or a folder.

    Raises:
        UserError: if the folder has no ``solve.txt``.
    """

    def __init__(self, name: str = "math") -> None:
        self.folder = _SHIPPED.get(name, Path(name))
        self.templates = {p.stem: p.read_text(encoding="utf-8").strip("\n") for p in sorted(self.folder.glob("*.txt"))}
        if "solve" not in self.templates:
            raise UserError(
                f"prompt set {name!r}: {self.folder} has no solve.txt: use {', '.join(_SHIPPED)} or such a folder"
            )

    @cached_property
    def versions(self) -> dict[str, str]:
        """``name@hash`` of each template, for provenance."""
        return {k: f"{k}@{hashlib.blake2b(v.encode(), digest_size=4).hexdigest()}" for k, v in self.templates.items()}

    def solve(self, problem: Problem) -> list[dict[str, str]]:
        """The conversation that asks for a solution."""
        return [_user(self.templates["solve"], problem)]

    def guide(self, problem: Problem) -> list[dict[str, str]] | None:
        """Turn 1 of the proposal, or None where the set goes straight to the attempt."""
        return [_user(self.templates["guide"], problem)] if "guide" in self.templates else None

    def verify(self, problem: Problem, steps: Sequence[str], worked: str | None = None) -> list[dict[str, str]]:
        """The conversation that asks for the first wrong step and its replacement.

        Args:
            worked: The model's own turn 1, where the set has one.

        Raises:
            UserError: if the set has no ``verify.txt``.
        """
        if "verify" not in self.templates:
            raise UserError(
                f"{self.folder} has no verify.txt, which the policy needs to propose: add it or use another oracle"
            )
        question = _user(self.templates["verify"], problem, number_steps(steps))
        turn_one = self.guide(problem)
        if turn_one is None:
            return [question]
        return [*turn_one, {"role": "assistant", "content": worked or ""}, question]


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> list[int]:
    """Token ids of a conversation up to where the assistant's turn begins.

    Raises:
        UserError: if the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template: add chat_template.jinja to it"
        )
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(text, add_special_tokens=False))


def _user(template: str, problem: Problem, attempt: str = "") -> dict[str, str]:
    parts = {"problem": problem.problem, "reference": problem.solution, "attempt": attempt}
    return {"role": "user", "content": re.sub(r"\{(problem|reference|attempt)\}", lambda m: parts[m[1]], template)}
