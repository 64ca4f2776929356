"""What stored minute bars say of a session beside its readings, worked out in a child process.

`python -m storage.market_context WAREHOUSE SERIES SESSION AT_UTC` prints it as one line of JSON. It reads the last
thirty sessions, which takes seconds, and has lower priority than who trades.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from domain.market.correlation import BASELINE_MIN, Breakdown
from domain.market.derived import all_values
from domain.units import Utc
from messages import market
from storage import manifest
from storage.minute_bars import SESSIONS, TICKERS, correlated, joined_sessions, minute_bars
from storage.series_reader import SeriesReader, sessions_in
from storage.warehouse_reader import WarehouseReader

REPO: Final = Path(__file__).resolve().parents[1]
NICE: Final = 10
_DECODER: Final = msgspec.json.Decoder(market.ContextRead)


def context_of(warehouse: Path, series: Path, session: date, at_utc: Utc) -> market.ContextRead:
    """Return what is stored up to a session's newest bar; nothing is broken, or known, where nothing is stored."""
    rows, lines = WarehouseReader(warehouse), SeriesReader(series)
    known = sorted(day for day in {*rows.sessions(), *lines.sessions(), session} if day <= session)[-SESSIONS - 1 :]
    bars = {day: minute_bars(rows, lines, day, TICKERS) for day in known}
    found = [(pair, pair.now, pair.usual) for pair in correlated(bars, session)]
    told = [(pair, now, usual) for pair, now, usual in found if now is not None and usual is not None]
    broken = [
        (abs(now - usual.mean), Breakdown(pair.pair, now, usual.mean)) for pair, now, usual in told if pair.is_broken
    ]
    values = all_values(joined_sessions(bars)) if bars[session] else {}
    return market.ContextRead(
        at_utc=at_utc, session=session,
        broken=tuple(one for _, one in sorted(broken, key=lambda item: -item[0])) if told else None,
        derived=tuple(
            (symbol, name, str(value) if isinstance(value, str) else float(value))
            for (symbol, name), value in sorted(values.items()) if value is not None
        ),
    )  # fmt: skip


class StoredContext:
    """The `ContextStore` over a data folder.

    Args:
        warehouse: the folder of the vendor's rows.
        series: the folder of series.
        in_child: False works it out at once (the stepped runtime: a child lives in real time).
    """

    def __init__(self, warehouse: Path, series: Path, *, in_child: bool = True) -> None:
        self._folders = warehouse.resolve(), series.resolve()
        self._in_child = in_child
        self._ready: market.ContextRead | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the store

    def start(self, session: date, at_utc: Utc) -> bool:
        """Begin to work it out, where enough sessions are stored for a baseline; one that is under way goes on."""
        warehouse, series = self._folders
        if len({*manifest.sessions_in(warehouse), *sessions_in(series)} - {session}) < BASELINE_MIN:
            return False
        if not self._in_child:
            self._ready = context_of(*self._folders, session, at_utc)
        elif self._child is None:
            words = [sys.executable, "-m", "storage.market_context", *map(str, self._folders), session.isoformat()]
            self._out.seek(0)
            self._out.truncate()
            self._child = subprocess.Popen(
                [*words, str(at_utc)], cwd=REPO, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._out
            )
        return True

    def poll(self) -> market.ContextRead | str | None:
        """Return it once; `None` while it is not ready, a sentence where it failed."""
        if self._child is None:
            found, self._ready = self._ready, None
            return found
        if self._child.poll() is None:
            return None
        code, self._child = self._child.returncode, None
        self._out.seek(0)
        said = self._out.read().splitlines()
        if code == 0 and said:
            return _DECODER.decode(said[-1])
        last = said[-1].decode(errors="replace") if said else "no word"
        return f"What minute bars say together could not be worked out ({last}); sizes are not cut for correlations."

    def close(self) -> None:
        """Stop what is under way."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


if __name__ == "__main__":
    os.nice(NICE)
    told = context_of(Path(sys.argv[1]), Path(sys.argv[2]), date.fromisoformat(sys.argv[3]), Utc(int(sys.argv[4])))
    print(msgspec.json.encode(told).decode())
