"""The worker process of grading: compares the pairs it is sent, each under a limit of processor time.

It runs in a process of its own, because a comparison may hang or exhaust memory.
"""

from __future__ import annotations

import logging
import resource
import signal
from multiprocessing.connection import Connection

from int_lightning.grading import compare
from int_lightning.grading.answers import unwrap
from int_lightning.grading.rewriting import rewrite

MEMORY_LIMIT = 2 << 30
"""Address space of a worker, in bytes: an answer that needs more is an error, not a full machine."""

GRACE = 0.5
"""Processor seconds past the limit for Python code to be interrupted before the worker is killed."""

OVERRUN = signal.SIGVTALRM
"""What kills a worker whose comparison cannot be interrupted."""


class _OutOfTime(BaseException):
    """Not an Exception, so that no handler inside the libraries swallows it."""


def serve(connection: Connection, timeout: float) -> None:
    """Answer batches of (pred, gold) pairs, one verdict per message, until the parent closes the connection.

    Args:
        connection: Receives lists of pairs; sends None once ready, then (equal, note) for each pair, in order.
        timeout: Processor seconds for one pair. Python code is interrupted after them; a worker that goes on for ``GRACE``
            more is ended by the system with the signal ``OVERRUN``.
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
    """Whether the answers are the same, and a note where that cannot be said, see ``Verdict``."""
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
    """Whether two answers mean the same, and a note: "unparsable" where no rule can say, "" where one can."""
    same = compare.compare(rewrite(unwrap(pred)), rewrite(unwrap(gold)))
    return (False, "unparsable") if same is None else (same, "")


def _interrupt(*_: object) -> None:
    raise _OutOfTime
