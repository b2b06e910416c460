"""Prompt templates as text files.

A set is a folder with ``solve.txt``; with ``verify.txt`` if the policy proposes interventions, and ``guide.txt`` if it does so in
two turns: turn 1 works through the problem with the reference in view, turn 2 shows the numbered attempt. ``refine.txt`` asks for
a whole attempt rewritten, ``categorise.txt`` for the kind of an error, and ``hint.txt`` shows the problem with the beginning of
the reference. ``{problem}``, ``{reference}``, ``{attempt}`` and ``{hint}`` are replaced; other braces are left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from int_lightning.steps import number_steps
from int_lightning.types import Problem, UserError
from int_lightning.user_code import find_folder

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
        self.name = name
        self.folder = _SHIPPED.get(name) or find_folder(name)
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
        """Turn 1 of the proposal, or None if the set has only one turn."""
        return [_user(self.templates["guide"], problem)] if "guide" in self.templates else None

    def verify(self, problem: Problem, steps: Sequence[str], worked: str | None = None) -> list[dict[str, str]]:
        """The conversation that asks for the first wrong step and its replacement.

        Args:
            steps: The attempt.
            worked: What the model said in turn 1, if the set has one.

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

    def refine(self, problem: Problem, attempt: str) -> list[dict[str, str]]:
        """The conversation that asks for a whole attempt rewritten, with the reference in view."""
        return [_user(self.templates["refine"], problem, attempt)]

    def hint(self, problem: Problem, hint: str) -> list[dict[str, str]]:
        """The conversation that asks for a solution and shows the beginning of the reference.

        Raises:
            UserError: if the set has no ``hint.txt``.
        """
        if "hint" not in self.templates:
            raise UserError(f"{self.folder} has no hint.txt, which shows problems with hints: add it")
        return [_user(self.templates["hint"], problem, hint=hint)]


def _user(template: str, problem: Problem, attempt: str = "", hint: str = "") -> dict[str, str]:
    parts = {"problem": problem.problem, "reference": problem.solution, "attempt": attempt, "hint": hint}
    return {"role": "user", "content": fill(template, parts)}


def fill(template: str, parts: Mapping[str, str]) -> str:
    """A template with ``{name}`` replaced by that part; every other brace is left alone."""
    return re.sub(rf"\{{({'|'.join(parts)})\}}", lambda name: parts[name[1]], template)
