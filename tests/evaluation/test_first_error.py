"""First-error scores: hand-computed F1, and oracles on real and mini attempts."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_rows import items
from rich.console import Console
from transformers import AutoTokenizer

import int_lightning.mini
from int_lightning import console
from int_lightning.defects import Defect, DefectKind
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.evaluation.first_error import first_error_scores, predict, show_first_error_scores
from int_lightning.evaluation.labelled_attempts import NO_ERROR, load_labelled_attempts
from int_lightning.grading.grader import Grader
from int_lightning.oracles.base import Attempt, Oracle, ProgramOracle
from int_lightning.oracles.gradeschool import GradeSchoolOracle
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Problem, Proposal, Sampling, UserError

from shared_data import SHARED, needs_shared


class Saying(ProgramOracle):
    """Names the step it was given for each problem; None for no error."""

    name = "saying"

    def __init__(self, said: Sequence[int | None]) -> None:
        self.said = said

    def first_error(self, problem: Problem, steps: Sequence[str]) -> tuple[int, str] | None:
        location = self.said[int(problem.problem)]
        return None if location is None else (location, "so it is 5")


class Writing(Oracle):
    """Writes the outputs it was given for every attempt."""

    name = "writing"

    def __init__(self, *raw: str, waiting: bool = False) -> None:
        self.raw = raw
        self.waiting = waiting

    async def propose(self, attempts: Sequence[Attempt], sampler: object) -> list[list[Proposal]]:
        found = [[self.proposal(a, i, text) for i, text in enumerate(self.raw)] for a in attempts]
        if self.waiting:
            waiting = Defect(DefectKind.WAITING, "no connection")
            return [[replace(p, defect=waiting) for p in proposals] for proposals in found]
        return found


def at(location: int) -> str:
    return f'<intervention>{{"location": {location}, "content": "so it is 5"}}</intervention>'


def test_f1_computed_by_hand(tmp_path: Path) -> None:
    labelled = items(tmp_path, [0, 1, 1, 2, -1, -1])
    scores = first_error_scores(Saying([0, 0, 2, None, None, 1]), labelled, None)
    found = scores["subsets"]["x"]
    assert found["erroneous"]["mean"] == 1 / 4
    assert found["right"]["mean"] == 1 / 2
    assert found["f1"]["mean"] == pytest.approx(1 / 3)
    assert scores["f1"] == pytest.approx(1 / 3)
    assert scores["oracle"] == "saying"
    erroneous = {key: found["erroneous"][key] for key in ("attempts", "too_early", "too_late", "missed")}
    assert erroneous == {"attempts": 4, "too_early": 1, "too_late": 1, "missed": 1}
    assert found["right"]["attempts"] == 2
    assert found["unparsable"] == 0
    assert found["defects"] == {}
    for estimate in (found["f1"], found["erroneous"], found["right"]):
        assert 0 <= estimate["low"] <= estimate["mean"] <= estimate["high"] <= 1
    assert found["f1"]["low"] < found["f1"]["high"]


def test_the_table_has_a_row_for_each_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = items(tmp_path, [0, -1], "gsm8k") + items(tmp_path, [0, -1], "[b]two")
    shown = Console(file=io.StringIO(), width=120)
    monkeypatch.setattr(console, "console", shown)
    show_first_error_scores(first_error_scores(Saying([0, None]), labelled, None))
    text = shown.file.getvalue()
    assert "First wrong step by saying: mean F1 1.000" in text
    for name in ("gsm8k", "[b]two"):
        (line,) = (line for line in text.splitlines() if name in line)
        assert line.count("1.000 [1.000, 1.000]") == 3


def test_perfect_and_useless_oracles(tmp_path: Path) -> None:
    labelled = items(tmp_path, [0, 2, -1])
    perfect = first_error_scores(Saying([0, 2, None]), labelled, None)["subsets"]["x"]
    assert [perfect[k][v] for k in ("f1", "erroneous", "right") for v in ("mean", "low", "high")] == [1.0] * 9
    for said in ([1, 1, None], [0, 2, 0], [None, None, 1]):
        useless = first_error_scores(Saying(said), labelled, None)["subsets"]["x"]
        assert [useless["f1"][v] for v in ("mean", "low", "high")] == [0.0] * 3


def test_the_mean_is_over_subsets_and_not_over_attempts(tmp_path: Path) -> None:
    labelled = items(tmp_path, [0, -1, -1, -1], "one") + items(tmp_path, [1, -1], "two")
    scores = first_error_scores(Saying([0, None, None, None]), labelled, None)
    assert scores["subsets"]["one"]["f1"]["mean"] == 1.0
    assert scores["subsets"]["two"]["f1"]["mean"] == 0.0
    assert scores["f1"] == 0.5


def test_what_cannot_be_parsed_counts_as_wrong_and_is_counted(tmp_path: Path) -> None:
    labelled = items(tmp_path, [0, -1])
    found = first_error_scores(Writing("I see no error.", at(7)), labelled, None)["subsets"]["x"]
    assert found["f1"]["mean"] == found["right"]["mean"] == 0.0
    assert found["unparsable"] == 2
    assert sorted(found["defects"].values()) == [2, 2]
    nothing = first_error_scores(Writing("<intervention>{}</intervention>"), labelled, None)["subsets"]["x"]
    assert (nothing["right"]["mean"], nothing["erroneous"]["missed"], nothing["unparsable"]) == (1.0, 1, 0)


@pytest.mark.parametrize(
    ("raw", "prediction"),
    [
        ([at(1)], 1),
        ([at(0), at(1), at(1)], 1),
        ([at(2), at(1)], 2),
        (["", at(2), "?", "<intervention>{}</intervention>", "<intervention>{}</intervention>"], NO_ERROR),
        (["", at(9)], None),
        ([], None),
    ],
)
def test_the_prediction_of_several_proposals(tmp_path: Path, raw: list[str], prediction: int | None) -> None:
    (item,) = items(tmp_path, [0])
    oracle = Writing()
    assert predict([oracle.proposal(item.attempt, i, text) for i, text in enumerate(raw)]) == prediction


def test_an_oracle_that_owes_answers_gets_no_score(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 answers of oracle writing are missing .*no connection"):
        first_error_scores(Writing(at(0), waiting=True), items(tmp_path, [0, -1]), None)


@pytest.mark.parametrize(("labels", "lacking"), [([0, 1], "right"), ([-1, -1], "erroneous")])
def test_f1_of_one_kind_of_attempts_is_refused(tmp_path: Path, labels: list[int], lacking: str) -> None:
    with pytest.raises(UserError, match=f"'x' has no {lacking} attempts"):
        first_error_scores(Saying([0, 0]), items(tmp_path, labels), None)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(-1, 2), st.sampled_from([None, 0, 1, 2])), min_size=2, max_size=20))
def test_scores_are_those_of_the_definition(tmp_path_factory: pytest.TempPathFactory, pairs: list[Any]) -> None:
    pairs = [(-1, None), (0, 0), *pairs]
    labelled = items(tmp_path_factory.mktemp("x"), [label for label, _ in pairs])
    found = first_error_scores(Saying([said for _, said in pairs]), labelled, None)["subsets"]["x"]
    hits = [label == said for label, said in pairs if label >= 0]
    passed = [said is None for label, said in pairs if label < 0]
    a, b = sum(hits) / len(hits), sum(passed) / len(passed)
    assert found["f1"]["mean"] == pytest.approx(2 * a * b / (a + b))
    assert found["erroneous"]["mean"] == pytest.approx(a)
    assert found["right"]["mean"] == pytest.approx(b)


@pytest.fixture(scope="module")
def policy() -> Iterator[RolloutSampler]:
    folder = str(Path(int_lightning.mini.__file__).parent / "base")
    engine = open_engine(folder, EngineConfig(threads=1, max_model_len=256, max_num_seqs=64))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with Grader() as grader:
        yield RolloutSampler(engine, tokenizer, PromptSet("mini"), grader, "mini", "", 0)


def test_the_policy_on_the_mini_world(policy: RolloutSampler) -> None:
    labelled = load_labelled_attempts({"hard": "mini:hard-test:40", "easy": "mini:easy:40"})
    oracle = PolicyOracle(2, Sampling(max_tokens=48, temperature=0.7))
    scores = first_error_scores(oracle, labelled, policy)
    hard, easy = scores["subsets"]["hard"], scores["subsets"]["easy"]
    assert scores["oracle"] == "policy"
    assert hard["erroneous"]["attempts"] == hard["right"]["attempts"] == easy["right"]["attempts"] == 20
    assert hard["erroneous"]["mean"] > 0.4
    assert easy["right"]["mean"] > 0.6
    again = first_error_scores(oracle, labelled[::-1], policy)["subsets"]
    assert [again[s]["f1"] for s in ("hard", "easy")] == [hard["f1"], easy["f1"]]


@needs_shared
def test_the_arithmetic_oracle_on_processbench() -> None:
    folder = SHARED / "processbench"
    sources = {"gsm8k": str(folder / "gsm8k.json.gz"), "math": str(folder / "math.json.gz")}
    labelled = load_labelled_attempts(sources, str(folder / "refs.jsonl.gz"))
    assert len(labelled) == 1400
    assert sum(item.label == NO_ERROR for item in labelled) == 193 + 406
    scores = first_error_scores(GradeSchoolOracle(), [i for i in labelled if i.subset == "gsm8k"], None)
    found = scores["subsets"]["gsm8k"]
    assert (found["erroneous"]["attempts"], found["right"]["attempts"]) == (207, 193)
    assert 0.64 < found["f1"]["mean"] < 0.70
    assert 0.57 < found["f1"]["low"] < found["f1"]["high"] < 0.76
    assert found["unparsable"] == 0
