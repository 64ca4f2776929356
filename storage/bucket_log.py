"""A log of buckets: each record one write, durable when `append` returns, and whole or not there.

A record is a head (magic, sizes, checksums), a header (bytes that mean something to the manifest) and bodies, each with
a checksum of its own. A write that a crash cut short is the end of its file: every process start and every seal begins
a new file, so nothing is ever written behind it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

MAGIC = b"ZHBKLOG1"
_HEAD = struct.Struct("<8sIII")  # magic, checksum of what follows up to the bodies, length of the header, bodies
_BODY = struct.Struct("<II")  # length, checksum
_HEADER_BYTES_MAX = 1 << 28
_BODIES_MAX = 1 << 16


class Record(msgspec.Struct, frozen=True):
    """One record of a file: where it begins, its header, and where its bodies lie as (offset, length, checksum)."""

    begin: int
    header: bytes
    bodies: tuple[tuple[int, int, int], ...]


class Scan(msgspec.Struct, frozen=True):
    """What a file holds: its records, where the last one ends, and the damaged stretches before that (from, to).

    `is_tail_damaged`: what follows the last one is more than the beginning of a record that a crash cut short.
    """

    records: tuple[Record, ...]
    end: int
    damaged: tuple[tuple[int, int], ...]
    is_tail_damaged: bool


class LogWriter:
    """A file that records are appended to.

    Args:
        path: a new file.
        is_durable: False leaves out the syncs.

    Raises:
        OSError: it cannot be made, or is there already.
    """

    def __init__(self, path: Path, *, is_durable: bool) -> None:
        self.path = path
        self._is_durable = is_durable
        self._size = 0
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)

    def append(self, header: bytes, bodies: Sequence[bytes]) -> None:
        """Append one record.

        Raises:
            OSError: nothing of it counts; begin a new file.
        """
        spans = b"".join(_BODY.pack(len(body), zlib.crc32(body)) for body in bodies)
        sizes = struct.pack("<II", len(header), len(bodies))
        checksum = zlib.crc32(header, zlib.crc32(spans, zlib.crc32(sizes)))
        raw = memoryview(b"".join((_HEAD.pack(MAGIC, checksum, len(header), len(bodies)), spans, header, *bodies)))
        try:
            written = 0
            while written < len(raw):
                written += os.write(self._handle, raw[written:])
            if self._is_durable:
                os.fdatasync(self._handle)
        except OSError:
            # What may be half there must not come back as a bucket that was given up.
            with suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(raw)

    def close(self) -> None:
        """Release the file."""
        os.close(self._handle)


def scan(path: Path) -> Scan:
    """Return the records of a file that may be written to meanwhile; bodies are neither read nor checked.

    Raises:
        OSError: the file cannot be read.
    """
    records: list[Record] = []
    damaged: list[tuple[int, int]] = []
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            found = _record(file.fileno(), at, size)
            if found is None:
                following = _next_magic(file.fileno(), at + 1, size)
                if following is None:
                    break
                damaged.append((at, following))
                at = following
                continue
            record, at = found
            records.append(record)
        is_tail_damaged = at < size and not _is_cut_short(file.fileno(), at, size)
    return Scan(tuple(records), at, tuple(damaged), is_tail_damaged)


def body(path: Path, record: Record, n: int) -> bytes | None:
    """Return the `n`-th body of a record; `None` where its checksum does not hold.

    Raises:
        OSError: the file cannot be read.
    """
    offset, length, checksum = record.bodies[n]
    with path.open("rb", buffering=0) as file:
        raw = os.pread(file.fileno(), length, offset)
    return raw if len(raw) == length and zlib.crc32(raw) == checksum else None


def _record(handle: int, at: int, size: int) -> tuple[Record, int] | None:
    """Return the record that begins at `at` and where it ends; `None` where none that is whole does."""
    head = os.pread(handle, _HEAD.size, at)
    if len(head) < _HEAD.size:
        return None
    magic, checksum, header_n, bodies_n = _HEAD.unpack(head)
    if magic != MAGIC or header_n > _HEADER_BYTES_MAX or bodies_n > _BODIES_MAX:
        return None
    raw = os.pread(handle, bodies_n * _BODY.size + header_n, at + _HEAD.size)
    if zlib.crc32(raw, zlib.crc32(head[12:])) != checksum:
        return None
    offset = at + _HEAD.size + len(raw)
    bodies = []
    for length, body_checksum in _BODY.iter_unpack(raw[: bodies_n * _BODY.size]):
        bodies.append((offset, length, body_checksum))
        offset += length
    return (Record(at, raw[bodies_n * _BODY.size :], tuple(bodies)), offset) if offset <= size else None


def _is_cut_short(handle: int, at: int, size: int) -> bool:
    """Return whether a file ends in the beginning of a record, as a crash leaves it, or in blocks never written."""
    head = os.pread(handle, _HEAD.size, at)
    if not head.strip(b"\0"):
        return not os.pread(handle, size - at, at).strip(b"\0")
    if head[: len(MAGIC)] != MAGIC[: len(head)]:
        return False
    if len(head) < _HEAD.size:
        return True
    _, checksum, header_n, bodies_n = _HEAD.unpack(head)
    wanted_n = bodies_n * _BODY.size + header_n
    if wanted_n > size - at - _HEAD.size:
        return True
    return bool(zlib.crc32(os.pread(handle, wanted_n, at + _HEAD.size), zlib.crc32(head[12:])) == checksum)


def _next_magic(handle: int, at: int, size: int) -> int | None:
    """Return where the next whole record begins, `None` where there is none."""
    raw = os.pread(handle, size - at, at)
    found = raw.find(MAGIC)
    while found >= 0:
        if _record(handle, at + found, size) is not None:
            return at + found
        found = raw.find(MAGIC, found + 1)
    return None
