"""A process that a command begins never sees Ctrl-C, not even while it starts; the command does, and can end it."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from simulation.days.children import deaf_to_ctrl_c


def interrupted_and_alive(told: multiprocessing.SimpleQueue[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it would end at once
    os.kill(os.getpid(), signal.SIGINT)
    told.put("alive")
    signal.pause()


def test_ctrl_c_does_not_reach_it_from_its_first_instant_and_it_ends_when_told() -> None:
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    process = context.Process(target=interrupted_and_alive, args=(told,), daemon=True)
    with deaf_to_ctrl_c():
        process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)  # while it still loads
    assert told.get() == "alive"
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM


def test_what_comes_meanwhile_is_answered_afterwards() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        _is_answered_afterwards()
    finally:
        signal.signal(signal.SIGINT, before)


def _is_answered_afterwards() -> None:
    with pytest.raises(KeyboardInterrupt):
        with deaf_to_ctrl_c():
            signal.raise_signal(signal.SIGINT)
            begun = True
        raise AssertionError(begun)
