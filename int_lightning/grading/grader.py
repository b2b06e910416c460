"""The grader: decides equal texts and plain numbers at once, and has worker processes decide everything else."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import chain, starmap
from operator import attrgetter
from types import TracebackType
from typing import Generic, TypeVar

from int_lightning.grading.answers import Verdict, decide
from int_lightning.grading.extraction import final_answer
from int_lightning.grading.grader_pool import GraderPool, Pair
from int_lightning.types import UserError

_CACHE = 200_000

T = TypeVar("T")


class _Job(Generic[T]):
    """Pairs that were submitted together, the verdicts so far, and the future that waits for all of them."""

    def __init__(self, pairs: list[Pair], outcome: Callable[[Verdict], T]) -> None:
        self.pairs = pairs
        self.outcome = outcome
        self.verdicts: dict[Pair, Verdict | None] = {pair: decide(*pair) for pair in dict.fromkeys(pairs)}
        self.missing = {pair for pair, verdict in self.verdicts.items() if verdict is None}
        self.future: Future[list[T]] = Future()
        self.future.set_running_or_notify_cancel()

    def settle(self, pair: Pair, verdict: Verdict) -> None:
        self.verdicts[pair] = verdict
        self.missing.remove(pair)

    def finish(self) -> None:
        found = [self.verdicts[pair] for pair in self.pairs]
        self.future.set_result([self.outcome(verdict) for verdict in found if verdict is not None])


class Grader:
    """Compares final answers. Use it as a context manager, or close it; its workers start when first needed.

    Every method may be called from any thread, and from several at once. ``submit`` does not wait, so that completions are
    graded while others are sampled.

    Each worker imports the main module of the program, which must therefore guard its work by ``if __name__ == "__main__"`` and
    should be light.

    Args:
        workers: Number of worker processes.
        timeout: Processor seconds for one pair of answers, so that a busy machine does not make pairs time out. A worker that
            hardly gets a processor is killed after 20 times as long.

    Attributes:
        timeouts: Pairs without a verdict because they took too long.
        crashes: Pairs without a verdict because their worker died.
    """

    def __init__(self, workers: int = 1, timeout: float = 5.0) -> None:
        if workers < 1:
            raise UserError(f"grading workers is {workers}: give at least 1")
        if timeout <= 0:
            raise UserError(f"grading timeout is {timeout}: give a number of seconds above 0")
        self.workers = workers
        self.timeout = timeout
        self.timeouts = 0
        self.crashes = 0
        self._lock = threading.Lock()
        self._pool: GraderPool | None = None
        self._waiting: dict[Pair, list[_Job]] = {}
        self._cache: OrderedDict[Pair, Verdict] = OrderedDict()

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
        """Whether each completion's answer (``final_answer``) equals its gold answer; a completion without an answer is wrong."""
        return self.submit(texts, golds).result()

    def submit(self, texts: Sequence[str], golds: Sequence[str]) -> Future[list[bool]]:
        """``grade`` without waiting: the future's ``result()`` waits and returns the list, in the order of the texts.

        The future cannot be cancelled. It fails with a RuntimeError if the grader is closed first.
        """
        return self._compare(texts, golds, attrgetter("equal"))

    def equivalent(self, preds: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """The verdict on each pair of responses or answers, both of which are read as ``grade`` reads them.

        A pair that is given twice is compared, and counted in ``timeouts``, once.
        """
        return self._compare(preds, golds, lambda verdict: verdict).result()

    def close(self) -> None:
        """Stop the workers; grading again starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            self._fail(RuntimeError("the grader was closed before this was graded"))

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _compare(self, preds: Sequence[str], golds: Sequence[str], outcome: Callable[[Verdict], T]) -> Future[list[T]]:
        job = _Job(list(starmap(_answers, zip(preds, golds, strict=True))), outcome)
        with self._lock:
            new = []
            for pair in sorted(job.missing):
                verdict = self._cache.get(pair)
                if verdict is not None:
                    self._cache.move_to_end(pair)
                    job.settle(pair, verdict)
                    continue
                if pair not in self._waiting:
                    new.append(pair)
                self._waiting.setdefault(pair, []).append(job)
            if new:
                self._pool = self._pool or GraderPool(self.workers, self.timeout, self._settle, self._fail)
                self._pool.submit(new)
            done = not job.missing
        if done:
            job.finish()
        return job.future

    def _settle(self, pair: Pair, verdict: Verdict) -> None:
        with self._lock:
            self.timeouts += verdict.note == "timeout"
            self.crashes += verdict.note == "crash"
            if verdict.note != "crash":
                self._cache[pair] = verdict
                if len(self._cache) > _CACHE:
                    self._cache.popitem(last=False)
            jobs = self._waiting.pop(pair)
            for job in jobs:
                job.settle(pair, verdict)
            done = [job for job in jobs if not job.missing]
        for job in done:
            job.finish()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            jobs = set(chain.from_iterable(self._waiting.values()))
            self._waiting.clear()
            self._pool = None
        for job in jobs:
            job.future.set_exception(error)


def _answers(pred: str, gold: str) -> Pair:
    """The answers that two texts give."""
    return pred if pred == gold else final_answer(pred), final_answer(gold) or gold
