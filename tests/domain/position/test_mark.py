"""What a held position is worth, by mark and by expiry."""

from __future__ import annotations

from datetime import date

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Contract, DataType, Quote, Right, Side
from domain.position.exits import MarketWatch
from domain.position.fills import Fills, FillTotals, with_fill
from domain.position.mark import Mark, intrinsic_ticks, mark_of
from tests.testkit.narrow import known

NOW = 1_000 * SECOND
HELD = with_fill(Fills(), FillTotals("e", Side.BUY, 2, 1000))
SEEN = MarketWatch(NOW, quote=Quote(1, 490, 530, 1, 1, NOW), good_mid_x2=1020, good_utc=NOW - 60 * SECOND)


def test_a_mid_of_the_last_minute_marks_and_after_that_the_price_that_closes() -> None:
    assert mark_of(HELD, SEEN, 100, NOW) == Mark(2_000, NOW - 60 * SECOND)
    assert mark_of(HELD, SEEN, 100, NOW + 1) == Mark(-2_000, NOW)
    unquoted = replace(SEEN, quote=None)
    assert mark_of(HELD, unquoted, 100, NOW + 1) == Mark(None, None)


def test_what_was_sold_to_open_gains_as_it_gets_cheaper() -> None:
    short = with_fill(Fills(side=Side.SELL), FillTotals("e", Side.SELL, 2, 1000))
    assert mark_of(short, SEEN, 100, NOW).unrealised_cents == -2_000
    assert mark_of(short, SEEN, 100, NOW + 1).unrealised_cents == -6_000


def test_nothing_held_is_worth_nothing() -> None:
    assert mark_of(Fills(), SEEN, 100, NOW) == Mark(0, NOW)


@pytest.mark.parametrize(
    ("right", "spot_ticks", "worth"),
    [(Right.CALL, 600_250, 250), (Right.CALL, 599_000, 0), (Right.PUT, 599_000, 1_000)],
)
def test_an_expired_contract_is_worth_what_the_last_spot_makes_it(right: Right, spot_ticks: int, worth: int) -> None:
    contract = Contract(812, "SPX", "SPXW", date(2026, 11, 20), 600_000, right)
    assert intrinsic_ticks(contract, spot_ticks) == worth


def test_a_delayed_quote_or_one_without_the_side_that_closes_marks_nothing() -> None:
    late = NOW + 1
    delayed = replace(SEEN, quote=replace(known(SEEN.quote), data_type=DataType.DELAYED))
    assert mark_of(HELD, delayed, 100, late) == Mark(None, None)
    unbid = replace(SEEN, quote=replace(known(SEEN.quote), bid_ticks=None))
    assert mark_of(HELD, unbid, 100, late) == Mark(None, None)
    assert mark_of(HELD, replace(SEEN, good_utc=None), 100, NOW).unrealised_cents == -2_000


def test_one_contract_is_marked_at_the_half_tick_of_its_mid() -> None:
    one = with_fill(Fills(), FillTotals("e", Side.BUY, 1, 500))
    assert mark_of(one, replace(SEEN, good_mid_x2=1021), 100, NOW).unrealised_cents == 1_050


def test_more_closed_than_held_is_worth_nothing() -> None:
    assert mark_of(with_fill(HELD, FillTotals("x1", Side.SELL, 3, 1500)), SEEN, 100, NOW) == Mark(0, NOW)
