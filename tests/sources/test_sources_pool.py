"""Pools: mixed the same way for the same seed, without duplicates or benchmark items, and stopped by too many bad rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from int_lightning.sources.pool import Pool, open_pool
from int_lightning.sources.source_config import SourceConfig
from int_lightning.types import UserError

from source_files import random_text, write_problems

BOILERPLATE = (
    "The answer can be written $\\frac{m}{n}$, where $m$ and $n$ are relatively prime positive integers. Find $m + n$."
)


def ids(pool: Pool) -> list[str]:
    return [problem.id for problem in pool]


def test_sources_are_mixed_by_weight_and_seed(tmp_path: Path) -> None:
    a = SourceConfig(write_problems(tmp_path / "a.jsonl", [random_text(i) for i in range(1000)]), weight=3)
    b = SourceConfig(write_problems(tmp_path / "b.jsonl", [random_text(i) for i in range(1000, 2000)]))
    first = ids(open_pool([a, b], seed=1))
    assert first == ids(open_pool([a, b], seed=1))
    assert first != ids(open_pool([a, b], seed=2))
    assert sorted(first) == [f"a-{i:06d}" for i in range(1000)] + [f"b-{i:06d}" for i in range(1000)]
    assert [i for i in first if i[0] == "b"] == [f"b-{i:06d}" for i in range(1000)]
    assert 0.7 < Counter(i[0] for i in first[:1000])["a"] / 1000 < 0.8


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_problems(path, [random_text(i) for i in range(10)])
    path.write_text(path.read_text() + "not json\n" * 500)
    pool = open_pool([str(path)], limit=10)
    assert len(list(pool)) == 10
    assert pool.summary.total.rows == 10


def test_ids_are_unique(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    a = write_problems(tmp_path / "a.jsonl", [random_text(i) for i in range(3)], id="same")
    b = write_problems(tmp_path / "x" / "a.jsonl", [random_text(i) for i in range(3, 5)])
    c = write_problems(tmp_path / "c.jsonl", [random_text(9)], id="a-000001")
    found = ids(open_pool([a, b, c]))
    assert sorted(found) == ["a-000000", "a-000001", "a-000001~2", "same", "same~2", "same~3"]


def test_the_source_of_a_problem_is_its_path(tmp_path: Path) -> None:
    a = SourceConfig(write_problems(tmp_path / "a.jsonl", [random_text(1)]), attempts=32)
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
    a = write_problems(tmp_path / "a.jsonl", [original, retyped, reworded, other_number], ["23", "23", "23", "47"])
    b = write_problems(tmp_path / "b.jsonl", [original], ["23"])
    pool = open_pool([a, b])
    assert len(list(pool)) == 2
    total = pool.summary.total
    assert (total.rows, total.exact_duplicates, total.near_duplicates) == (5, 2, 1)


@pytest.mark.parametrize("first", ["with", "without"])
@pytest.mark.parametrize("seed", range(4))
def test_the_copy_with_a_reference_solution_is_kept_whichever_comes_first(
    tmp_path: Path, first: str, seed: int
) -> None:
    texts = [random_text(i) for i in range(20)]
    solved, bare = (
        write_problems(tmp_path / "solved.jsonl", [*texts[::2], texts[1] + " Is it?"]),
        tmp_path / "bare.jsonl",
    )
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
    write_problems(path, [random_text(i) for i in range(10)])
    path.write_text(path.read_text() + "not json\n" * 500)
    assert len(list(open_pool([SourceConfig(str(path))], limit=10))) == 10


def test_two_gold_answers_for_one_text_are_counted_and_named(tmp_path: Path) -> None:
    texts = [
        random_text(1),
        random_text(1),
        random_text(2),
        random_text(2),
        random_text(2),
        random_text(3),
        random_text(3),
    ]
    path = write_problems(tmp_path / "a.jsonl", texts, ["22", "21", r"\frac{1}{2}", "0.50", "x = 1/2", "12", "12.0"])
    pool = open_pool([path])
    assert len(list(pool)) == 3
    assert pool.summary.total.exact_duplicates == 4
    assert pool.summary.total.conflicting_answers == 1
    (found,) = pool.summary.conflicts
    assert (found.source, found.id, found.answer, found.other) == (path, "a-000001", "21", "22")


def test_a_planted_benchmark_item_is_left_out_and_named(tmp_path: Path) -> None:
    items = [f"{random_text(i, 30)} {BOILERPLATE}" for i in range(20)] + ["Compute $2+2$.", "Is $2-2$ zero?"]
    benchmark = write_problems(tmp_path / "bench.jsonl", items, ["7"] * 22)
    unrelated = [f"{random_text(100 + i, 30)} {BOILERPLATE}" for i in range(50)] + ["Is $2+2$ zero?"]
    planted = [
        "Solve: " + items[3].replace("$", ""),
        "Compute \\(2 + 2\\)",
        random_text(200) + " " + " ".join(items[5].split()[:45]),
    ]
    pool = open_pool([write_problems(tmp_path / "pool.jsonl", unrelated + planted)], decontaminate=[benchmark])
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
    path.write_text(json.dumps({"question": random_text(1), "answer": None, "name": "first"}) + "\n")
    pool = open_pool(
        [write_problems(tmp_path / "a.jsonl", [random_text(1), random_text(2)])],
        decontaminate=[SourceConfig(str(path), {"problem": "question"})],
    )
    assert ids(pool) == ["a-000001"]
    path.write_text(json.dumps({"problem": random_text(1)}) + "\n" + json.dumps({"problem": None}) + "\n")
    with pytest.raises(UserError, match=r"bench.jsonl: row 2: key 'problem' is null"):
        open_pool([str(tmp_path / "a.jsonl")], decontaminate=[str(path)])


def test_too_many_bad_rows_stop_the_pool_after_a_hundred(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"problem": random_text(i), "solution": "s", "answer": "1"}) for i in range(1000)]
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
    write_problems(path, [random_text(i) for i in range(50)])
    path.write_text("broken\n" + path.read_text())
    seen = []
    with pytest.raises(UserError, match="1 of 51 rows"):
        seen.extend(open_pool([str(path)]))
    assert len(list(open_pool([str(path)], quarantine_limit=0.05))) == 50


def test_the_summary_accounts_for_every_row_and_is_json(tmp_path: Path) -> None:
    a = write_problems(tmp_path / "a.jsonl", [random_text(i) for i in range(10)] + [random_text(3)])
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


def test_every_problem_of_the_mini_world_is_kept() -> None:
    assert len(list(open_pool(["mini:hard-train", "mini:hard-test", "mini:easy"]))) == 440


def test_mistakes_in_a_pool_stop_at_once(tmp_path: Path) -> None:
    a = write_problems(tmp_path / "a.jsonl", [random_text(1)])
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
