"""A grading worker: compares the pairs it is sent, each within a limit of processor time.

It is a separate process because a comparison may hang or exhaust memory.
"""

from __future__ import annotations

import logging
import resource
import signal
from multiprocessing.connection import Connection

from int_lightning.grading.answers import unwrap
from int_lightning.grading.compare import compare
from int_lightning.grading.rewriting import rewrite

MEMORY_LIMIT = 2 << 30
"""Address space of a worker, in bytes: an answer that needs more fails, and the machine keeps its memory."""

GRACE = 0.5
"""Processor seconds past the limit in which Python code can be interrupted before the worker is killed."""

OVERRUN = signal.SIGVTALRM
"""The signal that kills a worker whose comparison cannot be interrupted."""


class _OutOfTime(BaseException):
    """Not an Exception, so that no handler in a library swallows it."""


def serve(connection: Connection, timeout: float) -> None:
    """Answer batches of (pred, gold) pairs, one verdict per message, until the parent closes the connection.

    Args:
        connection: Receives lists of pairs; sends None once ready, then (equal, note) for each pair, in order.
        timeout: Processor seconds for one pair. Python code is interrupted after them; the system ends a worker that
            continues for ``GRACE`` more with the signal ``OVERRUN``.
    """
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, _interrupt)
    signal.signal(OVERRUN, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    connection.send(None)
    while True:
        try:
            batch = connection.recv()
        except (EOFError, OSError):
            return
        for pred, gold in batch:
            connection.send(_compare(pred, gold, timeout))


def _compare(pred: str, gold: str, timeout: float) -> tuple[bool, str]:
    """Whether the answers are the same, and a note if that cannot be decided; see ``Verdict``."""
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, timeout + GRACE)
            signal.setitimer(signal.ITIMER_PROF, timeout)
            return verdict(pred, gold)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _OutOfTime:
        return False, "timeout"
    except Exception as error:
        return False, f"failed: {type(error).__name__}"


def verdict(pred: str, gold: str) -> tuple[bool, str]:
    """Whether two answers mean the same, and a note: "unparsable" if no rule can say, else ""."""
    same = compare(rewrite(unwrap(pred)), rewrite(unwrap(gold)))
    return (False, "unparsable") if same is None else (same, "")


def _interrupt(*_: object) -> None:
    raise _OutOfTime
