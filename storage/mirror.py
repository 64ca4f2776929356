"""The ledgers once more as Parquet, for whoever queries without our program: a file a table, replaced when it changes.

What is mirrored is one instant of each ledger, read through SQLite's own reader: the ledgers are never written.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from storage.aside import written_aside
from storage.views.ledgers import TABLES, tables

_Stamp = tuple[tuple[str, int, int], ...]


class LedgerMirror:
    """Keeps `<target>/<table>.parquet` (columns as in the ledgers: instants ns UTC, ticks of 1/100 USD, cents).

    Args:
        ledgers: the folder of the ledgers.
        target: the folder of the mirror.
    """

    def __init__(self, ledgers: Path, target: Path) -> None:
        self._ledgers = ledgers
        self._target = target
        self._stamp: _Stamp | None = None

    def refresh(self) -> bool:
        """Write what has changed since the last call; return whether anything has.

        Raises:
            LedgerRefusedError: a ledger cannot be read now.
            OSError: the mirror cannot be written.
        """
        stamp = self._stamped()
        if stamp == self._stamp:
            return False
        found = tables(self._ledgers, TABLES)
        self._target.mkdir(parents=True, exist_ok=True)
        for base, table in found.items():
            path = self._target / f"{base.removeprefix('base_')}.parquet"
            with written_aside(path) as aside:
                pq.write_table(table, aside, compression="zstd")
        self._stamp = stamp
        return True

    def _stamped(self) -> _Stamp:
        """Return what changes with every commit; a log that is empty was made by a reader."""
        paths = sorted((*self._ledgers.glob("*.db"), *self._ledgers.glob("*.db-wal")))
        found = ((path.name, path.stat()) for path in paths if path.exists())
        return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found if stat.st_size)
