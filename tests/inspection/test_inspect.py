"""``int-lightning inspect``: what a model wrote is shown as text, whatever it is; the numbers are those of the records."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from int_lightning.__main__ import main
from int_lightning.collect.categories import ErrorCategory
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.inspection.command import inspect
from int_lightning.inspection.page import page
from int_lightning.inspection.row_summary import RowSummary
from int_lightning.inspection.run import open_run
from int_lightning.inspection.scores import score_rows
from int_lightning.inspection.terminal import example_lines
from int_lightning.inspection.token_texts import token_texts
from int_lightning.inspection.views import InspectedRow, Score, Token, TokenSpan, View, token_spans, views
from int_lightning.mini.mini_tokenizer import CHAT_TEMPLATE, build_tokenizer
from int_lightning.prompts.recorded_tokenizer import record_tokenizer
from int_lightning.sft.targets import Target, TargetConfig, examples
from int_lightning.types import (
    Defect,
    DefectKind,
    Intervention,
    Outcome,
    Problem,
    Proposal,
    Provenance,
    Rollout,
    Sampling,
    SFTExample,
    Span,
)
from int_lightning.visible import in_line, runs, visible

from commands import ROOT, collect

HOSTILE = (
    "</span></p></details><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    " [bold red]not bold[/] [/] &amp; \"quoted\" 'single' $run {run} \x1b[31mred\x1b[0m\x1b]0;owned\x07 \x00 \x7f \x85 \r"
    " \u202eover\u202c \u2066in\u2069 \u200b \u2028 \ufeff 🙂 naïve"
)
PROVENANCE = Provenance("model", "", "vllm", "solve@1f2e3d4c", Sampling(), 0)
MINI = build_tokenizer()
BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
SCREENSHOTS = ROOT / "runs" / "inspect"


def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte: it can write anything, and characters beyond ASCII take several tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    core = Tokenizer(models.BPE({c: i for i, c in enumerate([*special, *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


BYTES = bytes_tokenizer()


def encode(text: str) -> list[int]:
    return list(BYTES.encode(text, add_special_tokens=False))


def decode(token_ids: Sequence[int]) -> str:
    return str(BYTES.decode(list(token_ids), skip_special_tokens=False))


def wrong_attempt(id: str, text: str) -> Rollout:
    ids, prompt = encode(text), encode("<|user|>1+2<|assistant|>")
    return Rollout(id, "p", 0, prompt, ids, [-1.0] * len(ids), text, "length", "", False, PROVENANCE)


def intervention(sample: int, content: str, rejected: Defect | None = None, location: int = 1) -> Intervention:
    return Intervention(
        id=f"p/a/{sample}/intervention",
        problem_id="p",
        rollout_id="p/a",
        proposal_id=f"p/a/{sample}",
        location=location,
        steps=3,
        content=content,
        prompt_ids=encode("<|user|>1+2<|assistant|>"),
        prefix_ids=encode("first\n") if location >= 0 else [],
        intervention_ids=encode(f"{content}\n") if location >= 0 else [],
        exact=True,
        rejected=rejected,
        guided_correct=0 if rejected else 3,
        guided_total=0 if rejected else 4,
        prefix_total=0 if rejected else 4,
    )


def proposal(sample: int, raw: str) -> Proposal:
    return Proposal(f"p/a/{sample}", "p", "p/a", sample, "policy", raw, 1, "", None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A collection of one problem with one accepted intervention and two rejected ones; all its text is hostile."""
    folder = tmp_path / "run"
    store = Store(folder / "dataset")
    store.commit(
        {
            "problems": [Problem("p", f"problem {HOSTILE}", f"reference {HOSTILE}", "2")],
            "attempts": [wrong_attempt("p/a", f"first\nsecond {HOSTILE}\nthird")],
            "proposals": [proposal(i, f"raw {HOSTILE}") for i in range(3)],
            "interventions": [
                intervention(0, f"instead {HOSTILE}"),
                intervention(1, "leaks", Defect(DefectKind.LEAK, f"{HOSTILE!r} (stated)")),
                intervention(2, "", Defect(DefectKind.NO_PROPOSAL, f"no tag {HOSTILE}"), location=-1),
            ],
            "categories": [ErrorCategory("p/a/0/c", "p", "p/a/0", "execution", "", PROVENANCE)],
            OUTCOMES: [Outcome("p", "x", "hard", 1, 0, 10)],
        }
    )
    BYTES.save_pretrained(tmp_path / "model")
    record_tokenizer(store.folder, type(BYTES).from_pretrained(tmp_path / "model"), "bytes")
    settings = {"model": str(tmp_path / "model"), "collection": {"segmentation": "lines"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


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


def test_the_terminal_shows_hostile_output_as_text_and_takes_no_torch(run: Path) -> None:
    code = "import sys; from int_lightning.__main__ import main; assert not main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "inspect", str(run), "--rejected"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    for start in ("problem", "reference", "instead", "raw"):
        assert visible(f"{start} {HOSTILE}") in said
    assert "rejected: no proposal: no tag" in said
    assert {kind for kind, _ in runs(said)} == {"plain", "space", "newline"}


def test_a_terminal_with_colours_gets_no_other_escapes_than_colours(run: Path) -> None:
    opened = open_run(run)
    row = InspectedRow("p/a/0/intervention", "p", encode(HOSTILE), [Span("prefix", len(encode(HOSTILE)), 1.0)])
    (view,) = views(opened, [row], BYTES, [[None] * len(row.token_ids)])
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="truecolor", width=100)
    for line in example_lines(view, 1):
        console.print(line)
    colours = r"\x1b\[[0-9;]*m"
    assert re.search(colours, screen.getvalue())
    plain = re.sub(colours, "", screen.getvalue())
    assert {kind for kind, _ in runs(plain)} == {"plain", "space", "newline"}
    assert "[bold red]" in plain.replace("|", "").replace("\n", "")


def test_lone_surrogates_are_named() -> None:
    problem = Problem("p\ud800", "a \udfff b", "c", "d")
    spans = [TokenSpan("prefix", 1.0, [Token(1, "x\ud83d", Score(-0.5, 0.25))])]
    html = page("run", RowSummary("reference"), [View("v\ud800", problem, spans)])
    assert "a ⟨U+DFFF⟩ b" in html
    assert 'x<i class="h">U+D83D</i>' in html
    html.encode("utf-8")
    "".join(line.plain for line in example_lines(View("v\ud800", problem, spans), 1)).encode("utf-8")


@given(st.text(st.characters(exclude_categories=[])))
def test_visible_text_hides_nothing_and_can_be_written(text: str) -> None:
    assert {kind for kind, _ in runs(visible(text))} <= {"plain", "space", "tab", "newline"}
    assert "\n" not in in_line(text)
    visible(text).encode("utf-8")
    if all(kind != "hidden" for kind, _ in runs(text)):
        assert visible(text) == text


@given(st.one_of(st.text().map(str.encode), st.binary()), st.integers(0, 5))
def test_token_texts_join_to_the_rows_text(data: bytes, special: int) -> None:
    ids = [*data][:special] + [1] + [4 + b % 256 for b in data] + [2]
    texts = token_texts(ids, BYTES)
    assert len(texts) == len(ids)
    assert "".join(texts) == decode(ids)


@given(st.text(min_size=1))
def test_a_character_of_several_tokens_is_the_last_ones(text: str) -> None:
    assume("<|" not in text)  # which may begin a special token, whose text is one token
    texts = token_texts(encode(text), BYTES)
    assert [t for t in texts if t] == list(text)


def test_token_texts_of_the_mini_world() -> None:
    ids = MINI.encode("<|user|>1+2@4<|assistant|>1+2=3\n\n\\boxed{3}<|end|>")
    assert token_texts(ids, MINI)[:6] == ["<|user|>", "1", "+", "2", "@", "4"]
    assert "".join(token_texts(ids, MINI)) == "<|user|>1+2@4<|assistant|>1+2=3\n\n\\boxed{3}<|end|>"


def test_many_broken_bytes_take_no_quadratic_time() -> None:
    class Counting:
        decoded = 0

        def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
            self.decoded += len(token_ids)
            return decode(token_ids)

    counting, ids = Counting(), [4 + (0x80 + i % 64) for i in range(2000)]
    assert "".join(token_texts(ids, counting)) == decode(ids)
    assert counting.decoded < 2000 * 200


def test_the_summarys_numbers_are_those_of_the_records(run: Path) -> None:
    summary = RowSummary("prefix_intervention")
    summary.add_interventions(open_run(run).store)
    spans = [Span("prompt", 4, 0.0), Span("prefix", 3, 1.0), Span("intervention", 2, 0.5)]
    summary.add(SFTExample("a", "p", list(range(9)), spans))
    summary.add(
        SFTExample(
            "b",
            "p",
            list(range(5)),
            [Span("prompt", 2, 0.0), Span("intervention", 3, 2.0)],
        )
    )
    summary.add(SFTExample("c", "q", list(range(2)), [Span("solution", 2, 1.0)]))
    assert summary.facts() == {
        "target": "prefix_intervention",
        "rows": "3",
        "problems with rows": "2",
        "tokens": "16",
        "trained on": "56.2%",
        "interventions": "3",
        "rejected": "66.7%",
    }
    by_title = {table.title: table for table in summary.tables()}
    assert by_title["Tokens by span"].rows == [
        ["prompt", "6", "37.5%", "0", "0.0%"],
        ["prefix", "3", "18.8%", "3", "100.0%"],
        ["intervention", "5", "31.2%", "5", "100.0%"],
        ["solution", "2", "12.5%", "1", "50.0%"],
    ]
    lengths = dict(zip(by_title["Tokens of a row"].columns, by_title["Tokens of a row"].rows[0], strict=True))
    assert (lengths["shortest"], lengths["50%"], lengths["longest"], lengths["mean"]) == ("2", "5", "9", "5.3")
    assert by_title["Rejected interventions"].rows[0] == ["it gives the final answer away", "1"]


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


def test_scores_are_the_models_own() -> None:
    from int_lightning.models.resolve import resolve_model

    folder = resolve_model("mini")
    texts = ["<|user|>1+2@4<|assistant|>1+2=3", "<|user|>1<|assistant|>", "<|user|>9-4-1<|assistant|>9-4=5\n\n5-1=4"]
    rows = [MINI.encode(text) for text in texts]
    found = score_rows(rows, folder, MINI.pad_token_id)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for ids, scores in zip(rows, found, strict=True):
        with torch.no_grad():
            logp = model(torch.tensor([ids])).logits.double().log_softmax(-1)[0]
        assert scores[0] is None
        assert [s.logprob for s in scores[1:] if s] == pytest.approx(
            [float(logp[i, token]) for i, token in enumerate(ids[1:])], abs=1e-4
        )
        assert [s.entropy for s in scores[1:] if s] == pytest.approx(
            [float(-(line.exp() * line).sum()) for line in logp[: len(ids) - 1]], abs=1e-4
        )


def fails(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Runs a command that must fail; returns what it said."""
    try:
        status: object = main(["inspect", *args])
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    return capsys.readouterr().err


def test_mistakes_end_in_one_clear_message(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone holds no collection" in fails(capsys, str(tmp_path / "gone"))
    assert "dataset holds no collection" in fails(capsys, str(run / "dataset"))
    assert "invalid choice: 'prefx'" in fails(capsys, str(run), "--target=prefx")
    assert "'0' is not a number of at least 1" in fails(capsys, str(run), "--limit=0")
    assert "no such folder" in fails(capsys, str(run), "--model=gone/nowhere/model")
    assert "was collected with the tokenizer of" in fails(capsys, str(run), "--model=mini")
    (tmp_path / "file").write_text("mine")
    assert "could not be written" in fails(capsys, str(run), f"--html={tmp_path / 'file' / 'page.html'}")
    said = fails(capsys, str(run), "--target=rollout")
    assert "holds no row for the target rollout" in said
    assert "it gives the final answer away" in said
    assert "--rejected" in said


def printed(found: Sequence[View]) -> str:
    return "\n".join(line.plain for i, view in enumerate(found, 1) for line in example_lines(view, i))


def test_rejected_interventions_can_be_looked_at_where_there_is_no_row(run: Path) -> None:
    summary, found = inspect(open_run(run), "rollout", 1, rejected=True, model=None)
    assert [view.id for view in found] == ["p/a/1/intervention"]
    assert summary.facts()["rows"] == "0"
    assert "rejected: it gives the final answer away" in printed(found)
    assert "[intervention · 6 tokens · weight 0]" in printed(found)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("inspect") / "collection"
    assert collect(out, "--engine.name=transformers", "--problems=mini:hard-train:4") == 0
    return out


@pytest.mark.parametrize("target", get_args(Target))
def test_a_real_collection(collected: Path, target: Target) -> None:
    run = open_run(collected)
    record = json.loads((collected / "collection.json").read_text())
    summary, found = inspect(run, target, limit=1, rejected=True, model="mini")
    assert summary.interventions == record["proposals"]
    assert dict(summary.rejected) == record["rejected"]
    rows = list(examples(run.store, TargetConfig(target), MINI))
    assert len(summary.lengths) == len(rows)
    assert summary.trained.total() == sum(map(bool, (w for row in rows for w in row.loss_weights)))
    for row, view in zip(rows[:1], found, strict=False):
        tokens = [token for span in view.spans for token in span.tokens]
        assert [token.id for token in tokens] == row.token_ids
        assert "".join(token.text for token in tokens) == MINI.decode(row.token_ids)
        assert all(token.score is not None for token in tokens[1:])
        assert f"{view.spans[-1].name}: mean log-prob" in printed([view])
    if target == "prefix_intervention":
        assert "<- the first error" in printed(found[:1])


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
