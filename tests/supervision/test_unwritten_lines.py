"""Lines of a trace that wait in shared memory: no reader of the trace misses one, whatever becomes of its writer."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.envelope import Envelope, Handled, HandlingOutcome
from supervision import unwritten
from supervision.stepped import VirtualClock
from supervision.trace import FileTrace, RunReader, TraceReader, lines_of, seal, segments_of
from supervision.unwritten import Unwritten, buffer_of, rest_of, write_rest
from tests.supervision.test_trace_files import MIDNIGHT, header, mail
from tests.testkit.narrow import known

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let a folder of its own stand for the machine's shared memory."""
    folder = tmp_path_factory.mktemp("shm")
    monkeypatch.setattr(unwritten, "SHARED_MEMORY", folder)
    yield folder


def buffered(path: Path, count: int) -> FileTrace:
    trace = FileTrace(path, header(), VirtualClock(9), is_buffered=True)
    record(trace, 0, count)
    return trace


def record(trace: FileTrace, first: int, count: int) -> None:
    for n in range(first, first + count):
        seq, _ = trace.receipt("a:1", 1, n + 1, mail(f"text {n}", n))
        trace.handled(seq, HandlingOutcome.OK, 0, b"")
    trace.settle()


def seqs_of(path: Path) -> list[int]:
    return [r.seq for r in TraceReader(path) if isinstance(r, Envelope)]


def test_record_is_read_before_and_after_it_is_written_to_the_segment(tmp_path: Path, memory: Path) -> None:
    trace = buffered(tmp_path / "t.jsonl", 3)
    assert trace.path.read_bytes().count(b"\n") == 1  # the header alone
    before = list(lines_of(trace.path))
    assert seqs_of(trace.path) == [1, 2, 3]
    trace.sync()
    assert trace.path.read_bytes() == b"".join(before)
    record(trace, 3, 2)
    assert seqs_of(trace.path) == [1, 2, 3, 4, 5]
    trace.close()
    assert list(lines_of(trace.path)) == trace.path.read_bytes().splitlines(keepends=True)
    assert seqs_of(trace.path) == [1, 2, 3, 4, 5]
    assert list(memory.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(
    fillings=st.lists(st.lists(st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\n", b".") + b"\n"))),
    data=st.data(),
)
def test_segment_cut_anywhere_in_the_last_writing_and_its_buffer_give_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, fillings: list[list[bytes]], data: st.DataObject
) -> None:
    segment = tmp_path_factory.mktemp("run") / "t.jsonl"
    segment.write_bytes(b"header\n")
    buffer, everything = Unwritten(segment, 7), b"header\n"
    for n, lines in enumerate(fillings):
        if n:  # the buffer went to the segment before it was filled again
            segment.write_bytes(everything)
            buffer.empty(len(everything))
        assert all(buffer.keep(line) for line in lines)
        written_n = len(everything)
        everything += b"".join(lines)
        cut = data.draw(st.integers(written_n, len(everything)))  # the writer was killed while it wrote
        segment.write_bytes(everything[:cut])
        assert segment.read_bytes() + rest_of(segment, cut) == everything
    assert rest_of(segment, len(everything)) == b""
    buffer.remove()


def test_line_torn_at_any_byte_of_its_copy_is_cut_and_those_before_it_are_kept(tmp_path: Path) -> None:
    segment = tmp_path / "t.jsonl"
    segment.touch()
    buffer = Unwritten(segment, 0)
    assert buffer.keep(b"first\n")
    whole = buffer_of(segment).read_bytes()
    assert buffer.keep(b"the second one\n")
    both = buffer_of(segment).read_bytes()
    begin = len(whole.rstrip(b"\0"))
    for end in range(begin, begin + 8 + 15):
        buffer_of(segment).write_bytes(both[:end] + whole[end:])
        assert rest_of(segment, 0) == b"first\n"
    buffer_of(segment).write_bytes(both)
    assert rest_of(segment, 0) == b"first\nthe second one\n"


def test_what_is_left_of_an_earlier_filling_is_never_read(tmp_path: Path) -> None:
    segment = tmp_path / "t.jsonl"
    segment.touch()
    buffer = Unwritten(segment, 0)
    assert all(buffer.keep(b"old %d\n" % n) for n in range(5))
    segment.write_bytes(buffer.lines())
    buffer.empty(30)
    assert rest_of(segment, 30) == b""
    assert buffer.keep(b"new 0\n")
    assert rest_of(segment, 30) == b"new 0\n"


def test_reader_that_was_overtaken_by_the_writer_ends_where_the_segment_did(tmp_path: Path) -> None:
    trace = buffered(tmp_path / "t.jsonl", 3)
    read_n = trace.path.stat().st_size
    trace.sync()
    record(trace, 3, 1)
    assert rest_of(trace.path, read_n) == b""  # what lies between is in the segment by now
    trace.close()


def test_buffer_of_another_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = buffered(tmp_path / "t.jsonl", 1)
    real = Path.stat

    class Foreign:
        st_uid = real(trace.path).st_uid + 1

    monkeypatch.setattr(Path, "stat", lambda path: Foreign() if path == trace.path else real(path))
    assert rest_of(trace.path, trace.bytes_written) == b""
    monkeypatch.undo()
    trace.close()


def test_line_that_finds_no_room_is_written_with_all_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwritten, "CAPACITY", 1000)
    trace = buffered(tmp_path / "t.jsonl", 20)
    trace.receipt("a:1", 1, 21, mail("x" * 3000, 21))
    trace.receipt("a:1", 1, 22, mail("y", 22))
    assert seqs_of(trace.path) == list(range(1, 23))
    trace.close()
    assert seqs_of(trace.path) == list(range(1, 23))


@pytest.mark.parametrize("is_replaced", [False, True])
def test_buffer_that_somebody_removed_is_made_anew_after_the_next_regular_sync(
    tmp_path: Path, is_replaced: bool
) -> None:
    trace = buffered(tmp_path / "t.jsonl", 2)
    buffer_of(trace.path).unlink()  # as logind does when a user's last session ends
    if is_replaced:
        buffer_of(trace.path).touch()
    trace.sync()
    trace.mend()
    record(trace, 2, 2)
    assert seqs_of(trace.path) == [1, 2, 3, 4]
    assert trace.path.stat().st_size == trace.bytes_written  # the newest wait in memory again
    assert rest_of(trace.path, trace.bytes_written) != b""
    trace.close()


def test_records_of_a_folder_that_was_moved_are_written_at_once_where_readers_find_them(
    tmp_path: Path, memory: Path
) -> None:
    trace = buffered(tmp_path / "old" / "t.jsonl", 2)
    moved = (tmp_path / "old").rename(tmp_path / "new") / "t.jsonl"
    trace.path.parent.mkdir()
    trace.path.touch()  # another one of this name
    trace.sync()
    trace.mend()
    record(trace, 2, 2)
    assert seqs_of(moved) == [1, 2, 3, 4]
    assert list(memory.iterdir()) == []
    trace.close()
    assert trace.path.read_bytes() == b""


def test_without_shared_memory_each_record_is_written_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwritten, "SHARED_MEMORY", tmp_path / "absent")
    trace = buffered(tmp_path / "t.jsonl", 2)
    assert trace.bytes_written == trace.path.stat().st_size
    assert trace.path.read_bytes().count(b"\n") == 5
    trace.close()


def test_what_a_full_disk_does_not_take_stays_in_memory_for_readers_and_the_next_start(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = buffered(tmp_path / "t.jsonl", 2)
    trace.sync()
    record(trace, 2, 2)
    real, tries = os.write, iter((100,))

    def write(fd: int, line: bytes) -> int:
        for length in tries:
            return real(fd, line[:length])
        raise OSError(errno.ENOSPC, "No space left on device")  # in the middle of a line

    monkeypatch.setattr(os, "write", write)
    trace.sync()
    monkeypatch.undo()
    monkeypatch.setattr(unwritten, "SHARED_MEMORY", memory)
    assert known(trace.failed).startswith("the trace t.jsonl cannot be written (No space left on device)")
    assert trace.path.stat().st_size == trace.bytes_written
    record(trace, 4, 1)
    trace.close()
    assert seqs_of(trace.path) == [1, 2, 3, 4]
    write_rest(trace.path)
    assert list(memory.iterdir()) == []
    assert seqs_of(trace.path) == [1, 2, 3, 4]


def test_each_dates_segment_has_a_buffer_of_its_own(tmp_path: Path, memory: Path) -> None:
    clock, finished = VirtualClock(MIDNIGHT - 1), list[tuple[Path, list[int]]]()

    def path_of(session: date) -> Path:
        return tmp_path / session.isoformat() / "run-1.jsonl"

    def on_rolled(path: Path) -> None:
        finished.append((path, seqs_of(path)))

    trace = FileTrace(path_of(date(2026, 11, 20)), header(), clock, path_of, on_rolled, is_buffered=True)
    record(trace, 0, 1)
    clock.advance(MIDNIGHT)
    record(trace, 1, 1)
    assert finished == [(path_of(date(2026, 11, 20)), [1])]
    assert [r.seq for r in RunReader(segments_of(trace.path)) if isinstance(r, Envelope)] == [1, 2]
    assert list(memory.iterdir()) == [buffer_of(trace.path)]
    trace.close()


def test_writers_and_syncs_at_once_keep_every_record_in_order(tmp_path: Path) -> None:
    trace = FileTrace(tmp_path / "t.jsonl", header(), VirtualClock(9), is_buffered=True)
    is_over = threading.Event()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def sync() -> None:
        while not is_over.is_set():
            trace.sync()

    def look() -> None:
        while not is_over.is_set():
            seqs = seqs_of(trace.path)
            assert seqs == list(range(1, len(seqs) + 1))

    writers = [threading.Thread(target=record, args=(trace, 1000 * k, 200)) for k in range(3)]
    others = [threading.Thread(target=work) for work in (sync, look)]
    for thread in (*writers, *others):
        thread.start()
    for thread in writers:
        thread.join()
    is_over.set()
    for thread in others:
        thread.join()
    sys.setswitchinterval(interval)
    trace.close()
    assert seqs_of(trace.path) == list(range(1, 601))
    assert {r.seq for r in TraceReader(trace.path) if isinstance(r, Handled)} == set(range(1, 601))


_CHILD = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from supervision import unwritten
unwritten.SHARED_MEMORY = Path({memory!r})
from tests.supervision.test_unwritten_lines import buffered, record
trace = buffered(Path({path!r}), 0)
n = 0
while True:
    record(trace, n, 1)
    n += 1
    if {syncs} and n % 50 == 0:
        trace.sync()
    sys.stdout.write(f"{{n}}\\n")
    sys.stdout.flush()
    if not {syncs} and n == {after}:
        sys.stdin.read()  # until it is killed
"""


@pytest.mark.parametrize(("after", "syncs", "is_sealed"), [(20, False, False), (730, True, True)])
def test_killed_writer_leaves_every_record_to_readers_to_the_seal_and_to_the_next_start(
    tmp_path: Path, memory: Path, after: int, syncs: bool, is_sealed: bool
) -> None:
    path = tmp_path / "t.jsonl"
    code = _CHILD.format(root=str(ROOT), memory=str(memory), path=str(path), syncs=syncs, after=after)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        told = known(child.stdout)
        while int(told.readline()) < after:
            pass
        child.send_signal(signal.SIGKILL)
        acknowledged = max([after, *(int(line) for line in told.read().splitlines()[:-1])])
    lines, seqs = list(lines_of(path)), seqs_of(path)
    assert seqs == list(range(1, len(seqs) + 1)) and len(seqs) >= acknowledged
    assert syncs or path.read_bytes().count(b"\n") == 1  # what was never synced is in no file
    if is_sealed:
        assert list(lines_of(seal(path))) == lines
    else:
        write_rest(path)
        assert path.read_bytes() == b"".join(lines)
    assert list(memory.iterdir()) == []
