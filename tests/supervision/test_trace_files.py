"""Segments on disk: torn tails, sealing, kill -9, a full disk, and names that need quoting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date, time
from pathlib import Path

import msgspec
import pytest

from domain.instants import at_exchange
from messages.broker import AmendOrder, PlaceOrder
from messages.envelope import Envelope, Handled, HandlingOutcome, decode, encode
from messages.market import SpotsChanged
from supervision.mailbox import Mail
from supervision.stepped import VirtualClock
from supervision.trace import FileTrace, Header, RunReader, TraceError, TraceReader, seal, segments_of
from tests.testkit.message_samples import one_of
from tests.testkit.narrow import known, of_class
from tests.testkit.toys import Log, Toy, say, spec, stepped, toy_tree

ROOT = Path(__file__).parents[2]


def header() -> Header:
    return Header(1, "2026-11-20", 5, 1.0, "digest", "0.1.0", msgspec.Raw(b'{"a":1}'))


def mail(text: str, n: int, sender: str = "edge:t") -> Mail:
    message = say(text)
    return Mail(message, encode(message), sender, f"1/{sender}/{n}", 0, n)


def written(path: Path, count: int = 3) -> FileTrace:
    trace = FileTrace(path, header(), VirtualClock(9))
    for n in range(count):
        seq, _ = trace.receipt("a:1", 1, n + 1, mail(f"text {n}", n))
        trace.handled(seq, HandlingOutcome.OK, 0, b"")
    return trace


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    trace = written(tmp_path / "t.jsonl")
    trace.close()
    found = list(TraceReader(trace.path))
    assert found[0] == header()
    assert [type(r) for r in found[1:]] == [Envelope, Handled] * 3
    first = of_class(Envelope, found[1])
    assert (first.seq, first.at_utc, first.to, first.incarnation, first.inbox_n, first.sender) == (
        1,
        9,
        "a:1",
        1,
        1,
        "edge:t",
    )
    assert decode(first.message) == say("text 0")
    assert trace.bytes_written == trace.path.stat().st_size
    assert TraceReader(trace.path).header() == header()


def test_the_market_lane_of_who_only_shows_it_is_left_out_and_leaves_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    trace = FileTrace(path, header(), VirtualClock(9), only_shown=("web",))
    newest = one_of(SpotsChanged)
    shown = Mail(newest, encode(newest), "quotes:a", "1/quotes:a/1/1/0", 1, 5)
    for n, (to, of) in enumerate((("web", shown), ("risk:a", shown), ("web", mail("said", 2))), start=1):
        seq, at_utc = trace.receipt(to, 1, n, of)
        assert at_utc == 9
        trace.handled(seq, HandlingOutcome.OK, 0, b"")
    trace.close()
    _, *found = TraceReader(path)
    assert [(type(r), r.seq) for r in found if not isinstance(r, Header)] == [
        (Envelope, 1), (Handled, 1), (Envelope, 2), (Handled, 2),
    ]  # fmt: skip
    assert [r.to for r in found if isinstance(r, Envelope)] == ["risk:a", "web"]


def test_tail_torn_at_any_byte_is_cut_and_never_misread(tmp_path: Path) -> None:
    trace = written(tmp_path / "t.jsonl")
    trace.close()
    whole = trace.path.read_bytes()
    full = list(TraceReader(trace.path))
    last = len(whole.splitlines(keepends=True)[-1])
    torn = tmp_path / "torn.jsonl"
    for cut in range(len(whole) - last, len(whole) + 1):
        torn.write_bytes(whole[:cut])
        reader = TraceReader(torn)
        found = list(reader)
        is_whole = cut >= len(whole) - 1  # all but the line's end is there: the record is whole
        assert found == (full if is_whole else full[:-1])
        assert reader.torn is (len(whole) - last < cut < len(whole) - 1)


def test_sealed_segment_reads_the_same_and_the_plain_one_is_gone(tmp_path: Path) -> None:
    trace = written(tmp_path / "t.jsonl", 2000)
    trace.close()
    plain = list(TraceReader(trace.path))
    sealed = seal(trace.path)
    assert not trace.path.exists() and sealed.suffix == ".zst"
    assert list(TraceReader(sealed)) == plain
    assert sealed.stat().st_size < trace.bytes_written / 10


def test_sealed_segment_that_was_cut_gives_whole_records_or_an_error_and_nothing_else(tmp_path: Path) -> None:
    trace = written(tmp_path / "t.jsonl", 2000)
    trace.close()
    plain = list(TraceReader(trace.path))
    sealed = seal(trace.path)
    whole = sealed.read_bytes()
    for share in (0.3, 0.6, 0.9):
        sealed.write_bytes(whole[: int(len(whole) * share)])
        try:
            found = list(TraceReader(sealed))
        except TraceError:
            continue
        assert found == plain[: len(found)]


def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    trace = written(tmp_path / "t.jsonl")
    trace.close()
    lines = trace.path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:10] + b"\n"
    trace.path.write_bytes(b"".join(lines))
    with pytest.raises(TraceError, match="line 3"):
        list(TraceReader(trace.path))


def test_what_is_no_trace_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no trace at"):
        TraceReader(tmp_path / "absent.jsonl")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(TraceError, match="is empty"):
        list(TraceReader(empty))
    other = tmp_path / "other.jsonl"
    other.write_text("hello\nworld\n")
    with pytest.raises(TraceError, match="line 1"):
        TraceReader(other).header()
    other.write_bytes(b"".join(_lines_of(tmp_path)[1:]))
    with pytest.raises(TraceError, match="does not begin with a header"):
        TraceReader(other).header()


def test_trace_of_schema_1_is_refused_with_the_remedy(tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    old.write_bytes(
        b'{"kind":"header","run_n":1,"session":"2026-11-20","started_utc":5,"rate":1.0,"settings_digest":"digest",'
        b'"code_version":"0.2.0","settings":{},"schema":1}\n'
        b'{"kind":"handled","seq":1,"outcome":"set_aside","outbox_n":0,"outbox_digest":""}\n'
    )
    remedy = r"schema 1, and this version reads schema 2; replay it with the code version .* \(0\.2\.0\)\.$"
    for use in (TraceReader.header, list):
        with pytest.raises(TraceError, match=remedy):
            use(TraceReader(old))


def _lines_of(folder: Path) -> list[bytes]:
    trace = written(folder / "lines.jsonl")
    trace.close()
    return trace.path.read_bytes().splitlines(keepends=True)


def test_segment_is_never_written_over(tmp_path: Path) -> None:
    written(tmp_path / "t.jsonl").close()
    with pytest.raises(FileExistsError):
        FileTrace(tmp_path / "t.jsonl", header(), VirtualClock(0))


def test_names_with_quotes_and_line_ends_do_not_break_a_record(tmp_path: Path) -> None:
    trace = FileTrace(tmp_path / "t.jsonl", header(), VirtualClock(0))
    odd = 'edge:"\n\\'
    trace.receipt(f"dead:{odd}", 0, 0, mail("x", 1, odd))
    trace.close()
    (_, found) = TraceReader(trace.path)
    envelope = of_class(Envelope, found)
    assert (envelope.to, envelope.sender) == (f"dead:{odd}", odd)


def test_late_writer_after_the_close_changes_nothing(tmp_path: Path) -> None:
    trace = written(tmp_path / "t.jsonl")
    trace.close()
    before = trace.path.read_bytes()
    seq, _ = trace.receipt("a:1", 1, 9, mail("late", 9))
    trace.handled(seq, HandlingOutcome.OK, 0, b"")
    trace.sync()
    trace.close()
    assert trace.path.read_bytes() == before
    assert trace.failed == "the trace is closed"


_CHILD = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from tests.supervision.test_trace_files import header, mail
from supervision.stepped import VirtualClock
from messages.envelope import HandlingOutcome
from supervision.trace import FileTrace
trace = FileTrace(Path({path!r}), header(), VirtualClock(0))
n = 0
while True:
    n += 1
    seq, _ = trace.receipt("a:1", 1, n, mail("x" * (n % 300), n))
    trace.handled(seq, HandlingOutcome.OK, 0, b"")
    if n % 3:  # by the next envelope otherwise, which is written before its seq is told
        trace.settle()
    sys.stdout.write(f"{{seq}}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [1, 57, 800])
def test_killed_writer_leaves_every_acknowledged_record(tmp_path: Path, after: int) -> None:
    path = tmp_path / "t.jsonl"
    code = _CHILD.format(root=str(ROOT), here=str(Path(__file__).parent), path=str(path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        told = known(child.stdout)
        acknowledged = 0
        while acknowledged < after:
            acknowledged = int(told.readline())
        child.send_signal(signal.SIGKILL)
        rest = told.read().splitlines()
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
    acknowledged -= acknowledged % 3 == 0
    found = list(TraceReader(path))
    handled = {r.seq for r in found if isinstance(r, Handled)}
    assert set(range(1, acknowledged + 1)) <= handled
    seqs = [r.seq for r in found if isinstance(r, Envelope)]
    assert seqs == list(range(1, len(seqs) + 1))


_FULL = """
import resource, sys
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from tests.supervision.test_trace_files import header, mail
from supervision.stepped import VirtualClock
from messages.envelope import HandlingOutcome
from supervision.trace import FileTrace
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
trace = FileTrace(Path({path!r}), header(), VirtualClock(0))
seqs = []
for n in range(200):
    seqs.append(trace.receipt("a:1", 1, n, mail("y" * 50, n))[0])
    trace.handled(seqs[-1], HandlingOutcome.OK, 0, b"")
assert seqs == list(range(1, 201)), seqs
print(trace.failed)
print(trace.bytes_written)
"""


def test_full_disk_ends_the_recording_at_a_whole_record_and_not_the_stamping(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    code = _FULL.format(root=str(ROOT), here=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    why, size = done.stdout.splitlines()
    assert why.startswith("the trace t.jsonl cannot be written (File too large)")
    assert path.stat().st_size == int(size) <= 5000
    reader = TraceReader(path)
    assert len(list(reader)) > 10 and not reader.torn


def test_order_leaves_for_its_port_only_after_the_trace_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    log: Log = []
    h = toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log)
    trace = FileTrace(tmp_path / "t.jsonl", header(), VirtualClock(0))
    runtime = stepped(h, trace=trace)
    real = os.fdatasync

    def sync(fd: int) -> None:
        steps.append("sync")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    runtime.sinks["port:ibkr:paper"] = lambda message: steps.append(type(message).__name__)
    runtime.post("port:ibkr:paper", say("ordinary"), "edge:t")
    runtime.post("port:ibkr:paper", order(is_exit=False), "edge:t")
    assert steps == ["Announce", "sync", "PlaceOrder"]
    trace.failed = "the disk is full"
    runtime.post("port:ibkr:paper", order(is_exit=False), "edge:t")
    assert runtime.latched == "the disk is full"
    trace.close()


def order(*, is_exit: bool) -> PlaceOrder:
    sample: PlaceOrder = one_of(PlaceOrder)
    return msgspec.structs.replace(sample, order=msgspec.structs.replace(sample.order, is_exit=is_exit))


def test_an_exit_never_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: Log = []
    trace = FileTrace(tmp_path / "t.jsonl", header(), VirtualClock(0))
    runtime = stepped(toy_tree(spec("a:1", lambda n: Toy(n, log)), log=log), trace=trace)
    left: list[str] = []

    def stuck(fd: int) -> None:
        raise AssertionError("the exit waited for the disk")

    monkeypatch.setattr(os, "fdatasync", stuck)
    runtime.sinks["port:ibkr:paper"] = lambda message: left.append(type(message).__name__)
    runtime.post("port:ibkr:paper", order(is_exit=True), "edge:t")
    change = one_of(AmendOrder)
    change = msgspec.structs.replace(change, change=msgspec.structs.replace(change.change, is_exit=True))
    runtime.post("port:ibkr:paper", change, "edge:t")
    assert left == ["PlaceOrder", "AmendOrder"]
    assert (runtime.latched, runtime.dead_letters) == (None, 0)


MIDNIGHT = at_exchange(date(2026, 11, 21), time())


def test_each_date_has_a_segment_and_the_finished_one_is_handed_on(tmp_path: Path) -> None:
    clock, finished = VirtualClock(MIDNIGHT - 2), list[Path]()

    def path_of(session: date) -> Path:
        return tmp_path / session.isoformat() / "run-1.jsonl"

    first = path_of(date(2026, 11, 20))
    trace = FileTrace(first, header(), clock, path_of, finished.append)
    for n, at in enumerate((MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1)):
        clock.advance(at)
        seq, _ = trace.receipt("a:1", 1, n + 1, mail(f"text {n}", n))
        trace.handled(seq, HandlingOutcome.OK, 0, b"")
    trace.close()
    second = path_of(date(2026, 11, 21))
    assert finished == [first]
    assert trace.path == second
    assert [r.seq for r in TraceReader(first) if isinstance(r, Envelope)] == [1]
    began = TraceReader(second).header()
    assert (began.session, began.started_utc, began.first_seq, began.run_n) == ("2026-11-21", MIDNIGHT, 2, 1)
    assert [r.seq for r in TraceReader(second) if isinstance(r, Envelope)] == [2, 3]
    assert segments_of(second) == (first, second)
    assert segments_of(first) == (first,)
    sealed = seal(first)
    assert segments_of(second) == (sealed, second)
    assert [r.seq for r in RunReader(segments_of(second)) if isinstance(r, Envelope)] == [1, 2, 3]


def test_a_new_segment_that_cannot_be_opened_ends_the_recording_and_not_the_stamping(tmp_path: Path) -> None:
    blocked = tmp_path / "2026-11-21"
    blocked.write_text("a file where a folder should be")
    clock = VirtualClock(MIDNIGHT - 1)
    trace = FileTrace(tmp_path / "t.jsonl", header(), clock, lambda day: tmp_path / day.isoformat() / "t.jsonl")
    clock.advance(MIDNIGHT)
    assert [trace.receipt("a:1", 1, n, mail("x", n))[0] for n in (1, 2)] == [1, 2]
    assert trace.failed is not None and "no new trace can be begun" in trace.failed


def test_a_damaged_byte_inside_a_text_is_a_message_that_cannot_be_decoded() -> None:
    whole = encode(say("hello"))
    assert b"hello" in whole
    with pytest.raises(msgspec.DecodeError):
        decode(whole.replace(b"hello", b"h\xddllo"))
