"""Masks: whatever the tokenizer, the chat template and the texts, exactly the text of the target's spans is trained on."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, nan
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.prompts.chat import encode_chat, encode_text
from int_lightning.sft.targets import Target, TargetConfig, examples
from int_lightning.steps import SEPARATORS, cuts
from int_lightning.types import (
    Intervention,
    Outcome,
    Problem,
    Provenance,
    Rollout,
    Sampling,
    SFTExample,
    Span,
    UserError,
)

from model_families import FAMILIES, SHOWS_AN_EMPTY_THOUGHT, STRIPS_EVERY_THOUGHT, Family, family, with_template

TARGETS: tuple[Target, ...] = get_args(Target)
SPANS: dict[Target, list[str]] = {
    "prefix_intervention": ["prompt", "prefix", "intervention"],
    "intervention_only": ["prompt", "prefix", "intervention"],
    "prefix_intervention_suffix": ["prompt", "prefix", "intervention", "suffix", "end"],
    "reference": ["prompt", "solution", "end"],
    "self_refined": ["prompt", "solution", "end"],
    "rollout": ["prompt", "solution", "end"],
}
ROWS: dict[Target, str] = {
    "prefix_intervention": "p/a/0/intervention",
    "intervention_only": "p/a/0/intervention",
    "prefix_intervention_suffix": "p/a/0/intervention",
    "reference": "p/reference",
    "self_refined": "p/a/refined/0",
    "rollout": "q/0",
}
PROVENANCE = Provenance("m", "", "vllm", "solve@1f2e3d4c", Sampling(), 0)


@dataclass(frozen=True)
class Texts:
    """What a collection of one problem and one intervention says; the step at ``location`` is replaced."""

    problem: str
    steps: list[str]
    location: int
    content: str
    suffix: str
    solution: str


WORDS = Texts(
    problem="Ist é² ≤ 2 für 中文 🙂?\n",
    steps=["  Let é = 1 ≤ 2 🙂.\n\n", "So é = 中.\n\n", "中文: 2 ≤ 1.\n\n", "\\boxed{3}\n"],
    location=2,
    content="So 中文 ≤ é 🙂.",
    suffix=" Thus 🙂\n\n\\boxed{2} \n",
    solution="\n Zwei: é ≤ 2 🙂\n\n\\boxed{2}\n ",
)
SUMS = Texts("1+2@4", ["1+2=3\n\n", "3@4=7\n\n", "\\boxed{7}"], 1, "3@4=2", " > \\boxed{2} \n", "\n3 > 2 > \\boxed{2} ")


def texts_for(name: str) -> Texts:
    return SUMS if name == "mini" else WORDS


class Collection:
    """A collection written by hand: one hard problem with an intervention, and a problem that was solved."""

    def __init__(self, folder: Path, model: Family, texts: Texts, rng: random.Random | None = None) -> None:
        self.model = model
        self.texts = texts
        self.prompt = encode_chat(model.tokenizer, [{"role": "user", "content": texts.problem}])
        self.attempt = model.sample("".join(texts.steps), rng)
        self.cut = cuts(texts.steps, self.attempt, model.tokenizer)[texts.location]
        self.prefix = self.attempt[: self.cut.tokens]
        patch = encode_text(model.tokenizer, texts.content + "\n\n")
        self.intervention = Intervention(
            id="p/a/0/intervention",
            problem_id="p",
            rollout_id="p/a",
            proposal_id="p/a/0",
            location=texts.location,
            steps=len(texts.steps),
            content=texts.content,
            prompt_ids=self.prompt,
            prefix_ids=self.prefix,
            intervention_ids=patch,
            exact=self.cut.exact,
            guided_correct=1,
            guided_total=1,
        )
        ending = [*model.sample(texts.suffix, rng), model.end_id]
        start = [*self.prompt, *self.prefix, *patch]
        self.solved = self._rollout("q/0", "q", self.prompt, [*model.sample("".join(texts.steps), rng), model.end_id])
        self.guided = replace(
            self._rollout("g", "p", start, ending), parent=self.intervention.id, text=self._text(start + ending)
        )
        self.refined = self._rollout("p/a/refined/0", "p", [*self.prompt, *self.prompt], ending)
        self.store = Store(folder)

    def rows(self, config: TargetConfig) -> list[SFTExample]:
        if not self.store.batches():
            texts = self.texts
            wrong = replace(self._rollout("p/a", "p", self.prompt, self.attempt), correct=False, finish="length")
            self.store.commit(
                {
                    "problems": [Problem(p, texts.problem, texts.solution, "2") for p in "pq"],
                    "attempts": [wrong, self.solved],
                    "interventions": [self.intervention],
                    "guided": [self.guided],
                    "refined": [self.refined],
                    OUTCOMES: [Outcome("p", "x", "hard", 1, 0, 10), Outcome("q", "x", "solved", 1, 1, 10)],
                }
            )
        return list(examples(self.store, config, self.model.tokenizer))

    def wanted(self, target: Target) -> dict[str, bytes]:
        """What each span of the target's row is to say."""
        texts = self.texts
        shown = self.model.tokenizer.apply_chat_template(
            [{"role": "user", "content": texts.problem}], tokenize=False, add_generation_prompt=True
        )
        kept = "".join(texts.steps[: texts.location]).encode()
        solutions = {
            "reference": texts.solution.strip(),
            "self_refined": texts.suffix,
            "rollout": "".join(texts.steps),
        }
        said = {
            "prompt": shown.encode(),
            "prefix": kept if self.cut.exact else self.model.read(self.prefix),
            "intervention": f"{texts.content}\n\n".encode(),
            "suffix": texts.suffix.encode(),
            "solution": solutions.get(target, "").encode(),
            "end": self.model.end.encode(),
        }
        return {name: said[name] for name in SPANS[target]}

    def _rollout(self, id: str, problem_id: str, prompt_ids: list[int], token_ids: list[int]) -> Rollout:
        logprobs = [-1.0] * len(token_ids)
        text = self._text(token_ids)
        provenance = replace(PROVENANCE, ends=[self.model.end_id])
        return Rollout(id, problem_id, 0, prompt_ids, token_ids, logprobs, text, "stop", "2", True, provenance)

    def _text(self, token_ids: list[int]) -> str:
        return str(self.model.tokenizer.decode(token_ids, skip_special_tokens=True))


def weights_of(target: Target, given: Mapping[str, float]) -> dict[str, float]:
    """The weight each span of a target is to have."""
    weights = {name: given.get(name, 1.0) for name in SPANS[target]} | {"prompt": 0.0}
    return weights | {"prefix": 0.0} if target == "intervention_only" else weights


def check(row: SFTExample, collection: Collection, target: Target, given: Mapping[str, float]) -> None:
    """Every claim about a row at once."""
    model, wanted, weights = collection.model, collection.wanted(target), weights_of(target, given)
    assert [span.name for span in row.spans] == SPANS[target]
    said, start = {}, 0
    for span in row.spans:
        said[span.name] = model.read(row.token_ids[start : start + span.tokens])
        start += span.tokens
        assert span.weight == weights[span.name]
    assert said == wanted
    assert start == len(row.token_ids)
    trained = [t for t, weight in zip(row.token_ids, row.loss_weights, strict=True) if weight]
    target_bytes = b"".join(wanted[name] for name in wanted if weights[name])
    assert model.read(trained) == target_bytes
    assert model.tokenizer.decode(trained) == target_bytes.decode(errors="replace")
    prompt = row.token_ids[: row.spans[0].tokens]
    assert model.tokenizer.decode(prompt).encode() == wanted["prompt"]
    of_template = encode_chat(model.tokenizer, [{"role": "user", "content": ""}])
    assert [t for t in prompt if t in model.special] == [t for t in of_template if t in model.special]
    assert model.read(prompt[:1]) == model.begin.encode() or not model.begin
    ends = [t for t in row.token_ids[len(prompt) :] if t in model.special]
    assert ends == ([model.end_id] if "end" in wanted else [])
    assert row.token_ids[-1:] == ends or not ends


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FAMILIES)
def test_exactly_the_targets_text_is_trained_on(name: str, target: Target, tmp_path: Path) -> None:
    collection = Collection(tmp_path, family(name), texts_for(name), random.Random(1))
    (row,) = collection.rows(TargetConfig(target))
    assert row.id == ROWS[target]
    check(row, collection, target, {})


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prefix_is_the_very_tokens_that_were_sampled(name: str, tmp_path: Path) -> None:
    model, texts = family(name), texts_for(name)
    collection = Collection(tmp_path, model, texts, random.Random(2))
    (row,) = collection.rows(TargetConfig())
    prompt, prefix, _ = (span.tokens for span in row.spans)
    assert row.token_ids[prompt : prompt + prefix] == collection.attempt[:prefix]
    assert collection.prefix != encode_text(model.tokenizer, "".join(texts.steps[: texts.location]))
    if name != "mini":  # a character in several tokens
        assert any("\ufffd" in model.tokenizer.decode([t]) for t in collection.prefix)


@pytest.mark.parametrize("target", ["prefix_intervention", "intervention_only", "prefix_intervention_suffix"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_boundary_inside_a_token_leaves_the_token_whole(name: str, target: Target, tmp_path: Path) -> None:
    model, texts = family(name), texts_for(name)
    text, tokens = "".join(texts.steps), model.sample("".join(texts.steps), None)
    pieces = [model.tokenizer.decode([t]) for t in tokens]
    inside = next(i for i, piece in enumerate(pieces) if i and len(piece) > 1 and "\ufffd" not in piece)
    boundary = len(model.read(tokens[:inside]).decode()) + 1
    cut_inside = replace(texts, steps=[text[:boundary], text[boundary:]], location=1)
    collection = Collection(tmp_path, model, cut_inside)
    assert not collection.cut.exact
    assert model.read(collection.prefix).startswith(text[:boundary].encode())
    (row,) = collection.rows(TargetConfig(target))
    check(row, collection, target, {})


def test_a_token_that_ends_inside_a_character_is_trained_on_as_it_was_sampled(tmp_path: Path) -> None:
    model = family("qwen3")
    texts = replace(WORDS, steps=["So \\boxed{3}.\n\n", "中文"], location=1)
    collection = Collection(tmp_path, model, texts)
    assert model.read(collection.prefix) == b"So \\boxed{3}.\n\n\xe4\xb8"
    (row,) = collection.rows(TargetConfig("prefix_intervention_suffix"))
    check(row, collection, "prefix_intervention_suffix", {})


def test_a_thought_in_a_solution_is_trained_on_where_the_template_leaves_it(tmp_path: Path) -> None:
    collection = Collection(tmp_path, family("qwen3"), replace(WORDS, solution="<think>\n2, no?\n</think>\n\nSo 2."))
    (row,) = collection.rows(TargetConfig("reference"))
    check(row, collection, "reference", {})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FAMILIES[1:])  # mini's vocabulary cannot spell them
def test_special_tokens_spelt_out_in_texts_are_text(name: str, target: Target, tmp_path: Path) -> None:
    model = family(name)
    spelt = f"1 <s>2{model.begin} {model.end}\n<|im_start|>assistant <|eot_id|>é"
    texts = Texts(spelt, [f"{spelt}.\n\n", "3"], 1, spelt, spelt, spelt)
    collection = Collection(tmp_path, model, texts, random.Random(1))
    (row,) = collection.rows(TargetConfig(target))
    check(row, collection, target, {})


def refused(collection: Collection, config: TargetConfig) -> str:
    """What is said of the row, which is named."""
    with pytest.raises(UserError) as caught:
        collection.rows(config)
    assert f"row {ROWS[config.target]!r}" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("target", TARGETS)
def test_a_row_that_trains_on_nothing_is_named(target: Target, tmp_path: Path) -> None:
    nothing = {name: 0.0 for name, weight in weights_of(target, {}).items() if weight}
    assert "train on no token" in refused(
        Collection(tmp_path, family("mini"), SUMS), TargetConfig(target, weights=nothing)
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_truncated_intervention_is_named_wherever_it_was_cut(name: str, tmp_path: Path) -> None:
    whole = Collection(tmp_path / "whole", family(name), texts_for(name))
    for kept in range(len(whole.intervention.intervention_ids)):
        cut = Collection(tmp_path / str(kept), whole.model, whole.texts)
        cut.intervention = replace(cut.intervention, intervention_ids=whole.intervention.intervention_ids[:kept])
        refused(cut, TargetConfig())


@pytest.mark.parametrize("separator", sorted(set(SEPARATORS.values())))
@pytest.mark.parametrize("name", FAMILIES)
def test_an_intervention_ends_with_what_separates_steps(name: str, separator: str, tmp_path: Path) -> None:
    collection = Collection(tmp_path, family(name), texts_for(name))
    ids = encode_text(collection.model.tokenizer, collection.texts.content + separator)
    collection.intervention = replace(collection.intervention, intervention_ids=ids)
    (row,) = collection.rows(TargetConfig("intervention_only"))
    trained = [t for t, weight in zip(row.token_ids, row.loss_weights, strict=True) if weight]
    assert collection.model.tokenizer.decode(trained) == collection.texts.content + separator


@pytest.mark.parametrize("name", FAMILIES)
def test_an_intervention_with_an_end_of_turn_is_named(name: str, tmp_path: Path) -> None:
    collection = Collection(tmp_path, family(name), texts_for(name))
    ids = [*collection.intervention.intervention_ids, collection.model.end_id]
    collection.intervention = replace(collection.intervention, intervention_ids=ids)
    refused(collection, TargetConfig())


@pytest.mark.parametrize("target", ["prefix_intervention_suffix", "self_refined", "rollout"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_rollout_ends_with_an_end_of_its_engine_and_with_no_other_token(
    name: str, target: Target, tmp_path: Path
) -> None:
    model = family(name)
    another = next(i for i in sorted(model.special) if i != model.end_id)
    for folder, change in {
        "another": lambda ids: [*ids[:-1], another],
        "twice": lambda ids: [*ids[:1], model.end_id, *ids[1:]],
        "none": lambda ids: ids[:-1],
    }.items():
        collection = Collection(tmp_path / folder, model, texts_for(name))
        for table in ("guided", "refined", "solved"):
            rollout = getattr(collection, table)
            setattr(collection, table, replace(rollout, token_ids=change(rollout.token_ids)))
        assert collection.rows(TargetConfig(target)) == []


@pytest.mark.parametrize("target", ["prefix_intervention_suffix", "self_refined", "rollout"])
def test_a_rollout_may_end_with_any_end_of_its_engine(target: Target, tmp_path: Path) -> None:
    model = family("llama3")
    another = next(i for i in sorted(model.special) if i != model.end_id)
    collection = Collection(tmp_path, model, WORDS)
    for table in ("guided", "refined", "solved"):
        rollout = getattr(collection, table)
        ended = replace(rollout.provenance, ends=[model.end_id, another])
        ids = [*rollout.token_ids[:-1], another]
        setattr(collection, table, replace(rollout, token_ids=ids, provenance=ended))
    (row,) = collection.rows(TargetConfig(target))
    assert row.token_ids[-1] == another
    assert row.spans[-1] == Span("end", 1, 1.0)


def test_a_suffix_that_goes_on_from_something_else_is_named(tmp_path: Path) -> None:
    collection = Collection(tmp_path, family("qwen3"), WORDS)
    collection.guided = replace(collection.guided, prompt_ids=collection.guided.prompt_ids[:-1])
    refused(collection, TargetConfig("prefix_intervention_suffix"))


@pytest.mark.parametrize(
    ("template", "solution"),
    [(STRIPS_EVERY_THOUGHT, "<think>\n2, no?\n</think>\n\nSo 2."), (SHOWS_AN_EMPTY_THOUGHT, "So 2.")],
    ids=["strips-thoughts", "adds-a-thought"],
)
def test_a_solution_that_the_template_rewrites_is_named(template: str, solution: str, tmp_path: Path) -> None:
    model = with_template("qwen3", template)
    said = refused(Collection(tmp_path, model, replace(WORDS, solution=solution)), TargetConfig("reference"))
    assert "chat_template.jinja" in said
    assert "So 2." in said


def test_a_template_that_strips_thoughts_leaves_a_solution_without_any(tmp_path: Path) -> None:
    collection = Collection(tmp_path, with_template("qwen3", STRIPS_EVERY_THOUGHT), WORDS)
    (row,) = collection.rows(TargetConfig("reference"))
    check(row, collection, "reference", {})


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "reference"])
def test_what_a_template_makes_of_solutions_does_not_concern_sampled_tokens(target: Target, tmp_path: Path) -> None:
    collection = Collection(tmp_path, with_template("qwen3", SHOWS_AN_EMPTY_THOUGHT), WORDS, random.Random(1))
    (row,) = collection.rows(TargetConfig(target))
    check(row, collection, target, {})


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([Span("prompt", 1, 0.0), Span("prefix", 2, nan)], "not finite"),
        ([Span("prompt", 1, 0.0), Span("prefix", 2, inf)], "not finite"),
        ([Span("prompt", 1, 0.0), Span("prefix", 3, 1.0), Span("end", -1, 1.0)], "fewer than 0 tokens"),
        ([Span("prefix", 2, 1.0), Span("prompt", 1, 0.0)], "prompt after its first span"),
    ],
)
def test_a_mask_that_cannot_be_meant_names_its_row(spans: list[Span], said: str) -> None:
    with pytest.raises(UserError, match=f"row 'r7'.*{said}"):
        SFTExample("r7", "p", [1, 2, 3], spans)


LETTERS = {"mini": "0123456789+-*@= \n"} | dict.fromkeys(FAMILIES[1:], "ab.1 \n\n\té≤中文丁🙂<>|\\")


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=25)
@given(data=st.data())
def test_masks_hold_for_all_texts_cuts_samplings_and_weights(name: str, data: st.DataObject) -> None:
    said = st.text(LETTERS[name], min_size=1, max_size=12)
    word = said.filter(str.strip)
    steps = data.draw(st.lists(said, min_size=2, max_size=5))
    texts = Texts(
        problem=data.draw(said),
        steps=steps,
        location=data.draw(st.integers(0, len(steps) - 1)),
        content=data.draw(word).strip(),
        suffix=data.draw(said),
        solution=data.draw(word),
    )
    target = data.draw(st.sampled_from(TARGETS))
    own = [s for s in SPANS[target] if s != "prompt" and (s, target) != ("prefix", "intervention_only")]
    weights = data.draw(st.dictionaries(st.sampled_from(own), st.sampled_from([0.0, 0.25, 2.0])))
    config = TargetConfig(target, weights=weights)
    with tempfile.TemporaryDirectory() as folder:
        collection = Collection(Path(folder), family(name), texts, random.Random(data.draw(st.integers(0, 99))))
        wanted, meant = collection.wanted(target), weights_of(target, weights)
        if any(wanted[span] and meant[span] for span in wanted):
            (row,) = collection.rows(config)
            check(row, collection, target, weights)
        else:
            assert "train on no token" in refused(collection, config)
