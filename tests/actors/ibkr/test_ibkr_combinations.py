"""Orders for combinations at the broker session: one order there, one share for each leg's position here."""

from __future__ import annotations

from typing import Any

import pytest

from actors.ibkr.state import Timer
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.combo import COMBO_CON_ID, ComboLeg, combo_contract
from domain.orders.intent import Permit
from domain.orders.request import OrderPart, OrderRequest
from domain.orders.table import CodeMeaning, OrderStage, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.units import Qty, Ticks
from messages import broker, lifecycle, operator, orders, positions, risk
from messages.restored import IbkrRestored, OwnOrder
from tests.testkit.ibkr_history import CALL, ENTRY, NOON, PORT, History, broker_order, ended_order
from tests.testkit.probe import Outbox

ABOVE = Contract(8, "SPX", "SPXW", CALL.expiry, Ticks(601_000), Right.CALL)
STEMS = {7: "ZH-paper-aaaaaaaaaaaa", 8: "ZH-paper-bbbbbbbbbbbb"}
LEGS = (ComboLeg(ABOVE, Side.BUY), ComboLeg(CALL, Side.SELL))
TWO_TO_ONE = (ComboLeg(ABOVE, Side.BUY), ComboLeg(CALL, Side.SELL, 2))
OWNERS = {7: "position:paper:7", 8: "position:paper:8"}
HELD = {7: -2, 8: 2}


def ref(con_id: int, suffix: str = "e") -> str:
    return f"{STEMS[con_id]}-{suffix}"


HEAD, HEAD_EXIT = ref(8), ref(8, "x1")


def submit(
    h: History, suffix: str = "e", held: int = 2, legs: tuple[ComboLeg, ...] = LEGS, **more: Any
) -> Outbox:  # fmt: skip
    """Send two combinations: bought as they are named, or sold again."""
    is_exit = suffix.startswith("x")
    fields: dict[str, Any] = {
        "order_ref": ref(8, suffix), "contract": combo_contract(legs), "side": Side.SELL if is_exit else Side.BUY,
        "qty": Qty(2), "order_type": OrderType.LIMIT, "limit_ticks": Ticks(-300), "is_exit": is_exit,
        "deadline_utc": h.now + 10 * 10**9, "good_till_utc": None if is_exit else h.now + 15 * 10**9,
    }  # fmt: skip
    parts = tuple(
        OrderPart(
            order_ref=ref(leg.contract.con_id, suffix), owner=OWNERS[leg.contract.con_id], leg=leg, held_qty=Qty(held)
        )
        for leg in legs
    )  # fmt: skip
    permit = None if is_exit else Permit(h.state.kill_epoch, h.epoch, h.now + 2 * 10**9)
    order = OrderRequest(**(fields | more))
    return h.feed(
        orders.SubmitOrder(order=order, reply_to="structure:paper:s", permit=permit, held_qty=Qty(0), parts=parts)
    )  # fmt: skip


def fill(h: History, con_id: int, side: Side, qty: int = 2, suffix: str = "e", exec_id: str = "") -> Outbox:
    """Report an execution as the broker does: every one under the order's one reference."""
    execution = broker.Execution(
        exec_id=exec_id or f"{con_id}{suffix}", revision=1, order_ref=ref(8, suffix), perm_id=900, con_id=con_id,
        side=side, qty=Qty(qty), price_ticks=Ticks(500), at_utc=NOON, raw="",
    )  # fmt: skip
    return h.feed(broker.ExecutionReported(session_epoch=h.epoch, execution=execution))


def working(h: History, suffix: str = "e", **more: Any) -> History:
    submit(h, suffix, **more)
    h.sent(ref(8, suffix))
    h.status(ref(8, suffix), OrderStatus.WORKING, limit_ticks=-300)
    h.probe.sent = Outbox([])
    return h


def held() -> History:
    return History().live(dict(HELD))


def told(h: History, kind: type[Any]) -> list[tuple[str, str]]:
    """Return (owner, reference) of the reports of a class."""
    return [(owner, m.order_ref) for owner in OWNERS.values() for m in h.told(kind, owner)]


def waits(h: History) -> list[str]:
    """Return the orders whose legs should have filled alike by some instant."""
    return [subject for kind, subject in h.probe.timers if kind == Timer.LEGS]


BOTH = [(OWNERS[7], ref(7)), (OWNERS[8], ref(8))]
BOTH_EXITS = [(OWNERS[7], ref(7, "x1")), (OWNERS[8], ref(8, "x1"))]


# -- one order, told to both ------------------------------------------------------------------------


def test_legs_go_out_as_one_order_and_its_news_to_each_position_under_its_own_reference() -> None:
    h = History().live()
    (placed,) = submit(h).told(broker.PlaceOrder, PORT)
    assert (placed.order.order_ref, placed.legs) == (HEAD, LEGS)
    h.sent(HEAD)
    h.status(HEAD, OrderStatus.WORKING, limit_ticks=-300)
    assert told(h, broker.OrderSent) == told(h, orders.OrderAcknowledged) == BOTH
    assert {m.order_ref for m in h.told(orders.RecordOrderIds, "desk_ledger")} == {ref(7), ref(8)}
    assert all(m.limit_ticks is None for m in h.told(orders.RecordOrderIds, "desk_ledger"))


def test_only_the_legs_executions_are_recorded_and_the_order_ends_when_every_leg_is_there() -> None:
    h = working(History().live())
    fill(h, COMBO_CON_ID, Side.BUY, exec_id="whole")
    fill(h, 8, Side.BUY)
    assert h.order(HEAD).stage is OrderStage.WORKING
    assert not told(h, orders.OrderClosed)
    fill(h, 7, Side.SELL)
    assert h.order(HEAD).stage is OrderStage.ENDED
    assert told(h, orders.OrderClosed) == BOTH
    assert [m.execution.con_id for m in h.told(orders.RecordExecution, "desk_ledger")] == [8, 7]
    assert h.state.con_ids == (7, 8), "nobody holds the whole"
    h.sleep(5)
    assert not [m for m in h.told(risk.RaiseKill, "kill") if "combination" in m.reason]


def test_where_the_ledger_is_silent_each_position_is_told_its_own_fill() -> None:
    h = working(History().live())
    fill(h, 8, Side.BUY)
    fill(h, 7, Side.SELL, qty=1)
    h.sleep(1)
    for con_id, side, qty in ((8, Side.BUY, 2), (7, Side.SELL, 1)):
        (told_fill,) = h.told(orders.FillRecorded, OWNERS[con_id])
        assert (told_fill.order_ref, told_fill.side, told_fill.filled_qty_total) == (ref(con_id), side, qty)


def test_a_denial_and_a_rejection_reach_both() -> None:
    h = History().live()
    h.raise_kill(KillLevel.NO_ENTRIES)
    submit(h)
    assert told(h, broker.OrderDenied) == BOTH
    h = History().live()
    submit(h)
    h.feed(broker.OrderDenied(order_ref=HEAD, code=RejectCode.UNKNOWN_CONTRACT, why="no combinations"))
    assert told(h, broker.OrderDenied) == BOTH


def test_a_reference_of_any_leg_is_used_once() -> None:
    h = working(History().live())
    assert [m.code for m in h.submit(ref(7)).told(broker.OrderDenied)] == [RejectCode.DUPLICATE_REF]
    h = History().live()
    h.submit(ref(7))
    assert {m.code for m in submit(h).told(broker.OrderDenied)} == {RejectCode.DUPLICATE_REF}


# -- legs that do not fill alike ----------------------------------------------------------------------


def test_legs_that_do_not_fill_alike_are_a_dispute_that_halts_entries_and_asks_the_broker() -> None:
    h = working(History().live())
    fill(h, 8, Side.BUY)
    h.sleep(1)
    assert not h.told(risk.RaiseKill, "kill") or all("combination" not in m.reason for m in h.told(risk.RaiseKill))
    h.sleep(3)
    (why,) = [m.reason for m in h.told(risk.RaiseKill, "kill") if "combination" in m.reason]
    assert "2 of contract 8 (1 each), 0 of contract 7 (1 each)" in why
    assert f"legs:{HEAD}" in [alarm.key for alarm in h.published(operator.Alarm)]
    assert h.told(broker.ReadBack, PORT)
    h.read(held={8: 2})
    h.sleep(30)
    assert len([m for m in h.told(risk.RaiseKill, "kill") if "combination" in m.reason]) == 1


def test_a_wait_for_the_legs_that_is_over_as_they_have_filled_alike_disputes_nothing() -> None:
    h = working(History().live())
    fill(h, 8, Side.BUY)
    assert waits(h) == [HEAD]
    fill(h, 7, Side.SELL)
    assert waits(h) == []
    for order_ref in (HEAD, "ZH-paper-cccccccccccc-e"):  # it was on its way already
        h.feed(lifecycle.TimerFired(kind=Timer.LEGS, subject=order_ref, due_utc=h.now))
    assert not [m for m in h.told(risk.RaiseKill, "kill") if "combination" in m.reason]


def test_no_legs_of_a_plain_order_are_waited_for() -> None:
    h = History().live().working()
    h.fill(ENTRY, 1)
    assert waits(h) == []


def test_a_leg_whose_execution_only_the_read_back_shows_ends_the_dispute() -> None:
    h = working(History().live())
    fill(h, 8, Side.BUY)
    h.query(ref(7))
    late = broker.Execution(
        exec_id="7e", revision=1, order_ref=HEAD, perm_id=900, con_id=7, side=Side.SELL, qty=Qty(2),
        price_ticks=Ticks(500), at_utc=NOON, raw="",
    )  # fmt: skip
    h.read(ended_order(HEAD, OrderStatus.FILLED, 2, con_id=COMBO_CON_ID), executions=[late], held=HELD)
    assert not h.order(HEAD).is_lopsided
    h.sleep(10)
    assert not [m for m in h.told(risk.RaiseKill, "kill") if "combination" in m.reason]
    (found,) = [m for m in h.told(orders.OrderFound) if m.order_ref == ref(7)]
    assert (found.filled_qty, found.qty, found.limit_ticks) == (2, 2, None)


def test_of_a_leg_its_own_executions_are_told_and_of_an_order_its_own() -> None:
    h = working(History().live())
    fills = [
        broker.Execution(
            exec_id=f"{con_id}{n}", revision=1, order_ref=order_ref, perm_id=n, con_id=con_id, side=side, qty=Qty(qty),
            price_ticks=Ticks(500), at_utc=NOON, raw="",
        )
        for n, (order_ref, con_id, side, qty) in enumerate(
            ((HEAD, 8, Side.BUY, 2), (HEAD, 7, Side.SELL, 1), ("ZH-paper-cccccccccccc-e", 7, Side.SELL, 5)), 900
        )
    ]  # fmt: skip
    for order_ref in (ref(7), "ZH-paper-cccccccccccc-e"):
        h.query(order_ref)
        h.read(executions=fills, held={7: -6, 8: 2})
    assert {m.order_ref: m.filled_qty for m in h.told(orders.OrderFound)} == {ref(7): 1, "ZH-paper-cccccccccccc-e": 5}


def test_of_a_leg_that_goes_twice_with_each_its_own_number_is_told_and_closed() -> None:
    h = working(History().live({7: -4, 8: 2}), "x1", held=4, legs=TWO_TO_ONE)
    h.query(ref(7, "x1"))
    h.read(ended_order(HEAD_EXIT, OrderStatus.FILLED, 2, con_id=COMBO_CON_ID, side=Side.SELL))
    (found,) = h.told(orders.OrderFound)
    assert (found.filled_qty, found.qty) == (4, 4)
    assert {m.order_ref: m.filled_qty_total for m in h.told(orders.OrderClosed)} == {HEAD_EXIT: 2, ref(7, "x1"): 4}
    out = submit(History().live({7: -2, 8: 2}), "x1", held=4, legs=TWO_TO_ONE)
    assert {m.code for m in out.told(broker.OrderDenied)} == {RejectCode.EXIT_OVERSELL}


# -- never two exits of a leg, never more than is held -------------------------------------------------


@pytest.mark.parametrize(("con_id", "side"), [(8, Side.SELL), (7, Side.BUY)])
def test_a_legs_own_exit_waits_until_the_combination_that_works_is_cancelled(con_id: int, side: Side) -> None:
    h = working(held(), "x1")
    contract = ABOVE if con_id == 8 else CALL
    out = h.submit_exit(ref(con_id, "x2"), contract=contract, side=side)
    assert not out.told(broker.PlaceOrder)
    assert [m.order_ref for m in out.told(broker.WithdrawOrder, PORT)] == [HEAD_EXIT]
    (waits,) = out.told(orders.ExitHeld)
    assert (waits.order_ref, waits.allows_exits) == (ref(con_id, "x2"), True)
    h.status(HEAD_EXIT, OrderStatus.CANCELLED)
    h.read(ended_order(HEAD_EXIT, OrderStatus.CANCELLED, 0, con_id=COMBO_CON_ID), held=HELD)
    assert told(h, orders.OrderClosed) == BOTH_EXITS
    assert h.submit_exit(ref(con_id, "x2"), contract=contract, side=side).told(broker.PlaceOrder)


def test_an_exit_of_a_combination_is_refused_while_a_leg_leaves_by_itself() -> None:
    h = held()
    h.submit_exit(ref(7, "x1"), side=Side.BUY)
    out = submit(h, "x2")
    assert not out.told(broker.PlaceOrder)
    assert {m.code for m in out.told(broker.OrderDenied)} == {RejectCode.EXIT_OVERSELL}
    h.submit_exit(ref(8, "x1"), contract=ABOVE)
    assert {m.why for m in submit(h, "x3").told(broker.OrderDenied)} == {f"exit order {ref(8, 'x1')} works"}


@pytest.mark.parametrize(("broker_holds", "ledger"), [({7: -2, 8: 1}, 2), ({7: -1, 8: 2}, 2), (HELD, 1), ({8: 2}, 2)])
def test_an_exit_of_a_combination_closes_of_no_leg_more_than_ledger_and_broker_hold(
    broker_holds: dict[int, int], ledger: int
) -> None:
    h = History().live(broker_holds)
    out = submit(h, "x1", held=ledger)
    assert not out.told(broker.PlaceOrder)
    assert sorted((m.order_ref, m.code) for m in out.told(broker.OrderDenied)) == [
        (ref(7, "x1"), RejectCode.EXIT_OVERSELL), (ref(8, "x1"), RejectCode.EXIT_OVERSELL),
    ]  # fmt: skip


def test_what_a_combination_sells_is_on_sale_and_its_fill_lowers_what_may_be_sold() -> None:
    h = working(held(), "x1")
    fill(h, 8, Side.SELL, suffix="x1", qty=1)
    assert h.state.position(8) == 1
    fill(h, 7, Side.BUY, suffix="x1", qty=1)
    assert h.state.position(7) == -2  # a purchase is not estimated


def test_what_a_combination_sells_to_open_is_short_before_the_broker_says_so() -> None:
    h = working(History().live())
    fill(h, 7, Side.SELL)
    assert (h.state.position(7), h.state.position(8)) == (-2, 0)


def test_an_exit_of_a_combination_is_held_while_exits_may_not_leave() -> None:
    h = held()
    h.lost()
    submit(h, "x1")
    assert told(h, orders.ExitHeld) == BOTH_EXITS


def test_a_storm_of_one_legs_exits_holds_the_combination_too() -> None:
    h = held()
    for n in range(1, 7):
        h.submit_exit(ref(7, f"x{n}"), side=Side.BUY)
        h.sent(ref(7, f"x{n}"))
        h.error(ref(7, f"x{n}"), 110, CodeMeaning.ORDER_REFUSED)
    assert not submit(h, "x7").told(broker.PlaceOrder)
    assert told(h, orders.ExitHeld) == [(OWNERS[con_id], ref(con_id, "x7")) for con_id in (7, 8)]


# -- cancelled whole, never changed ---------------------------------------------------------------------


@pytest.mark.parametrize("con_id", [7, 8])
def test_the_cancel_of_any_leg_cancels_the_combination(con_id: int) -> None:
    h = working(History().live())
    assert [m.order_ref for m in h.cancel(ref(con_id)).told(broker.WithdrawOrder, PORT)] == [HEAD]


def test_a_combination_is_never_changed() -> None:
    h = working(held(), "x1")
    out = h.modify(ref(7, "x1"), is_exit=True)
    assert not out.told(broker.AmendOrder)
    assert told(h, orders.ModifyRefused) == BOTH_EXITS
    assert not out.published(orders.BrokerRefused), "it is our own word"


def test_a_kill_cancels_an_entry_that_works() -> None:
    h = working(History().live())
    assert [m.order_ref for m in h.raise_kill(KillLevel.NO_ENTRIES).told(broker.WithdrawOrder, PORT)] == [HEAD]


# -- a restart, a lost link -----------------------------------------------------------------------------


def known(suffix: str = "e") -> IbkrRestored:
    """Return what the ledger gives back: each leg's order, and which combination it is a leg of."""
    is_exit = suffix.startswith("x")
    sides = {leg.contract.con_id: leg.side.opposite if is_exit else leg.side for leg in LEGS}
    return IbkrRestored(
        orders=tuple(
            OwnOrder(
                order_ref=ref(con_id, suffix), con_id=con_id, is_exit=is_exit, side=sides[con_id], qty=Qty(2),
                combo_ref=ref(8, suffix),
            )
            for con_id in (8, 7)
        )
    )  # fmt: skip


@pytest.mark.parametrize("suffix", ["e", "x1"])
def test_after_a_restart_the_legs_are_one_order_again(suffix: str) -> None:
    h = History().start(known(suffix))
    h.up()
    order = h.order(ref(8, suffix))
    assert (order.qty, order.con_ids, order.con_id, len(h.state.table)) == (2, (8, 7), COMBO_CON_ID, 1)
    assert [leg.ratio for leg in order.legs] == [1, 1]
    assert (order.side, order.owner) == (Side.SELL if order.is_exit else Side.BUY, OWNERS[8])
    h.read(broker_order(ref(8, suffix), con_id=COMBO_CON_ID, limit_ticks=-300), held=HELD)
    assert h.order(ref(8, suffix)).stage is OrderStage.WORKING
    assert sorted(told(h, orders.OrderAcknowledged)) == [(OWNERS[c], ref(c, suffix)) for c in (7, 8)]
    assert {m.con_id for m in h.told(positions.BrokerPositionRead)} >= {7, 8}


def test_an_exit_of_a_combination_of_which_a_leg_is_gone_is_cancelled_when_it_is_read_back() -> None:
    h = working(held(), "x1")
    h.lost()
    h.back()
    out = h.read(broker_order(HEAD_EXIT, con_id=COMBO_CON_ID, side=Side.SELL), held={8: 2})
    assert [m.order_ref for m in out.told(broker.WithdrawOrder, PORT)] == [HEAD_EXIT]


def test_a_combination_that_is_nowhere_is_reported_missing_to_both() -> None:
    h = working(held(), "x1")
    h.lost()
    h.back()
    h.sleep(10)
    h.read(held=HELD)
    assert told(h, orders.OrderNotFound) == BOTH_EXITS


def test_the_margin_of_a_combination_is_asked_for_with_its_legs() -> None:
    h = History().live()
    order = OrderRequest(
        order_ref=HEAD, contract=combo_contract(LEGS), side=Side.BUY, qty=Qty(2), order_type=OrderType.LIMIT,
        limit_ticks=Ticks(-300), is_exit=False, deadline_utc=h.now,
    )  # fmt: skip
    out = h.feed(orders.RequestWhatIf(request_id="m", reply_to="risk", order=order, legs=LEGS))
    assert out.told(broker.AskMargin, PORT)[0].legs == LEGS


def test_a_combination_that_went_out_before_its_record_keeps_its_legs_from_leaving_beside_it() -> None:
    h = History().start(IbkrRestored(orders=()))
    h.up()
    bag = broker_order(HEAD_EXIT, con_id=COMBO_CON_ID, side=Side.SELL, limit_ticks=-300)
    h.broker_read(bag, held=HELD)
    h.reconciled(combos=known("x1").orders)
    assert h.order(HEAD_EXIT).con_ids == (8, 7)
    for con_id, side in ((8, Side.SELL), (7, Side.BUY)):
        own = ABOVE if con_id == 8 else CALL
        assert h.submit_exit(ref(con_id, "x1"), contract=own, side=side).told(broker.OrderDenied)
        out = h.submit_exit(ref(con_id, "x2"), contract=own, side=side)
        assert not out.told(broker.PlaceOrder)
        assert out.told(orders.ExitHeld)
    assert [m.order_ref for m in h.told(broker.WithdrawOrder, PORT)] == [HEAD_EXIT]


def test_a_combination_of_this_life_stays_as_it_is_while_its_record_is_late() -> None:
    h = working(held(), "x1")
    h.query(HEAD_EXIT)
    h.broker_read(broker_order(HEAD_EXIT, con_id=COMBO_CON_ID, side=Side.SELL, limit_ticks=-300), held=HELD)
    was = h.order(HEAD_EXIT).handed_utc
    h.reconciled(combos=known("x1").orders)
    assert (h.order(HEAD_EXIT).handed_utc, h.order(HEAD_EXIT).con_ids) == (was, (8, 7))
    assert not h.told(broker.WithdrawOrder, PORT)


@pytest.mark.parametrize("suffix", ["e", "x1"])
def test_a_question_about_a_leg_that_is_no_part_of_what_was_restored_is_answered(suffix: str) -> None:
    only = tuple(own for own in known(suffix).orders if own.con_id == 7)
    h = History().start(IbkrRestored(orders=only))
    h.up()
    h.query(ref(8, suffix))
    for _ in range(2):
        h.read(ended_order(ref(8, suffix), OrderStatus.CANCELLED, 0, con_id=COMBO_CON_ID), held=HELD)
    assert ref(8, suffix) in [m.order_ref for m in h.told(orders.OrderFound)]


def test_of_a_combination_that_is_over_its_first_leg_is_told_its_own_fills_after_a_restart() -> None:
    h = History().start(IbkrRestored(orders=()))
    h.up()
    h.read(held={7: -1, 8: 1})
    h.feed(orders.RequestOrderState(order_ref=HEAD_EXIT, reply_to=OWNERS[8], con_id=8))
    fills = [
        broker.Execution(
            exec_id=f"{con_id}x1", revision=1, order_ref=HEAD_EXIT, perm_id=900, con_id=con_id, side=side, qty=Qty(1),
            price_ticks=Ticks(500), at_utc=NOON, raw="",
        )
        for con_id, side in ((COMBO_CON_ID, Side.SELL), (8, Side.SELL), (7, Side.BUY))
    ]  # fmt: skip
    over = ended_order(HEAD_EXIT, OrderStatus.CANCELLED, 1, con_id=COMBO_CON_ID, side=Side.SELL)
    h.read(over, executions=fills, held={7: -1, 8: 1})
    (found,) = h.told(orders.OrderFound, OWNERS[8])
    assert (found.filled_qty, found.is_working) == (1, False)
