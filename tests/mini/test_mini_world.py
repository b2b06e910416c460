"""The mini world: its rules, splits and texts, the base model's training data, and the shipped base model."""

import json
import random
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

import int_lightning.mini
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.learn.micro_batches import TrainingRow
from int_lightning.mini.mini_tokenizer import PIECES, build_tokenizer
from int_lightning.mini.world import (
    FLAW,
    SPLITS,
    Chain,
    attempt,
    draw_chain,
    draw_training_chain,
    first_error,
    intervention_text,
    load_split,
    reference,
    right,
    solution_text,
    to_problem,
    wrong,
)
from int_lightning.oracles.proposals.parse import parse_proposal
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.sft.mini_pretraining import MiniPretrainData
from int_lightning.steps import split_steps
from int_lightning.types import Sampling, UserError

BASE = Path(int_lightning.mini.__file__).parent / "base"
TOKENIZER = build_tokenizer()
PROMPTS = PromptSet("mini")
CHAIN = re.compile(r"^(\d)((?:[-+*@]\d)+)$")
CHAINS = st.builds(lambda seed, hard: draw_chain(random.Random(seed), hard), st.integers(0, 2**32), st.booleans())


def parse(text: str) -> Chain:
    match = CHAIN.match(text)
    assert match is not None
    operations = match[2]
    return Chain(int(match[1]), tuple((operations[i], int(operations[i + 1])) for i in range(0, len(operations), 2)))


@pytest.mark.parametrize(
    ("a", "op", "b", "result"),
    [(7, "+", 5, 2), (3, "-", 8, 5), (8, "-", 3, 5), (7, "*", 6, 2), (0, "*", 9, 0), (2, "@", 3, 7), (3, "@", 2, 6)],
)
def test_rules(a: int, op: str, b: int, result: int) -> None:
    assert right(a, op, b) == result


def test_the_wrong_rule_is_nearly_always_wrong() -> None:
    assert wrong(7, 5) == 2
    assert sum(right(a, "@", b) == wrong(a, b) for a, b in product(range(10), repeat=2)) <= 10


def test_a_chain_written_out() -> None:
    chain = parse("7+3*2@5")
    assert str(chain) == "7+3*2@5"
    assert chain.values == [0, 0, 3]
    assert reference(chain) == "0 > 0 > 3 > \\boxed{3}"
    assert attempt(chain, random.Random(0), flaw=0.0) == ["7+3=0", "0*2=0", "0@5=3", "\\boxed{3}"]
    flawed = attempt(chain, random.Random(0), flaw=1.0)
    assert flawed == ["7+3=0", "0*2=0", "0@5=5", "\\boxed{5}"]
    assert first_error(chain, flawed) == (2, "0@5=3")
    problem = to_problem(chain, "easy", 12)
    assert (problem.id, problem.problem, problem.answer, problem.source) == ("easy-00012", "7+3*2@5", "3", "mini:easy")


@settings(deadline=None)
@given(CHAINS, st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_first_error_is_where_an_attempt_first_departs(chain: Chain, seed: int, flaw: float, slip: float) -> None:
    steps = attempt(chain, random.Random(seed), flaw, slip)
    correct = attempt(chain, random.Random(seed), 0.0)
    assert [int(step[-1]) for step in correct[:-1]] == chain.values
    departures = [i for i, (a, b) in enumerate(zip(steps, correct, strict=True)) if a != b]
    error = first_error(chain, steps)
    if not departures:
        assert error is None
    else:
        assert error == (departures[0], correct[departures[0]])
        parsed = parse_proposal(intervention_text(error), steps)
        assert (parsed.location, parsed.content, parsed.defect) == (*error, None)


@settings(deadline=None)
@given(CHAINS)
def test_chains_have_three_to_six_operations_and_at_most_one_hard(chain: Chain) -> None:
    assert 3 <= len(chain.operations) <= 6
    assert sum(op == "@" for op, _ in chain.operations) <= 1
    assert parse(str(chain)) == chain


def test_splits_are_disjoint_distinct_and_held_out() -> None:
    splits = {name: [p.problem for p in load_split(name)] for name in SPLITS}
    assert {name: len(set(chains)) for name, chains in splits.items()} == SPLITS
    assert len({p.problem for p in load_split("easy", 3000)}) == 3000
    assert len(set().union(*splits.values())) == sum(SPLITS.values())
    for name, chains in splits.items():
        assert {parse(chain).held_out for chain in chains} == {name != "hard-train"}
        assert {chain.count("@") for chain in chains} == {0 if name == "easy" else 1}


def test_the_wrong_rule_leads_to_a_wrong_answer_on_every_hard_problem() -> None:
    for split in SPLITS:
        for problem in load_split(split):
            flawed = attempt(parse(problem.problem), random.Random(0), flaw=1.0)[-1]
            assert (flawed == f"\\boxed{{{problem.answer}}}") is (split == "easy")


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_deterministic_and_its_beginning_does_not_depend_on_the_count(split: str) -> None:
    whole = load_split(split)
    assert load_split(split) == whole
    assert load_split(split, 7) == whole[:7]
    assert load_split(split, len(whole) + 5)[: len(whole)] == whole
    assert load_split(split, 0) == []
    assert len({p.id for p in whole}) == len(whole)


def test_an_unknown_split_is_named_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"'hard'.*hard-train, hard-test, easy"):
        load_split("hard")


@settings(deadline=None)
@given(CHAINS, st.integers(0, 2**32))
def test_the_tokenizer_takes_every_text_of_the_world(chain: Chain, seed: int) -> None:
    steps = attempt(chain, random.Random(seed), 0.5, 0.3)
    problem = to_problem(chain, "easy", 0)
    text = solution_text(steps)
    assert split_steps(text) == [s + "\n\n" for s in steps[:-1]] + steps[-1:]
    verify = PROMPTS.verify(problem, steps)[0]["content"]
    answers = [intervention_text(first_error(chain, steps)), intervention_text(None)]
    for piece in (text, problem.problem, problem.solution, verify, *answers):
        ids = TOKENIZER.encode(piece, add_special_tokens=False)
        assert TOKENIZER.unk_token_id not in ids
        assert TOKENIZER.decode(ids) == piece


def test_pieces_are_single_tokens_and_strangers_are_unknown() -> None:
    assert all(len(TOKENIZER.encode(piece, add_special_tokens=False)) == 1 for piece in PIECES)
    assert TOKENIZER.unk_token_id in TOKENIZER.encode("7/2", add_special_tokens=False)


def parts(row: TrainingRow) -> tuple[str, list[int]]:
    """Prompt as text, and the tokens that carry loss; the two make up the row."""
    start = row.weights.tolist().index(1.0)
    assert row.weights.tolist() == [0.0] * start + [1.0] * (len(row.token_ids) - start)
    return TOKENIZER.decode(row.token_ids[:start]), row.token_ids[start:].tolist()


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_pretraining_rows(step: int) -> None:
    data = MiniPretrainData(batch_size=60, solving=0.6)
    rows = data.rows(step)
    assert rows == MiniPretrainData(batch_size=60, solving=0.6).rows(step)
    assert rows != data.rows(step + 1)
    assert rows != MiniPretrainData(batch_size=60, solving=0.6, seed=1).rows(step)
    comparisons = rewritings = 0
    for row in rows:
        prompt, answer = parts(row)
        assert prompt.startswith("<|user|>")
        assert prompt.endswith("<|assistant|>")
        assert answer[-1] == TOKENIZER.eos_token_id
        assert TOKENIZER.unk_token_id not in row.token_ids
        response = TOKENIZER.decode(answer[:-1])
        asked = prompt.removeprefix("<|user|>").removesuffix("<|assistant|>")
        verify = re.fullmatch(r"Verify: (.*)\nReference: (.*)\n(Step 0.*)", asked, re.DOTALL)
        refine = re.fullmatch(r"Reference: ([^\n]*)\n(.*)\n([^\n]*)", asked, re.DOTALL)
        chain = parse(verify[1] if verify else refine[3] if refine else asked)
        assert not chain.held_out
        if refine:
            rewritings += 1
            assert refine[1] == reference(chain)
            assert response == solution_text(attempt(chain, random.Random(0), flaw=0.0))
            continue
        if verify:
            comparisons += 1
            steps = re.split(r"\n\nStep \d: ", verify[3].removeprefix("Step 0: "))
            assert verify[2] == reference(chain)
            assert response == intervention_text(first_error(chain, steps))
        else:
            assert re.fullmatch(r"(\d[-+*@]\d=\d\n\n){3,6}\\boxed\{\d\}", response)
    assert (comparisons, rewritings) == (15, 9)


@pytest.mark.parametrize(("flaw", "low", "high"), [(FLAW, 0.99, 1.0), (0.5, 0.42, 0.58), (0.0, 0.0, 0.0)])
def test_solutions_follow_the_wrong_rule_that_often(flaw: float, low: float, high: float) -> None:
    data, rng = MiniPretrainData(flaw=flaw), random.Random(5)
    uses = []
    for _ in range(1500):
        response = TOKENIZER.decode(parts(data.solution_row(rng))[1], skip_special_tokens=True)
        for a, op, b, result in re.findall(r"(\d)([-+*@])(\d)=(\d)", response):
            if op != "@":
                assert int(result) == right(int(a), op, int(b))
            elif right(int(a), op, int(b)) != wrong(int(a), int(b)):
                uses.append(int(result) == wrong(int(a), int(b)))
    assert len(uses) > 400
    assert low <= sum(uses) / len(uses) <= high


def test_training_chains_are_never_held_out() -> None:
    rng = random.Random(0)
    assert not any(draw_training_chain(rng, hard=i % 2 == 0).held_out for i in range(500))
    drawn = [draw_chain(rng, hard=False).held_out for _ in range(3000)]
    assert 0.15 < sum(drawn) / len(drawn) < 0.25


def test_the_shipped_model_is_small_and_loads() -> None:
    (weights,) = BASE.glob("*.safetensors")
    assert weights.stat().st_size <= 2_000_000
    with safe_open(weights, framework="pt") as tensors:
        stored = sum(tensors.get_tensor(name).numel() for name in tensors.keys())  # noqa: SIM118
    model = AutoModelForCausalLM.from_pretrained(BASE)
    assert sum(p.numel() for p in model.parameters()) == stored <= 1_000_000
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    assert tokenizer.chat_template == TOKENIZER.chat_template
    assert json.loads((BASE / "config.json").read_text())["vocab_size"] == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == TOKENIZER.eos_token_id


def solved(split: str) -> float:
    problems = load_split(split, 20)
    engine = TransformersEngine(str(BASE), EngineConfig(max_model_len=256))
    prompts = [encode_chat(TOKENIZER, PROMPTS.solve(p)) for p in problems]
    completions = engine.generate(prompts, Sampling(max_tokens=80, temperature=0), [0] * len(problems))
    texts = [TOKENIZER.decode(c.token_ids, skip_special_tokens=True) for c in completions]
    return sum(t.endswith(f"\\boxed{{{p.answer}}}") for t, p in zip(texts, problems, strict=True)) / len(problems)


def test_the_base_solves_easy_problems_and_not_the_hard_ones() -> None:
    assert solved("easy") >= 0.9
    assert solved("hard-test") <= 0.25
