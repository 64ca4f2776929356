"""A recorded market shows what was known, when it was known, and settles everything of a root at one price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.units import Utc
from tests.testkit.recorded_days import CALL, PUT, Look, at, hours, market_of

LOOKS = st.lists(st.tuples(st.integers(0, 600), st.integers(-1, 400), st.integers(-1, 400)), max_size=30).map(
    lambda rows: sorted({s: (s, bid, ask) for s, bid, ask in rows}.values())
)


def test_nothing_is_shown_before_it_was_recorded() -> None:
    market = market_of([(30, 100, 110)], prices=[(20, 600_000)])
    market.step(at(19))
    assert market.quote(CALL.con_id) is None
    assert market.price("SPX") is None
    market.step(at(30))
    quote = market.quote(CALL.con_id)
    assert quote is not None
    assert (quote.bid_ticks, quote.ask_ticks) == (100, 110)


def test_a_quote_counts_as_ticking_now_until_its_limit_and_keeps_its_own_instant_after_it() -> None:
    market = market_of([(30, 100, 110)])
    for seconds, shown in ((30, 30), (40, 40), (40.5, 30), (500, 30)):
        market.step(at(seconds))
        quote = market.quote(CALL.con_id)
        assert quote is not None
        assert quote.at_utc == at(shown)
        assert market.stands(quote) is (seconds <= 40)


def test_a_side_that_was_not_there_is_missing_and_no_price_of_nothing() -> None:
    market = market_of([(0, -1, 5), (10, 0, 5)])
    market.step(at(1))
    one_sided = market.quote(CALL.con_id)
    assert one_sided is not None
    assert one_sided.bid_ticks is None
    market.step(at(10))
    no_bid = market.quote(CALL.con_id)
    assert no_bid is not None
    assert no_bid.bid_ticks == 0


@given(looks=LOOKS, cut=st.integers(0, 600), ask_at=st.integers(0, 600))
def test_cutting_off_the_future_changes_nothing_of_the_present(looks: list[Look], cut: int, ask_at: int) -> None:
    whole, short = market_of(looks), market_of([look for look in looks if look[0] <= cut])
    now = at(min(cut, ask_at))
    whole.step(now)
    short.step(now)
    assert whole.quote(CALL.con_id) == short.quote(CALL.con_id)


def test_both_legs_of_a_root_settle_at_the_last_price_at_or_before_the_close() -> None:
    close_s = (hours().close_utc - hours().open_utc) // SECOND
    prices = [(0, 600_000), (close_s - 3, 601_234), (close_s + 1, 650_000)]
    market = market_of([(0, 100, 110)], [(0, 90, 95)], prices)
    with pytest.raises(ValueError, match="settlement"):
        market.settlement_ticks("SPX")
    for later in (0, 60):
        market.step(Utc(hours().close_utc + later * SECOND))
        assert {market.settlement_ticks(contract.ticker) for contract in (CALL, PUT)} == {601_234}
