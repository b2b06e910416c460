"""Masks: whatever the tokenizer, the chat template and the texts, exactly the text of the target's spans is trained on."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_rows import ROWS, SPANS, TARGETS, WORDS, Collection, Texts, check, refused, texts_for, weights_of

from int_lightning.prompts.chat import encode_text
from int_lightning.sft.targets import Target, TargetConfig

from model_families import FAMILIES, family


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
