"""Disk reserved ahead of a trace: its bytes and its length are those of a file without, and it is given back."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from supervision.disk_ahead import AHEAD, DiskAhead
from supervision.stepped import VirtualClock
from supervision.trace import FileTrace
from tests.supervision.test_trace_files import header, mail


def reserved(path: Path) -> int:
    return path.stat().st_blocks * 512


reserving = pytest.mark.skipif(sys.platform != "linux", reason="reserves nothing")


@reserving
def test_a_trace_has_disk_ahead_and_gives_it_back_when_it_is_closed(tmp_path: Path) -> None:
    trace = FileTrace(tmp_path / "t.jsonl", header(), VirtualClock(9))
    trace.mend()
    for n in range(3):
        trace.receipt("a:1", 1, n + 1, mail(f"text {n}", n))
    trace.sync()
    assert trace.path.stat().st_size == trace.bytes_written == len(trace.path.read_bytes())
    assert reserved(trace.path) >= AHEAD
    trace.close()
    assert trace.path.stat().st_size == trace.bytes_written
    assert reserved(trace.path) < AHEAD // 2


@reserving
def test_more_is_reserved_before_the_first_half_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    ahead = DiskAhead(fd)
    ahead.keep(0)
    ahead.keep(AHEAD // 2)
    assert reserved(path) < AHEAD + AHEAD // 2
    ahead.keep(AHEAD // 2 + 1)
    assert reserved(path) >= AHEAD + AHEAD // 2
    os.close(fd)


def test_what_stands_in_the_file_is_never_given_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    ahead = DiskAhead(fd)
    ahead.keep(0)
    os.write(fd, b"more than anybody said")
    ahead.give_back()
    os.close(fd)
    assert path.read_bytes() == b"more than anybody said"


@pytest.mark.parametrize("library", [object(), type("Full", (), {"fallocate": lambda *_: errno.ENOSPC})()])
def test_without_room_or_such_a_call_a_trace_is_written_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    monkeypatch.setattr("supervision.disk_ahead.ctypes.CDLL", lambda _: library)
    trace = FileTrace(tmp_path / "t.jsonl", header(), VirtualClock(9))
    trace.mend()
    trace.mend()
    trace.receipt("a:1", 1, 1, mail("text", 1))
    trace.close()
    assert trace.failed == "the trace is closed"
    assert trace.path.read_bytes().count(b"\n") == 2
