"""What a held position is worth, by mark and by expiry."""

from __future__ import annotations

from datetime import date

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Contract, Quote, Right, Side, Spot
from domain.position.exits import MarketWatch
from domain.position.fills import Fills, with_fill
from domain.position.mark import Mark, intrinsic_ticks, mark_of

NOW = 1_000 * SECOND
HELD = with_fill(Fills(), "e", Side.BUY, 2, 1000, 1)
SEEN = MarketWatch(NOW, quote=Quote(1, 490, 530, 1, 1, NOW), good_mid_x2=1020, good_utc=NOW - 60 * SECOND)


def test_a_mid_of_the_last_minute_marks_and_after_that_the_price_that_closes() -> None:
    assert mark_of(HELD, SEEN, 100, NOW) == Mark(2_000, NOW - 60 * SECOND)
    assert mark_of(HELD, SEEN, 100, NOW + 1) == Mark(-2_000, NOW)
    unquoted = replace(SEEN, quote=None)
    assert mark_of(HELD, unquoted, 100, NOW + 1) == Mark(None, None)


def test_what_was_sold_to_open_gains_as_it_gets_cheaper() -> None:
    short = with_fill(Fills(side=Side.SELL), "e", Side.SELL, 2, 1000, 1)
    assert mark_of(short, SEEN, 100, NOW).unrealised_cents == -2_000
    assert mark_of(short, SEEN, 100, NOW + 1).unrealised_cents == -6_000


def test_nothing_held_is_worth_nothing() -> None:
    assert mark_of(Fills(), SEEN, 100, NOW) == Mark(0, NOW)


@pytest.mark.parametrize(
    ("right", "spot_ticks", "worth"),
    [(Right.CALL, 600_250, 250), (Right.CALL, 599_000, 0), (Right.PUT, 599_000, 1_000), (Right.PUT, None, 0)],
)
def test_an_expired_contract_is_worth_what_the_last_spot_makes_it(
    right: Right, spot_ticks: int | None, worth: int
) -> None:
    contract = Contract(812, "SPX", "SPXW", date(2026, 11, 20), 600_000, right)
    spot = None if spot_ticks is None else Spot("SPX", spot_ticks, NOW)
    assert intrinsic_ticks(contract, spot) == worth
