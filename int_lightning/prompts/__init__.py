"""Prompt templates as text files, and how they become token ids through a model's chat template.

A set is a folder with ``solve.txt``, ``verify.txt`` where the policy proposes, and ``guide.txt`` where it does so in two turns:
turn 1 works the problem through with the reference in view, turn 2 shows the numbered attempt. ``refine.txt`` asks it to rewrite
an attempt as a whole, ``categorise.txt`` for the kind of an error, ``hint.txt`` shows the beginning of the reference with the
problem. ``{problem}``, ``{reference}``, ``{attempt}`` and ``{hint}`` are replaced; every other brace is left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from int_lightning.prompts.control import broken, control_tokens, encode_as_text, encode_broken, separator_for
from int_lightning.prompts.in_place import encode_in_place
from int_lightning.prompts.round_trip import check_shown
from int_lightning.prompts.template import render
from int_lightning.steps import number_steps
from int_lightning.types import Problem, UserError
from int_lightning.user_code import find_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HERE = Path(__file__).parent
_SHIPPED = {"math": _HERE / "math", "gradeschool": _HERE / "gradeschool", "mini": _HERE.parent / "mini" / "prompts"}
_QUESTION = {"role": "user", "content": "1+1?"}


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

    def refine(self, problem: Problem, attempt: str) -> list[dict[str, str]]:
        """The conversation that asks for a whole attempt rewritten, with the reference in view."""
        return [_user(self.templates["refine"], problem, attempt)]

    def hint(self, problem: Problem, hint: str) -> list[dict[str, str]]:
        """The conversation that asks for a solution and shows how the reference begins.

        Raises:
            UserError: if the set has no ``hint.txt``.
        """
        if "hint" not in self.templates:
            raise UserError(f"{self.folder} has no hint.txt, with which problems are shown with hints: add it")
        return [_user(self.templates["hint"], problem, hint=hint)]


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> list[int]:
    """Token ids of a conversation up to where the assistant's turn begins.

    Control tokens are the template's alone: where a message spells one out (``<|im_end|>``), it is text like any other.

    Raises:
        UserError: if the tokenizer has no chat template, or if the template refuses the conversation.
    """
    separator = separator_for(*(m["content"] for m in messages))
    texts = [broken(tokenizer, m["content"], separator, own=m["role"] == "assistant") for m in messages]
    asked = [m | {"content": text} for m, text in zip(messages, texts, strict=True)]
    return encode_broken(tokenizer, render(tokenizer, asked, add_generation_prompt=True), separator)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of what an assistant says after other text; names of control tokens in it are text like any other."""
    return encode_in_place(tokenizer, text, partial(encode_as_text, tokenizer))


def encode_solution(tokenizer: PreTrainedTokenizerBase, solution: str, where: str) -> list[int]:
    """Token ids of a whole solution as the assistant's turn: those of its text, and the one that ends the turn.

    Args:
        solution: Without space around it, which some templates strip.
        where: The row or file, for the message.

    Raises:
        UserError: if the chat template shows the solution otherwise than it is (it strips thoughts, or adds some), or ends it
            with no special token, or if the tokenizer has no tokens for it.
    """
    end = end_of_turn(tokenizer)
    start = render(tokenizer, [_QUESTION], add_generation_prompt=True)
    whole = render(tokenizer, [_QUESTION, {"role": "assistant", "content": solution}])
    after = whole.removeprefix(f"{start}{solution}")
    if after == whole or not after.startswith(control_tokens(tokenizer).names[end] if after else ""):
        raise UserError(
            f"{where}: the chat template of {tokenizer.name_or_path} shows the solution {shorten(solution, 60)!r} as "
            f"{shorten(whole.removeprefix(start), 80)!r}, which is not what the model would write: take thoughts out of the "
            "solution, give the model folder a chat_template.jinja that leaves what the assistant says as it is, or train on "
            "what the model sampled itself"
        )
    ids = encode_text(tokenizer, solution)
    check_shown(tokenizer, [solution], ids, f"{where}: the solution")
    return [*ids, end]


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token with which the chat template ends what an assistant says.

    Raises:
        UserError: if the tokenizer has no chat template, or if the template shows no such turn or ends it with no special token.
    """
    said = "It is 2."
    whole = render(tokenizer, [_QUESTION, {"role": "assistant", "content": said}])
    _, shown, after = whole.rpartition(said)
    rest = tokenizer.encode(after, add_special_tokens=False)
    end = rest[0] if rest else tokenizer.eos_token_id
    if not shown or end not in control_tokens(tokenizer).names:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} ends the assistant's turn with no special token, so a model trained "
            "on it would not know where to stop: give the model folder a chat_template.jinja that ends it with one"
        )
    return int(end)


def _user(template: str, problem: Problem, attempt: str = "", hint: str = "") -> dict[str, str]:
    parts = {"problem": problem.problem, "reference": problem.solution, "attempt": attempt, "hint": hint}
    return {"role": "user", "content": re.sub(rf"\{{({'|'.join(parts)})\}}", lambda m: parts[m[1]], template)}
