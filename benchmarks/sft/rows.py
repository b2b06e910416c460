"""Intervention rows of mixed length, for both sides: as a collection, and as JSON lines in the order of our steps."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, Qwen3Config

from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.learn.micro_batches import TrainingRow
from int_lightning.prompts.chat import encode_text
from int_lightning.sft.data import InterventionData
from int_lightning.steps import SEPARATOR
from int_lightning.types import Intervention, Outcome

PROMPT = (32, 128)  # tokens; at most half of prompt and prefix
STEP = 256  # tokens of a row for each further step of its intervention
SHAPES = {
    "qwen3-4b": Qwen3Config(
        vocab_size=151936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
    )
}


def make_interventions(
    tokenizer: PreTrainedTokenizerBase, count: int, shortest: int, longest: int
) -> list[Intervention]:
    """``count`` interventions that helped, each a row of between ``shortest`` and ``longest`` tokens."""
    draw = random.Random(0)
    return [_intervention(f"{i:05d}", draw, tokenizer, draw.randint(shortest, longest)) for i in range(count)]


def _intervention(name: str, draw: random.Random, tokenizer: PreTrainedTokenizerBase, length: int) -> Intervention:
    content = _sums(draw, 1 + length // STEP)
    intervention_ids = encode_text(tokenizer, content + SEPARATOR)
    ids = encode_text(tokenizer, _sums(draw, length // 10 + 1))[: length - len(intervention_ids)]
    start = min(draw.randint(*PROMPT), len(ids) // 2)
    return Intervention(
        id=name,
        problem_id=name,
        rollout_id=name,
        proposal_id=name,
        location=1,
        steps=2,
        content=content,
        prompt_ids=ids[:start],
        prefix_ids=ids[start:],
        intervention_ids=intervention_ids,
        exact=True,
        guided_correct=1,
        guided_total=1,
    )


def _sums(draw: random.Random, count: int) -> str:
    """``count`` steps of arithmetic, each of at least ten tokens."""
    pairs = ((draw.randrange(1000), draw.randrange(1000)) for _ in range(count))
    return SEPARATOR.join(f"Adding {b} to the {a} from before gives {a + b} in all." for a, b in pairs)


def write_collection(folder: Path, interventions: Sequence[Intervention]) -> None:
    """The part of a run folder of ``int-lightning collect`` that SFT reads."""
    outcomes = [Outcome(i.problem_id, "", "hard", 1, 0, 0) for i in interventions]
    Store(folder / "dataset").commit({"interventions": interventions, OUTCOMES: outcomes})


def rows_in_order(interventions: Sequence[Intervention], batch_size: int) -> list[TrainingRow]:
    """The rows in the order in which an epoch of ``InterventionData`` takes them, step by step."""
    data = InterventionData("", epochs=1, batch_size=batch_size)
    data.rows = [_row(i) for i in interventions]
    steps = -(-len(data.rows) // batch_size)
    return list(chain.from_iterable(map(data.rows_of, range(steps))))


def _row(i: Intervention) -> TrainingRow:
    trained = [*i.prefix_ids, *i.intervention_ids]
    weights = np.repeat([0.0, 1.0], [len(i.prompt_ids), len(trained)]).astype(np.float32)
    return TrainingRow(np.array([*i.prompt_ids, *trained], np.int32), weights)


def write_json_lines(path: Path, rows: Sequence[TrainingRow]) -> None:
    """Rows as TRL takes tokenised ones."""
    lines = [{"input_ids": row.token_ids.tolist(), "completion_mask": row.weights.astype(int).tolist()} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_random_model(folder: Path, shape: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """A model folder of that shape with random weights in bfloat16."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(SHAPES[shape], dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
