"""The vendor's history: one JSON array of a day (plain or gzip), and end-of-day zips of fifteen of them, as streams.

A category of a day is up to 110 MB of JSON; what is held at a time is a piece of the file and one object. What a file
is, its first bytes say; which category it holds, only its name does.
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

import orjson

PIECE_BYTES: Final = 1 << 20
OBJECT_BYTES_MAX: Final = 8 << 20
MEMBERS_MAX: Final = 1_000
UNPACKED_BYTES_MAX: Final = 4 << 30  # of one member: a day of the widest category is 110 MB
BLANK_BYTES_MAX: Final = 1 << 20  # in one run: between two objects there is a comma and a line's end
ENDS_TRIED_MAX: Final = 64  # of one object: the vendor's hold one closing brace
GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGIC: Final = b"PK\x03\x04"

_BEFORE: Final = re.compile(rb"[ \t\r\n\xef\xbb\xbf]*")  # an array
_BETWEEN: Final = re.compile(rb"[ \t\r\n,]*")  # its objects
_NAMED: Final = re.compile(
    r"(?:(?P<day>\d{4}-?\d{2}-?\d{2})_)?(?P<ticker>[A-Z][A-Z0-9._]*?)_"
    r"(?:(?P<package>classic|state|orderflow)_)(?P<rest>(?:gex_)?(?:full|zero|one|\d{8})"
    r"|(?:delta|gamma|vanna|charm)_(?:zero|one|\d{8})|orderflow)\.json(?:\.gz)?",
)


class HistoryError(Exception):
    """A history file that cannot be read on; one sentence."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name says: the ticker and our name of the category."""

    ticker: str
    category: str


def named(name: str) -> Named | None:
    """Return what the name of a file, or its path in a zip, says; `None` for a name of another form."""
    found = _NAMED.fullmatch(PurePosixPath(name).name)
    if found is None:
        return None
    package, rest = found["package"], found["rest"]
    if package == "orderflow":
        return Named(found["ticker"], "orderflow_orderflow") if rest == "orderflow" else None
    is_bare = re.fullmatch(r"full|zero|one|\d{8}", rest) is not None
    if package == "classic" and rest.startswith(("delta", "gamma", "vanna", "charm")):
        return None
    return Named(found["ticker"], f"{package}_{'gex_' if is_bare else ''}{rest}")


@contextmanager
def unpacked(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give a file's plain bytes, whether it is gzip (seen by its first bytes) or plain."""
    head = file.read(2)
    file.seek(0)
    if head == GZIP_MAGIC:
        with gzip.GzipFile(fileobj=file) as plain:
            yield plain  # type: ignore[misc]
    else:
        yield file


def is_zip(path: Path) -> bool:
    """Return whether a file is a zip, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == ZIP_MAGIC


def members(packed: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Yield the JSON files of an end-of-day zip.

    Raises:
        HistoryError: it is no such zip, or would unpack to more than a day.
    """
    infos = [info for info in packed.infolist() if not info.is_dir()]
    if len(infos) > MEMBERS_MAX or any(info.file_size > UNPACKED_BYTES_MAX for info in infos):
        raise HistoryError("the zip unpacks to more than any day of the vendor's; it is not read")
    yield from infos


def objects_in(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each object of a JSON array, as it comes.

    Raises:
        HistoryError: it is no array of objects, or it ends before its end.
    """
    buffer, at, read_n, blank_n = b"", 0, 0, 0
    begun = False
    while True:
        try:
            piece = file.read(PIECE_BYTES)
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
            raise HistoryError(f"the file is damaged or cut ({error}); download it again") from None
        read_n += len(piece)
        if read_n > UNPACKED_BYTES_MAX:
            raise HistoryError("the file unpacks to more than any day of the vendor's; it is not read on")
        buffer, at = buffer[at:] + piece, 0
        if not begun:
            at = _end_of_blanks(_BEFORE, buffer, 0)
            blank_n = _counted(blank_n + at)
            if at == len(buffer) and piece:
                continue
            if buffer[at : at + 1] != b"[":
                raise HistoryError("the file is no JSON array of a day")
            at, begun, blank_n = at + 1, True, 0
        while True:
            start = _end_of_blanks(_BETWEEN, buffer, at)
            blank_n = _counted(blank_n + start - at)
            if buffer[start : start + 1] == b"]":
                return
            if start < len(buffer) and buffer[start : start + 1] != b"{":
                raise HistoryError("the array holds something that is no object")
            end = _end_of(buffer, start)
            if end is None:
                at = start
                break
            yield buffer[start:end]
            at, blank_n = end, 0
        if len(buffer) - at > OBJECT_BYTES_MAX:
            raise HistoryError("an object never ends; the file is damaged, download it again")
        if not piece:
            raise HistoryError("the file ends in the middle of the day; download it again")


def _end_of_blanks(blanks: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    found = blanks.match(buffer, at)
    return at if found is None else found.end()


def _counted(blank_n: int) -> int:
    """Return a run's length.

    Raises:
        HistoryError: no day has such a run.
    """
    if blank_n > BLANK_BYTES_MAX:
        raise HistoryError("the file holds more blanks than data; it is damaged, download it again")
    return blank_n


def _end_of(buffer: bytes, start: int) -> int | None:
    """Return where the object that begins at `start` ends, `None` when that is not in the buffer.

    Objects of the vendor's hold no others, so the next brace ends them; should one hold a brace after all (in a text,
    or a nested object), the part up to it is no JSON, and the next one is tried.

    Raises:
        HistoryError: it holds more braces than any of the vendor's: each costs a reading of the whole.
    """
    end = start
    for _ in range(ENDS_TRIED_MAX):
        end = buffer.find(b"}", end) + 1
        if end == 0:
            return None
        is_plain = buffer.count(b"{", start, end) == 1 and buffer.count(b'"', start, end) % 2 == 0
        if (is_plain and buffer.find(b"\\", start, end) < 0) or _is_json(buffer[start:end]):
            return end
    raise HistoryError("an object holds too many braces; the file is damaged, download it again")


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
