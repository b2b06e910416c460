"""Checks of problems before anything is sampled: the model can read them, they fit into its context, and attempts at them can
be graded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from int_lightning.console import say
from int_lightning.grading.grader import Grader
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models.resolve import MINI, resolve_model
from int_lightning.prompts.chat import encode_chat, encode_text
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import check_problem_text
from int_lightning.types import Problem, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

READ = 200
"""Problems whose text is checked for unknown tokens."""

GRADED = 10_000
"""Problems whose gold answers are graded."""

_UNREADABLE = 0.1  # share of unknown tokens above which a model is refused
_PROBES = ("0", "no")  # a number and a word, both of which the grader can read
_BATCH = 256
_LISTED = 100
_MARGIN = 16  # tokens that a tokenizer may put around a text, such as a space before it
_NAMED = 3


@dataclass(frozen=True, slots=True)
class BadGold:
    """A gold answer that attempts can hardly be compared with.

    Args:
        source: Where the problem came from.
        id: The problem's.
        answer: The gold answer.
        note: What the grader said of it.
    """

    source: str
    id: str
    answer: str
    note: str


@dataclass
class GoldReport:
    """Gold answers as the grader sees them.

    Args:
        checked: How many there were.
        unreadable: Those it cannot read: an attempt is right only if it says the same letter for letter.
        unequal: Those that do not equal themselves: no attempt is ever right.
        examples: The first 100 of both kinds.
    """

    checked: int = 0
    unreadable: int = 0
    unequal: int = 0
    examples: list[BadGold] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def show(self, of: str = "") -> None:
        """Says how many there are and names the first; nothing if there are none."""
        for count, what in (
            (self.unreadable, "cannot be read by the grader, so that an attempt is right only letter for letter"),
            (self.unequal, "do not equal themselves, so that no attempt is ever right"),
        ):
            if count:
                unequal = what.startswith("do not")
                some = [e for e in self.examples if (e.note == "not equal") == unequal][:_NAMED]
                named = "; ".join(f"{e.id} {shorten(e.answer, 60)!r}" for e in some)
                more = "; ..." if count > len(some) else ""
                total = f"the first {self.checked}" if self.checked == GRADED else self.checked
                say(f"[yellow]note:[/] {escape(f'{of}{count} of {total} gold answers {what}: {named}{more}')}")


def check_golds(grader: Grader, problems: Iterable[Problem], most: int = GRADED) -> GoldReport:
    """Grades the gold answers of the first ``most`` problems against themselves, and checks whether they can be read."""
    report, left = GoldReport(), islice(problems, most)
    while batch := [(p.source, p.id, p.answer) for p in islice(left, _BATCH)]:
        answers = [answer for _, _, answer in batch]
        equal = grader.grade([rf"\boxed{{{answer}}}" for answer in answers], answers)
        number, word = (grader.equivalent([probe] * len(answers), answers) for probe in _PROBES)
        report.checked += len(batch)
        for item, itself, one, other in zip(batch, equal, number, word, strict=True):
            note = one.note and other.note
            report.unequal += not itself
            report.unreadable += itself and bool(note)
            if (not itself or note) and len(report.examples) < _LISTED:
                report.examples.append(BadGold(*item, note if itself else "not equal"))
    return report


def check_legible(
    tokenizer: PreTrainedTokenizerBase, prompts: PromptSet, problems: Iterable[Problem], model: str
) -> str:
    """What to say if the model's tokenizer does not know all the text of the first ``READ`` problems, prompt and reference
    solution; "" if it does.

    Raises:
        UserError: if more than a tenth of their tokens are unknown, or if the tokenizer loses other text of the first problem
            that it knows.
    """
    unknown = total = 0
    first: Problem | None = None
    checked = False
    for problem in islice(problems, READ if tokenizer.unk_token_id is not None else 1):
        asked = [message["content"] for message in prompts.solve(problem)]
        ids = encode_text(tokenizer, "\n\n".join([*asked, problem.solution]))
        found = ids.count(tokenizer.unk_token_id)
        unknown, total = unknown + found, total + len(ids)
        first = problem if first is None and found else first
        if not found and not checked:
            check_problem_text(tokenizer, prompts, problem)
            checked = True
    if first is None:
        return ""
    said = (
        f"model {model!r} cannot read these problems as the prompt set {prompts.name!r} puts them: {unknown / total:.0%} of "
        f"their tokens are {tokenizer.unk_token}, unknown to it (the first with one: {first.id} {shorten(first.problem, 60)!r})"
    )
    if unknown > _UNREADABLE * total:
        is_mini = model in (MINI, resolve_model(MINI))
        mini = "; mini, the default, reads only mini:SPLIT, with the prompt set mini" if is_mini else ""
        raise UserError(f"{said}: give a model that was trained on such text{mini}")
    return said


class Fitting:
    """Problems whose prompt leaves room for an answer; the others are counted.

    Args:
        problems: The problems.
        tokenizer: The model's.
        prompts: Templates; the prompt is that of a solution.
        max_model_len: Longest sequence, in tokens.

    Attributes:
        left_out: Problems that were too long in the latest iteration.
        longest: Id and prompt tokens of the first 100 of them.
    """

    def __init__(
        self,
        problems: Iterable[Problem],
        tokenizer: PreTrainedTokenizerBase,
        prompts: PromptSet,
        max_model_len: int,
    ) -> None:
        self._problems = problems
        self._tokenizer = tokenizer
        self._prompts = prompts
        self.max_model_len = max_model_len
        self.left_out = 0
        self.longest: dict[str, int] = {}

    def __iter__(self) -> Iterator[Problem]:
        self.left_out, self.longest = 0, {}
        around = len(encode_chat(self._tokenizer, [{"role": "user", "content": ""}]))
        for problem in self._problems:
            asked = self._prompts.solve(problem)
            at_most = around + _MARGIN + sum(len(message["content"].encode()) for message in asked)
            if at_most < self.max_model_len:  # no tokenizer makes more tokens than bytes, so most need no encoding
                yield problem
                continue
            size = len(encode_chat(self._tokenizer, asked))
            if size < self.max_model_len:
                yield problem
                continue
            self.left_out += 1
            if len(self.longest) < _LISTED:
                self.longest[problem.id] = size

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"problems": self.left_out, "prompt_tokens": self.longest}

    def show(self, of: str = "") -> None:
        """Says how many were too long and names the first."""
        if self.left_out:
            named = "; ".join(f"{id}: {size} tokens" for id, size in islice(self.longest.items(), _NAMED))
            said = (
                f"{of}{self.left_out} problems whose prompt leaves no room in engine.max_model_len = {self.max_model_len}: "
                f"{named}{'; ...' if self.left_out > _NAMED else ''}"
            )
            say(f"[yellow]left out:[/] {escape(said)}")


def usable(
    problems: Sequence[Problem],
    tokenizer: PreTrainedTokenizerBase,
    prompts: PromptSet,
    max_model_len: int,
    model: str,
    of: str = "",
) -> list[Problem]:
    """The problems that fit into the context, after a check that the model can read them; says what it left out.

    Args:
        of: What the problems are; begins the line.

    Raises:
        UserError: if the model does not know their text, or if none of them fits.
    """
    if said := check_legible(tokenizer, prompts, problems, model):
        say(f"[yellow]note:[/] {escape(of + said)}")
    fitting = Fitting(problems, tokenizer, prompts, max_model_len)
    kept = list(fitting)
    fitting.show(of)
    if not kept:
        raise UserError(f"{of}no problem's prompt fits into engine.max_model_len = {max_model_len}: raise it")
    return kept


def prepared(
    sets: Mapping[str, Sequence[Problem]], grader: Grader, model: str, prompts: PromptSet, max_model_len: int
) -> tuple[dict[str, list[Problem]], dict[str, Any]]:
    """The problems of each set that the model can be asked, and the report on each set's gold answers; says what is wrong.

    Args:
        model: Name of the model, or its folder.
        max_model_len: Longest sequence, in tokens.

    Raises:
        UserError: if the model cannot read the problems of a set, or none of them fits into its context.
    """
    kept: dict[str, list[Problem]] = {}
    golds: dict[str, Any] = {}
    for name, problems in sets.items():
        tokenizer = load_tokenizer(resolve_model(model))
        kept[name] = usable(problems, tokenizer, prompts, max_model_len, model, f"{name}: ")
        report = check_golds(grader, problems)
        report.show(f"{name}: ")
        golds[name] = report.as_dict()
    return kept, golds
