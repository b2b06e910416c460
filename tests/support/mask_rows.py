"""Collections written by hand, and what the rows made of them are to train on."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest

from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.prompts.chat import encode_chat, encode_text
from int_lightning.sft.targets import Target, TargetConfig, examples
from int_lightning.steps import cuts
from int_lightning.types import (
    Intervention,
    Outcome,
    Problem,
    Provenance,
    Rollout,
    Sampling,
    SFTExample,
    UserError,
)

from model_families import Family

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


def refused(collection: Collection, config: TargetConfig) -> str:
    """What is said of the row, which is named."""
    with pytest.raises(UserError) as caught:
        collection.rows(config)
    assert f"row {ROWS[config.target]!r}" in str(caught.value)
    return str(caught.value)
