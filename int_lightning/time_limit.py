"""Time limits for calls that cannot be interrupted: an engine's, or a collective one that waits for another rank."""

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
    """Ends the process, with one line that names the call and ``USER_ERROR``, if the block takes longer.

    Nothing gentler works: such a call never comes back to Python, and the other ranks wait for this one. Where the threads
    stood goes to stderr, which is the run's log file; the newest checkpoint is untouched.

    Args:
        seconds: The limit.
        call: Which call of which rank, for the message.
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
