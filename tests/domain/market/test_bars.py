"""Bars: made of quotes, derived, checked; joins that have no meaning are refused."""

from __future__ import annotations

from datetime import date, time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import MINUTE, SECOND, at_exchange
from domain.market.bars import (
    BarRefusal,
    Bars,
    Joined,
    checked,
    derived,
    holes,
    joined,
    of_quotes,
    vwap,
)
from domain.session.calendar import day
from domain.units import Ticks, Utc

SESSION = date(2026, 11, 20)
OPEN = at_exchange(SESSION, time(9, 30))


def bars(ticker: str, closes: list[int], *, volume: bool = False, begin_utc: int = OPEN, minutes: int = 1) -> Bars:
    close = np.array(closes, np.int64)
    before = np.concatenate([close[:1], close[:-1]])
    begin = begin_utc + np.arange(len(closes), dtype=np.int64) * MINUTE * minutes
    return Bars(
        ticker, minutes, begin, before, np.maximum(before, close), np.minimum(before, close), close,
        np.full(len(closes), 100, np.int64) if volume else None,
    )  # fmt: skip


def test_quotes_become_minutes_with_their_first_highest_lowest_and_last_price() -> None:
    told = [(OPEN + s * SECOND, Ticks(p)) for s, p in ((61, 7), (5, 10), (59, 12), (30, 9), (62, 0))]
    made = of_quotes("SPY", [(Utc(at), price) for at, price in told])
    assert made.begin_utc.tolist() == [OPEN, OPEN + MINUTE]
    assert [column.tolist() for column in (made.open, made.high, made.low, made.close)] == [
        [10, 7], [12, 7], [9, 7], [12, 7],
    ]  # fmt: skip
    assert made.volume is None
    assert len(of_quotes("SPY", [])) == 0


@given(closes=st.lists(st.integers(1, 100_000), min_size=1, max_size=400), minutes=st.sampled_from([5, 60]))
@settings(max_examples=40, deadline=None)
def test_derived_bars_hold_exactly_what_their_minutes_hold(closes: list[int], minutes: int) -> None:
    one = bars("SPY", closes, volume=True)
    long = derived(one, minutes)
    assert long.begin_utc[0] == OPEN
    assert long.open[0] == one.open[0] and long.close[-1] == one.close[-1]
    assert long.high.max() == one.high.max() and long.low.min() == one.low.min()
    assert one.volume is not None and long.volume is not None
    assert long.volume.sum() == one.volume.sum()
    assert len(long) == -(-len(closes) // minutes)


def test_hours_are_counted_from_each_sessions_opening() -> None:
    late = at_exchange(date(2026, 11, 23), time(10, 29))
    one = bars("SPY", [10] * 61)
    two = Bars(*(getattr(one.taken(np.arange(2)), name) for name in ("ticker", "minutes")), *(
        np.concatenate([getattr(one, name), getattr(bars("SPY", [11, 12], begin_utc=late), name)])
        for name in ("begin_utc", "open", "high", "low", "close")
    ))  # fmt: skip
    assert derived(two, 60).begin_utc.tolist() == [
        OPEN, OPEN + 60 * MINUTE, late - 59 * MINUTE, late + MINUTE,
    ]  # fmt: skip


def test_an_index_has_no_volume_and_what_needs_it_refuses() -> None:
    with pytest.raises(ValueError, match="index and has no volume"):
        bars("SPX", [1, 2], volume=True)
    assert vwap(bars("SPX", [100, 200])) is BarRefusal.NO_VOLUME
    weighted = vwap(bars("SPY", [100, 200], volume=True))
    assert not isinstance(weighted, BarRefusal)
    assert weighted.tolist() == pytest.approx([100.0, (100 + (200 + 100 + 200) / 3) / 2])


def test_joins_of_the_wrong_bars_are_refused() -> None:
    spy, qqq = bars("SPY", [1, 2, 3]), bars("QQQ", [4, 5, 6], begin_utc=OPEN + MINUTE)
    assert joined(spy, derived(qqq, 5)) is BarRefusal.OTHER_LENGTH
    assert joined(spy, spy) is BarRefusal.SAME_TICKER
    both = joined(spy, qqq)
    assert isinstance(both, Joined)
    assert (both.first.tolist(), both.second.tolist()) == ([2, 3], [4, 5])


def test_bars_that_cannot_be_are_refused_one_wild_print_among_them() -> None:
    good = bars("SPX", [370_400] * 12)
    columns = {name: getattr(good, name).copy() for name in ("begin_utc", "open", "high", "low", "close")}
    columns["high"][3] += 40_000
    columns["low"][5] = 0
    columns["high"][7] = 370_000
    columns["begin_utc"][9] = columns["begin_utc"][8]
    kept, refused = checked(Bars("SPX", 1, **columns))
    assert refused == {
        BarRefusal.REPEATED: 1, BarRefusal.NOT_POSITIVE: 1, BarRefusal.OUTSIDE_RANGE: 1, BarRefusal.WILD: 1,
    }  # fmt: skip
    assert len(kept) == 8 and kept.high.max() == 370_400


def test_a_hole_is_named_with_its_ends() -> None:
    trading_day = day(SESSION)
    assert trading_day is not None
    whole = bars("SPY", [10] * 390)
    assert holes(whole, trading_day) == ()
    broken = whole.taken(np.r_[0:100, 130:389])
    assert holes(broken, trading_day) == (
        (OPEN + 100 * MINUTE, OPEN + 130 * MINUTE), (OPEN + 389 * MINUTE, OPEN + 390 * MINUTE),
    )  # fmt: skip
