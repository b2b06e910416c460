"""Time limits for calls that cannot be interrupted: those of an engine, and those that wait for another rank."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from int_lightning.console import USER_ERROR, complain
from int_lightning.scratch import remove_scratch_folders


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
        complain(
            f"{call} did not end within {seconds:g} s, so this process ends. Continue from the newest checkpoint (--ckpt_path "
            "last), or raise engine.time_limit"
        )
        faulthandler.dump_traceback(sys.stderr)
        remove_scratch_folders()
        os._exit(USER_ERROR)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
