"""The worker processes of a grader: no answer hangs or kills it, and nothing submitted is lost."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import pytest

from int_lightning.grading import grader as grading
from int_lightning.grading import grader_pool, worker
from int_lightning.grading.answers import Verdict
from int_lightning.grading.grader import Grader
from int_lightning.types import UserError

HUGE_POWER = "9^{9^{9^9}}"


def workers_of(grader: Grader) -> list[grader_pool._Worker]:
    assert grader._pool is not None
    return grader._pool.workers


def suspend(worker: grader_pool._Worker) -> None:
    """Stop a worker, so that not even its own alarm reaches it."""
    os.kill(worker.process.pid or 0, signal.SIGSTOP)


PATHOLOGICAL = [
    HUGE_POWER,
    r"\binom{10^{9}}{5 \cdot 10^{8}}",
    "(10^{9})!",
    r"\sin(10^{10^{5}}) + \sqrt{10^{99999}!}",
    "(" * 900,
    "-" * 1900 + "1",
    r"\frac{" * 300,
    r"\frac" * 300,
    r"\frac{1}{" * 190 + "2" + "}" * 190,
    "{" * 1000,
    "|" * 1000,
    "x^" * 500 + "2",
    "x" * 1_000_000,
    "\0\ud800",
    "((((x+1)^{99})^{99})^{99})^{99}",
]


def test_pathological_answers_cost_their_time_limit_and_nothing_else() -> None:
    with Grader(workers=1, timeout=1.0) as grader:
        grader.equivalent([r"f(\frac12)"], ["0.5"])
        process, before = workers_of(grader)[0].process, grader.timeouts
        used = time.process_time()
        verdicts = grader.equivalent([*PATHOLOGICAL, r"\frac{2}{4}"], ["17"] * len(PATHOLOGICAL) + [r"\frac12"])
        assert [verdict.equal for verdict in verdicts] == [False] * len(PATHOLOGICAL) + [True]
        assert grader.timeouts - before == sum(verdict.note == "timeout" for verdict in verdicts)
        assert grader.crashes == 0
        assert grader.timeouts or workers_of(grader)[0].process is process
        assert time.process_time() - used < 5


def test_answers_too_large_to_write_out_are_not_compared_with_each_other() -> None:
    with Grader(workers=1, timeout=1.0) as grader:
        assert grader.equivalent(["10^{10^{10^{10}}}"], [HUGE_POWER]) == [Verdict(False, "unparsable")]
        assert grader.equivalent(["10^{10^{10^{10}}}"], ["10"]) == [Verdict(False)]


def test_a_worker_that_waits_for_a_processor_does_not_time_out() -> None:
    with Grader(workers=1, timeout=1.0) as grader:
        grader.equivalent([r"\frac12"], ["0.5"])
        worker = workers_of(grader)[0]
        suspend(worker)
        later = grader.submit([r"\boxed{\frac26}"], [r"\frac13"])
        time.sleep(2.5)
        assert not later.done()
        os.kill(worker.process.pid or 0, signal.SIGCONT)
        assert later.result(timeout=30) == [True]
        assert grader.timeouts == 0


def serve_and_get_stuck(connection: Connection, timeout: float) -> None:
    """A worker that compares "stuck" in C code for hours, where no signal handler runs."""
    compare = worker.verdict
    worker.verdict = lambda pred, gold: (sum(range(10**13)) > 0, "") if pred == "stuck" else compare(pred, gold)
    worker.serve(connection, timeout)


def test_a_comparison_that_cannot_be_interrupted_costs_its_processor_time_and_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grader_pool, "serve", serve_and_get_stuck)
    with Grader(workers=1, timeout=0.5) as grader:
        grader.equivalent([r"\frac12"], ["0.5"])
        process = workers_of(grader)[0].process
        verdicts = grader.equivalent(["stuck", r"\frac{2}{6}"], [r"\frac13"] * 2)
        assert verdicts == [Verdict(False, "timeout"), Verdict(True)]
        assert (grader.timeouts, grader.crashes) == (1, 0)
        assert process.exitcode == -signal.SIGVTALRM


def test_an_overdue_worker_is_killed_and_the_pairs_behind_it_are_still_answered() -> None:
    with Grader(workers=1, timeout=5.0) as grader:
        grader.equivalent([r"\frac12"], ["0.5"])
        worker = workers_of(grader)[0]
        suspend(worker)
        worker.limit = 1.0
        preds = [r"\frac{1}{3}", r"\frac{2}{6}", r"\frac{3}{9}"]
        verdicts = grader.equivalent(preds, [r"\frac{4}{12}"] * 3)
        assert verdicts == [Verdict(False, "timeout"), Verdict(True), Verdict(True)]
        assert grader.timeouts == 1
        assert not worker.process.is_alive()


def test_a_worker_killed_midway_is_replaced_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Grader(workers=1, timeout=5.0) as grader:
        grader.equivalent([r"\frac12"], ["0.5"])
        suspend(workers_of(grader)[0])
        send = grader_pool._Worker.send

        def send_and_kill(worker: grader_pool._Worker, pairs: list[tuple[str, str]]) -> None:
            monkeypatch.setattr(grader_pool._Worker, "send", send)
            send(worker, pairs)
            worker.process.kill()

        monkeypatch.setattr(grader_pool._Worker, "send", send_and_kill)
        preds = [r"\frac{1}{3}", r"\frac{2}{6}", r"\frac{3}{9}"]
        verdicts = grader.equivalent(preds, [r"\frac{4}{12}"] * 3)
        assert verdicts == [Verdict(False, "crash"), Verdict(True), Verdict(True)]
        assert (grader.crashes, grader.timeouts) == (1, 0)
        assert grader.equivalent(preds[:1], [r"\frac{4}{12}"]) == [Verdict(True)]


def test_a_worker_that_died_idle_costs_no_pair() -> None:
    with Grader(workers=1, timeout=5.0) as grader:
        grader.equivalent([r"\frac12"], ["0.5"])
        workers_of(grader)[0].process.kill()
        workers_of(grader)[0].process.join()
        assert grader.equivalent([r"\frac13"], [r"\frac26"]) == [Verdict(True)]
        assert grader.crashes == 0


def exit_at_once(connection: object, timeout: float) -> None:
    raise SystemExit(3)


def test_workers_that_cannot_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grader_pool, "serve", exit_at_once)
    with Grader() as grader, pytest.raises(UserError, match="did not start"):
        grader.equivalent([r"\frac12"], ["0.5"])


def test_submit_returns_at_once_and_results_are_in_the_order_of_the_texts() -> None:
    golds = [rf"\frac{{{i}}}{{7}}" for i in range(40)]
    texts = [rf"\boxed{{\frac{{{2 * i}}}{{{13 + (i % 3 > 0)}}}}}" for i in range(40)]
    with Grader(workers=2) as grader:
        began = time.perf_counter()
        grades = grader.submit(texts, golds)
        assert time.perf_counter() - began < 0.5
        assert grades.result(timeout=60) == [i % 3 > 0 or i == 0 for i in range(40)]


def serve_slowly(connection: Connection, timeout: float) -> None:
    """A worker that takes a processor minute over "slow"."""
    compare = worker.verdict
    worker.verdict = lambda pred, gold: (spend(60), "") if pred == "slow" else compare(pred, gold)
    worker.serve(connection, timeout)


def spend(seconds: float) -> bool:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return True


def test_what_is_submitted_later_does_not_wait_for_what_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grader_pool, "serve", serve_slowly)
    with Grader(workers=2, timeout=120) as grader:
        grader.submit([rf"\boxed{{\frac{{{i}}}{{99}}}}" for i in range(40)], ["0.5"] * 40).result(timeout=60)
        slow = grader.submit([r"\boxed{slow}"], ["x"])
        quick = [grader.submit([rf"\boxed{{\frac{{2}}{{{2 * i}}}}}"], [rf"\frac{{1}}{{{i}}}"]) for i in range(3, 8)]
        assert [grades.result(timeout=60) for grades in quick] == [[True]] * 5
        assert not slow.done()


def test_threads_share_a_grader() -> None:
    def grade(thread: int) -> list[bool]:
        pairs = [
            (rf"\frac{{{i}}}{{{thread + 2}}}", rf"\frac{{{2 * i}}}{{{2 * thread + 4 + i % 2}}}") for i in range(1, 30)
        ]
        return [verdict.equal for verdict in grader.equivalent(*map(list, zip(*pairs, strict=True)))]

    with Grader(workers=2) as grader, ThreadPoolExecutor(6) as threads:
        assert list(threads.map(grade, range(6))) == [[i % 2 == 0 for i in range(1, 30)]] * 6


def test_closing_fails_what_is_not_graded_and_the_grader_can_start_again() -> None:
    grader = Grader(workers=1)
    grader.equivalent([r"\frac12"], ["0.5"])
    suspend(workers_of(grader)[0])
    grades = grader.submit([r"\boxed{\frac13}"], [r"\frac26"])
    grader.close()
    with pytest.raises(RuntimeError, match="closed"):
        grades.result(timeout=10)
    assert grader.equivalent([r"\frac13"], [r"\frac26"]) == [Verdict(True)]
    grader.close()


def test_closing_stops_the_workers() -> None:
    with Grader() as grader:
        grader.equivalent([r"\frac12"], ["0.5"])
        process = workers_of(grader)[0].process
        assert process.is_alive()
    assert process.exitcode is not None


def test_a_pair_is_compared_once_and_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    submit = grader_pool.GraderPool.submit

    def record(self: grader_pool.GraderPool, pairs: list[tuple[str, str]]) -> None:
        compared.extend(pairs)
        submit(self, pairs)

    monkeypatch.setattr(grader_pool.GraderPool, "submit", record)
    monkeypatch.setattr(grading, "_CACHE", 3)
    with Grader() as grader:
        for name in ("a", "a", "b", "c", "d"):
            grader.equivalent([name] * 5, ["x+y"] * 5)
        assert compared == [(name, "x+y") for name in "abcd"]
        grader.equivalent(["a", "d"], ["x+y"] * 2)
        assert compared[4:] == [("a", "x+y")]
        assert len(grader._cache) == 3
