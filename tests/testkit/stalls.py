"""A busy machine, for a test that must not mind one: `pytest -p tests.testkit.stalls FILE`.

While tests run, now one of their threads stands still for some seconds, now one of the processes that they started. It
costs no processor time. Each run is another one; `STALLS_SEED` names one that is to come again, as far as threads do.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
import time
from contextlib import suppress
from typing import Final

import psutil

# The number of a signal is what the C library's `sleep` takes: so many seconds stands still whoever is sent it.
STALLS: Final = (signal.SIGHUP, signal.SIGQUIT)  # 1 s and 3 s
OF_A_CHILD_S: Final = (0.5, 1.0, 2.0, 3.0)
BETWEEN_S: Final = (0.1, 1.2)


def _install() -> None:
    """Let whichever thread takes such a signal sleep in its handler: Python's own run in the first thread alone."""
    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    for number in STALLS:
        library.signal(int(number), ctypes.cast(library.sleep, ctypes.c_void_p))


def _stall_child(child: psutil.Process, for_s: float) -> None:
    with suppress(psutil.Error):
        child.suspend()
        time.sleep(for_s)
        child.resume()


def _run(chance: random.Random) -> None:
    own, up_again_s = psutil.Process(), dict[int, float]()
    while True:
        time.sleep(chance.uniform(*BETWEEN_S))
        _install()  # a test may have given a signal another meaning
        children = own.children(recursive=True)
        if children and chance.random() < 0.6:
            _stall_child(chance.choice(children), chance.choice(OF_A_CHILD_S))
            continue
        now_s = time.monotonic()
        threads = {thread.ident for thread in threading.enumerate()} - {None, threading.get_ident()}
        able = [ident for ident in threads if ident is not None and up_again_s.get(ident, 0.0) < now_s]
        if able:
            ident, number = chance.choice(able), chance.choice(STALLS)
            with suppress(OSError):
                signal.pthread_kill(ident, number)
                up_again_s[ident] = now_s + int(number) + chance.uniform(0.3, 1.5)


def pytest_collection_finish() -> None:
    """Begin, once all tests are known."""
    seed = int(os.environ.get("STALLS_SEED", "0")) or time.time_ns() % 1_000_000
    print(f"stalls of seed {seed}")
    _install()
    threading.Thread(target=_run, args=(random.Random(seed),), daemon=True, name="stalls").start()
