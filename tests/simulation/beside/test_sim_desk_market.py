"""What a sim desk's orders meet: quotes as told, at a price worse than quoted, and one session after another."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest

from config.tree import SimDesk
from domain.instants import SECOND, at_exchange
from domain.instruments import Contract, OrderType, Quote, Right, Side, Spot
from domain.units import Cents, Qty, Ticks, Utc
from messages import broker, market
from simulation.beside.heard_market import HeardMarket
from simulation.broker.kept import KeptExchange
from simulation.broker.orders import Order

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
NOON, MONDAY_NOON = at_exchange(FRIDAY, time(12)), at_exchange(MONDAY, time(12))
CALL = Contract(7, "SPX", "SPXW", FRIDAY, Ticks(600_000), Right.CALL)


def heard(rules: SimDesk, *, bid: int = 500, ask: int = 510, size: int = 10, now: Utc = NOON) -> HeardMarket:
    made = HeardMarket(now, (), (CALL,), rules)
    tell(made, bid, ask, size, now)
    return made


def tell(made: HeardMarket, bid: int, ask: int, size: int, now: Utc) -> None:
    quote = Quote(CALL.con_id, Ticks(bid), Ticks(ask), Qty(size), Qty(size), now)
    spots = (Spot("SPX", Ticks(600_500), now),)
    made.hear(market.QuotesArrived(session_epoch=1, quotes=(quote,), spots=spots))


@pytest.mark.parametrize(
    ("cross_share", "met"),
    [(1.0, (500, 510)), (2.0, (490, 520)), (0.5, (500, 510)), (1.2, (490, 520))],
)
def test_an_order_pays_its_share_of_the_spread_rounded_against_it(cross_share: float, met: tuple[int, int]) -> None:
    quote = heard(SimDesk(cross_share=cross_share)).quote(CALL.con_id)
    assert quote is not None
    assert (quote.bid_ticks, quote.ask_ticks) == met


def test_an_order_finds_a_share_of_the_size_and_one_contract_at_least() -> None:
    for size, share, found in ((10, 0.5, 5), (10, 0.01, 1), (0, 0.5, 0)):
        quote = heard(SimDesk(size_share=share), size=size).quote(CALL.con_id)
        assert quote is not None
        assert (quote.bid_size, quote.ask_size) == (found, found)


def test_nothing_trades_on_what_a_lost_session_told() -> None:
    made = heard(SimDesk())
    made.hear(broker.LinkLost(session_epoch=1, cause="closed"))
    assert made.quote(CALL.con_id) is None


def test_a_session_follows_the_other_and_the_close_waits_for_a_price() -> None:
    made = HeardMarket(at_exchange(date(2026, 11, 21), time(12)), (), (), SimDesk())
    assert made.close_utc == at_exchange(FRIDAY, time(16)), "on a Saturday the session is Friday's"
    made.step(Utc(made.close_utc + SECOND))
    assert made.now_utc < made.close_utc, "nothing can be settled before a price was told"
    made.step(MONDAY_NOON)
    assert made.open_utc == at_exchange(MONDAY, time(9, 30))


def bought(exchange: KeptExchange, number: int, now: Utc) -> None:
    order = Order(
        con_id=CALL.con_id, side=Side.BUY, qty=Qty(1), type=OrderType.LIMIT, client_id=11, order_id=number,
        limit_ticks=Ticks(600), order_ref=f"ref-{number}",
    )  # fmt: skip
    exchange.place(order, now)
    exchange.step(Utc(now + SECOND))


def test_a_book_of_yesterday_settles_today_and_keeps_todays_executions(tmp_path: Path) -> None:
    first = KeptExchange(heard(SimDesk()), tmp_path / "book", cash_cents=Cents(10_000_000))
    bought(first, 1, NOON)
    close = at_exchange(FRIDAY, time(16))
    assert isinstance(first.market, HeardMarket)
    first.market.step(close)
    first.step(close)
    assert first.positions() == [], "settled in cash"
    first.close()

    of_monday = heard(SimDesk(), now=MONDAY_NOON)
    of_monday.hear(market.ChainListed(
        session_epoch=1, ticker="SPX", underlying_con_id=1, hours=(),
        contracts=(Contract(7, "SPX", "SPXW", MONDAY, Ticks(600_000), Right.CALL),),
    ))  # fmt: skip
    again = KeptExchange(of_monday, tmp_path / "book", cash_cents=Cents(10_000_000))
    again.begin_newer()
    assert (again.executions(), again.held_at_close) == ([], None)
    bought(again, 2, MONDAY_NOON)
    assert [position.qty for position in again.positions()] == [1]
    again.close()
    third = KeptExchange(of_monday, tmp_path / "book", cash_cents=Cents(10_000_000))
    third.begin_newer()
    assert [execution.order.order_ref for execution, _ in third.executions()][-1:] == ["ref-2"], "it was kept"
    third.close()
