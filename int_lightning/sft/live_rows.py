"""Rows of a collection that continues while they are trained on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class LiveRows(Generic[T]):
    """Rows in the order of the collection's batches, as many at a time as an optimiser step takes.

    Which rows a step gets depends on the order of the records alone, not on when they arrived, so that a resumed run gets the
    same ones. At most the rows of one batch of the collection and of one step are held in memory.

    Args:
        read: The rows of a batch of the collection.
        batches: The numbers of the batches that exist.
        more: Waits for another batch, or collects one; False once there are no more.
        batch_size: Rows of a step.
    """

    def __init__(
        self,
        read: Callable[[int], Iterator[T]],
        batches: Callable[[], list[int]],
        more: Callable[[], bool],
        batch_size: int,
    ) -> None:
        self.read = read
        self.batches = batches
        self.more = more
        self.batch_size = batch_size
        self.steps_taken = 0
        self.ended = False
        self._batches_read = 0
        self._buffer: deque[T] = deque()

    def rows_of(self, step: int) -> list[T]:
        """The rows of a step, after waiting for them if need be; none once the collection has ended and all are taken. Steps must
        be asked for in order; those skipped, as after a resumption, are read and dropped."""
        while self.steps_taken < step and self._take():
            pass
        return self._take()

    def _take(self) -> list[T]:
        while len(self._buffer) < self.batch_size and not self.ended:
            unread = self.batches()[self._batches_read :]
            if unread:
                self._buffer.extend(self.read(unread[0]))
                self._batches_read += 1
            else:
                self.ended = not self.more()
        rows = [self._buffer.popleft() for _ in range(min(self.batch_size, len(self._buffer)))]
        self.steps_taken += bool(rows)
        return rows
