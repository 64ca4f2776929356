"""One recorded real day, read from a folder: minute bars of the SPX and of bid and ask of some SPXW options.

The folder holds one or two zip files (`minute_files`), under LEAN's names or with the root before them:
`[spx_]<date>_trade.zip` of the index, `<date>_quote_european.zip` or `spxw_<date>_quote.zip` of quotes. Without quotes
every option is synthetic; without bars the index is what put–call parity of the quotes implies.

What cannot be used is left out and counted (`RecordedDay.left_out`), what cannot be followed at all is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np

from domain.instants import MINUTE, MS, SECOND, exchange_clock
from domain.instruments import Contract, Right
from domain.session.calendar import TradingDay
from domain.units import Utc
from simulation.market.bridge import MINUTE_S, bridged
from simulation.market.minute_files import (
    INDEX_FILE,
    QUOTE_FILE,
    ContractKey,
    Floats,
    IndexBars,
    Longs,
    QuoteBars,
    RecordedError,
    date_of,
    index_of,
    quotes_of,
    session_hours,
    the_file,
)
from simulation.market.path import session_shape

__all__ = ["IndexBars", "QuoteBars", "RecordedDay", "RecordedError", "load_recorded_day", "parity_gaps_usd",
           "provenance_of"]  # fmt: skip

PARITY_SHARE_MAX = 0.001  # of the index; measured 0.00007 on 2021-01-04, and 0.004 with bars an hour off
HOLE_MIN = 2  # minutes without a bar that are told
CARRY_MIN = 10  # a recorded quote stands for so long without a new bar (the longest gap between two on 2021-01-04)


@dataclass(frozen=True, eq=False)
class RecordedDay:
    """A recorded session: the index, and quotes by (expiry, strike in `_ticks`, right).

    `is_index_implied` says that the index is what the quotes imply; `left_out` counts what could not be used.
    """

    session: date
    index: IndexBars
    quotes: dict[ContractKey, QuoteBars]
    is_index_implied: bool = False
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def hours(self) -> TradingDay:
        """The session's hours, by the exchange's calendar."""
        return session_hours(self.session)

    def index_usd(self, start_utc: Utc, size: int, seed: int = 0) -> Floats:
        """Return the index for each second from an instant on.

        A bar's close is reached at its end exactly; inside the bar the price is drawn, as a bridge that knows closed
        bars only. Before the first bar its open stands, in gaps and after the last bar the last close.
        """
        bars, hours = self.index, self.hours
        follows = np.diff(bars.begin_utc, prepend=0) == MINUTE
        starts = np.where(follows, np.roll(bars.close, 1), bars.open)
        session_s = (hours.close_utc - hours.open_utc) // SECOND
        of_minutes = session_shape(0, session_s, session_s).reshape(-1, 60).sum(axis=1) / session_s
        minute = minutes_of(bars.begin_utc, hours.open_utc)
        inside = (minute >= 0) & (minute < len(of_minutes))
        at = np.where(inside, minute, 0)
        shape = np.where(inside, of_minutes[at], 0.0)
        # Drawn for the whole session, so that a minute's draws depend on the seed and the minute alone.
        draw = np.random.default_rng([seed, self.session.toordinal(), 3])
        noise = draw.standard_normal((len(of_minutes), MINUTE_S))[at]
        ahead_s = (start_utc % MINUTE) // SECOND
        of_grid = minutes_of(bars.begin_utc, Utc(start_utc - ahead_s * SECOND))
        return bridged(of_grid, starts, bars.close, shape, noise, size + ahead_s)[ahead_s:]

    @property
    def official_close_usd(self) -> float | None:
        """The index's official close, published in the bars after the session; `None` where there are none."""
        is_after = self.index.begin_utc >= self.hours.close_utc
        return float(self.index.close[-1]) if is_after[-1] else None

    @property
    def holes(self) -> tuple[tuple[Utc, int], ...]:
        """The stretches of the session without index bars: begin, and minutes (`HOLE_MIN` and more)."""
        hours = self.hours
        begins = [at for at in self.index.begin_utc.tolist() if hours.open_utc <= at < hours.close_utc]
        found = [
            (Utc(before + MINUTE), (after - before) // MINUTE - 1)
            for before, after in pairwise([*begins, hours.close_utc])
        ]
        return tuple((at, minutes) for at, minutes in found if minutes >= HOLE_MIN)

    def is_quoted(self, contract: Contract, at_utc: Utc) -> bool:
        """Return whether a recorded quote of a contract stood at an instant."""
        bars = self.quotes.get((contract.expiry, contract.strike_ticks, contract.right))
        if bars is None or contract.ticker != "SPX" or at_utc < bars.begin_utc[0]:
            return False
        ended = int(np.searchsorted(bars.begin_utc + MINUTE, at_utc, side="right"))
        ended_utc = bars.begin_utc[0] if not ended else bars.begin_utc[ended - 1] + MINUTE
        return bool(at_utc - ended_utc < (CARRY_MIN if ended else 1) * MINUTE)

    def told(self) -> str:
        """Return what of the record is missing or was left out, for people; empty where it is whole."""
        counted = [f"{n} {what} left out" for what, n in sorted(self.left_out.items())]
        holes = [f"{minutes} min from {exchange_clock(at)}" for at, minutes in self.holes]
        if holes:
            counted.append(f"no index bars for {', '.join(holes)}, where the index stands still")
        return "; ".join(counted)


def provenance_of(recorded: RecordedDay, shown: Sequence[str], seed: int) -> dict[str, str]:
    """Return what of a recorded day's market is recorded and what is synthetic, for people; `shown`: the contracts."""
    source = "put–call parity of the recorded quotes" if recorded.is_index_implied else "1-minute bars"
    settles_to = "the official close" if recorded.official_close_usd is not None else "the last price"
    return {
        "SPX": f"recorded, {source} of {recorded.session}; a bridge of our own between closes; settles to {settles_to}",
        "bid, ask and sizes": "recorded at each minute's end: " + (", ".join(sorted(shown)) or "none"),
        **({"left out": told} if (told := recorded.told()) else {}),
        "everything else": f"synthetic, seed {seed}; scaled to the day, implied volatility fitted to recorded quotes",
    }


def parity_gaps_usd(index: IndexBars, quotes: dict[ContractKey, QuoteBars], expiry: date, shift_ms: int = 0) -> Floats:
    """Return how far put–call parity is missed at each minute's end, over all strikes of one expiry.

    Call less put less (index less strike), of mids: without rates, which are nothing within a day. `shift_ms` moves the
    index in time, so that a wrong time zone can be told from the right one.
    """
    closes = dict(zip((index.begin_utc + shift_ms * MS).tolist(), index.close.tolist(), strict=True))
    gaps: list[float] = []
    for (when, strike_ticks, right), calls in quotes.items():
        puts = quotes.get((when, strike_ticks, Right.PUT))
        if when != expiry or right is not Right.CALL or puts is None:
            continue
        mids = [
            dict(zip(bars.begin_utc.tolist(), ((bars.bid_ticks + bars.ask_ticks) / 200.0).tolist(), strict=True))
            for bars in (calls, puts)
        ]
        shared = sorted(closes.keys() & mids[0].keys() & mids[1].keys())
        gaps += [mids[0][at] - mids[1][at] - (closes[at] - strike_ticks / 100.0) for at in shared]
    return np.array(gaps)


def load_recorded_day(folder: Path) -> RecordedDay:
    """Return the recorded day of a folder.

    Raises:
        RecordedError: no such folder or file, not a readable zip, columns, numbers or times that cannot be, or an index
            and options that do not belong to each other.
    """
    if not folder.is_dir():
        raise RecordedError(f"There is no folder {folder}; give --market the folder of a recorded day.")
    index_file, quote_file = the_file(folder, INDEX_FILE, "index bars"), the_file(folder, QUOTE_FILE, "quotes")
    days = {day for _, day in (*index_file, *quote_file)}
    if not days:
        raise RecordedError(
            f"{folder} has no recorded day: neither spx_<yyyymmdd>_trade.zip nor spxw_<yyyymmdd>_quote.zip."
        )
    if len(days) > 1:
        raise RecordedError(
            f"{index_file[0][0].name} and {quote_file[0][0].name} are of different days; a folder holds one day."
        )
    day = days.pop()
    session, left_out = date_of(day, folder.name), Counter[str]()
    session_hours(session)
    quotes = quotes_of(quote_file[0][0], day, session, left_out) if quote_file else {}
    if not index_file:
        index = _implied_index(quotes, session, quote_file[0][0].name)
        return RecordedDay(session, index, quotes, is_index_implied=True, left_out=dict(left_out))
    index = index_of(index_file[0][0], day, session, left_out)
    if quotes:
        _check_parity(index, quotes, session, index_file[0][0].name, quote_file[0][0].name)
    return RecordedDay(session, index, quotes, left_out=dict(left_out))


def _check_parity(
    index: IndexBars, quotes: dict[ContractKey, QuoteBars], session: date, index_name: str, quote_name: str
) -> None:
    """Refuse an index and options that do not belong to each other."""
    gaps = parity_gaps_usd(index, quotes, _nearest(quotes, session, quote_name))
    gap = float(np.median(np.abs(gaps))) if len(gaps) else 0.0
    if gap > PARITY_SHARE_MAX * float(index.close[0]):
        raise RecordedError(
            f"{index_name} and {quote_name} do not belong together: put–call parity is missed by "
            f"{gap:.2f} USD; check instruments and time zones (index in Chicago's time, quotes in New York's)."
        )


def _nearest(quotes: dict[ContractKey, QuoteBars], session: date, quote_name: str) -> date:
    """Return the nearest expiry, not before the session, of which a strike has a call and a put."""
    pairs = [e for e, strike, right in quotes if right is Right.CALL and (e, strike, Right.PUT) in quotes]
    if not pairs:
        raise RecordedError(
            f"{quote_name} has no strike with a call and a put of one expiry, so that nothing ties it to the index; "
            "record both."
        )
    return min(pairs)


def _implied_index(quotes: dict[ContractKey, QuoteBars], session: date, quote_name: str) -> IndexBars:
    """Return the index that put–call parity implies at each minute's end, by the strike with the tightest quotes.

    Without rates and dividends: of the nearest expiry, days away at most, they are less than a spread.
    """
    expiry = _nearest(quotes, session, quote_name)
    hours, best = session_hours(session), dict[int, tuple[int, float, float]]()
    for (when, strike_ticks, right), calls in quotes.items():
        puts = quotes.get((when, strike_ticks, Right.PUT))
        if when != expiry or right is not Right.CALL or puts is None:
            continue
        shared, of_calls, of_puts = np.intersect1d(calls.begin_utc, puts.begin_utc, return_indices=True)
        spreads = (calls.ask_ticks - calls.bid_ticks)[of_calls] + (puts.ask_ticks - puts.bid_ticks)[of_puts]
        opens, closes = (
            (strike_ticks + ((cb + ca)[of_calls] - (pb + pa)[of_puts]) / 2.0) / 100.0
            for cb, ca, pb, pa in (
                (calls.bid_open_ticks, calls.ask_open_ticks, puts.bid_open_ticks, puts.ask_open_ticks),
                (calls.bid_ticks, calls.ask_ticks, puts.bid_ticks, puts.ask_ticks),
            )
        )
        for at, *found in zip(shared.tolist(), spreads.tolist(), opens.tolist(), closes.tolist(), strict=True):
            if hours.open_utc <= at < hours.close_utc and (at not in best or found[0] < best[at][0]):
                best[at] = found[0], found[1], found[2]
    if hours.open_utc not in best:
        raise RecordedError(f"{quote_name} implies no index at 9:30 New York; give spx_<yyyymmdd>_trade.zip, too.")
    begins = sorted(best)
    opened, close = (np.array([best[at][n] for at in begins]) for n in (1, 2))
    low, high = np.minimum(opened, close), np.maximum(opened, close)
    return IndexBars(np.array(begins, np.int64), opened, high, low, close)


def minutes_of(begin_utc: Longs, start_utc: Utc) -> Longs:
    """Return the whole minutes from an instant to the begin of each bar."""
    return np.asarray((begin_utc - start_utc) // MINUTE)
