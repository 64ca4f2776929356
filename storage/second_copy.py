"""The second copy: ledgers and finished files as they are, shipped as they come, to a target that is a data folder.

It carries a `KILL` file that says 1: whoever starts a supervisor on it starts without entries, and compares first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from storage.archive import units
from storage.sqlite_file import copy_to, peek, reading
from storage.targets import Target

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

    def refresh(self) -> int:
        """Ship what has changed since the last call, and return how many files that were.

        Raises:
            TargetError: the target cannot be used.
            LedgerRefusedError: a ledger cannot be read now.
            OSError: a file here cannot be read.
        """
        shipped_n = 0
        if not self._shipped:
            self._target.put_bytes("KILL", b"1\n")
        with tempfile.TemporaryDirectory(prefix="zerohour-copy-") as aside:
            for name, path, stamp in self._sources():
                if self._shipped.get(name) == stamp:
                    continue
                if path.suffix == ".db":
                    copy = Path(aside) / path.name
                    with reading(path), closing(peek(path)) as db:
                        copy_to(db, copy)
                    self._target.put(name, copy)
                    shipped_n += 1
                elif self._target.size(name) != stamp[0]:  # a finished file that was made anew has another size
                    self._target.put(name, path)
                    shipped_n += 1
                self._shipped[name] = stamp
        return shipped_n

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
