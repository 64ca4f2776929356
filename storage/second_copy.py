"""The second copy: ledgers and finished files as they are, shipped as they come, to a target that is a data folder.

A share of what is there is read back each day, a little at a call, and shipped again where it is not what this disk
holds; the ledgers are shipped anew each day. It carries a `KILL` file that says 1: whoever starts a supervisor on it
starts without entries, and compares first.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Final

from storage.archive import units
from storage.sqlite_file import copy_to, peek, reading
from storage.targets import Target

VERIFY_DAYS: Final = 30  # every file is read back once in so many days
VERIFY_BYTES: Final = 64 << 20  # read back at one call, at least one file

_Stamp = tuple[int, int]


class SecondCopy:
    """Ships what is new of a data folder to a target.

    Args:
        root: the data folder.
        target: where to.
    """

    def __init__(self, root: Path, target: Target) -> None:
        self._root = root
        self._target = target
        self._shipped: dict[str, _Stamp] = {}
        self._verified: date | None = None
        self._to_verify: list[str] = []
        self._damaged: set[str] = set()

    def refresh(self, today: date) -> int:
        """Ship what has changed since the last call or is damaged there, and return how many files that were.

        Raises:
            TargetError: the target cannot be used.
            LedgerRefusedError: a ledger cannot be read now.
            OSError: a file here cannot be read.
        """
        shipped_n = 0
        if not self._shipped:
            self._target.put_bytes("KILL", b"1\n")
        with tempfile.TemporaryDirectory(prefix="zerohour-copy-") as aside:
            sources = tuple(self._sources())
            self._forget_damaged(today, {name: path for name, path, _ in sources})
            for name, path, stamp in sources:
                if self._shipped.get(name) == stamp:
                    continue
                if path.suffix == ".db":
                    copy = Path(aside) / path.name
                    with reading(path), closing(peek(path)) as db:
                        copy_to(db, copy)
                    self._target.put(name, copy)
                    shipped_n += 1
                elif name in self._damaged or self._target.size(name) != stamp[0]:  # one made anew has another size
                    self._target.put(name, path)
                    self._damaged.discard(name)
                    shipped_n += 1
                self._shipped[name] = stamp
        return shipped_n

    def _forget_damaged(self, today: date, sources: dict[str, Path]) -> None:
        """Read some of today's share back; what is not what this disk holds counts as not shipped."""
        if today != self._verified:
            self._verified = today
            self._to_verify = [n for n in sources if (zlib.crc32(n.encode()) - today.toordinal()) % VERIFY_DAYS == 0]
            for name, path in sources.items():
                if path.suffix == ".db":
                    self._shipped.pop(name, None)
        bytes_n = 0
        while self._to_verify and bytes_n < VERIFY_BYTES:
            name = self._to_verify.pop()
            if name not in sources or name.endswith(".db"):
                continue
            path = sources[name]
            bytes_n += path.stat().st_size
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not self._target.has(name) or self._target.digest(name) != digest:
                self._damaged.add(name)
                self._shipped.pop(name, None)

    def _sources(self) -> Iterator[tuple[str, Path, _Stamp]]:
        for path in sorted((self._root / "ledgers").glob("*.db")):
            log = path.with_name(f"{path.name}-wal")
            stamps = [stat for file in (path, log) if file.exists() and (stat := file.stat()).st_size]
            if not stamps:
                continue
            yield f"ledgers/{path.name}", path, (sum(s.st_size for s in stamps), max(s.st_mtime_ns for s in stamps))
        finished = [unit for unit in units(self._root) if unit.unfinished is None]
        for path in (path for unit in finished for path in unit.files):
            found = path.stat()
            yield path.relative_to(self._root).as_posix(), path, (found.st_size, found.st_mtime_ns)
