"""Error categories: what is asked, what is read from the answer, and what is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

import int_lightning.mini
from int_lightning.collect.categories import (
    GREEDY,
    Category,
    ErrorCategory,
    error_categories,
    parse_category,
)
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.grading.grader import Grader
from int_lightning.oracles.base import Attempt
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.steps import decode
from int_lightning.types import Intervention, Outcome, Problem, Provenance, Rollout, Sampling, derive_seed

STEPS = ["1+2=3\n\n", "3@4=7\n\n", "\\boxed{7}"]
PROBLEM = Problem("p", "1+2@4", "3 > 2 > \\boxed{2}", "2")
ROLLOUT = Rollout("r", "p", 0, [], [], [], "".join(STEPS), "stop", "7", False, Provenance("", "", "", "", GREEDY, 0))
ATTEMPT = Attempt(PROBLEM, ROLLOUT, STEPS)
FIRST = Intervention("r/policy/0/intervention", "p", "r", "r/policy/0", 1, 3, "3@4=2", [], [], [], True)
SECOND = Intervention("r/policy/1/intervention", "p", "r", "r/policy/1", 0, 3, "1+2=4", [], [], [], True)
SHORT = Sampling(max_tokens=16, temperature=0)


@pytest.mark.parametrize(
    ("raw", "category"),
    [
        ("The plan fails.\n<category>HIGH</category>", "high"),
        ("A slip. <category> execution\n</category> Done.", "execution"),
        ("<category>HIGH</category> no: <category>EXECUTION</category>", "execution"),
        ("<category>EXECUTION</category> or <category>none</category>", "unknown"),
        ("<category>HIGH or EXECUTION</category>", "unknown"),
        ("<category>HIGH", "unknown"),
        ("HIGH", "unknown"),
        ("<category></category>", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_label_in_the_last_tag_counts(raw: str, category: str) -> None:
    assert parse_category(raw) == category


@given(st.text() | st.lists(st.sampled_from(["<category>", "</category>", "HIGH", "EXECUTION", "x"])).map("".join))
def test_any_output_gives_a_category(raw: str) -> None:
    assert parse_category(raw) in get_args(Category)
    if parse_category(raw) != "unknown":
        assert parse_category(raw).upper() in raw.upper()


@pytest.fixture(scope="module")
def policy() -> Iterator[RolloutSampler]:
    folder = str(Path(int_lightning.mini.__file__).parent / "base")
    engine = open_engine(folder, EngineConfig(threads=1, max_model_len=256, max_num_seqs=64))
    with Grader() as grader:
        yield RolloutSampler(engine, AutoTokenizer.from_pretrained(folder), PromptSet("mini"), grader, "mini", "abc", 5)


def with_template(policy: RolloutSampler, folder: Path, template: str) -> RolloutSampler:
    (folder / "solve.txt").write_text("{problem}")
    (folder / "categorise.txt").write_text(template)
    return replace(policy, prompts=PromptSet(str(folder)))


def test_what_the_model_says_is_kept_with_where_it_came_from(policy: RolloutSampler, tmp_path: Path) -> None:
    sampler = with_template(policy, tmp_path, "{problem}\n{reference}\n{attempt}\n{location}\n{intervention}")
    items = [(ATTEMPT, FIRST), (ATTEMPT, SECOND)]
    records = asyncio.run(error_categories(items, sampler, SHORT))
    asked = [
        "1+2@4\n3 > 2 > \\boxed{2}\nStep 0: 1+2=3\n\nStep 1: 3@4=7\n1\n3@4=2",
        "1+2@4\n3 > 2 > \\boxed{2}\nStep 0: 1+2=3\n0\n1+2=4",
    ]
    prompts = [encode_chat(sampler.tokenizer, [{"role": "user", "content": text}]) for text in asked]
    seeds = [derive_seed(5, "categorise", name) for name in ("r/policy/0", "r/policy/1")]
    said = [decode(sampler.tokenizer, c.token_ids) for c in sampler.engine.generate(prompts, SHORT, seeds)]
    version = sampler.prompts.versions["categorise"]
    assert records == [
        ErrorCategory(
            f"{name}/intervention/category",
            "p",
            name,
            "unknown",
            raw,
            Provenance("mini", "abc", sampler.engine.name, version, SHORT, seed, ends=[sampler.tokenizer.eos_token_id]),
        )
        for name, raw, seed in zip(("r/policy/0", "r/policy/1"), said, seeds, strict=True)
    ]
    assert all(said)
    store = Store(tmp_path / "dataset")
    store.commit({"categories": records, OUTCOMES: [Outcome("p", "x.jsonl", "hard", 8, 0, 100)]})
    assert list(store.read("categories", ErrorCategory)) == records
    assert asyncio.run(error_categories([], sampler)) == []


def test_a_question_that_does_not_fit_is_not_asked(policy: RolloutSampler, tmp_path: Path) -> None:
    sampler = with_template(policy, tmp_path, "{reference}")
    long = replace(ATTEMPT, problem=replace(PROBLEM, solution="1" * 250))
    before = sampler.engine.tokens_generated
    one, two = asyncio.run(error_categories([(long, FIRST), (ATTEMPT, FIRST)], sampler, SHORT))
    assert (one.category, one.raw) == ("unknown", "")
    assert two.raw
    assert 0 < sampler.engine.tokens_generated - before <= 16


def test_an_intervention_without_location_is_refused(policy: RolloutSampler, tmp_path: Path) -> None:
    sampler = with_template(policy, tmp_path, "{attempt}")
    for location in (-1, 3):
        with pytest.raises(ValueError, match=f"names step {location} of an attempt with 3 steps"):
            asyncio.run(error_categories([(ATTEMPT, replace(FIRST, location=location))], sampler))


def test_the_shipped_prompt_shows_everything_and_asks_for_one_tag() -> None:
    template = PromptSet("math").templates["categorise"]
    for part in ("problem", "reference", "attempt", "location", "intervention"):
        assert template.count(f"{{{part}}}") == 1
    assert "HIGH" in template
    assert template.endswith("<category>EXECUTION</category>")
