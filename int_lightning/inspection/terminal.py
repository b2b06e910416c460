"""Rows as rich text. What a model wrote is inserted as text and never read as markup; characters that would steer the terminal
are named instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log

from rich.style import Style
from rich.text import Text

from int_lightning.inspection.views import Token, TokenSpan, View
from int_lightning.visible import in_line, visible

_COLOURS = {
    "prompt": "default",
    "prefix": "blue",
    "intervention": "green",
    "suffix": "magenta",
    "solution": "cyan",
    "end": "yellow",
}
LEGEND = (
    "tokens are separated by |, bold ones are trained on, ▫ has no text of its own (it ends inside a character), ↵ is a line "
    "break; with a model, a token less likely than not is followed by its log-prob"
)
_EVEN = log(0.5)


def example_lines(view: View, number: int) -> Iterator[Text]:
    """A row as lines to print."""
    yield Text.assemble((f"── {number} ", "bold"), (in_line(view.id), "bold"))
    yield from (Text(in_line(fact), "yellow") for fact in view.facts())
    yield from _part("problem", view.problem.problem)
    yield from _part("reference", view.problem.solution)
    yield from _part("answer", view.problem.answer)
    yield from _attempt(view)
    if view.intervention is not None and view.intervention.content:
        yield from _part(view.place, view.intervention.content, "green")
    if view.intervention is not None and view.intervention.rejected:
        yield from _part("what the oracle said", view.proposal)
    yield from _row(view.spans)
    yield from _scores(view.spans)
    yield Text()


def _part(name: str, text: str, style: str = "") -> Iterator[Text]:
    yield Text(name, "bold underline")
    yield Text(visible(text), style)


def _attempt(view: View) -> Iterator[Text]:
    if not view.steps:
        return
    yield Text("attempt", "bold underline")
    for i, step in enumerate(view.steps):
        line = f"Step {i}: {visible(step.strip())}"
        if i == view.first_error:
            yield Text.assemble((line, "red"), ("  <- the first error", "bold red"))
        else:
            yield Text(line, "dim" if 0 <= view.first_error < i else "")


def _row(spans: Sequence[TokenSpan]) -> Iterator[Text]:
    row = Text()
    for span in spans:
        row.append("" if row.plain.endswith("\n") or not row else "\n")
        row.append(f"[{span.label}]", f"reverse {_colour(span)}").append(" ")
        style = Style(color=_colour(span), bold=span.weight > 0, dim=span.weight == 0)
        for i, token in enumerate(span.tokens):
            if i:
                row.append("|", "dim")
            row.append(_shown(token), style)
            if token.score is not None and token.score.logprob < _EVEN:
                row.append(f"⟨{token.score.logprob:.2f}⟩", "dim red")
    if row.plain.endswith("\n"):
        row.right_crop()
    yield Text("row", "bold underline")
    yield row


def _scores(spans: Sequence[TokenSpan]) -> Iterator[Text]:
    for span in spans:
        if (found := span.scores()) is not None:
            means = f"mean log-prob {found.logprob:.3f}, mean entropy {found.entropy:.3f}"
            least = in_line(found.least.text) or "▫"
            yield Text(f"{span.name}: {means}, least likely {least} at {found.lowest:.2f}", _colour(span))


def _shown(token: Token) -> str:
    return visible(token.text).replace("\n", "↵\n").replace("\t", "⇥") or "▫"


def _colour(span: TokenSpan) -> str:
    return _COLOURS.get(span.name, "default")
