"""Rows that must not be trained on, or end with the wrong tokens, are named; what a chat template may change, and what not."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest
from mask_rows import SUMS, TARGETS, WORDS, Collection, check, refused, texts_for, weights_of

from int_lightning.prompts.chat import encode_text
from int_lightning.sft.targets import Target, TargetConfig
from int_lightning.steps import SEPARATORS
from int_lightning.types import (
    SFTExample,
    Span,
    UserError,
)

from model_families import FAMILIES, SHOWS_AN_EMPTY_THOUGHT, STRIPS_EVERY_THOUGHT, family, with_template


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
