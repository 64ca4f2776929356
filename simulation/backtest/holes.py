"""What of a session is not on record: a day that was recorded in part trades in part, and must not look whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from domain.instants import MINUTE, exchange_clock
from domain.session.calendar import TradingDay
from domain.units import Utc
from simulation.backtest.recorded import RecordedDay

HOLE_NS: Final = 10 * MINUTE  # a band is recorded every five minutes by default


def holes_of(day: RecordedDay, rows: Mapping[str, Sequence[Utc]], hours: TradingDay) -> tuple[str, ...]:
    """Return in words what a session lacks for ten minutes or more; empty where all of it is on record.

    Args:
        day: its quotes and prices; those count of tickers of which any contract was quoted.
        rows: the buckets of each hub of which there are rows.
        hours: of the session.
    """
    quoted: dict[str, list[int]] = {}
    for contract in day.contracts:
        quoted.setdefault(contract.ticker, []).extend(day.columns[contract.con_id].at_utc)
    known: dict[str, Sequence[int]] = {f"rows of {hub}": buckets for hub, buckets in sorted(rows.items())}
    if not any(known.values()):
        known = {"rows of any hub": ()}
    if not quoted:
        known["quotes of any contract that expires that day"] = ()
    for ticker, instants in sorted(quoted.items()):
        known |= {f"quotes of {ticker}": instants, f"prices of {ticker}": day.prices.get(ticker, ((), ()))[0]}
    return tuple(text for what, instants in known.items() for text in _told(what, instants, hours))


def _told(what: str, instants: Sequence[int], hours: TradingDay) -> list[str]:
    at_utc = np.unique(np.fromiter(instants, np.int64))
    at_utc = at_utc[(at_utc >= hours.open_utc) & (at_utc <= hours.close_utc)]
    if not len(at_utc):
        return [f"no {what}"]
    edges = np.concatenate([[hours.open_utc], at_utc, [hours.close_utc]])
    holes = np.flatnonzero(np.diff(edges) >= HOLE_NS)
    spans = (f"{_clock(edges[n])} to {_clock(edges[n + 1])}" for n in holes)
    return [f"no {what} {' and '.join(spans)}"] if len(holes) else []


def _clock(at_utc: np.int64) -> str:
    return exchange_clock(Utc(int(at_utc)))[:5]
