"""An order for a combination in the table: whole combinations count, each leg is what its position knows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instruments import Side
from domain.orders.combo import COMBO_CON_ID
from domain.orders.references import exit_ref, share_ref
from domain.orders.table import Order, OrderStage, Share, find, find_share, put, selling_qty, table_of, working_exit
from domain.units import Qty, Utc

COVER = Share("ZH-paper-a-x1", 11, "position:paper:11", Side.SELL)
SHORT = Share("ZH-paper-b-x1", 22, "position:paper:22", Side.BUY, ratio=2)
ORDER = Order(
    order_ref=COVER.order_ref, con_id=COMBO_CON_ID, owner=COVER.owner, side=Side.SELL, is_exit=True, qty=Qty(3),
    handed_utc=Utc(0), legs=(COVER, SHORT),
)  # fmt: skip


def filled(order: Order, con_id: int, qty: int, exec_id: str) -> Order:
    return order.executed(exec_id, 1, Qty(qty), con_id=con_id)


def test_what_is_filled_are_the_combinations_of_which_every_leg_is_there() -> None:
    order = filled(ORDER, 11, 2, "1")
    assert (order.filled_qty, order.filled_of(COVER), order.is_lopsided) == (0, 2, True)
    order = filled(order, 22, 3, "2")
    assert (order.filled_qty, order.is_lopsided) == (1, True)
    order = filled(order, 22, 1, "3")
    assert (order.filled_qty, order.is_lopsided) == (2, False)
    assert filled(order, 22, 1, "3") == order


def test_an_execution_of_the_whole_without_those_of_its_legs_is_lopsided() -> None:
    order = filled(ORDER, COMBO_CON_ID, 1, "1")
    assert (order.filled_qty, order.is_lopsided) == (0, True)
    order = filled(filled(order, 22, 2, "2"), 11, 1, "3")
    assert (order.filled_qty, order.is_lopsided) == (1, False)


def test_a_plain_order_is_one_share_and_never_lopsided() -> None:
    plain = replace(ORDER, con_id=11, legs=())
    assert plain.shares == (replace(COVER, order_ref=plain.order_ref),)
    plain = plain.executed("1", 1, Qty(2), con_id=11)
    assert (plain.filled_qty, plain.filled_of(COVER), plain.is_lopsided) == (2, 2, False)
    assert plain.executions[0].con_id == 0


def test_each_leg_of_a_working_exit_is_the_one_exit_of_its_contract() -> None:
    table = table_of((ORDER,))
    assert working_exit(table, 11) == working_exit(table, 22) == ORDER
    assert working_exit(table, COMBO_CON_ID) is None
    assert working_exit(put(table, replace(ORDER, stage=OrderStage.ENDED)), 22) is None


def test_what_a_combination_sells_counts_for_the_leg_that_it_sells() -> None:
    table = table_of((filled(ORDER, 11, 1, "1"),))
    assert selling_qty(table, 11) == 2
    assert selling_qty(table, 22) == 0
    opening = replace(ORDER, legs=(replace(COVER, side=Side.BUY), replace(SHORT, side=Side.SELL)))
    assert selling_qty(table_of((opening,)), 22) == 6


def test_an_order_is_found_by_the_reference_of_any_of_its_legs() -> None:
    table = table_of((ORDER,))
    assert find_share(table, COVER.order_ref) == (ORDER, COVER)
    assert find_share(table, SHORT.order_ref) == (ORDER, SHORT)
    assert find_share(table, "ZH-paper-c-x1") is None
    assert find(table, SHORT.order_ref) is None  # the broker knows it by the first one's alone


@given(st.integers(1, 99))
def test_a_legs_reference_follows_from_the_combinations_and_its_own_entrys(n: int) -> None:
    cover, short = "ZH-paper-AAAAAAAAAAAA", "ZH-paper-BBBBBBBBBBBB"
    assert share_ref(exit_ref(cover, n), f"{short}-e") == exit_ref(short, n)
    assert share_ref(f"{cover}-e", f"{short}-e") == f"{short}-e"
    assert share_ref(exit_ref(cover, n), f"{cover}-e") == exit_ref(cover, n)
