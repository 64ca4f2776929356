"""The tables of the broker session: modes, orders at the broker, and the vendor's codes."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.fsm import IllegalTransition, Machine
from domain.instruments import DataType, Side
from domain.orders import table
from domain.orders.table import ORDERS, CodeMeaning, Order, OrderEvent, OrderStage, OrderStatus, Trouble
from domain.session.modes import ALLOWS_ENTRIES, ALLOWS_EXITS, MODES, Mode, ModeEvent
from gateways.ib.codes import MEANINGS, STATUSES, data_type_of, meaning_of, status_of

ORDER = Order(
    order_ref="ZH-paper-a-e", con_id=7, owner="position:paper:7", side=Side.BUY, is_exit=False, qty=3, handed_utc=0
)


@pytest.mark.parametrize(("mode", "event"), list(itertools.product(Mode, ModeEvent)))
def test_every_pair_of_mode_and_event_is_a_change_or_ignored_with_a_reason(mode: Mode, event: ModeEvent) -> None:
    assert MODES.changes(mode, event) != ((mode, event) in MODES.ignored)
    after = MODES.next(mode, event)
    assert after is (MODES.transitions[mode, event] if MODES.changes(mode, event) else mode)


@given(st.lists(st.sampled_from(ModeEvent)))
def test_entries_are_allowed_only_after_reconciling_and_a_whole_warm_up_since_the_last_loss(
    events: list[ModeEvent],
) -> None:
    mode = Mode.DATA_ONLY
    since_loss: list[ModeEvent] = []
    for event in events:
        was = mode
        mode = MODES.next(mode, event)
        lost = event in (ModeEvent.LOST, ModeEvent.STOOD_DOWN) or (event is ModeEvent.RESTORED and was in ALLOWS_EXITS)
        since_loss = [] if lost else [*since_loss, event]
        if mode in ALLOWS_ENTRIES:
            assert ModeEvent.RECONCILED in since_loss
            assert ModeEvent.STABLE in since_loss[since_loss.index(ModeEvent.RECONCILED) :]
    assert ALLOWS_ENTRIES < ALLOWS_EXITS


@pytest.mark.parametrize(("stage", "event"), list(itertools.product(OrderStage, OrderEvent)))
def test_every_pair_of_order_stage_and_event_is_a_change_or_ignored_with_a_reason(
    stage: OrderStage, event: OrderEvent
) -> None:
    assert ORDERS.changes(stage, event) != ((stage, event) in ORDERS.ignored)
    after = msgspec.structs.replace(ORDER, stage=stage).after(event).stage
    assert after is (ORDERS.transitions[stage, event] if ORDERS.changes(stage, event) else stage)


S, E = OrderStage, OrderEvent
AFTER = {
    E.WRITTEN: {S.HANDED: S.SENT},
    E.DENIED: {S.HANDED: S.ENDED},
    E.ACKNOWLEDGED: dict.fromkeys((S.HANDED, S.SENT, S.MISSING), S.WORKING),
    E.REFUSED: {S.HANDED: S.ENDED, S.SENT: S.ENDED, S.WORKING: S.IN_DOUBT},  # a working order has refused a change
    E.DOUBTED: dict.fromkeys((S.HANDED, S.SENT, S.WORKING), S.IN_DOUBT),
    E.ENDED: dict.fromkeys((S.HANDED, S.SENT, S.WORKING, S.IN_DOUBT, S.MISSING), S.ENDED),
    E.FOUND_WORKING: dict.fromkeys((S.HANDED, S.SENT, S.IN_DOUBT, S.MISSING, S.ENDED), S.WORKING),
    E.NOT_FOUND: dict.fromkeys((S.HANDED, S.SENT, S.WORKING, S.IN_DOUBT), S.MISSING),
}


@pytest.mark.parametrize("event", OrderEvent)
def test_where_each_event_leads_an_order(event: OrderEvent) -> None:
    led = {was: after for (was, happened), after in ORDERS.transitions.items() if happened is event}
    assert led == AFTER[event]


def test_a_pair_in_neither_table_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    holed = Machine("holed", {pair: ORDERS.transitions[pair] for pair in list(ORDERS.transitions)[1:]}, ORDERS.ignored)
    monkeypatch.setattr(table, "ORDERS", holed)
    with pytest.raises(IllegalTransition, match="written cannot happen in handed"):
        ORDER.after(OrderEvent.WRITTEN)


@given(st.lists(st.sampled_from([e for e in OrderEvent if e not in (OrderEvent.FOUND_WORKING, OrderEvent.NOT_FOUND)])))
def test_no_hint_ends_a_doubt_but_the_end_itself(events: list[OrderEvent]) -> None:
    order = msgspec.structs.replace(ORDER, stage=OrderStage.IN_DOUBT)
    for event in events:
        order = order.after(event)
        if event is OrderEvent.ENDED:
            break
        assert order.stage is OrderStage.IN_DOUBT


def test_doubt_remembers_which_read_back_may_clear_it() -> None:
    trouble = Trouble(104, "cannot modify a filled order")
    order = msgspec.structs.replace(ORDER, stage=OrderStage.WORKING).doubted(4, trouble)
    assert (order.stage, order.settle_n, order.trouble) == (OrderStage.IN_DOUBT, 4, trouble)
    again = order.doubted(6)
    assert (again.settle_n, again.trouble) == (6, trouble)  # a later doubt needs a later read-back
    assert msgspec.structs.replace(ORDER, stage=OrderStage.ENDED).doubted(4).stage is OrderStage.ENDED


def test_lost_link_doubts_the_orders_whose_bytes_left_and_no_others() -> None:
    orders = table.table_of(msgspec.structs.replace(ORDER, order_ref=stage.value, stage=stage) for stage in OrderStage)
    doubted = {o.order_ref for o in table.doubt_sent(orders, 3) if o.stage is OrderStage.IN_DOUBT and o.settle_n == 3}
    assert doubted == {"sent", "working"}


def test_executions_count_once_and_a_correction_replaces_its_revision() -> None:
    order = ORDER.executed("a", 1, 2).executed("a", 1, 2)
    assert order.filled_qty == 2
    order = order.executed("b", 1, 1)
    assert order.filled_qty == 3
    order = order.executed("a", 2, 1)
    assert order.filled_qty == 2
    assert order.executed("a", 1, 2) == order


def test_table_finds_the_exit_under_way_and_what_is_on_sale() -> None:
    exit_order = msgspec.structs.replace(
        ORDER,
        order_ref="ZH-paper-a-x1",
        side=Side.SELL,
        is_exit=True,
        stage=OrderStage.WORKING,
        executions=(table.Counted("a", 1, 1),),
    )
    orders = table.table_of((ORDER, exit_order))
    assert table.working_exit(orders, 7) == exit_order
    assert table.selling_qty(orders, 7) == 2
    ended = table.put(orders, msgspec.structs.replace(exit_order, stage=OrderStage.ENDED))
    assert len(ended) == 2
    assert table.working_exit(ended, 7) is None
    assert table.selling_qty(ended, 7) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(OrderStage))))
def test_orders_under_way_are_those_that_may_fill_in_the_order_in_which_they_came(
    told: list[tuple[str, OrderStage]],
) -> None:
    orders = table.Table()
    for ref, stage in told:
        order = msgspec.structs.replace(ORDER, order_ref=ref, stage=stage)
        orders = table.put(orders, order)
        assert table.put(orders, order) is orders
        assert orders.under_way == tuple(one for one in orders if one.is_under_way)
    assert list(orders) == [table.find(orders, ref) for ref in dict(told)]
    assert orders == table.table_of(orders)


@pytest.mark.parametrize("code", [104, 105, 161, 10147, 10148, 31337, 0, -1])
def test_codes_of_an_order_that_may_live_mean_ask_never_cancelled(code: int) -> None:
    assert meaning_of(code) is CodeMeaning.ORDER_UNKNOWN


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (10349, CodeMeaning.INFORMATIONAL),
        (399, CodeMeaning.INFORMATIONAL),
        (110, CodeMeaning.ORDER_REFUSED),
        (201, CodeMeaning.ORDER_REJECTED),
        (202, CodeMeaning.ORDER_CANCELLED),
        (1100, CodeMeaning.LINK),
        (2103, CodeMeaning.DATA),
        (101, CodeMeaning.DATA),
    ],
)
def test_known_codes_have_their_meaning(code: int, meaning: CodeMeaning) -> None:
    assert meaning_of(code) is meaning


def test_only_202_says_that_an_order_was_cancelled() -> None:
    assert [code for code, meaning in MEANINGS.items() if meaning is CodeMeaning.ORDER_CANCELLED] == [202]


def test_a_status_that_nobody_knows_is_unknown() -> None:
    assert status_of("Resting") is OrderStatus.UNKNOWN
    assert {status_of(text) for text in STATUSES} == set(OrderStatus) - {OrderStatus.UNKNOWN}


def test_a_data_type_that_nobody_knows_is_not_live() -> None:
    assert [data_type_of(code) for code in (1, 3, 5)] == [DataType.LIVE, DataType.DELAYED, DataType.UNKNOWN]


def test_an_order_with_a_change_under_way_may_fill_as_much_as_either_of_both() -> None:
    working = msgspec.structs.replace(ORDER, stage=OrderStage.WORKING, side=Side.SELL, is_exit=True)
    more = working.with_change(table.Terms(None, None, 5), 1)
    less = working.with_change(table.Terms(None, None, 2), 1)
    assert [order.most_qty for order in (working, more, less)] == [3, 5, 3]
    assert table.selling_qty(table.table_of((more,)), 7) == 5
    assert table.selling_qty(table.table_of((less,)), 7) == 3


def test_a_doubt_about_an_order_that_is_over_or_given_up_moves_nothing() -> None:
    for stage in (OrderStage.ENDED, OrderStage.MISSING):
        order = msgspec.structs.replace(ORDER, stage=stage, settle_n=2)
        assert order.doubted(9, Trouble(104, "late")) == order


def test_a_settled_order_is_neither_in_trouble_nor_inactive() -> None:
    doubted = msgspec.structs.replace(ORDER, stage=OrderStage.WORKING).doubted(4, Trouble(201, "held"))
    settled = doubted.marked_inactive().without_trouble()
    assert (settled.trouble, settled.is_inactive) == (None, False)
