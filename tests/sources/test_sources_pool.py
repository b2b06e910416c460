"""Pools: mixed the same way for the same seed, without duplicates or benchmark items, and stopped by too many bad rows."""

import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.sources.duplicates import Duplicates
from int_lightning.sources.hashes import HashMap, HashSet
from int_lightning.sources.pool import Pool, open_pool
from int_lightning.sources.reading import read
from int_lightning.sources.source_config import SourceConfig
from int_lightning.sources.text_tokens import text_tokens
from int_lightning.types import Problem, UserError

from shared_data import SHARED, needs_shared

WORDS = [a + b for a in "bdfgklmnprstvz" for b in ("ane", "obi", "ulla", "est", "inor", "aph", "um")]
BOILERPLATE = (
    "The answer can be written $\\frac{m}{n}$, where $m$ and $n$ are relatively prime positive integers. Find $m + n$."
)


def text(seed: int, words: int = 40) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words)) + f" {seed}?"


def write(path: Path, problems: list[str], answers: list[str] | None = None, **columns: str) -> str:
    rows = [{"problem": p, "solution": "s", "answer": "1", **columns} for p in problems]
    for row, answer in zip(rows, answers or [], strict=bool(answers)):
        row["answer"] = answer
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def ids(pool: Pool) -> list[str]:
    return [problem.id for problem in pool]


def test_sources_are_mixed_by_weight_and_seed(tmp_path: Path) -> None:
    a = SourceConfig(write(tmp_path / "a.jsonl", [text(i) for i in range(1000)]), weight=3)
    b = SourceConfig(write(tmp_path / "b.jsonl", [text(i) for i in range(1000, 2000)]))
    first = ids(open_pool([a, b], seed=1))
    assert first == ids(open_pool([a, b], seed=1))
    assert first != ids(open_pool([a, b], seed=2))
    assert sorted(first) == sorted(f"{s}-{i:06d}" for s in "ab" for i in range(1000))
    assert [i for i in first if i[0] == "b"] == [f"b-{i:06d}" for i in range(1000)]
    assert 0.7 < Counter(i[0] for i in first[:1000])["a"] / 1000 < 0.8


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [text(i) for i in range(10)])
    path.write_text(path.read_text() + "not json\n" * 500)
    pool = open_pool([str(path)], limit=10)
    assert len(list(pool)) == 10
    assert pool.summary.total.rows == 10


def test_ids_are_unique(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    a = write(tmp_path / "a.jsonl", [text(i) for i in range(3)], id="same")
    b = write(tmp_path / "x" / "a.jsonl", [text(i) for i in range(3, 5)])
    c = write(tmp_path / "c.jsonl", [text(9)], id="a-000001")
    found = ids(open_pool([a, b, c]))
    assert sorted(found) == ["a-000000", "a-000001", "a-000001~2", "same", "same~2", "same~3"]


def test_the_source_of_a_problem_is_its_path(tmp_path: Path) -> None:
    a = SourceConfig(write(tmp_path / "a.jsonl", [text(1)]), attempts=32)
    mini = SourceConfig("mini:easy:3", attempts=128)
    attempts = {s.path: s.attempts for s in (a, mini)}
    assert Counter(attempts[p.source] for p in open_pool([a, mini])) == {32: 1, 128: 3}


def test_duplicates_are_found_within_and_across_sources(tmp_path: Path) -> None:
    start = "Let $x$ be a real number greater than one that a student found on a blackboard, with $\\frac{1}{x}+x=5$. "
    original = start + "Find the value of $x^{2}+\\frac{1}{x^2}$."
    retyped = (
        start.replace("$", " ").replace("frac", "dfrac").upper() + "find the value of\n\\(x^2 + \\frac 1 {x^{2}}\\)"
    )
    reworded = start + "Compute the value of $x^{2}+\\frac{1}{x^2}$."
    other_number = original.replace("=5", "=7")
    a = write(tmp_path / "a.jsonl", [original, retyped, reworded, other_number], ["23", "23", "23", "47"])
    b = write(tmp_path / "b.jsonl", [original], ["23"])
    pool = open_pool([a, b])
    assert len(list(pool)) == 2
    total = pool.summary.total
    assert (total.rows, total.exact_duplicates, total.near_duplicates) == (5, 2, 1)


@pytest.mark.parametrize("first", ["with", "without"])
@pytest.mark.parametrize("seed", range(4))
def test_the_copy_with_a_reference_solution_is_kept_whichever_comes_first(
    tmp_path: Path, first: str, seed: int
) -> None:
    texts = [text(i) for i in range(20)]
    solved, bare = write(tmp_path / "solved.jsonl", [*texts[::2], texts[1] + " Is it?"]), tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps({"problem": t, "answer": "1"}) + "\n" for t in texts))
    sources = [SourceConfig(solved), SourceConfig(str(bare), require_solution=False)]
    pool = open_pool(sources if first == "with" else sources[::-1], seed=seed)
    kept = list(pool)
    assert sorted(p.id for p in kept if p.solution) == [f"solved-{i:06d}" for i in range(11)]
    assert sorted(p.id for p in kept if not p.solution) == [f"bare-{i:06d}" for i in range(3, 20, 2)]
    assert pool.summary.total.exact_duplicates == 10
    assert pool.summary.total.near_duplicates == 1


def test_a_pool_in_which_every_row_needs_a_solution_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [text(i) for i in range(10)])
    path.write_text(path.read_text() + "not json\n" * 500)
    assert len(list(open_pool([SourceConfig(str(path))], limit=10))) == 10


def test_two_gold_answers_for_one_text_are_counted_and_named(tmp_path: Path) -> None:
    texts = [text(1), text(1), text(2), text(2), text(2), text(3), text(3)]
    path = write(tmp_path / "a.jsonl", texts, ["22", "21", r"\frac{1}{2}", "0.50", "x = 1/2", "12", "12.0"])
    pool = open_pool([path])
    assert len(list(pool)) == 3
    assert pool.summary.total.exact_duplicates == 4
    assert pool.summary.total.conflicting_answers == 1
    (found,) = pool.summary.conflicts
    assert (found.source, found.id, found.answer, found.other) == (path, "a-000001", "21", "22")


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)), max_size=300), st.integers(1, 30))
def test_a_hash_map_is_a_map(pairs: list[tuple[int, int]], fresh: int) -> None:
    ours, theirs = HashMap(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("int_lightning.sources.hashes._FRESH", fresh)
        for key, value in [*pairs, *((key, value ^ 1) for key, value in pairs[::3])]:
            ours.put(key, value)
            theirs[key] = value
    assert {key: ours.get(key) for key in theirs} == theirs
    assert all(ours.get(key ^ 1) == theirs.get(key ^ 1) for key, _ in pairs)


def test_near_copies_are_found_among_many_and_nothing_else() -> None:
    rng = random.Random(0)
    originals = [f"{text(i, 60)} Is it {i}?" for i in range(1000)]
    copies = []
    for original in originals:
        words = original.split()
        words[rng.randrange(60)] = rng.choice(WORDS)
        copies.append(" ".join(words).replace("Is it", "Is this"))
    rng.shuffle(copies)
    duplicates = Duplicates()
    assert [duplicates.find(text_tokens(t), "7") for t in originals] == [""] * 1000
    assert sum(duplicates.find(text_tokens(t), "7") == "near" for t in copies) > 980


def test_problems_that_differ_in_a_number_or_the_answer_are_no_duplicates() -> None:
    duplicates = Duplicates()
    long = text(0, 100)
    assert duplicates.find(text_tokens(long + " Divide by 7."), "1") == ""
    assert duplicates.find(text_tokens(long + " Divide by 9."), "1") == ""
    assert duplicates.find(text_tokens(long + " Divide by 7 now."), "2") == ""
    assert duplicates.find(text_tokens(long + " Divide by 7 then."), r"\frac{1}{2}") == ""
    assert duplicates.find(text_tokens(long + " Divide by 7 once."), "1/2") == "near"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"$\dfrac{1}{2}$", r"\frac 1 2"),
        (r"\left( x + 1 \right)", "(x+1)"),
        ("1,000 apples", "1000 Apples."),
        ("a 1{,}000", "a 1000"),
        (r"x \leq \text{ten}", r"x\le ten"),
        (r"$x^{2}$", "x ^ 2"),
        (r"\(x\) and \[y\]", "$x$ and $$y$$"),
        ("a − b", "a - b"),
        (r"1, 2, \ldots, n", "1, 2, ..., n"),
        ("ｘ＋１", "x+1"),
    ],
)
def test_typesetting_does_not_count(one: str, other: str) -> None:
    assert text_tokens(one) == text_tokens(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x + y", "x - y"),
        ("2^{n}+1", "2^{n+1}"),
        ("12 3", "1 23"),
        ("1.5", "15"),
        ("n!", "n"),
        (r"\sin x", r"\cos x"),
        ("7@2", "7+2"),
        ("a_1", "a1"),
        ("x > 1", "x < 1"),
        (r"\frac{1}{23}", r"\frac{12}{3}"),
    ],
)
def test_what_changes_the_meaning_counts(one: str, other: str) -> None:
    assert text_tokens(one) != text_tokens(other)


@given(st.text())
def test_tokens_do_not_depend_on_spacing(problem: str) -> None:
    found = text_tokens(problem)
    assert text_tokens(" ".join(found)) == found
    assert text_tokens(" ".join(problem.split())) == found
    assert text_tokens(f"${problem}$") == found


@given(st.text(st.characters(codec="ascii")))
def test_tokens_do_not_depend_on_case(problem: str) -> None:
    assert text_tokens(problem.upper()) == text_tokens(problem.lower()) == text_tokens(problem)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=400), st.integers(1, 50))
def test_a_hash_set_is_a_set(values: list[int], at_a_time: int) -> None:
    ours, theirs = HashSet(), set()
    for start in range(0, len(values), at_a_time):
        some = values[start : start + at_a_time]
        assert ours.contains(np.array(some, np.uint64)).tolist() == [v in theirs for v in some]
        ours.add(np.array([v for v in dict.fromkeys(some) if v not in theirs], np.uint64))
        theirs.update(some)
        assert len(ours) == len(theirs)


def test_a_large_hash_set_takes_eight_bytes_for_each() -> None:
    hashes, rng = HashSet(), np.random.default_rng(0)
    inside = [rng.integers(0, 2**63, 10_000, np.uint64) for _ in range(100)]
    for block in inside:
        hashes.add(block)
    assert len(hashes) == 1_000_000
    assert all(hashes.contains(block).all() for block in inside[::10])
    assert not hashes.contains(rng.integers(2**63, 2**64 - 1, 10_000, np.uint64)).any()
    assert sum(array.nbytes for array in hashes._sorted) <= 8_000_000
    assert len(hashes._sorted) < 8


def test_a_planted_benchmark_item_is_left_out_and_named(tmp_path: Path) -> None:
    items = [f"{text(i, 30)} {BOILERPLATE}" for i in range(20)] + ["Compute $2+2$.", "Is $2-2$ zero?"]
    benchmark = write(tmp_path / "bench.jsonl", items, ["7"] * 22)
    unrelated = [f"{text(100 + i, 30)} {BOILERPLATE}" for i in range(50)] + ["Is $2+2$ zero?"]
    planted = [
        "Solve: " + items[3].replace("$", ""),
        "Compute \\(2 + 2\\)",
        text(200) + " " + " ".join(items[5].split()[:45]),
    ]
    pool = open_pool([write(tmp_path / "pool.jsonl", unrelated + planted)], decontaminate=[benchmark])
    assert ids(pool) == [f"pool-{i:06d}" for i in range(51)]
    found = [(c.id, c.item.id, c.item.source) for c in pool.summary.contaminated]
    assert found == [
        ("pool-000051", "bench-000003", benchmark),
        ("pool-000052", "bench-000020", benchmark),
        ("pool-000053", "bench-000005", benchmark),
    ]
    assert pool.summary.total.contaminated == 3


def test_a_benchmark_needs_no_answers_but_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps({"question": text(1), "answer": None, "name": "first"}) + "\n")
    pool = open_pool(
        [write(tmp_path / "a.jsonl", [text(1), text(2)])],
        decontaminate=[SourceConfig(str(path), {"problem": "question"})],
    )
    assert ids(pool) == ["a-000001"]
    path.write_text(json.dumps({"problem": text(1)}) + "\n" + json.dumps({"problem": None}) + "\n")
    with pytest.raises(UserError, match=r"bench.jsonl: row 2: key 'problem' is null"):
        open_pool([str(tmp_path / "a.jsonl")], decontaminate=[str(path)])


def test_too_many_bad_rows_stop_the_pool_after_a_hundred(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"problem": text(i), "solution": "s", "answer": "1"}) for i in range(1000)]
    lines[3] = lines[50] = "broken"
    path.write_text("\n".join(lines))
    stream = iter(open_pool([str(path)]))
    with pytest.raises(UserError) as caught:
        for _ in stream:
            pass
    for words in ("a.jsonl: 2 of 100 rows", "quarantine_limit (1.0%)", "row 4 (a-000003): not JSON", "row 51"):
        assert words in str(caught.value)
    pool = open_pool([str(path)], quarantine_limit=0.02)
    assert len(list(pool)) == 998
    assert pool.summary.total.quarantined == {"not JSON": 2}
    assert [q.row for q in pool.summary.quarantined] == [4, 51]


def test_a_short_source_is_judged_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [text(i) for i in range(50)])
    path.write_text("broken\n" + path.read_text())
    seen = []
    with pytest.raises(UserError, match="1 of 51 rows"):
        seen.extend(open_pool([str(path)]))
    assert len(list(open_pool([str(path)], quarantine_limit=0.05))) == 50


def test_the_summary_accounts_for_every_row_and_is_json(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [text(i) for i in range(10)] + [text(3)])
    pool = open_pool([a, "mini:hard-train:20"], decontaminate=["mini:hard-train:1"])
    kept = list(pool)
    total = pool.summary.total
    assert total.kept == len(kept) == 29
    assert (total.rows, total.exact_duplicates, total.contaminated) == (31, 1, 1)
    assert json.loads(json.dumps(pool.summary.as_dict()))["sources"][a] == {
        "rows": 11,
        "kept": 10,
        "exact_duplicates": 1,
        "near_duplicates": 0,
        "contaminated": 0,
        "conflicting_answers": 0,
        "quarantined": {},
    }
    assert list(pool) == kept


def test_no_problem_of_the_mini_world_counts_as_a_duplicate() -> None:
    assert len(list(open_pool(["mini:hard-train", "mini:hard-test", "mini:easy"]))) == 440


def test_mistakes_in_a_pool_stop_at_once(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [text(1)])
    for arguments, words in (
        ({"sources": []}, "no sources"),
        ({"sources": [a, a]}, "given twice"),
        ({"sources": [a], "limit": 0}, "limit is 0"),
        ({"sources": [a], "quarantine_limit": 1.5}, "quarantine_limit is 1.5"),
        ({"sources": [a], "decontaminate": ["missing.jsonl"]}, "missing.jsonl"),
    ):
        with pytest.raises(UserError, match=words):
            open_pool(**arguments)
    with pytest.raises(UserError, match=r"missing\.jsonl"):
        iter(open_pool([a, "missing.jsonl"]))


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the 8-character pieces of the tokens."""
    a, b = (
        {t[i : i + 8] for i in range(len(t) - 7)} for t in (" ".join(text_tokens(one)), " ".join(text_tokens(other)))
    )
    return len(a & b) / len(a | b)


@needs_shared
def test_known_duplicates_of_dapo() -> None:
    source = SourceConfig(
        str(SHARED / "dapo_17k" / "dapo_math_17k.parquet"),
        {"problem": "prompt.0.content", "answer": "reward_model.ground_truth"},
        require_solution=False,
    )
    problems = [p for p in islice(read(source), 8000) if isinstance(p, Problem)]
    duplicates, kinds, seen, by_answer = Duplicates(), Counter[str](), set(), defaultdict(list)
    for p in problems:
        kind = duplicates.find(text_tokens(p.problem), p.answer)
        kinds[kind] += 1
        assert kind == "exact" or p.problem not in seen
        assert kind != "near" or max(similarity(p.problem, q) for q in by_answer[p.answer]) > 0.35
        seen.add(p.problem)
        by_answer[p.answer].append(p.problem)
    assert kinds["exact"] > 8000 - len(seen) > 50
    assert kinds["near"] > 200


STREAM = """
import resource, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

path, rows = sys.argv[1], 200_000
text = pa.array([f"{i} " * 40 for i in range(1000)])
solution = pa.array([f"{i} " * 120 for i in range(1000)])
def part(size):
    random = np.random.default_rng(0).integers(0, 1000, size)
    answers = pa.array(random.astype(str))
    texts = text.take(random)
    return pa.table({"problem": texts, "solution": solution.take(random), "answer": answers, "other": texts})
if sys.argv[2] == "write":
    with pq.ParquetWriter(path, part(1).schema) as writer:
        for _ in range(10):
            writer.write_table(part(rows // 10))
else:
    from int_lightning.sources.reading import read
    items = read(path)
    for _ in range(1000):
        next(items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in items) == rows - 1000
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_reading_200_000_rows_takes_no_more_memory_than_1000(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STREAM, str(tmp_path / "a.parquet")]
    subprocess.run([*command, "write"], check=True)
    grown = subprocess.run([*command, "read"], check=True, capture_output=True, text=True).stdout
    assert float(grown) < 50  # MiB; the rows together are 130
