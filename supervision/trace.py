"""The message trace: a header, then every envelope in the order of dequeue, each followed by what became of it.

One JSON object a line. Each record is written at once (it survives `kill -9` of the process); `sync` makes it survive
the machine. A torn tail is cut on reading, never misread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zstandard

from messages.base import SCHEMA
from messages.envelope import Envelope, Handled
from supervision.clock import Clock
from supervision.mailbox import Mail


class TraceError(Exception):
    """A trace cannot be used; the text is one sentence with the remedy."""


class Header(msgspec.Struct, frozen=True, tag="header", tag_field="kind"):
    """First record of a segment: what the run was made of."""

    run_n: int
    session: str
    started_utc: int
    rate: float
    settings_digest: str
    code_version: str
    settings: msgspec.Raw
    schema: int = SCHEMA


class Trace(Protocol):
    """What the runtimes write to."""

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, int]:
        """Record a dequeue; give its (seq, at_utc), stamped together."""

    def handled(self, seq: int, outcome: str, outbox_n: int, outbox_digest: str) -> None:
        """Record what became of an envelope."""

    def sync(self) -> None:
        """Make everything written so far durable."""


_RECEIPT = (
    b'{"kind":"envelope","seq":%d,"at_utc":%d,"to":"%b","incarnation":%d,"inbox_n":%d,"from":"%b",'
    b'"message_id":"%b","cause_seq":%d,"sent_utc":%d,"message":%b,"schema":%d}\n'
)
_HANDLED = b'{"kind":"handled","seq":%d,"outcome":"%b","outbox_n":%d,"outbox_digest":"%b"}\n'


class _Stamps:
    """Sequence and time of receipts: `at_utc` never decreases."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seq = 0
        self.at_utc = 0

    def next(self) -> tuple[int, int]:
        self.seq += 1
        now = self._clock.now_utc()
        self.at_utc = max(self.at_utc, now)
        return self.seq, self.at_utc


def receipt_line(seq: int, at_utc: int, to: str, incarnation: int, inbox_n: int, mail: Mail) -> bytes:
    """Write one envelope record."""
    return _RECEIPT % (
        seq, at_utc, to.encode(), incarnation, inbox_n, mail.sender.encode(), mail.message_id.encode(),
        mail.cause_seq, mail.sent_utc, mail.raw, SCHEMA,
    )  # fmt: skip


def handled_line(seq: int, outcome: str, outbox_n: int, outbox_digest: str) -> bytes:
    """Write one handling record."""
    return _HANDLED % (seq, outcome.encode(), outbox_n, outbox_digest.encode())


class FileTrace:
    """A segment on disk, one writer; safe from any thread."""

    def __init__(self, path: Path, header: Header, clock: Clock) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._lock = threading.Lock()
        self._stamps = _Stamps(clock)
        self._dirty = False
        self.bytes_written = 0
        self._write(msgspec.json.encode(header) + b"\n")

    def _write(self, line: bytes) -> None:
        self.bytes_written += os.write(self._fd, line)
        self._dirty = True

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, int]:
        """Record a dequeue; give its (seq, at_utc), stamped together under the append lock."""
        with self._lock:
            seq, at_utc = self._stamps.next()
            self._write(receipt_line(seq, at_utc, to, incarnation, inbox_n, mail))
        return seq, at_utc

    def handled(self, seq: int, outcome: str, outbox_n: int, outbox_digest: str) -> None:
        """Record what became of an envelope."""
        with self._lock:
            self._write(handled_line(seq, outcome, outbox_n, outbox_digest))

    def sync(self) -> None:
        """Make everything written so far durable (fdatasync)."""
        if self._dirty:
            self._dirty = False
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._fd)


class MemoryTrace:
    """A trace in memory, of the stepped runtime; `lines` are the very bytes that a file would hold."""

    def __init__(self, clock: Clock) -> None:
        self._stamps = _Stamps(clock)
        self.lines: list[bytes] = []

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, int]:
        """Record a dequeue; give its (seq, at_utc)."""
        seq, at_utc = self._stamps.next()
        self.lines.append(receipt_line(seq, at_utc, to, incarnation, inbox_n, mail))
        return seq, at_utc

    def handled(self, seq: int, outcome: str, outbox_n: int, outbox_digest: str) -> None:
        """Record what became of an envelope."""
        self.lines.append(handled_line(seq, outcome, outbox_n, outbox_digest))

    def sync(self) -> None:
        """Nothing to do: memory."""


class NoTrace:
    """Stamps only; for the bare runtime of benchmarks and sweeps."""

    def __init__(self, clock: Clock) -> None:
        self._stamps = _Stamps(clock)

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, int]:
        """Give the next (seq, at_utc)."""
        return self._stamps.next()

    def handled(self, seq: int, outcome: str, outbox_n: int, outbox_digest: str) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do."""


Record = Header | Envelope | Handled
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Record)


def seal(path: Path) -> Path:
    """Compress a finished segment with zstd beside it, then remove the plain one; give the sealed path."""
    sealed = path.with_suffix(path.suffix + ".zst")
    aside = sealed.with_suffix(".tmp")
    with path.open("rb") as plain, aside.open("wb") as out:
        zstandard.ZstdCompressor(level=3).copy_stream(plain, out)
        out.flush()
        os.fsync(out.fileno())
    aside.replace(sealed)
    path.unlink()
    return sealed


class TraceReader:
    """Reads a segment, plain or sealed. `torn` says, after reading, that an unfinished last line was cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = False
        if not path.is_file():
            raise TraceError(f"There is no trace at {path}; `main.py status` and the data folder name those there are.")

    def __iter__(self) -> Iterator[Record]:
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
        except msgspec.DecodeError as error:
            raise TraceError(
                f"{self.path}, line {number}: not a record of this version ({error}); "
                "replay it with the code version that its header names."
            ) from None
        return record

    def _lines(self) -> Iterator[bytes]:
        if self.path.suffix == ".zst":
            with self.path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
                rest = b""
                while chunk := stream.read(1 << 20):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from lines
                if rest:
                    yield rest
        else:
            with self.path.open("rb") as stream:
                for line in stream:
                    yield line.removesuffix(b"\n")
