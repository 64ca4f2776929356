"""The ways to flatten that need no command line: the `KILL` file, and SIGUSR2 from the first instant of a process."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import emergency
from commands.emergency import EmergencyWatch, FlattenSignals, KillFile, keep_level
from tests.testkit.paths import ROOT

Asked = list[tuple[int, str, str]]


class World:
    """A KILL file that is looked at a second later each time, and the levels that it asked for."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "KILL"
        self.now_s = 0.0
        self.ids: list[str] = []
        self._asked: Asked = []
        self._file = KillFile(self.path, lambda: self.now_s)

    def look(self, after_s: float = 1.0) -> list[int]:
        """Return the levels asked for so far."""
        self.now_s += after_s
        self._file.look(self.ask)
        return [level for level, _, _ in self._asked]

    def ask(self, level: int, reason: str, edge: str, command_id: str) -> None:
        self._asked.append((level, reason, edge))
        self.ids.append(command_id)

    @property
    def reason(self) -> str:
        return self._asked[-1][1]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(("content", "level"), [("1", 1), ("2\n", 2), (" 1 ", 1)])
def test_the_content_of_the_kill_file_is_the_level(world: World, content: str, level: int) -> None:
    world.path.write_text(content)
    assert world.look() == [level]
    assert world.look() == [level], "one writing is one command"


@pytest.mark.parametrize("content", [b"0", b"3", b"stop", b"\xff\xfe", b"11"])
def test_what_is_neither_1_nor_2_counts_as_2_and_says_so(world: World, content: bytes) -> None:
    world.path.write_bytes(content)
    assert world.look() == [2]
    assert "counts as 2" in world.reason


def test_an_empty_kill_file_counts_only_when_it_is_still_empty_at_the_next_look(world: World) -> None:
    assert world.look() == []
    world.path.touch()
    assert world.look() == []
    assert world.look() == [2]
    assert world.look() == [2]
    world.path.write_text("1")
    assert world.look() == [2, 1]
    world.path.unlink()
    assert world.look() == [2, 1]


def test_a_kill_file_that_cannot_be_read_counts_as_2_once(world: World) -> None:
    world.path.mkdir()
    assert world.look() == [2]
    assert "cannot be read" in world.reason
    assert world.look() == [2], "the same fault every second is one command"


def test_a_pipe_or_a_socket_in_place_of_the_kill_file_counts_as_2_and_blocks_nobody(world: World) -> None:
    os.mkfifo(world.path)
    assert world.look() == [2]
    assert "cannot be read" in world.reason
    assert not keep_level(world.path, 2)
    world.path.unlink()
    assert world.look() == [2]
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(os.path.relpath(world.path))
        assert world.look() == [2, 2]
        assert not keep_level(world.path, 1)


def test_the_file_written_again_after_it_was_taken_away_is_a_command_of_its_own(world: World) -> None:
    for _ in range(2):
        world.path.write_text("2")
        before = os.stat(world.path)
        world.look()
        world.path.unlink()
        world.look()
    assert world.look() == [2, 2]
    assert len(set(world.ids)) == 2
    world.path.write_text("2")
    os.utime(world.path, ns=(before.st_atime_ns, before.st_mtime_ns))  # a copy that kept its time
    assert world.look() == [2, 2, 2]


def test_the_file_is_looked_at_once_a_second(world: World) -> None:
    world.path.write_text("1")
    world.look()
    world.path.write_text("2")
    assert world.look(after_s=0.5) == [1]
    assert world.look(after_s=0.5) == [1, 2]


def test_a_level_that_is_left_behind_never_lowers_what_a_person_wrote(tmp_path: Path) -> None:
    path = tmp_path / "KILL"
    assert keep_level(path, 1)
    assert path.read_text().strip() == "1"
    assert keep_level(path, 2)
    assert path.read_text().strip() == "2"
    assert keep_level(path, 1)
    assert path.read_text().strip() == "2"
    assert not keep_level(tmp_path / "missing" / "KILL", 1)


@pytest.fixture
def signals() -> Iterator[FlattenSignals]:
    before = signal.getsignal(signal.SIGUSR2)
    made = FlattenSignals()
    made.install()
    yield made
    signal.signal(signal.SIGUSR2, before)


def test_each_sigusr2_is_a_command_of_its_own_and_waits_until_it_can_be_carried_out(
    signals: FlattenSignals, world: World
) -> None:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGUSR2)
    signals.carry_out(world.ask)
    os.kill(os.getpid(), signal.SIGUSR2)
    signals.carry_out(world.ask)
    signals.carry_out(world.ask)
    assert len(world.ids) == 4
    assert len(set(world.ids)) == 4
    assert world.look() == [2, 2, 2, 2]


def test_both_ways_are_watched_beside_the_console_and_a_failed_watch_ends_the_process(
    signals: FlattenSignals, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emergency, "SIGNALS", signals)
    monkeypatch.setattr(emergency, "WATCH_EVERY_S", 0.001)
    failed: queue.SimpleQueue[str] = queue.SimpleQueue()
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    watch = EmergencyWatch(lambda level, *_: asked.put(level), KillFile(world.path), failed.put)
    world.path.write_text("1")
    watch.start()
    assert asked.get(timeout=60) == 1
    os.kill(os.getpid(), signal.SIGUSR2)
    assert asked.get(timeout=60) == 2
    watch.close()

    def broken(*_: object) -> None:
        raise RuntimeError("bug")

    watch = EmergencyWatch(broken, KillFile(world.path), failed.put)
    watch.start()
    assert "RuntimeError: bug" in failed.get(timeout=60)
    watch.close()


# Plays main.py with a `run` that is never reached: the signal comes while the first heavy library is being loaded.
EARLY = """
import builtins, os, runpy, signal, sys
real = builtins.__import__
def slow(name, *rest, **more):
    if name.startswith("msgspec"):
        os.kill(os.getpid(), signal.SIGUSR2)
        print("survived", flush=True)
        os._exit(0)
    return real(name, *rest, **more)
builtins.__import__ = slow
sys.argv = ["main.py", "run"]
sys.path.insert(0, ".")
runpy.run_path("main.py", run_name="__main__")
"""


def test_a_sigusr2_that_comes_while_the_libraries_are_loaded_does_not_end_the_supervisor() -> None:
    ended = subprocess.run([sys.executable, "-c", EARLY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "survived\n"), ended.stderr
