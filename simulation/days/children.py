"""Processes that a command begins, in which Ctrl-C is blocked from their first instant: the command answers it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that are begun in here inherit a mask without SIGINT; SIGTERM ends them as ever.

    Here it comes when this is left.
    """
    resource_tracker.ensure_running()  # else it begins with the first process, and unblocks what is blocked here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
