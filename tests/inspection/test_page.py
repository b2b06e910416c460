"""The HTML page of ``int-lightning inspect``: whatever a model wrote remains text, in a real browser too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.collect.store import Store
from int_lightning.inspection.page import page
from int_lightning.inspection.row_summary import RowSummary
from int_lightning.inspection.run import open_run
from int_lightning.inspection.terminal import example_lines
from int_lightning.inspection.views import InspectedRow, Score, Token, TokenSpan, View, token_spans, views
from int_lightning.types import (
    Intervention,
    Problem,
    Span,
)
from int_lightning.visible import visible

from commands import ROOT
from hostile_run import BYTES, HOSTILE

BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
SCREENSHOTS = ROOT / "runs" / "inspect"


class Elements(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def html_of(run: Path, *options: str) -> str:
    out = run.parent / "page.html"
    assert main(["inspect", str(run), f"--html={out}", *options]) == 0
    return out.read_text(encoding="utf-8")


HARMLESS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "section",
        "nav",
        "main",
        "article",
        "h1",
        "h2",
        "h3",
        "h4",
    ),
    *("p", "div", "span", "i", "b", "a", "ol", "ul", "li", "dl", "dt", "dd", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
}


def test_a_page_holds_hostile_output_as_text(run: Path) -> None:
    found = Elements(html_of(run, "--rejected"))
    assert found.tags <= HARMLESS
    assert not {name for name in found.attributes if name.startswith("on")}
    assert found.links == ["#row-1", "#row-2", "#row-3"]
    for start in ("problem", "reference", "instead", "raw", "rejected: no proposal: no tag"):
        assert visible(f"{start} {HOSTILE}") in found.text
    assert f"Step 1 {visible(f'second {HOSTILE}')}" in found.text
    assert "first error" in found.text
    assert "category of the error: execution" in found.text


def test_a_page_loads_nothing_and_forbids_scripts(run: Path) -> None:
    html = html_of(run)
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert html.index("Content-Security-Policy") < html.index("<title>")
    assert "http:" not in html + str(Elements(html).links)
    assert "https:" not in html
    assert "url(" not in html


def test_the_tokens_of_a_page_are_the_rows_text(run: Path) -> None:
    html = html_of(run)
    row = html[html.index('<div class="row"') : html.index("<details>")]
    text = Elements(re.sub(r'<i class="h">(.*?)</i>', r"⟨\1⟩", row)).text
    assert text == visible(f"<|user|>1+2<|assistant|>first\ninstead {HOSTILE}\n")


def test_lone_surrogates_are_named() -> None:
    problem = Problem("p\ud800", "a \udfff b", "c", "d")
    spans = [TokenSpan("prefix", 1.0, [Token(1, "x\ud83d", Score(-0.5, 0.25))])]
    html = page("run", RowSummary("reference"), [View("v\ud800", problem, spans)])
    assert "a ⟨U+DFFF⟩ b" in html
    assert 'x<i class="h">U+D83D</i>' in html
    html.encode("utf-8")
    "".join(line.plain for line in example_lines(View("v\ud800", problem, spans), 1)).encode("utf-8")


def test_spans_weights_and_scores_are_on_every_token(run: Path) -> None:
    (view,) = views(
        open_run(run),
        [InspectedRow("p/a/0/intervention", "p", [4, 5, 6], [Span("prefix", 3, 0.5)])],
        BYTES,
        [[None] * 3],
    )
    scored = [None, Score(-0.1, 0.4), Score(-3.0, 1.6)]
    spans = list(
        token_spans(InspectedRow("", "", [4, 5, 6], [Span("prompt", 1, 0.0), Span("prefix", 2, 0.5)]), BYTES, scored)
    )
    found = spans[1].scores()
    assert spans[0].scores() is None
    assert found is not None
    assert (found.logprob, found.entropy, found.least.id, found.lowest) == pytest.approx((-1.55, 1.0, 6, -3.0))
    html = page("run", RowSummary("prefix_intervention"), [replace(view, spans=spans)], "m")
    assert 'title="id 4 · prompt · weight 0"' in html
    assert 'class="t p50 p10" title="id 6 · prefix · weight 0.5 · log-prob -3.000 (4.98%) · entropy 1.600"' in html
    assert 'style="--weight:0.5" data-label="prefix · 2 tokens · weight 0.5"' in html
    assert "#⟨-3.00⟩" in "\n".join(line.plain for line in example_lines(replace(view, spans=spans), 1))


def dom(html: Path, screenshot: Path | None = None) -> str:
    """The page as a browser has it after it is loaded; a picture of it is kept where one is asked for."""
    assert BROWSER is not None
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    profile = html.parent / f"profile-{html.stem}"
    command = [BROWSER, "--headless", "--disable-gpu", "--no-first-run", *quiet, f"--user-data-dir={profile}"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    url = html.resolve().as_uri()
    if screenshot is not None:
        screenshot.parent.mkdir(parents=True, exist_ok=True)
        screenshot.unlink(missing_ok=True)
        picture = [f"--screenshot={screenshot}", "--window-size=1280,2400", "--hide-scrollbars"]
        subprocess.run([*command, *picture, url], capture_output=True, check=True, timeout=120)
        assert screenshot.stat().st_size > 10_000
    return subprocess.run([*command, "--dump-dom", url], capture_output=True, check=True, timeout=120).stdout.decode()


@pytest.mark.skipif(BROWSER is None, reason="no chromium-headless-shell, chromium or google-chrome on the PATH")
def test_in_a_real_browser_the_page_is_readable_and_no_script_runs(run: Path, tmp_path: Path) -> None:
    html = html_of(run, "--rejected")
    shown = dom(tmp_path / "page.html", SCREENSHOTS / "hostile.png")
    assert f"<title>{run}</title>" in shown
    assert "<script" not in shown
    assert visible(f"reference {HOSTILE}") in Elements(shown).text
    raw = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    (tmp_path / "control.html").write_text(f"<!doctype html><title>page</title><body>{raw}")
    assert "<title>owned</title>" in dom(tmp_path / "control.html"), (
        "this browser runs no scripts: the test shows nothing"
    )
    (tmp_path / "injected.html").write_text(html.replace("<main>", f"<main>{raw}"), encoding="utf-8")
    injected = dom(tmp_path / "injected.html")
    assert "<script>" in injected
    assert f"<title>{run}</title>" in injected


@pytest.mark.skipif(BROWSER is None, reason="no chromium-headless-shell, chromium or google-chrome on the PATH")
def test_a_real_collection_in_a_real_browser(collected: Path, tmp_path: Path) -> None:
    out = tmp_path / "collection.html"
    assert main(["inspect", str(collected), f"--html={out}", "--rejected", "--model=mini", "--limit=3"]) == 0
    text = Elements(dom(out, SCREENSHOTS / "collection.png")).text
    problems = {p.id: p for p in Store(collected / "dataset").read("problems", Problem)}
    first = next(i for i in Store(collected / "dataset").read("interventions", Intervention) if not i.rejected)
    assert problems[first.problem_id].problem in text
    assert f"Step {first.location}" in text
    assert "Log-probs" in text
