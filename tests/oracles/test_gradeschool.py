"""The arithmetic oracle: what it reads, where it places the error, what it puts there."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.oracles.gradeschool import GradeSchoolOracle, first_contradiction
from int_lightning.oracles.text_arithmetic import Equation, equations, numbers
from int_lightning.types import Problem

from shared_data import SHARED, needs_shared

PROBLEM = "Ann has 16 eggs. She eats three and bakes with 4, and sells the rest for $2 each. How much does she make?"
REFERENCE = "Ann sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18."


@pytest.mark.parametrize(
    ("text", "result", "false"),
    [
        ("so she makes 9 * 2 = $<<9*2=18>>18 every day", 18, False),
        (r"\[ \frac{24 \text{ feet}}{3 \text{ feet/bottle}} = 8 \text{ bottles} \]", 8, False),
        ("7995 (total cookies) - 2595 (rainbow cookies) = 4500.", 4500, True),
        ("Cost = $194/meter × 490 meters = $94,860.", 94860, True),
        ("8 portions * 2 kg/portion = 16 kg So, one", 16, False),
        ("Net = Total - Remaining amount = 5 - 3 = 2", 2, False),
        (r"\(40\% \times 25 = 0.4 \times 25 = 10\)", 10, False),
        ("1/4 of 20 = 5", 5, False),
        ("10 / 3 = 3.33", 3.33, False),
        ("10 / 3 = 3.5", 3.5, True),
        ("Time to cook = 28 - 5.", 23, False),
        ("2x + 3 = 11", 11, False),
        ("the 8 rooms in total = 4 * 4", 16, False),
        (r"(since \(30 \div 10 = 3\))", 3, False),
        ("2 * (3 + 4)\n= 15", 15, True),
    ],
)
def test_equations_as_people_write_them(text: str, result: float, false: bool) -> None:
    (found,) = equations(text)
    assert found.result == pytest.approx(result)
    assert found.false is false


def test_text_without_readable_equations_gives_none() -> None:
    for text in ("", "=", "x = y", "5 + = 3 / 0", "a 5-star hotel", "\\frac{1}{", "((((", "= = ="):
        assert not [e for e in equations(text) if e.false]


def test_step_numbers_and_ordinals_are_not_numbers() -> None:
    assert numbers("Step 2: on the 3rd day\n1. pay $1,250.50 for 4") == [1250.5, 4]


@given(st.integers(0, 99999), st.integers(1, 999), st.sampled_from("+-*"), st.integers(-3, 3))
def test_false_statements_are_found_exactly(a: int, b: int, op: str, off: int) -> None:
    stated = {"+": a + b, "-": a - b, "*": a * b}[op] + off
    (found,) = equations(f"That is {a:,} {op} {b} = ${stated:,} in all." if stated >= 0 else f"{a} {op} {b} = {stated}")
    assert found == Equation(stated, frozenset([float(a), float(b)]), off != 0)


@given(st.text(alphabet="0123456789.,+-*/=()% x$\\{}abc\n<>", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    list(equations(text))
    first_contradiction([text, "so 5"], REFERENCE, "18", text)


@pytest.mark.parametrize(
    "unit", ["(", "-", "1", "a ", "1 + ", "\\frac{", "(a ", "x ", "= ", "2*(", "9,999", "\n- ", "9" * 50 + "*"]
)
def test_a_model_caught_in_a_loop_does_not_stop_the_oracle(unit: str) -> None:
    text = "5 = " + unit * 3000
    first_contradiction([text, text], REFERENCE, "18", PROBLEM)


def test_a_false_statement_is_replaced_by_what_the_prefix_lacks() -> None:
    steps = ["She has 16 - 3 - 4 = 9 eggs.", "She makes 9 * 2 = 19.", "So 19."]
    assert first_contradiction(steps, REFERENCE, "18", PROBLEM) == (1, "She makes 9 * 2 = $18.")


def test_an_unsupported_result_is_an_error_although_it_adds_up() -> None:
    steps = ["Let us see.", "She has 16 - 4 = 12 eggs.", "She makes 12 * 2 = 24."]
    assert first_contradiction(steps, REFERENCE, "18", PROBLEM) == (1, "Ann sells 16 - 3 - 4 = 9 eggs.")


def test_a_result_does_not_count_as_right_for_being_in_the_problem() -> None:
    steps = ["Ann sells 4 * 4 = 16 eggs.", "So 32."]
    assert first_contradiction(steps, REFERENCE, "18", PROBLEM) == (0, "Ann sells 16 - 3 - 4 = 9 eggs.")


def test_right_attempts_have_no_error() -> None:
    for last in ("She makes $18.", r"\boxed{18} in 30 days", "9 * 2 = 18.00"):
        assert first_contradiction(["16 - 4 = 12, 12 - 3 = 9.", last], REFERENCE, "18", PROBLEM) is None
    assert first_contradiction(["So 18."], REFERENCE) is None


@pytest.mark.parametrize(
    ("last", "answer", "right"),
    [
        ("4 - 9 = 5. So the answer is 5", "-5", False),
        ("4 - 9 = -5. So the answer is -5", "-5", True),
        ("So it is $-5$.", "5", False),
        ("So it is 9 - 5.", "-5", False),
        ("so 5/2", "1/2", False),
        (r"so \boxed{-\frac{1}{2}}", "-0.5", True),
        ("It is 50%.", "0.5", True),
        ("It is 50%.", "50", True),
        ("It is 5%.", "0.5", False),
        ("so 2 1/2", "2.5", True),
        ("so 1,234", "1234", True),
        ("so 1,234", "234", False),
    ],
)
def test_a_final_answer_is_one_number_with_its_sign(last: str, answer: str, right: bool) -> None:
    found = first_contradiction(["We start.", last], "One step. Another step.", answer)
    assert (found is None) is right


def test_a_final_answer_of_the_other_sign_is_blamed_on_the_step_that_makes_it() -> None:
    assert first_contradiction(["4 - 9 = 5. So the answer is 5"], "4 - 9 = -5", "-5") == (0, "4 - 9 = -5")


def test_agreeing_steps_with_a_wrong_end_blame_the_end() -> None:
    steps = ["16 - 3 - 4 = 9.", "That is 9 * 2 = 18.", "I forgot the rest, so nothing: 7"]
    assert first_contradiction(steps, REFERENCE, "18", PROBLEM) == (2, "She makes 9 * 2 = $18.")


def test_the_replacement_never_rests_on_what_is_missing() -> None:
    reference = "A has 2 * 5 = 10.\nB has 3 * 5 = 15.\nTogether 10 + 15 = 25.\n#### 25"
    steps = ["B has 3 * 5 = 15.", "A has 2 * 5 = 11.", "Together 26."]
    assert first_contradiction(steps, reference, "25", "2 and 3 bags of 5") == (1, "A has 2 * 5 = 10.")
    skipped = ["Together 2 * 5 + 3 * 5 = 25.", "Half of it is 12.", "So 12."]
    assert first_contradiction(skipped, reference, "25", "2 and 3 bags of 5") == (2, "Together 10 + 15 = 25.")


def test_nothing_is_proposed_where_nothing_can_be() -> None:
    assert first_contradiction([], REFERENCE, "18") is None
    assert first_contradiction(["So 5."], "#### 18", "18") is None
    assert first_contradiction(["She makes  9 * 2 = $18.", "7"], "She makes 9 * 2 = $18.", "7") is None
    assert first_contradiction(["It is 5."], "It is 5.", "6") is None


def test_the_oracle_reads_the_problem_record() -> None:
    oracle = GradeSchoolOracle()
    problem = Problem("a", PROBLEM, REFERENCE, "18")
    assert oracle.name == "gradeschool"
    assert oracle.first_error(problem, ["She sells 16 - 3 = 13.", "26"]) == (0, "Ann sells 16 - 3 - 4 = 9 eggs.")


@needs_shared
def test_location_against_human_labels() -> None:
    """ProcessBench's GSM8K part: 207 attempts with a labelled first error, 193 without."""
    with gzip.open(SHARED / "processbench" / "gsm8k.json.gz", "rt") as file:
        attempts = json.load(file)
    with gzip.open(SHARED / "processbench" / "refs.jsonl.gz", "rt") as file:
        references = {row["id"]: row for row in map(json.loads, file)}
    hits: dict[bool, list[bool]] = {True: [], False: []}
    late = 0
    for attempt in attempts:
        reference = references[attempt["id"]]
        found = first_contradiction(
            attempt["steps"], reference["reference_solution"], reference["answer"], attempt["problem"]
        )
        location = found[0] if found else -1
        hits[attempt["label"] < 0].append(location == attempt["label"])
        late += 0 <= attempt["label"] < location
    wrong, right = (sum(hits[key]) / len(hits[key]) for key in (False, True))
    f1 = 2 * wrong * right / (wrong + right)
    print(f"first error found {wrong:.3f}, correct left alone {right:.3f}, F1 {f1:.3f}, too late {late}")
    assert wrong >= 0.48
    assert right >= 0.97
    assert late / len(hits[False]) <= 0.30


@needs_shared
def test_real_wrong_attempts_get_a_usable_step() -> None:
    """Four models' GSM8K test attempts: nearly every wrong one gets a clean step, right ones none."""
    counts = {True: [0, 0], False: [0, 0]}
    with gzip.open(SHARED / "gsm8k" / "example_model_solutions.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    for row in rows:
        reference, _, answer = row["ground_truth"].rpartition("A: ")
        for model in ("6b_finetuning", "175b_verification"):
            steps = [step for step in row[model]["solution"].split("\n") if step]
            found = first_contradiction(steps, reference, answer, row["question"])
            counts[row[model]["is_correct"]][0] += found is not None
            counts[row[model]["is_correct"]][1] += 1
            if found:
                location, content = found
                assert 0 <= location < len(steps)
                assert content.strip() == content != ""
                assert "\n" not in content
                assert "<<" not in content
                assert "####" not in content
    print(counts)
    assert counts[False][0] / counts[False][1] > 0.95
    assert counts[True][0] / counts[True][1] < 0.02
