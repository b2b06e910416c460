"""Statistics of a collection: a small store written out by hand, and the plots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from int_lightning.collect.statistics import LENGTHS, RATIOS, SHARES, collection_statistics, describe, plot_statistics
from int_lightning.collect.store import Store
from int_lightning.collect.summary import summarise
from int_lightning.defects import Defect, DefectKind
from int_lightning.types import Intervention, Outcome, Provenance, Rollout, Sampling

PROVENANCE = Provenance("mini", "", "vllm", "solve@1f2e3d4c", Sampling(), 0)


def rollout(name: str, tokens: int, characters: int) -> Rollout:
    problem = name.partition("/")[0]
    logprobs = [-1.0] * tokens
    return Rollout(name, problem, 0, [1, 2], [7] * tokens, logprobs, "x" * characters, "stop", "", False, PROVENANCE)


def intervention(
    attempt: str,
    sample: int,
    location: int,
    tokens: int,
    characters: int,
    rejected: Defect | None = None,
    **counts: int,
) -> Intervention:
    return Intervention(
        id=f"{attempt}/policy/{sample}/intervention",
        problem_id=attempt.partition("/")[0],
        rollout_id=attempt,
        proposal_id=f"{attempt}/policy/{sample}",
        location=location,
        steps=4,
        content="y" * characters,
        prompt_ids=[1, 2],
        prefix_ids=[7],
        intervention_ids=[8] * tokens,
        exact=True,
        rejected=rejected,
        **counts,
    )


def outcome(problem: str, status: str, attempts: int, correct: int) -> Outcome:
    return Outcome(problem, "x.jsonl", status, attempts, correct, 100)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three problems, the third one first waiting and done in a later run; five proposals for two attempts."""
    store = Store(tmp_path / "dataset")
    kept = {"guided_correct": 1, "guided_total": 4, "prefix_correct": 0, "prefix_total": 4}
    failed = {"guided_correct": 0, "guided_total": 2, "prefix_correct": 1, "prefix_total": 2}
    store.commit(
        {
            "attempts": [rollout("p1/0", 100, 400), rollout("p1/1", 50, 200), rollout("p2/0", 30, 60)],
            "interventions": [
                intervention("p1/0", 0, 1, 10, 20, Defect(DefectKind.LEAK, "'12' (stated)")),
                intervention("p1/0", 1, 2, 20, 50, **kept),
                intervention("p1/0", 2, 2, 40, 80, Defect(DefectKind.NOT_KEPT)),
                intervention("p1/0", 3, -1, 0, 0, Defect(DefectKind.NO_ERROR, "the object is empty")),
            ],
            "outcomes": [outcome("p1", "hard", 2, 0), outcome("p2", "solved", 4, 1), outcome("p3", "waiting", 1, 0)],
        }
    )
    store.commit(
        {
            "attempts": [rollout("p3/0", 20, 100)],
            "interventions": [intervention("p3/0", 0, 0, 10, 30, Defect(DefectKind.NEVER_RIGHT), **failed)],
            "outcomes": [outcome("p3", "hard", 2, 0)],
        }
    )
    return store


def test_stages_written_out(store: Store) -> None:
    assert collection_statistics(store, {})["stages"] == {
        "problems": 3,
        "hard": {"count": 2, "rate": pytest.approx(2 / 3)},
        "proposals": 5,
        "located": {"count": 4, "rate": 0.8},
        "accepted": {"count": 1, "rate": 0.2},
        "rejected": {
            "it gives the final answer away": {"count": 1, "rate": 0.2},
            "another intervention of this attempt was kept": {"count": 1, "rate": 0.2},
            "no critical error": {"count": 1, "rate": 0.2},
            "no guided rollout was right": {"count": 1, "rate": 0.2},
        },
    }


def test_pass_rates_written_out(store: Store) -> None:
    rates = collection_statistics(store, {})["pass_rates"]
    assert rates["attempts"]["count"] == 3
    assert rates["attempts"]["mean"] == pytest.approx(0.25 / 3)
    assert rates["attempts"]["edges"] == SHARES
    assert rates["attempts"]["counts"] == [2, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert rates["with_intervention"]["counts"] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert rates["from_prefix"]["counts"] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_lengths_and_ratios_written_out(store: Store) -> None:
    stats = collection_statistics(store, {})
    assert stats["solutions"]["tokens"]["count"] == 4
    assert stats["solutions"]["tokens"]["mean"] == 50
    assert stats["solutions"]["characters"]["quantiles"]["0.5"] == 150
    located, accepted = stats["located"], stats["accepted"]
    assert located["lengths"]["tokens"]["count"] == 4
    assert located["lengths"]["tokens"]["mean"] == 20
    assert located["lengths"]["characters"]["mean"] == 45
    assert sorted([10 / 100, 20 / 100, 40 / 100, 10 / 20]) == [0.1, 0.2, 0.4, 0.5]
    assert located["ratios"]["tokens"]["quantiles"]["0.5"] == pytest.approx(0.3)
    assert located["ratios"]["characters"]["mean"] == pytest.approx((20 + 50 + 80) / 400 / 4 + 30 / 100 / 4)
    assert accepted["lengths"]["tokens"] == {
        "count": 1,
        "mean": 20.0,
        "quantiles": dict.fromkeys(("0.05", "0.25", "0.5", "0.75", "0.95"), 20.0),
        "edges": LENGTHS,
        "counts": [int(edge == 16) for edge in LENGTHS[:-1]],
    }
    assert accepted["ratios"]["tokens"]["mean"] == 0.2


def test_locations_written_out(store: Store) -> None:
    assert list(collection_statistics(store, {})["located"]["locations"]) == ["all"]
    categories = {"p1/0/policy/0": "high", "p1/0/policy/1": "execution", "p3/0/policy/0": "high"}
    stats = collection_statistics(store, categories)
    locations = stats["located"]["locations"]
    assert list(locations) == ["all", "execution", "high"]
    assert locations["all"]["counts"] == [1, 0, 1, 0, 0, 2, 0, 0, 0, 0]
    assert locations["high"]["counts"] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert locations["execution"]["mean"] == 0.5
    assert list(stats["accepted"]["locations"]) == ["all", "execution"]


def test_statistics_are_plain_json(store: Store) -> None:
    stats = collection_statistics(store, {})
    assert json.loads(json.dumps(stats)) == stats


def test_a_collection_without_interventions(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit({"attempts": [rollout("p1/0", 3, 9)], "outcomes": [outcome("p1", "solved", 1, 1)]})
    stats = collection_statistics(store, {})
    assert stats["stages"]["hard"] == {"count": 0, "rate": 0.0}
    assert stats["stages"]["proposals"] == 0
    assert stats["located"]["lengths"]["tokens"] == stats["pass_rates"]["from_prefix"] == {"count": 0}


def test_plots_of_a_collection_without_interventions(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit({"attempts": [rollout("p1/0", 3, 9)], "outcomes": [outcome("p1", "solved", 1, 1)]})
    assert len(plot_statistics(collection_statistics(store, {}), tmp_path / "plots")) == 3


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=50), st.sampled_from([LENGTHS, RATIOS, SHARES]))
def test_every_number_is_in_one_bin(values: list[float], edges: list[float]) -> None:
    found = describe(values, edges)
    assert sum(found["counts"]) == found["count"] == len(values)
    assert len(found["counts"]) == len(found["edges"]) - 1
    assert found["mean"] == pytest.approx(sum(values) / len(values))
    quantiles = list(found["quantiles"].values())
    assert quantiles == sorted(quantiles)
    assert min(values) <= quantiles[0] <= quantiles[-1] <= max(values)


def test_plots_are_pictures_with_something_in_them(store: Store, tmp_path: Path) -> None:
    stats = json.loads(json.dumps(collection_statistics(store, {"p1/0/policy/0": "high"})))
    files = plot_statistics(stats, tmp_path / "new" / "plots")
    assert [f.name for f in files] == ["lengths.png", "locations.png", "pass_rates.png"]
    for file in files:
        picture = imread(file)
        assert picture.shape == (525, 900, 4)
        assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 20


def test_importing_the_statistics_does_not_import_matplotlib() -> None:
    code = "import sys, int_lightning.collect.statistics; assert 'matplotlib' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def peak_kib(folder: Path, shards: int) -> int:
    """Peak memory of a process that reads a store of ``shards`` shards, each of half a million tokens."""
    store = Store(folder)
    for shard in range(shards):
        attempts = [rollout(f"p{shard}/{i}", 10_000, 30_000) for i in range(50)]
        item: Any = intervention(f"p{shard}/0", 0, 1, 100, 300)
        store.commit({"attempts": attempts, "interventions": [item], "outcomes": [outcome(f"p{shard}", "hard", 50, 0)]})
    code = (
        "import resource, sys; from pathlib import Path; from int_lightning.collect.store import Store; "
        "from int_lightning.collect.statistics import collection_statistics; "
        "stats = collection_statistics(Store(Path(sys.argv[1])), {}); "
        "print(stats['solutions']['tokens']['count'], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True)
    count, peak = map(int, done.stdout.split())
    assert count == 50 * shards
    return peak


def test_memory_does_not_grow_with_the_number_of_shards(tmp_path: Path) -> None:
    few, many = peak_kib(tmp_path / "few", 2), peak_kib(tmp_path / "many", 8)
    print(f"peak {few / 1024:.0f} MiB with 2 shards, {many / 1024:.0f} MiB with 8")
    assert many < few + 32 * 1024


def test_the_summary_does_not_depend_on_the_order_in_which_problems_ended(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    problems = [f"p{i}" for i in range(12)]
    right = {problem: int(rng.integers(5)) for problem in problems}
    kinds = [Defect(DefectKind.NEVER_RIGHT), Defect(DefectKind.LEAK), None]
    summaries = []
    for name, order in (("one", problems), ("other", rng.permutation(problems).tolist())):
        store = Store(tmp_path / name)
        found = [
            intervention(
                f"{problem}/0", 0, 1, 3, 5, kinds[int(problem[1:]) % 3], guided_correct=right[problem], guided_total=4
            )
            for problem in order
        ]
        store.commit({"outcomes": [outcome(problem, "hard", 4, 0) for problem in order], "interventions": found})
        summaries.append(summarise(store))
    assert json.dumps(summaries[0]) == json.dumps(summaries[1])
