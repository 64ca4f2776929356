"""The newest lines of a trace, in memory that outlives the process, until they are written to its segment.

A file in the machine's shared memory (tmpfs) is mapped into the process: a line is kept by copying it, without a system
call, and survives `kill -9`. It does not survive the machine, as nothing of a trace does before it is synced; nor the
container whose memory it is, its removal by others (logind, with `RemoveIPC`, when a user's last session ends), or a
move of the segment, by whose path it is found. The last two a writer that lives mends within a tenth of a second.

Layout: the size of the segment when the buffer was last emptied (8 bytes), then frames: length and checksum (4 bytes
each), line. The checksum begins with that size, so what is left of earlier fillings is no frame. A reader appends what
the segment lacks; a copy that was interrupted has no valid checksum and is cut.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import Final
from zlib import crc32

SHARED_MEMORY: Final = Path("/dev/shm")
CAPACITY: Final = 1 << 18  # a second of an ordinary day writes 70 KB; what finds no room is written at once
_SIZE = struct.Struct("<Q")
_FRAME = struct.Struct("<II")


def buffer_of(segment: Path) -> Path:
    """Return where the lines of a segment stand that are not written to it yet."""
    digest = blake2b(os.fsencode(segment.resolve()), digest_size=16).hexdigest()
    return SHARED_MEMORY / f"zerohour-{digest}.trace"


class Unwritten:
    """The buffer of one segment, for its only writer.

    Raises:
        OSError: there is no shared memory here, or not enough.
    """

    def __init__(self, segment: Path, segment_size: int) -> None:
        self._segment = segment
        self._segment_is = segment.stat()
        self._path = buffer_of(segment)
        self._lines: list[bytes] = []
        self._end = self._seed = 0
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(fd, 0, CAPACITY)  # a page that is not there would end the process later
            self._map = mmap.mmap(fd, CAPACITY)
            self._is = os.fstat(fd)
        except OSError:
            self._path.unlink()
            raise
        finally:
            os.close(fd)
        self.empty(segment_size)

    def keep(self, line: bytes) -> bool:
        """Keep a line; return False where there is no room for it."""
        begin, end = self._end, self._end + _FRAME.size + len(line)
        if end > CAPACITY:
            return False
        self._map[begin:end] = _FRAME.pack(len(line), crc32(line, self._seed)) + line
        self._end = end
        self._lines.append(line)
        return True

    def is_found(self) -> bool:
        """Return whether readers find it: nobody has removed it, and the segment is where it was."""
        try:
            return os.path.samestat(self._segment.stat(), self._segment_is) and os.path.samestat(
                buffer_of(self._segment).stat(), self._is
            )
        except OSError:
            return False

    def lines(self) -> bytes:
        """Return what is kept."""
        return b"".join(self._lines)

    def empty(self, segment_size: int) -> None:
        """Forget what is kept: the segment, which has this size now, holds it."""
        self._map[: _SIZE.size] = _SIZE.pack(segment_size)
        self._seed = segment_size & 0xFFFFFFFF
        self._end = _SIZE.size
        self._lines = []

    def remove(self) -> None:
        """Give the memory back."""
        self._map.close()
        self._path.unlink(missing_ok=True)


def rest_of(segment: Path, read_n: int) -> bytes:
    """Return what follows the first `read_n` bytes of a segment, all that it holds, in its buffer; empty without one.

    Empty, too, while its writer has just emptied the buffer into the segment: whoever reads it once more finds that.
    """
    path = buffer_of(segment)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != segment.stat().st_uid:
                return b""  # in a folder that everybody writes to, this is somebody else's
            kept = file.read()
    except OSError:
        return b""
    if len(kept) < _SIZE.size:
        return b""
    (size,) = _SIZE.unpack_from(kept)
    lines = _frames_of(kept, size & 0xFFFFFFFF)
    return lines[read_n - size :] if size <= read_n else b""


def _frames_of(kept: bytes, seed: int) -> bytes:
    at, lines = _SIZE.size, b""
    while at + _FRAME.size <= len(kept):
        length, checksum = _FRAME.unpack_from(kept, at)
        line = kept[at + _FRAME.size : at + _FRAME.size + length]
        if not length or len(line) < length or crc32(line, seed) != checksum:
            break
        lines += line
        at += _FRAME.size + length
    return lines


def write_rest(segment: Path) -> None:
    """Write to a segment whose writer is gone what its buffer holds, durably, and give the memory back."""
    rest = rest_of(segment, segment.stat().st_size)
    if rest:
        with segment.open("ab") as file:
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
    with contextlib.suppress(OSError):
        buffer_of(segment).unlink()
