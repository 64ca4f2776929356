"""Which files were imported: one line a file, written when its rows are in force, so that a second run passes it by.

The journal saves time only: without it every row is found to be there already.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = "imports.jsonl"
_PIECE: Final = 1 << 20


class Imported(msgspec.Struct, frozen=True):
    """One file that was imported: its digest (with what was asked of it), its name, and what became of its rows."""

    digest: str
    name: str
    kind: str
    new_n: int
    known_n: int
    refused: dict[str, int] = {}


class Journal:
    """The journal of a data folder."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        self._known: dict[str, Imported] = {}
        for line in self._path.read_bytes().splitlines() if self._path.exists() else ():
            try:
                found = msgspec.json.decode(line, type=Imported)
            except (
                msgspec.MsgspecError,
                UnicodeDecodeError,
            ):  # a line that a crash cut: its file is imported once more, and adds nothing
                continue
            self._known[found.digest] = found

    def find(self, digest: str) -> Imported | None:
        """Return what became of a file; `None` where it was not imported."""
        return self._known.get(digest)

    def write(self, done: Imported) -> None:
        """Keep that a file was imported, durably."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            is_cut = file.tell() > 0 and not _ends_a_line(self._path)
            file.write((b"\n" if is_cut else b"") + msgspec.json.encode(done) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._known[done.digest] = done


def digest_of(path: Path, asked: str) -> str:
    """Return what names a file's bytes and what was asked of them (blake2b, hexadecimal)."""
    h = hashlib.blake2b(asked.encode(), digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            h.update(piece)
    return h.hexdigest()


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
