"""The simulated broker's book outlives the process that keeps it, and goes on while nobody serves it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.instruments import OrderType, Side
from domain.units import Qty, Ticks, Utc
from simulation.broker.kept import BookInUseError, BookRefusedError, KeptExchange, entries_of
from simulation.broker.orders import IBStatus, Order
from simulation.market.market import Market

SESSION = date(2026, 11, 20)


def opened(path: Path, at_utc: Utc | None = None) -> tuple[Market, KeptExchange, Utc]:
    market = Market(7, SESSION, ("SPX",))
    now = at_utc or Utc(market.open_utc + 10 * MINUTE)
    market.step(now)
    return market, KeptExchange(market, path), now


def order_of(market: Market, side: Side, limit_ticks: Ticks | None, order_id: int = 1) -> Order:
    spot = market.spot("SPX").price_ticks
    near = min(
        (c for c in market.contracts("SPX") if c.expiry == SESSION), key=lambda c: abs(c.strike_ticks - spot)
    )  # fmt: skip
    kind = OrderType.MARKET if limit_ticks is None else OrderType.LIMIT
    return Order(near.con_id, side, Qty(1), kind, 11, order_id, limit_ticks=limit_ticks, order_ref=f"ZH-{order_id}")


def filled(path: Path) -> tuple[Market, KeptExchange, Utc]:
    market, exchange, now = opened(path)
    exchange.place(order_of(market, Side.BUY, None), now)
    now = Utc(now + SECOND)
    market.step(now)
    exchange.step(now)
    return market, exchange, now


def test_orders_executions_positions_and_cash_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    market, before, now = filled(path)
    resting = order_of(market, Side.SELL, Ticks(90_000), order_id=2)
    before.place(resting, now)
    before.close()
    _, after, _ = opened(path, now)
    assert after.executions() == before.executions() != []
    assert after.positions() == before.positions() != []
    assert after.open_orders() == before.open_orders() != []
    assert after.completed() == before.completed() != []
    assert after.account_values() == before.account_values()
    assert after.next_order_id(11) == 3
    events = after.place(order_of(market, Side.SELL, Ticks(80_000), order_id=3), now)
    known = {state.order.perm_id for state in (*before.open_orders(), *before.completed())}
    assert events
    assert not {state.order.perm_id for state in after.open_orders() if state.order.order_id == 3} & known


def test_a_cut_last_line_is_dropped_and_the_book_goes_on_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    market, before, now = filled(path)
    before.close()
    whole = len(entries_of(path))
    with path.open("ab") as out:
        out.write(b'{"at_utc":17')
    assert len(entries_of(path)) == whole
    _, after, _ = opened(path, now)
    after.place(order_of(market, Side.SELL, Ticks(90_000), order_id=2), now)
    assert len(entries_of(path)) == whole + 1


def test_an_order_fills_and_one_expires_while_no_process_keeps_the_book(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    market, before, now = opened(path)
    before.place(order_of(market, Side.BUY, None), now)
    till = Utc(now + 5 * SECOND)
    before.place(replace(order_of(market, Side.BUY, Ticks(5), order_id=2), good_till_utc=till), now)
    before.close()
    later = Utc(now + MINUTE)
    market = Market(7, SESSION, ("SPX",))
    after = KeptExchange(market, path)
    after.catch_up(later, market.step)
    assert [state.status for state in after.completed()] == [IBStatus.FILLED, IBStatus.CANCELLED]
    ((execution, _),) = after.executions()
    assert now < execution.at_utc <= now + 2 * SECOND


def test_what_was_held_at_the_close_is_kept_beside_the_book_that_the_settlement_emptied(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    _, before, _ = filled(path)
    held = before.positions()
    before.close()
    market = Market(7, SESSION, ("SPX",))
    after = KeptExchange(market, path)
    after.catch_up(Utc(market.close_utc + SECOND), market.step)
    assert after.positions() == []
    after.close()
    again = KeptExchange(market, path)
    assert again.held_at_close == tuple(held)
    assert again.positions() == []


def test_a_book_has_one_keeper(tmp_path: Path) -> None:
    _, keeper, now = opened(tmp_path / "orders.jsonl")
    with pytest.raises(BookInUseError):
        opened(tmp_path / "orders.jsonl", now)
    keeper.close()


@pytest.mark.parametrize("damage", [b"nothing of ours\n", b"\xff\xfe\n", b'{"at_utc": "soon", "cash_cents": 1}\n'])
def test_a_damaged_book_is_refused_in_a_sentence_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_bytes(damage)
    for _ in range(2):  # the refusal lets go of it
        with pytest.raises(BookRefusedError, match="is damaged: move it away") as refused:
            opened(path)
        assert not isinstance(refused.value, BookInUseError)
    assert path.read_bytes() == damage


def test_a_book_that_cannot_be_opened_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BookRefusedError, match="cannot be opened: Is a directory"):
        opened(tmp_path)
