"""Time limits for calls that cannot be interrupted: those of an engine, and those that wait for another rank."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from int_lightning.console import USER_ERROR, complain_at_end
from int_lightning.scratch import remove_scratch_folders

MARGIN = 60.0
"""Seconds by which exchanges between processes may take longer than ``engine.time_limit``, whose message then comes first."""

AT_END: list[Callable[[], None]] = [remove_scratch_folders]
"""What ``end_process`` calls before the process ends."""


def end_process(reason: str) -> NoReturn:
    """Ends this process from any of its threads, with ``USER_ERROR`` and one line. Blocks are not left, and no other thread is
    waited for."""
    complain_at_end(reason)
    for call in AT_END:
        call()
    os._exit(USER_ERROR)


@contextmanager
def time_limit(seconds: float, call: str) -> Iterator[None]:
    """Ends the process with ``USER_ERROR``, and one line that names the call, if the block takes longer.

    Nothing gentler works: such a call never returns to Python, and the other ranks wait for this one. Stack traces of all threads
    go to stderr, which is the run's log file; the newest checkpoint is untouched.

    Args:
        seconds: The limit.
        call: The call and its rank, for the message.
    """

    def expire() -> None:
        faulthandler.dump_traceback(sys.stderr)
        end_process(
            f"{call} did not end within {seconds:g} s, so this process ends. Continue from the newest checkpoint (--ckpt_path "
            "last), or raise engine.time_limit"
        )

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
