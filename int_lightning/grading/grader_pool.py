"""The worker processes of a grader, and the thread that feeds them.

A comparison that hangs or crashes costs its time limit and one worker, and nothing else.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait

from int_lightning.grading.answers import Verdict, unwrap
from int_lightning.grading.worker import GRACE, OVERRUN, serve
from int_lightning.types import UserError

_BATCH = 8
_START = 120.0  # seconds for a worker to load its libraries
_PATIENCE = 20  # wall-clock seconds that a worker may take for a processor second
_BROKEN = 3  # failed worker starts in a row that end the pool

Pair = tuple[str, str]


class _Worker:
    """A worker process, the pairs that it was sent and has not answered, and when the first of them is overdue."""

    def __init__(self, timeout: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, timeout), daemon=True, name="grading-worker")
        self.process.start()
        theirs.close()
        self.limit = (timeout + GRACE) * _PATIENCE
        self.ready = False
        self.pending: deque[Pair] = deque()
        self.deadline = time.monotonic() + _START

    def send(self, pairs: list[Pair]) -> None:
        """Give an idle worker its next pairs. If it has died, ``receive`` finds out."""
        self.pending.extend(pairs)
        self.deadline = time.monotonic() + self.limit
        try:
            self.connection.send([(unwrap(pred), unwrap(gold)) for pred, gold in pairs])
        except OSError:
            return

    def receive(self) -> tuple[bool, str] | None:
        """The next message: None when the worker is ready, or the verdict on the first pending pair.

        Raises:
            EOFError: if the worker died.
        """
        try:
            message: tuple[bool, str] | None = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        self.deadline = time.monotonic() + self.limit
        return message

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class GraderPool:
    """Workers that start when there is work, and a thread that hands out pairs and passes on verdicts.

    Args:
        workers: The largest number of processes.
        timeout: Processor seconds for one pair.
        settle: Called in the pool's thread with each pair and its verdict.
        fail: Called in the pool's thread with the error that ends it.
    """

    def __init__(
        self,
        workers: int,
        timeout: float,
        settle: Callable[[Pair, Verdict], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._wanted = workers
        self._timeout = timeout
        self._settle = settle
        self._fail = fail
        self.workers: list[_Worker] = []
        self._todo: deque[Pair] = deque()
        self._failed_starts = 0
        self._stopped = False
        self._bell, self._bell_rope = multiprocessing.Pipe(duplex=False)
        self._rung = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="grading")
        self._thread.start()

    def submit(self, pairs: Iterable[Pair]) -> None:
        """Have pairs compared, without waiting."""
        self._todo.extend(pairs)
        self._ring()

    def stop(self) -> None:
        """Kill the workers. Pairs that have no verdict yet get none."""
        self._stopped = True
        self._ring()
        self._thread.join()

    def _ring(self) -> None:
        """Wake the thread. It is rung once until it wakes, so the pipe never fills up."""
        if not self._rung.is_set():
            self._rung.set()
            self._bell_rope.send_bytes(b"!")

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._hand_out()
                self._wait()
        except BaseException as error:
            self._fail(error)
        finally:
            for worker in self.workers:
                worker.kill()

    def _hand_out(self) -> None:
        """Send pairs to every idle worker, and replace workers that died idle.

        Batches are small while few pairs wait, so that few of them are stuck behind a slow one.
        """
        self.workers = [w for w in self.workers if w.pending or not w.ready or w.process.is_alive()]
        while self._todo and len(self.workers) < min(self._wanted, 1 + len(self._todo) // _BATCH):
            self.workers.append(_Worker(self._timeout))
        for worker in self.workers:
            if self._todo and worker.ready and not worker.pending:
                batch = min(_BATCH, 1 + len(self._todo) // (2 * _BATCH * self._wanted))
                worker.send([self._todo.popleft() for _ in range(batch)])

    def _wait(self) -> None:
        """Wait for the next message, deadline or ring of the bell, and deal with it."""
        busy: dict[object, _Worker] = {w.connection: w for w in self.workers if w.pending or not w.ready}
        deadline = min((w.deadline for w in busy.values()), default=None)
        connections: list[Connection] = [self._bell, *(w.connection for w in busy.values())]
        answered = wait(connections, None if deadline is None else max(0.0, deadline - time.monotonic()))
        for connection in answered:
            if connection is self._bell:
                self._bell.recv_bytes()
                self._rung.clear()
            else:
                self._collect(busy[connection])
        for worker in busy.values():
            if worker.connection not in answered and time.monotonic() > worker.deadline:
                self._give_up(worker, "timeout")

    def _collect(self, worker: _Worker) -> None:
        try:
            message = worker.receive()
        except EOFError:
            worker.process.join()
            self._give_up(worker, "timeout" if worker.process.exitcode == -OVERRUN else "crash")
            return
        if message is None:
            worker.ready = True
            self._failed_starts = 0
        else:
            self._settle(worker.pending.popleft(), Verdict(*message))

    def _give_up(self, worker: _Worker, why: str) -> None:
        """Kill a worker: its current pair gets a verdict with this note, the pairs after it return to the queue."""
        worker.kill()
        self.workers.remove(worker)
        if worker.ready:
            pair = worker.pending.popleft()
            self._todo.extendleft(reversed(worker.pending))
            self._settle(pair, Verdict(False, why))
            return
        self._failed_starts += 1
        if self._failed_starts >= _BROKEN:
            raise UserError(
                f"{_BROKEN} grading workers in a row did not start (exit code {worker.process.exitcode}): check "
                "that the main script guards its work: if __name__ == '__main__'"
            )
