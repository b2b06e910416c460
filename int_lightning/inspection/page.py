"""Rows as one self-contained HTML page: no scripts, fonts or pictures from elsewhere.

Everything that comes from data goes through ``_text`` or ``_marked``, which name hidden characters and escape the rest: it always
remains text. The page's own security policy would not run a script either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import chain
from math import exp
from pathlib import Path
from string import Template

from int_lightning.inspection.row_summary import RowSummary, Table
from int_lightning.inspection.views import Token, TokenSpan, View
from int_lightning.visible import Kind, code_points, in_line, runs, visible

_HERE = Path(__file__).parent
_SPANS = {
    "prompt": "what the model is asked",
    "prefix": "the model's own steps before the error",
    "intervention": "the step put in place of the wrong one",
    "suffix": "how a right rollout continued",
    "solution": "a full solution",
    "end": "the end of the turn",
}
_UNLIKELY = {"p50": 0.5, "p10": 0.1, "p1": 0.01}
_MARKS: dict[Kind, str] = {"space": "w", "tab": "b", "newline": "n"}


def page(run: str, summary: RowSummary, views: Sequence[View], model: str | None = None) -> str:
    """The page.

    Args:
        run: Name of the collection.
        summary: The summary of all its rows.
        views: The rows to show.
        model: Name of the model that scored the tokens; None if none did.
    """
    names = dict.fromkeys(span.name for span in chain.from_iterable(view.spans for view in views))
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        run=_text(run),
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        model=f"<p>Log-probs under <b>{_text(model)}</b></p>" if model else "",
        summary=_summary(summary),
        legend="".join(map(_explained, names)),
        contents="".join(_entry(view, i) for i, view in enumerate(views, 1)),
        examples="".join(_example(view, i) for i, view in enumerate(views, 1)),
    )


def _summary(summary: RowSummary) -> str:
    facts = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in summary.facts().items())
    bar = "".join(
        f'<span class="{_css(name)}" style="flex-grow:{count}" title="{_text(name)}: {count:,} tokens"></span>'
        for name, count in summary.tokens.items()
    )
    tables = "".join(map(_table, summary.tables()))
    bar = f'<div class="bar" role="img" aria-label="tokens by span">{bar}</div>'
    return f'<dl class="facts">{facts}</dl>{bar}<div class="tables">{tables}</div>'


def _explained(span: str) -> str:
    name = f'<span class="span trained {_css(span)}" style="--weight:1"><span class="t">{_text(span)}</span></span>'
    return f"<dt>{name}</dt><dd>{_SPANS.get(span, '')}</dd>"


def _entry(view: View, number: int) -> str:
    return f'<li><a href="#row-{number}">{_text(in_line(view.id))}</a>{_badge(view)}</li>'


def _example(view: View, number: int) -> str:
    facts = "".join(f"<li>{_text(fact)}</li>" for fact in view.facts())
    problem = (
        _part("problem", view.problem.problem)
        + _part("reference", view.problem.solution)
        + _part("answer", view.problem.answer)
    )
    return (
        f'<article id="row-{number}"><h3>{number}. {_text(in_line(view.id))}{_badge(view)}</h3>'
        f'<ul class="facts">{facts}</ul>'
        f'<div class="columns"><div>{problem}</div><div>{_attempt(view)}</div></div>'
        f'<h4>row</h4><div class="row" tabindex="0">{"".join(map(_span, view.spans))}</div>'
        f"{_scores(view.spans)}{_proposal(view)}</article>"
    )


def _badge(view: View) -> str:
    if view.intervention is None:
        return ""
    state = "rejected" if view.intervention.rejected else "accepted"
    return f' <span class="badge {state}">{state}</span>'


def _part(name: str, text: str) -> str:
    return f"<h4>{name}</h4><p>{_text(text)}</p>"


def _attempt(view: View) -> str:
    steps = "".join(_step(view, i) for i in range(len(view.steps)))
    attempt = f'<h4>attempt</h4><ol class="steps">{steps}</ol>' if steps else ""
    return attempt if 0 <= view.first_error < len(view.steps) else attempt + _replacement(view)


def _step(view: View, index: int) -> str:
    text = f"<b>Step {index}</b> {_text(view.steps[index].strip())}"
    if index == view.first_error:
        error = '<span class="badge rejected">first error</span>'
        return f'<li class="wrong">{text} {error}</li><li class="kept">{_replacement(view)}</li>'
    return f'<li class="{"dropped" if 0 <= view.first_error < index else "kept"}">{text}</li>'


def _replacement(view: View) -> str:
    if view.intervention is None or not view.intervention.content:
        return ""
    return f'<div class="replacement"><b>{view.place}</b> {_text(view.intervention.content)}</div>'


def _proposal(view: View) -> str:
    if not view.proposal:
        return ""
    return f"<details><summary>what the oracle said</summary><p>{_text(view.proposal)}</p></details>"


def _span(span: TokenSpan) -> str:
    css = f"span {_css(span.name)}" + (" trained" if span.weight else "")
    tokens = "".join(_token(token, span) for token in span.tokens)
    return (
        f'<span class="{css}" style="--weight:{min(span.weight, 1):g}" data-label="{_text(span.label)}">{tokens}</span>'
    )


def _token(token: Token, span: TokenSpan) -> str:
    facts, css = [f"id {token.id}", span.name, f"weight {span.weight:g}"], "t"
    if token.score is not None:
        likelihood = exp(token.score.logprob)
        facts += [f"log-prob {token.score.logprob:.3f} ({likelihood:.2%})", f"entropy {token.score.entropy:.3f}"]
        css += "".join(f" {name}" for name, bound in _UNLIKELY.items() if likelihood < bound)
    shown = _marked(token.text) or '<i class="e"></i>'
    return f'<span class="{css}" title="{_text(" · ".join(facts))}">{shown}</span>'


def _scores(spans: Iterable[TokenSpan]) -> str:
    found = [(span.name, span.scores()) for span in spans]
    rows = [
        [name, f"{s.logprob:.3f}", f"{s.entropy:.3f}", in_line(s.least.text), f"{s.lowest:.3f}"]
        for name, s in found
        if s is not None
    ]
    return _table(Table("Log-probs", ["span", "mean", "mean entropy", "least likely", "at"], rows)) if rows else ""


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in table.columns)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return f"<table><caption>{_text(table.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _css(span: str) -> str:
    return span if span in _SPANS else "prompt"


def _text(text: str) -> str:
    """Data as HTML text, with hidden characters named."""
    return escape(visible(text))


def _marked(text: str) -> str:
    """The text of a token as HTML: white space is kept and marked, hidden characters are named."""
    return "".join(_mark(kind, run) for kind, run in runs(text))


def _mark(kind: Kind, run: str) -> str:
    if kind == "plain":
        return escape(run)
    if kind == "hidden":
        return f'<i class="h">{code_points(run)}</i>'
    return "".join(f'<i class="{_MARKS[kind]}">{character}</i>' for character in run)
