"""The message trace: a header, then every envelope in the order of dequeue, each followed by what became of it.

One JSON object a line. Each record is kept at once where it survives `kill -9` of the process: in the file, or in a
buffer beside it (`supervision/unwritten.py`), which readers append. `sync` makes it survive the machine. A torn tail is
cut on reading, never misread.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import zstandard

from domain.instants import session_of
from domain.session.calendar import next_midnight
from domain.units import Utc
from messages.base import SCHEMA
from messages.envelope import Envelope, Handled, HandlingOutcome
from supervision.clock import Clock
from supervision.disk_ahead import DiskAhead
from supervision.mailbox import Mail
from supervision.outbox import digest
from supervision.unwritten import Unwritten, rest_of, write_rest

_NEVER = Utc(2**63 - 1)
SEAL_LEVEL = 6  # of zstd: a ninth smaller than 3 with many quotes, at a quarter of its speed; beyond 9 nothing is won
SIMULATED: Final = "simulated"  # `Header.session` of a simulated day: it keeps no series, and nobody looks at it


class TraceError(Exception):
    """A trace cannot be used; the text is one sentence with the remedy."""


class Header(msgspec.Struct, frozen=True, tag="header", tag_field="kind"):
    """First record of a segment: what the run was made of.

    A run of several days has a segment a day; `first_seq` is that of the segment's first envelope.
    """

    run_n: int
    session: str
    started_utc: Utc
    rate: float
    settings_digest: str
    code_version: str
    settings: msgspec.Raw
    schema: int = SCHEMA
    first_seq: int = 1


class Trace(Protocol):
    """What the runtimes write to. Without `records` nobody needs encodings, digests and message ids."""

    @property
    def records(self) -> bool:
        """Whether envelopes are kept at all."""

    @property
    def failed(self) -> str | None:
        """Why nothing is recorded any more; `None` while all is well."""

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, Utc]:
        """Record a dequeue; return its (seq, at_utc), stamped together."""

    def handled(self, seq: int, outcome: HandlingOutcome, outbox_n: int, outbox: bytes) -> None:
        """Record what became of an envelope; `outbox` are its effects encoded.

        It is written with the next envelope, whosever that is, or by `settle`: no effect stands before its cause.
        """

    def settle(self) -> None:
        """Write the outcomes that no envelope has taken along: whoever has handled goes on with nothing now."""

    def sync(self) -> None:
        """Make everything written so far durable."""

    def mend(self) -> None:
        """Look after what `sync`, which an order waits for, takes no time for; called after the regular ones."""


_ENCODER = msgspec.json.Encoder()


class _Unread(msgspec.Struct, gc=False):
    """A `Handled` that nobody has read yet."""

    seq: int
    outcome: HandlingOutcome
    outbox_n: int
    outbox: bytes


def _envelope(seq: int, at_utc: Utc, to: str, incarnation: int, inbox_n: int, mail: Mail) -> Envelope:
    return Envelope(
        seq, at_utc, to, incarnation, inbox_n, mail.sender, mail.message_id, mail.cause_seq, mail.sent_utc,
        msgspec.Raw(mail.raw),
    )  # fmt: skip


def _line(record: Envelope | Handled) -> bytes:
    return _ENCODER.encode(record) + b"\n"


class NoTrace:
    """Stamps only (`at_utc` never decreases); for the bare runtime of benchmarks and sweeps."""

    records = False
    failed: str | None = None

    def __init__(self, clock: Clock) -> None:
        self._now_utc = clock.now_utc
        self._seq = 0
        self._at_utc = Utc(0)

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, Utc]:
        """Return the next (seq, at_utc)."""
        self._seq = seq = self._seq + 1
        now = self._now_utc()
        if now > self._at_utc:  # noqa: PLR1730 - five times as fast as max(), on the hottest path there is
            self._at_utc = now
        return seq, self._at_utc

    def handled(self, seq: int, outcome: HandlingOutcome, outbox_n: int, outbox: bytes) -> None:
        """Nothing to do."""

    def settle(self) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do."""

    def mend(self) -> None:
        """Nothing to do."""


class MemoryTrace(NoTrace):
    """A trace in memory, of the stepped runtime; `lines` are the very bytes that a file would hold.

    What was recorded is kept in parts, and made into lines when they are read.
    """

    records = True

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._unread: deque[Envelope | _Unread] = deque()
        self._lines: list[bytes] = []

    @property
    def lines(self) -> list[bytes]:
        """Return all lines so far."""
        unread = self._unread
        while unread:
            found = unread.popleft()
            if isinstance(found, _Unread):
                self._lines.append(_line(Handled(found.seq, found.outcome, found.outbox_n, digest(found.outbox))))
            else:
                self._lines.append(_line(found))
        return self._lines

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, Utc]:
        """Record a dequeue; return its (seq, at_utc)."""
        self._seq = seq = self._seq + 1
        now = self._now_utc()
        if now > self._at_utc:  # noqa: PLR1730 - as above
            self._at_utc = now
        self._unread.append(_envelope(seq, self._at_utc, to, incarnation, inbox_n, mail))
        return seq, self._at_utc

    def handled(self, seq: int, outcome: HandlingOutcome, outbox_n: int, outbox: bytes) -> None:
        """Record what became of an envelope; `outbox` are its effects encoded."""
        self._unread.append(_Unread(seq, outcome, outbox_n, outbox))


class FileTrace(NoTrace):
    """A run's segments on disk, one writer; safe from any thread.

    With `path_of` each session date in New York has a segment of its own: the first record of a new date opens it, and
    `on_rolled` is told of the finished one (in whichever thread that record is written). Without it there is one.
    With `is_buffered` records wait in shared memory for the next `sync`, where the machine has such memory.
    `only_shown` are addresses whose market lane (messages of which only the newest matters) is left out: of actors that
    show it and send nothing on. Such mail has no `seq` (0).

    A write that fails (a full disk) ends the recording and not the trading: `failed` says why, the segment is cut back
    to its last whole record, and stamping goes on. The runtime then halts entries.
    """

    records = True

    def __init__(
        self, path: Path, header: Header, clock: Clock, path_of: Callable[[date], Path] | None = None,
        on_rolled: Callable[[Path], None] = lambda path: None, *, is_buffered: bool = False,
        only_shown: Collection[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(clock)
        self._is_buffered = is_buffered
        self._only_shown = frozenset(only_shown)
        self._unwritten: Unwritten | None = None
        self._header = header
        self._path_of = path_of
        self._on_rolled = on_rolled
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._is_dirty = False
        self._outcomes = b""  # lines that the next envelope takes along
        self._roll_utc = _NEVER
        self._fd = -1
        self._open(path, header)

    def _open(self, path: Path, header: Header) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._ahead = DiskAhead(self._fd)
        self.path = path
        self.bytes_written = 0
        if self._path_of is not None:
            self._roll_utc = next_midnight(date.fromisoformat(header.session))
        self._write(_ENCODER.encode(header) + b"\n")
        self._unwritten = self._buffer() if self._is_buffered else None

    def _buffer(self) -> Unwritten | None:
        """Return a new buffer; `None` where readers would not find it: each record is written by itself then."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._fd), self.path.stat()):  # the folder may have been moved
                return Unwritten(self.path, self.bytes_written)
        return None

    def _roll(self, seq: int, at_utc: Utc) -> None:
        """Finish this segment and begin the next date's (the lock is held)."""
        assert self._path_of is not None
        session, finished, fd, unwritten = session_of(at_utc), self.path, self._fd, self._unwritten
        self._write_out()
        ahead = self._ahead
        header = msgspec.structs.replace(
            self._header, session=session.isoformat(), started_utc=at_utc, first_seq=seq, settings=self._header.settings
        )
        try:
            self._open(self._path_of(session), header)
        except OSError as error:
            self._roll_utc = _NEVER  # the day goes on in the old segment
            self.failed = self.failed or f"no new trace can be begun ({error.strerror}); free disk, start again"
            return
        with contextlib.suppress(OSError):
            os.fdatasync(fd)
        ahead.give_back()
        with self._sync_lock:  # nobody is syncing what is closed here
            os.close(fd)
        if unwritten is not None and self.failed is None:
            unwritten.remove()
        self._on_rolled(finished)

    def _write(self, line: bytes) -> None:
        if self.failed is not None or not line:
            return
        try:
            written = os.write(self._fd, line)
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError as error:
            self.failed = f"the trace {self.path.name} cannot be written ({error.strerror}); free disk, start again"
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.bytes_written)
            return
        self.bytes_written += len(line)
        self._is_dirty = True

    def _append(self, line: bytes) -> None:
        """Keep whole lines in the buffer; without one, or where it is too small for them, write them (lock held)."""
        if self._unwritten is None or self.failed is not None or not line:
            self._write(line)
            return
        self._is_dirty = True
        if self._unwritten.keep(line):
            return
        self._write_out()
        if self.failed is None and not self._unwritten.keep(line):
            self._write(line)
            self._unwritten.empty(self.bytes_written)

    def _write_out(self) -> None:
        """Write what the buffer holds (the lock is held); what a full disk does not take stays in there."""
        if self._unwritten is None or self.failed is not None:
            return
        self._write(self._unwritten.lines())
        if self.failed is None:
            self._unwritten.empty(self.bytes_written)

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, Utc]:
        """Record a dequeue; return its (seq, at_utc), stamped together under the append lock."""
        if mail.message.CONFLATES and to in self._only_shown:
            return 0, max(self._at_utc, self._now_utc())
        with self._lock:
            seq, at_utc = super().receipt(to, incarnation, inbox_n, mail)
            if at_utc >= self._roll_utc:
                self._append(self._taken())
                self._roll(seq, at_utc)
            self._append(self._taken() + _line(_envelope(seq, at_utc, to, incarnation, inbox_n, mail)))
        return seq, at_utc

    def handled(self, seq: int, outcome: HandlingOutcome, outbox_n: int, outbox: bytes) -> None:
        """Record what became of an envelope; `outbox` are its effects encoded."""
        if not seq:
            return
        line = _line(Handled(seq, outcome, outbox_n, digest(outbox)))
        with self._lock:
            self._outcomes += line

    def _taken(self) -> bytes:
        """Return the outcomes that wait, which are the caller's to write (the lock is held)."""
        lines, self._outcomes = self._outcomes, b""
        return lines

    def settle(self) -> None:
        """Write the outcomes that no envelope has taken along."""
        if self._outcomes:
            with self._lock:
                self._append(self._taken())

    def sync(self) -> None:
        """Make everything recorded so far durable (fdatasync); whoever comes during another's sync waits for it."""
        self.settle()
        if self._unwritten is not None:
            with self._lock:
                self._write_out()
        with self._sync_lock:
            if not self._is_dirty:
                return
            self._is_dirty = False
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self.failed = self.failed or f"the trace {self.path.name} cannot be made durable ({error.strerror})"

    def mend(self) -> None:
        """Reserve disk, and make a new buffer where readers would not find the old one, which is written first."""
        with self._lock:
            if self._fd >= 0:
                self._ahead.keep(self.bytes_written)
        unwritten = self._unwritten
        if unwritten is None or unwritten.is_found():  # asked without the lock, for which orders would wait
            return
        with self._lock:
            if self._unwritten is not unwritten:
                return  # another segment has begun
            self._write_out()
            if self.failed is None:
                unwritten.remove()
                self._unwritten = self._buffer()

    def close(self) -> None:
        """Sync and close; what a late thread would still write is refused."""
        self.sync()
        with self._lock:
            self._write_out()
            if self._fd >= 0:
                self._ahead.give_back()
                os.close(self._fd)
            self._fd = -1
            if self._unwritten is not None and self.failed is None:
                self._unwritten.remove()
            self._unwritten = None
            self.failed = self.failed or "the trace is closed"


Record = Header | Envelope | Handled
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Record)


def seal(path: Path) -> Path:
    """Compress a finished segment with zstd beside it, then remove the plain one; return the sealed path."""
    write_rest(path)
    sealed = path.with_suffix(path.suffix + ".zst")
    aside = sealed.with_suffix(".tmp")
    with path.open("rb") as plain, aside.open("wb") as out:
        zstandard.ZstdCompressor(level=SEAL_LEVEL).copy_stream(plain, out)
        out.flush()
        os.fsync(out.fileno())
    aside.replace(sealed)
    path.unlink()
    return sealed


def segments_of(path: Path) -> tuple[Path, ...]:
    """Return the segments of a segment's run up to it, oldest first: its name in the folders of earlier dates."""
    name = path.name.removesuffix(".zst")
    found: dict[str, Path] = {}
    for folder in path.parent.parent.glob("????-??-??"):
        for candidate in (folder / name, folder / f"{name}.zst"):
            if candidate.is_file() and folder.name < path.parent.name:
                found[folder.name] = candidate
    return (*(found[day] for day in sorted(found)), path)


def lines_of(path: Path) -> Iterator[bytes]:
    """Return the lines of a segment, plain or sealed, each with its line end; the last one may lack it.

    Those that the writer of a plain one has not written to it yet, or never came to, are among them.

    Raises:
        TraceError: it cannot be read, or it is sealed and was damaged or cut since.
    """
    try:
        with path.open("rb") as raw:
            if path.suffix != ".zst":
                read_n, torn = 0, b""
                for line in raw:
                    read_n += len(line)
                    if line.endswith(b"\n"):
                        yield line
                    else:
                        torn = line
                *lines, rest = (torn + rest_of(path, read_n)).split(b"\n")
                yield from (line + b"\n" for line in lines)
                if rest:
                    yield rest
                return
            stream, rest = zstandard.ZstdDecompressor().decompressobj(), b""
            while chunk := raw.read(1 << 18):
                *lines, rest = (rest + stream.decompress(chunk)).split(b"\n")
                for line in lines:
                    yield line + b"\n"
            if rest:
                yield rest
            if not stream.eof:
                raise TraceError(f"{path} was cut; restore it from a copy.")
    except OSError as error:
        raise TraceError(f"Cannot read {path}: {error.strerror}; `main.py report` names the traces.") from None
    except zstandard.ZstdError as error:
        raise TraceError(f"{path} is damaged ({error}); restore it from a copy.") from None


class RunReader:
    """Reads a run's segments one after the other; `torn` as `TraceReader` says it of the last one."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._readers = [TraceReader(path) for path in paths]

    @property
    def torn(self) -> bool:
        """Whether an unfinished last line was cut."""
        return self._readers[-1].torn

    def __iter__(self) -> Iterator[Record]:
        """Return the records in order.

        Raises:
            TraceError: as `TraceReader`.
        """
        for reader in self._readers:
            yield from reader


class TraceReader:
    """Reads a segment, plain or sealed. `torn` says, after reading, that an unfinished last line was cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = False
        if not path.is_file():
            raise TraceError(f"There is no trace at {path}; `main.py report` names those of a session.")

    def header(self) -> Header:
        """Return the segment's first record.

        Raises:
            TraceError: no trace, or one of another schema.
        """
        for record in self:
            if isinstance(record, Header):
                return record
            break
        raise TraceError(f"{self.path} does not begin with a header; it is not a trace.")

    def __iter__(self) -> Iterator[Record]:
        """Return the records in order.

        Raises:
            TraceError: a trace of another schema, or a line that is not the last is no record (a torn last line is cut
            instead).
        """
        self.torn = False
        number = 0
        pending: bytes | None = None
        for line in self._lines():
            if pending is not None:
                number += 1
                yield self._decoded(pending, number)
            pending = line
        if pending is None:
            raise TraceError(f"{self.path} is empty; it is not a trace.")
        try:
            last = self._decoded(pending, number + 1)
        except TraceError:
            if number == 0:
                raise
            self.torn = True
            return
        yield last

    def _decoded(self, line: bytes, number: int) -> Record:
        try:
            record: Record = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TraceError(f"{self.path}, line {number}: not a record ({error}); restore it from a copy.") from None
        if isinstance(record, Header) and record.schema != SCHEMA:
            raise TraceError(
                f"{self.path} is a trace of schema {record.schema}, and this version reads schema {SCHEMA}; "
                f"replay it with the code version that its header names ({record.code_version})."
            )
        return record

    def _lines(self) -> Iterator[bytes]:
        for line in lines_of(self.path):
            yield line.removesuffix(b"\n")
