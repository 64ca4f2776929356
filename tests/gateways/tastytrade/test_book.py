"""The order book of a REST broker: whatever order its news comes in, an order of ours ends up the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instruments import OrderType, Side
from domain.orders.table import OrderStatus
from domain.position.fills import FIRST_REVISION
from domain.units import Qty, Ticks, Utc
from gateways.tastytrade.book import UNSEEN_S, OrderBook
from gateways.tastytrade.codes import CANCELLED, CONTINGENT, FILLED, LIVE, REJECTED, REPLACE_REQUESTED, ROUTED
from gateways.tastytrade.wire import Fill, OrderRow
from tests.testkit.narrow import known

REF, SYMBOL = "ZH-paper-a-e", "SPXW  261120C06000000"
NOW_S = 1_000.0


def fill(n: int, qty: int = 1, price: int = 510) -> Fill:
    return Fill(f"f{n}", SYMBOL, Side.BUY, Qty(qty), Ticks(price), Utc(n), "")


def row(order_id: int, status: str, size: int = 4, limit: int = 510, **more: Any) -> OrderRow:
    fields: dict[str, Any] = {
        "order_id": order_id, "ref": REF, "status": status, "symbol": SYMBOL, "underlying": "SPX", "side": Side.BUY,
        "size": size, "order_type": OrderType.LIMIT, "limit_ticks": limit,
    }  # fmt: skip
    return OrderRow(**(fields | more))


def stamped(*rows: OrderRow) -> list[OrderRow]:
    """Give reports the instants of their order."""
    return [replace(told, updated_ms=n) for n, told in enumerate(rows, start=1)]


HISTORIES = {
    "filled": stamped(
        row(1, ROUTED), row(1, LIVE), row(1, LIVE, fills=(fill(1),)), row(1, FILLED, fills=(fill(1), fill(2, 3)))
    ),
    "replaced after a part, then filled": stamped(
        row(1, LIVE),
        row(1, LIVE, fills=(fill(1),)),
        row(1, REPLACE_REQUESTED, fills=(fill(1),), replacing_id=2),
        row(2, CONTINGENT, 3, 520, replaces_id=1),
        row(1, CANCELLED, fills=(fill(1),), replacing_id=2),
        row(2, LIVE, 3, 520, replaces_id=1),
        row(2, FILLED, 3, 520, replaces_id=1, fills=(fill(2, 3, 520),)),
    ),
    "filled before it was replaced": stamped(
        row(1, LIVE),
        row(1, REPLACE_REQUESTED, replacing_id=2),
        row(2, CONTINGENT, 4, 520, replaces_id=1),
        row(1, FILLED, fills=(fill(1, 4),)),
        row(2, REJECTED, 4, 520, replaces_id=1, reason="filled"),
    ),
    "replaced by orders without a reference": stamped(
        row(1, LIVE),
        row(1, REPLACE_REQUESTED, replacing_id=2),
        row(2, CONTINGENT, 4, 520, ref="", replaces_id=1),
        row(1, CANCELLED, replacing_id=2),
        row(2, LIVE, 4, 520, ref="", replaces_id=1, fills=(fill(1, 1, 520),)),
        row(2, CANCELLED, 4, 520, ref="", replaces_id=1, fills=(fill(1, 1, 520),)),
        row(3, LIVE, 3, 530, ref="", replaces_id=2),
        row(3, FILLED, 3, 530, ref="", replaces_id=2, fills=(fill(2, 3, 530),)),
    ),
    "replaced and cancelled": stamped(
        row(1, LIVE),
        row(1, REPLACE_REQUESTED, replacing_id=2),
        row(2, CONTINGENT, 4, 520, replaces_id=1),
        row(1, CANCELLED, replacing_id=2),
        row(2, LIVE, 4, 520, replaces_id=1),
        row(2, CANCELLED, 4, 520, replaces_id=1),
    ),
}


def ends(history: list[OrderRow]) -> list[OrderRow]:
    """Return the last report of each order: what a list of the vendor's holds."""
    return list({told.order_id: told for told in history}.values())


@given(st.sampled_from(sorted(HISTORIES)), st.data())
def test_news_in_any_order_and_twice_ends_alike_and_counts_each_fill_once(name: str, data: st.DataObject) -> None:
    history = HISTORIES[name]
    straight = OrderBook()
    for told in history:
        straight.take(told)
    shuffled = data.draw(st.permutations(history))
    kept = [told for told in shuffled if data.draw(st.booleans())]
    book, counted = OrderBook(), list[str]()
    most = 0
    for told in data.draw(st.permutations([*kept, *kept[::2], *ends(history)])):
        counted += [c.fill.fill_id for c in book.take(told).fills if c.ref]
        view = book.view(REF)
        if view is None:
            continue  # what came bears no reference, and nobody knows yet whom it replaces
        assert most <= view.filled_qty <= 4
        most = view.filled_qty
    assert len(counted) == len(set(counted))
    assert book.view(REF) == straight.view(REF)
    assert {(c.ref, c.fill) for c in book.fills()} == {(c.ref, c.fill) for c in straight.fills()}
    assert len(book.views()) == 1


def test_an_original_that_was_replaced_is_not_over_while_its_replacement_is_unknown() -> None:
    book = OrderBook()
    book.take(row(1, CANCELLED, replacing_id=2, updated_ms=5))
    view = book.view(REF)
    assert view is not None
    assert (view.status, view.is_working) == (OrderStatus.PENDING, True)


def test_a_replacement_without_a_reference_is_the_order_that_it_replaces() -> None:
    book = OrderBook()
    book.take(row(1, LIVE))
    book.take(row(2, LIVE, 4, 520, ref="", replaces_id=1))
    book.take(row(1, CANCELLED, replacing_id=2))
    (view,) = book.views()
    assert (view.ref, view.perm_id, view.live_id, view.limit_ticks) == (REF, 1, 2, 520)
    assert book.ref_of(2) == REF


def test_a_replacement_whose_link_is_told_late_leaves_its_own_chain() -> None:
    book = OrderBook()
    book.take(row(2, LIVE, 4, 520, ref="", updated_ms=1))
    book.take(row(1, LIVE, updated_ms=1))
    assert [view.ref for view in book.views()] == [REF, ""]
    book.take(row(2, LIVE, 4, 520, ref="", replaces_id=1, updated_ms=2))
    assert [(view.ref, view.raw) for view in book.views()] == [(REF, "1:Live:0/4 2:Live:0/4")]


def test_fills_that_were_told_of_nobody_are_told_again_once_their_order_has_its_reference() -> None:
    book = OrderBook()
    (told,) = book.take(row(2, LIVE, 4, 520, ref="", fills=(fill(1),))).fills
    assert (told.ref, told.revision) == ("", FIRST_REVISION)
    (again,) = book.take(row(1, CANCELLED, replacing_id=2)).fills
    assert (again.ref, again.perm_id, again.fill.fill_id, again.revision) == (REF, 1, "f1", FIRST_REVISION + 1)
    assert [(c.ref, c.revision) for c in book.fills()] == [(REF, FIRST_REVISION + 1)]


def test_an_old_report_does_not_undo_a_correction() -> None:
    book = OrderBook()
    book.take(row(1, FILLED, 1, fills=(fill(1),), updated_ms=1))
    (corrected,) = book.take(row(1, FILLED, 1, fills=(fill(1, price=515),), updated_ms=2)).fills
    assert corrected.revision == FIRST_REVISION + 1
    assert book.take(row(1, FILLED, 1, fills=(fill(1),), updated_ms=1)).fills == ()
    assert [(c.revision, c.fill.price_ticks) for c in book.fills()] == [(2, 515)]


def test_a_rejected_order_that_never_worked_is_inactive_and_one_that_filled_is_cancelled() -> None:
    book = OrderBook()
    book.take(row(1, REJECTED))
    assert book.view(REF).status is OrderStatus.INACTIVE  # type: ignore[union-attr]
    other = OrderBook()
    other.take(row(1, REJECTED, fills=(fill(1),)))
    assert other.view(REF).status is OrderStatus.CANCELLED  # type: ignore[union-attr]


def test_an_order_of_nobody_has_no_reference_and_stands_for_itself() -> None:
    book = OrderBook()
    book.take(row(7, LIVE, ref=""))
    book.take(row(8, LIVE, ref=""))
    assert [(view.ref, view.perm_id) for view in book.views()] == [("", 7), ("", 8)]
    assert book.refs() == frozenset()


def test_what_two_lists_running_show_no_more_is_gone_until_it_is_told_of_again() -> None:
    book = OrderBook()
    book.take(row(1, LIVE))
    book.note_list([], NOW_S)
    book.note_list([], NOW_S)
    assert [view.is_working for view in book.views()] == [True], "no list has shown it yet: it may be too new for one"
    book.note_list([1], NOW_S)
    book.note_list([], NOW_S)
    assert book.working() != [], "one list may lack what moved while it was read"
    book.note_list([], NOW_S)
    (view,) = book.views()
    assert (view.is_gone, view.is_working) == (True, False)
    book.take(row(1, LIVE))
    (view,) = book.views()
    assert (view.is_gone, view.is_working) == (False, True)


def test_what_has_ended_is_not_gone_though_no_list_shows_it() -> None:
    book = OrderBook()
    book.take(row(1, FILLED, fills=(fill(1, 4),)))
    for shown in ([1], [], []):
        book.note_list(shown, NOW_S)
    (view,) = book.views()
    assert (view.is_gone, view.status) == (False, OrderStatus.FILLED)


@pytest.mark.parametrize("is_told", [True, False])
def test_a_replacement_that_no_list_ever_shows_is_gone_after_a_while(is_told: bool) -> None:
    book = OrderBook()
    book.take(row(1, CANCELLED, replacing_id=2))
    if is_told:
        book.take(row(2, LIVE, 4, 520, replaces_id=1))
    for after_s in (0.0, 0.2, UNSEEN_S - 0.1):
        book.note_list([1], NOW_S + after_s)
        assert known(book.view(REF)).is_working
    book.note_list([1], NOW_S + UNSEEN_S)
    view = known(book.view(REF))
    assert (view.is_gone, view.is_working) == (True, False)
    book.take(row(2, LIVE, 4, 520, replaces_id=1))  # it is told of after all
    book.note_list([1], NOW_S + UNSEEN_S + 1)
    assert known(book.view(REF)).is_working


def test_a_replacement_that_a_list_has_shown_is_not_gone() -> None:
    book = OrderBook()
    book.take(row(1, CANCELLED, replacing_id=2))
    book.take(row(2, LIVE, 4, 520, replaces_id=1))
    for after_s in (0.0, UNSEEN_S, 2 * UNSEEN_S):
        book.note_list([1, 2], NOW_S + after_s)
    assert known(book.view(REF)).is_working
