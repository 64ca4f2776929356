"""What is stored of a session comes back as columns: each look once, each side, size and greek as it was."""

from __future__ import annotations

import math
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.units import Utc
from simulation.backtest.market import RecordedMarket
from simulation.backtest.recorded import RecordedDay, load
from storage.series_rows import CHAINS, KINDS, UNDERLYINGS
from tests.testkit.recorded_days import OPEN, SESSION, hours

Line = dict[str, Any]
PLACE = ("trading_class", "strike", "right")
NUMBERS = {"quote_utc": 0, "bid": -1, "ask": -1, "bid_size": 0, "ask_size": 0}
GREEKS = ("iv", "delta", "gamma", "theta", "vega")

some = st.one_of(st.none(), st.integers(0, 400))
greek = st.one_of(st.none(), st.floats(-2.0, 2.0))
line = st.fixed_dictionaries({
    "trading_class": st.sampled_from(["SPX", "SPXW"]), "strike": st.sampled_from([599_500, 600_000]),
    "right": st.sampled_from(["C", "P"]), "at_utc": st.integers(0, 9), "quote_utc": st.integers(0, 9), "bid": some,
    "ask": some, "bid_size": st.integers(0, 9), "ask_size": st.integers(0, 9), **dict.fromkeys(GREEKS, greek),
})  # fmt: skip


def placed(said: Line) -> Line:
    """Return a line of a chain with what all of them say, instants after the open."""
    at = {name: OPEN + said[name] * SECOND for name in ("at_utc", "quote_utc")}
    con_id = 1 + sum(3**n * (said[name] in ("SPXW", 600_000, "P")) for n, name in enumerate(PLACE))
    same = {"ticker": "SPX", "expiry": SESSION.isoformat(), "con_id": con_id, "mode": "live", "data_type": 1}
    return said | at | same


def stored(root: Path, lines: list[Line], prices: list[tuple[int, int]]) -> RecordedDay:
    """Store chains and prices of a session as a finished day has them, and load it."""
    folder = root / SESSION.isoformat()
    folder.mkdir(parents=True)
    spots = [
        {"at_utc": OPEN + s * SECOND, "ticker": "SPX", "price": p, "tick_utc": 0, "data_type": 1} for s, p in prices
    ]
    for kind, rows in ((CHAINS, lines), (UNDERLYINGS, spots)):
        pq.write_table(pa.Table.from_pylist(rows, KINDS[kind].schema), folder / f"{kind}.parquet")
    return load(root, SESSION)


@settings(max_examples=60, deadline=None)
@given(said=st.lists(line, max_size=12))
def test_every_look_comes_back_once_with_the_newest_quote_of_its_instant(
    tmp_path_factory: pytest.TempPathFactory, said: list[Line]
) -> None:
    lines = [placed(one) for one in said]
    day = stored(tmp_path_factory.mktemp("series"), lines, [])
    ordered = sorted(lines, key=lambda one: (*(one[name] for name in PLACE), one["at_utc"], one["quote_utc"]))
    places = [(key, list(found)) for key, found in groupby(ordered, key=lambda one: [one[name] for name in PLACE])]
    assert [[c.trading_class, c.strike_ticks, c.right] for c in day.contracts] == [key for key, _ in places]
    for contract, (_, of_place) in zip(day.contracts, places, strict=True):
        column = day.columns[contract.con_id]
        instants = sorted({one["at_utc"] for one in of_place})
        assert list(column.at_utc) == instants
        for n, at_utc in enumerate(instants):
            *_, newest_utc = sorted(one["quote_utc"] for one in of_place if one["at_utc"] == at_utc)
            wanted = [
                ([missing if one[name] is None else one[name] for name, missing in NUMBERS.items()], greeks_of(one))
                for one in of_place
                if (one["at_utc"], one["quote_utc"]) == (at_utc, newest_utc)
            ]
            for numbers, _ in wanted:  # no tick is later than its look
                numbers[0] = min(numbers[0], at_utc)
            found = [getattr(column, name)[n] for name in NUMBERS], repr([values[n] for values in column.greeks])
            assert found in wanted


def greeks_of(said: Line) -> str:
    """Return the greeks of a line as a column has them, as text: NaN is no NaN's equal."""
    missing = {"iv": math.nan, "delta": math.nan}
    return repr([missing.get(name, 0.0) if said[name] is None else said[name] for name in GREEKS])


def test_a_quote_has_greeks_where_iv_delta_and_a_price_are_known_and_is_one_of_those_asked_for(tmp_path: Path) -> None:
    of_line = {"strike": 600_000, "right": "C", "at_utc": 0, "quote_utc": 0, "bid": 100, "ask": 110, "bid_size": 1,
               "ask_size": 2, "iv": 0.2, "delta": 0.5, "gamma": None, "theta": -3.0, "vega": 0.8}  # fmt: skip
    lines = [
        placed(of_line | changed)
        for changed in (
            {"trading_class": "SPX"}, {"trading_class": "SPXW", "delta": None}, {"trading_class": "SPXW", "right": "P"}
        )
    ]  # fmt: skip
    market = RecordedMarket(stored(tmp_path, lines, [(2, 600_100)]), hours(), 10_000)
    known = [contract.con_id for contract in market.contracts("SPX")]
    market.step(Utc(OPEN + SECOND))
    assert [quote.greeks for quote in market.quotes(known)] == [None, None, None], "no price of the underlying yet"
    market.step(Utc(OPEN + 2 * SECOND))
    quotes = market.quotes([*known, 99])
    assert [quote.con_id for quote in quotes] == known
    whole, without, _ = quotes
    assert without.greeks is None
    assert whole.greeks is not None
    assert (whole.greeks.gamma, whole.greeks.underlying_ticks, whole.greeks.at_utc) == (0.0, 600_100, market.now_utc)
    assert quotes == tuple(market.quote(con_id) for con_id in known)
    market.step(Utc(OPEN + 3 * SECOND))
    spot = market.price("SPX")
    assert spot is not None
    assert spot.at_utc == market.now_utc, "within its limit a price counts as ticking now"


def test_what_was_looked_at_is_told_by_instant(tmp_path: Path) -> None:
    of_line = {"trading_class": "SPX", "strike": 600_000, "quote_utc": 0, "bid": 100, "ask": 110, "bid_size": 1,
               "ask_size": 2, **dict.fromkeys(GREEKS)}  # fmt: skip
    lines = [placed(of_line | {"right": right, "at_utc": at}) for right, at in (("C", 5), ("P", 5), ("C", 0))]
    day = stored(tmp_path, lines, [(5, 600_000), (7, 600_100)])
    call, put = (contract.con_id for contract in day.contracts)
    said = [((at - OPEN) // SECOND, sorted(con_ids), tickers) for at, con_ids, tickers in day.looks()]
    assert said == [(0, [call], []), (5, sorted([call, put]), ["SPX"]), (7, [], ["SPX"])]
