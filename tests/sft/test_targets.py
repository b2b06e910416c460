"""Masks: for every target and chat template, exactly the span's text is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.defects import Defect, DefectKind
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.sft.targets import Target, TargetConfig, examples
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

MINI = build_tokenizer()
END = MINI.eos_token_id
PROVENANCE = Provenance("mini", "", "vllm", "solve@1f2e3d4c", Sampling(), 0, [END])
LEAK = Defect(DefectKind.LEAK, "'2' (stated)")
PROMPT = MINI.encode("<|user|>1+2@4<|assistant|>")
ATTEMPT = MINI.encode("1+2=3\n\n3@4=7\n\n\\boxed{7}")
PREFIX, INTERVENTION = MINI.encode("1+2=3\n\n"), MINI.encode("3@4=2\n\n")
SUFFIX = MINI.encode("\\boxed{2}")


def rollout(id: str, token_ids: list[int], correct: bool = True, finish: str = "stop", parent: str = "") -> Rollout:
    start = [*PROMPT, *PREFIX, *INTERVENTION] if parent else PROMPT
    text = MINI.decode(token_ids, skip_special_tokens=True)
    return Rollout(
        id, "p", 0, start, token_ids, [-1.0] * len(token_ids), text, finish, "2", correct, PROVENANCE, parent
    )


def intervention(sample: int, rejected: Defect | None = None, right: int = 1) -> Intervention:
    return Intervention(
        id=f"p/a/{sample}/intervention",
        problem_id="p",
        rollout_id="p/a",
        proposal_id=f"p/a/{sample}",
        location=1,
        steps=3,
        content="3@4=2",
        prompt_ids=PROMPT,
        prefix_ids=PREFIX,
        intervention_ids=INTERVENTION,
        exact=True,
        rejected=rejected,
        guided_correct=right,
        guided_total=0 if rejected == LEAK else 4,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One hard problem with four interventions, the first leaking and the second without a right guided rollout; one solved."""
    store = Store(tmp_path / "dataset")
    solved = [rollout(f"q/{i}", [*ATTEMPT, END]) for i in range(2)]
    cut = rollout("q/2", ATTEMPT, finish="length")
    guided = [
        rollout("g0", [*SUFFIX, END], parent="p/a/2/intervention"),
        rollout("g1", [*MINI.encode("9\n\n"), *SUFFIX, END], parent="p/a/3/intervention"),
        rollout("g2", SUFFIX, finish="length", parent="p/a/3/intervention"),
    ]
    store.commit(
        {
            "problems": [Problem("p", "1+2@4", "3 > 2 > \\boxed{2}", "2")],
            "attempts": [rollout("p/a", ATTEMPT, correct=False), *solved, cut],
            "interventions": [
                intervention(0, LEAK),
                intervention(1, Defect(DefectKind.NEVER_RIGHT), 0),
                intervention(2),
                intervention(3),
            ],
            "guided": guided,
            "refined": [
                rollout("r0", [*ATTEMPT, END], correct=False),
                rollout("r1", [*PREFIX, *INTERVENTION, *SUFFIX, END]),
            ],
            OUTCOMES: [Outcome("p", "x", "hard", 1, 0, 10)],
        }
    )
    return store


def trained_text(example: SFTExample) -> str:
    """The text that carries loss, with special tokens shown."""
    return str(MINI.decode([t for t, w in zip(example.token_ids, example.loss_weights, strict=True) if w]))


WANTED: dict[Target, list[str]] = {
    "prefix_intervention": ["1+2=3\n\n3@4=2\n\n"],
    "intervention_only": ["3@4=2\n\n"],
    "prefix_intervention_suffix": ["1+2=3\n\n3@4=2\n\n\\boxed{2}<|end|>"],
    "reference": ["3 > 2 > \\boxed{2}<|end|>"],
    "self_refined": ["1+2=3\n\n3@4=2\n\n\\boxed{2}<|end|>"],
    "rollout": ["1+2=3\n\n3@4=7\n\n\\boxed{7}<|end|>"],
}


@pytest.mark.parametrize("target", WANTED)
def test_exactly_the_target_is_trained_on(store: Store, target: Target) -> None:
    found = list(examples(store, TargetConfig(target), MINI))
    assert [trained_text(e) for e in found] == WANTED[target]
    for example in found:
        assert MINI.decode(example.token_ids).startswith("<|user|>1+2@4<|assistant|>")
        assert example.spans[0] == Span("prompt", len(PROMPT), 0.0)


def test_without_the_filter_an_intervention_that_helped_nobody_is_taken(store: Store) -> None:
    (row,) = examples(store, TargetConfig(correctness_filter=False), MINI)
    assert row.id == "p/a/1/intervention"


def test_inexact_cuts_are_trained_on_unless_they_are_left_out(tmp_path: Path) -> None:
    inexact = Store(tmp_path / "inexact")
    records = [replace(intervention(2), exact=False), replace(intervention(3), rollout_id="p/b")]
    problems = [Problem("p", "1+2@4", "3 > 2 > \\boxed{2}", "2")]
    inexact.commit({"problems": problems, "interventions": records, OUTCOMES: [Outcome("p", "x", "hard", 2, 0, 10)]})
    assert [e.id for e in examples(inexact, TargetConfig(), MINI)] == ["p/a/2/intervention", "p/a/3/intervention"]
    exact = TargetConfig(inexact_cuts=False)
    assert [e.id for e in examples(inexact, exact, MINI)] == ["p/a/3/intervention"]
    unfiltered = replace(exact, correctness_filter=False)
    assert [e.id for e in examples(inexact, unfiltered, MINI)] == ["p/a/3/intervention"]


def test_several_interventions_of_an_attempt(store: Store) -> None:
    ids = [e.id for e in examples(store, TargetConfig(interventions_per_attempt=4), MINI)]
    assert ids == ["p/a/2/intervention", "p/a/3/intervention"]


def test_a_suffix_is_a_whole_right_rollout_from_that_very_intervention(store: Store) -> None:
    config = TargetConfig("prefix_intervention_suffix", interventions_per_attempt=2)
    assert [trained_text(e)[-22:] for e in examples(store, config, MINI)] == [
        "3@4=2\n\n\\boxed{2}<|end|>"[-22:],
        "2\n\n9\n\n\\boxed{2}<|end|>"[-22:],
    ]


def test_every_span_has_the_weight_it_was_given(store: Store) -> None:
    (row,) = examples(store, TargetConfig(weights={"prefix": 0.25, "intervention": 2.0}), MINI)
    assert [(s.name, s.weight) for s in row.spans] == [("prompt", 0.0), ("prefix", 0.25), ("intervention", 2.0)]
    assert row.loss_weights == [0.0] * len(PROMPT) + [0.25] * len(PREFIX) + [2.0] * len(INTERVENTION)


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([Span("prompt", 2, 1.0), Span("prefix", 1, 1.0)], "train on its prompt"),
        ([Span("prompt", 2, 0.0), Span("prefix", 1, 0.0)], "train on no token"),
        ([Span("prompt", 2, 0.0), Span("prefix", 2, 1.0)], "its spans have 4"),
        ([Span("prompt", 2, 0.0), Span("prefix", 1, -1.0)], "below 0"),
        ([Span("prefix", 1, 1.0), Span("rest", 2, 0.0)], "train on no token"),
    ],
)
def test_a_wrong_mask_names_its_row(spans: list[Span], said: str) -> None:
    with pytest.raises(UserError, match=f"row 'r7'.*{said}"):
        SFTExample("r7", "p", [1, 2, 3], spans)


@pytest.mark.parametrize(
    "target", ["prefix_intervention", "intervention_only", "prefix_intervention_suffix", "reference"]
)
def test_rows_of_a_real_collection_hold_their_spans_texts(dataset: Path, target: Target) -> None:
    collected = Store(dataset / "dataset")
    found = list(examples(collected, TargetConfig(target), MINI))
    assert found
    interventions = {i.id: i for i in collected.read("interventions", Intervention)}
    problems = {p.id: p for p in collected.read("problems", Problem)}
    for row in found:
        texts, start = {}, 0
        for span in row.spans:
            texts[span.name] = MINI.decode(row.token_ids[start : start + span.tokens])
            start += span.tokens
        assert texts["prompt"] == f"<|user|>{problems[row.problem_id].problem}<|assistant|>"
        if target == "reference":
            assert texts["solution"] == problems[row.problem_id].solution
            assert texts["end"] == "<|end|>"
        else:
            assert texts["intervention"] == interventions[row.id].content + "\n\n"
            assert texts["prefix"] == MINI.decode(interventions[row.id].prefix_ids)
            assert ("end" in texts) == (target == "prefix_intervention_suffix")
