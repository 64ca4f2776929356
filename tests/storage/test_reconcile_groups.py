"""Reconciliation of a broken read-back, and adoption of what the broker holds and no execution explains."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.table import OrderStatus
from domain.units import Qty, Ticks, Utc
from messages import entries, lifecycle, orders, risk, session
from messages.base import Message
from messages.broker import BrokerOrder, BrokerPosition, Execution, GroupFailure, ReadGroup
from messages.restored import OrderFill, PositionRestored
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from tests.testkit import ledger_asks as ask


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    return opened(tmp_path)


def opened(folder: Path, foreign_allowed: tuple[int | str, ...] = ()) -> DeskLedger:
    desk = DeskLedger(folder, "paper", run_n=1, is_durable=False, foreign_allowed=foreign_allowed)
    desk.open()
    return desk


def broken(asked: session.Reconcile, *groups: ReadGroup) -> session.Reconcile:
    """The same reading with these groups failed."""
    failed = tuple(GroupFailure(group, "timed out") for group in groups)
    return replace(asked, read=replace(asked.read, failed=failed))


def reconciled(ledger: DeskLedger, asked: session.Reconcile) -> tuple[session.Reconciled, tuple[Message, ...]]:
    *facts, last = ledger.apply(asked, Utc(asked.read.read_utc + SECOND))
    assert isinstance(last, session.Reconciled)
    return last, tuple(facts)


def filled_order(n: int = 1, qty: int = 2, **changes: object) -> BrokerOrder:
    values: dict[str, object] = {"filled_qty": qty, "is_working": False, "status": OrderStatus.FILLED}
    return ask.broker_order(n, **(values | changes))


def fills_of(ledger: DeskLedger, con_id: int = 1) -> tuple[OrderFill, ...]:
    asked = lifecycle.RequestState(name=f"position:paper:{con_id}", reply_to="supervisor", session=ask.DAY)
    (reply,) = ledger.apply(asked, ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    assert isinstance(reply.restored, PositionRestored)
    return reply.restored.fills


def held_alone(con_id: int, qty: int, cost_cents: int = 50_000) -> BrokerPosition:
    return replace(ask.broker_position(con_id, qty), avg_cost_cents=cost_cents)


def test_the_answer_names_the_read_back_that_it_is_about(ledger: DeskLedger) -> None:
    asked = ask.read()
    later = replace(asked, read=replace(asked.read, read_n=6))
    assert [reconciled(ledger, one)[0].read_n for one in (asked, later)] == [1, 6]


# -- groups that failed -----------------------------------------------------------------------------


@pytest.mark.parametrize("group", [ReadGroup.ORDERS, ReadGroup.EXECUTIONS, ReadGroup.COMPLETED])
def test_an_entry_that_a_broken_reading_did_not_show_is_not_called_unknown(
    ledger: DeskLedger, group: ReadGroup
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    assert len(reconciled(ledger, ask.read())[0].unverified) == 1
    assert reconciled(ledger, broken(ask.read(), group))[0].unverified == ()


def test_positions_that_were_not_read_are_neither_missing_nor_foreign(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    found, _ = reconciled(ledger, broken(ask.read(), ReadGroup.POSITIONS))
    assert (found.mismatches, found.foreign_positions) == ((), ())
    assert "holds none of contract 1" in reconciled(ledger, ask.read())[0].mismatches[0]


def test_executions_that_were_not_read_are_no_mismatch(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    read = ask.read((filled_order(qty=1),))
    assert reconciled(ledger, broken(read, ReadGroup.EXECUTIONS, ReadGroup.POSITIONS))[0].mismatches == ()
    assert "is filled 1 at the broker, 0 in our" in reconciled(ledger, read)[0].mismatches[0]


def test_while_open_orders_are_not_read_a_position_that_one_of_ours_may_be_filling_is_no_stranger(
    ledger: DeskLedger,
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    read = ask.read((), (), (ask.broker_position(1, 1),))
    found, _ = reconciled(ledger, broken(read, ReadGroup.ORDERS))
    assert found.foreign_positions == ()
    assert reconciled(ledger, read)[0].foreign_positions == read.read.positions


# -- adoption ---------------------------------------------------------------------------------------


def test_a_position_that_the_broker_and_a_filled_order_agree_on_is_adopted_and_can_be_sold(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    found, facts = reconciled(ledger, ask.read((filled_order(),), (), (held_alone(1, 2, 51_234),)))
    (fill,) = facts
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.qty, fill.price_ticks, fill.is_price_known) == (2, 512, False)
    assert found.adopted_fills == 1
    assert found.foreign_positions == ()
    assert "adopted at 5.12, the true price is not known yet" in found.mismatches[0]
    assert LedgerReader(tmp_path, "paper").held()[0]["state"] == "OPEN"


def test_a_position_whose_multiplier_cannot_be_read_is_adopted_at_the_limit(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    position = ask.broker_position()
    position = replace(position, contract=replace(position.contract, multiplier=0))
    _, (fill,) = reconciled(ledger, ask.read((filled_order(limit_ticks=480),), (), (position,)))
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.qty, fill.price_ticks, fill.is_price_known) == (2, 480, False)


def test_an_entry_that_was_given_up_and_is_held_after_all_is_adopted(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.abandoned(), ask.T0)
    _, facts = reconciled(ledger, ask.read((filled_order(),), (), (ask.broker_position(),)))
    assert [type(fact) for fact in facts] == [orders.FillRecorded]
    assert LedgerReader(tmp_path, "paper").held()[0]["state"] == "OPEN"


def test_a_partly_explained_order_is_adopted_for_the_rest(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(exec_id="e1", qty=1), ask.T0)
    _, facts = reconciled(ledger, ask.read((filled_order(),), (), (ask.broker_position(),)))
    (fill,) = facts
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.qty, fill.filled_qty_total) == (1, 2)


def test_an_exit_whose_execution_is_missing_is_adopted_too(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    ledger.apply(ask.exit_intent(), ask.T0)
    sold = filled_order(order_ref=ask.ref(1, "x1"), side=Side.SELL, limit_ticks=430)
    found, facts = reconciled(ledger, ask.read((filled_order(), sold), (ask.fill(),)))
    fill = facts[-1]
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.side, fill.qty, fill.price_ticks) == (Side.SELL, 2, 430)
    assert len(found.mismatches) == 1


def test_whose_account_the_ledger_is_of_is_known_to_the_next_start(ledger: DeskLedger, tmp_path: Path) -> None:
    reader = LedgerReader(tmp_path, "paper")
    reconciled(ledger, ask.read())
    assert reader.account_key() == ""
    for account_key in ("1a2b", "1a2b", "", "3c4d"):  # the last one is configured by now
        reconciled(ledger, replace(ask.read(), account_key=account_key))
    assert reader.account_key() == "3c4d"


@pytest.mark.parametrize(("limit_ticks", "price_ticks"), [(430, 430), (None, 0)])
def test_an_exit_whose_execution_is_missing_is_booked_at_the_worst_there_can_have_been(
    ledger: DeskLedger, limit_ticks: int | None, price_ticks: int
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    ledger.apply(ask.exit_intent(), ask.T0)
    sold = filled_order(order_ref=ask.ref(1, "x1"), side=Side.SELL, filled_qty=1, limit_ticks=limit_ticks)
    _, facts = reconciled(ledger, ask.read((filled_order(), sold), (ask.fill(),), (held_alone(1, 1, 51_234),)))
    fill = facts[-1]
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.qty, fill.price_ticks, fill.is_price_known) == (1, price_ticks, False)


def test_a_filled_status_alone_or_a_position_alone_is_not_adopted(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    status, facts = reconciled(ledger, ask.read((filled_order(),)))
    assert facts == ()
    assert len(status.mismatches) == 1
    _, facts = reconciled(ledger, ask.read((), (), (ask.broker_position(),)))
    assert facts == ()


def test_open_orders_and_positions_are_enough_where_the_history_cannot_be_read(ledger: DeskLedger) -> None:
    """One entry of ours can explain what the broker holds: it is held, so that it can be closed."""
    ledger.apply(ask.reserve(), ask.T0)
    read = broken(ask.read((), (), (ask.broker_position(),)), ReadGroup.EXECUTIONS, ReadGroup.COMPLETED)
    _, facts = reconciled(ledger, read)
    assert [type(fact) for fact in facts] == [orders.FillRecorded]


def test_a_slice_that_was_cancelled_does_not_explain_what_its_successor_has_filled(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1, legs=(ask.leg(1, qty=Qty(10)),), first_qty=Qty(3)), ask.T0)
    ledger.apply(ask.execution(qty=Qty(1)), ask.T0)
    ledger.apply(orders.RecordOrderIds(order_ref=ask.ref(1), perm_id=901, status="cancelled"), ask.T0)
    second = orders.RecordSlice(
        intent_id="i1", reply_to="position:paper:1", con_id=1, order_ref=ask.ref(1, "e2"), side=Side.BUY, qty=Qty(4),
        limit_ticks=Ticks(500), n=2, slices=3, at_utc=ask.T0,
    )  # fmt: skip
    ledger.apply(second, ask.T0)
    read = broken(ask.read((), (), (ask.broker_position(1, 3),)), ReadGroup.EXECUTIONS, ReadGroup.COMPLETED)
    _, facts = reconciled(ledger, read)
    (fill,) = facts
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.order_ref, fill.qty) == (ask.ref(1, "e2"), 2)


def test_what_no_entry_of_ours_can_explain_stays_foreign(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    for strange in (ask.broker_position(1, 3), ask.broker_position(1, -1), ask.broker_position(7, 2)):
        read = broken(ask.read((), (), (strange,)), ReadGroup.EXECUTIONS, ReadGroup.COMPLETED)
        found, facts = reconciled(ledger, read)
        assert facts == ()
        assert found.foreign_positions == (strange,)
        assert f"The broker holds {strange.qty}" in found.mismatches[0]


def test_a_repeated_reading_adopts_nothing_twice(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    read = ask.read((filled_order(),), (), (ask.broker_position(),))
    first = reconciled(ledger, read)
    assert reconciled(ledger, read)[1] == first[1], "told again: the first answer may have been lost"
    later = replace(read, read=replace(read.read, read_utc=Utc(read.read.read_utc + 60 * SECOND)))
    assert reconciled(ledger, later)[1] == ()
    assert [fill.qty for fill in fills_of(ledger)] == [2]


def test_the_real_execution_takes_the_place_of_the_adopted_one(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    reconciled(ledger, ask.read((filled_order(),), (), (held_alone(1, 2, 60_000),)))
    fill, *_ = ledger.apply(ask.execution(qty=1), ask.T0)
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.filled_qty_total, fill.filled_cost_ticks_total, fill.is_price_known) == (2, 500 + 600, True)
    assert fill.revision > 1, "positions believe lower totals of a correction only"
    fill, *_ = ledger.apply(ask.execution(exec_id="e2", qty=1, price_ticks=520), ask.T0)
    assert isinstance(fill, orders.FillRecorded)
    assert (fill.filled_qty_total, fill.filled_cost_ticks_total) == (2, 1020)
    assert [row["exec_id"] for row in LedgerReader(tmp_path, "paper").executions(ask.DAY)] == ["00e1.1", "e2"]


_SAID = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(490, 510)),
    min_size=1,
    max_size=6,
    unique_by=lambda said: said[:2],
)


@settings(max_examples=60, deadline=None)
@given(said=_SAID, data=st.data())
def test_any_order_of_executions_corrections_amendments_and_an_adoption_gives_the_same_totals(
    said: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    """Each execution comes with all its revisions, repeated at will; the broker's claim is that of the newest ones."""
    newest = {base: (qty, price) for base, _, qty, price in sorted(said)}
    claimed = sum(qty for qty, _ in newest.values())
    messages: list[Message] = [
        ask.execution(exec_id=f"e{base}", revision=revision, qty=newest[base][0], price_ticks=price)
        for base, revision, _, price in said
    ]
    messages += [ask.amended(), ask.broker_refused(), ask.commission("e1")]
    adoption = ask.read((filled_order(qty=claimed),), (), (held_alone(1, claimed),))
    heard = data.draw(st.permutations([*messages, adoption, *data.draw(st.lists(st.sampled_from(messages)))]))
    with tempfile.TemporaryDirectory() as folder:
        ledger = opened(Path(folder))
        ledger.apply(ask.reserve(), ask.T0)
        last: orders.FillRecorded | None = None
        for message in heard:
            for fact in ledger.apply(message, Utc(ask.T0 + 20 * SECOND)):
                last = fact if isinstance(fact, orders.FillRecorded) else last
        (fill,) = fills_of(ledger)
        assert ledger.take_set_aside() == ()
        ledger.close()
    assert fill.qty == claimed
    assert fill.cost_ticks == sum(qty * price for qty, price in newest.values())
    assert last is not None
    assert (last.filled_qty_total, last.filled_cost_ticks_total) == (fill.qty, fill.cost_ticks)


# -- what is not ours -------------------------------------------------------------------------------


def test_holdings_that_may_stay_are_neither_foreign_nor_a_mismatch(tmp_path: Path) -> None:
    shares = replace(ask.broker_position(50, 100), contract=replace(ask.contract(50), ticker="AAPL"))
    read = ask.read((ask.broker_order(50, "manual"),), (), (shares, ask.broker_position(51, 1)))
    strict, _ = reconciled(opened(tmp_path / "a"), read)
    assert (len(strict.foreign_positions), len(strict.foreign_orders)) == (2, 1)
    lenient, _ = reconciled(opened(tmp_path / "b", foreign_allowed=("AAPL", 51)), read)
    assert (lenient.foreign_positions, lenient.foreign_orders, lenient.mismatches) == ((), (), ())


def test_trades_in_holdings_that_may_stay_are_kept_in_silence(tmp_path: Path) -> None:
    shares = replace(ask.broker_position(50, 100), contract=replace(ask.contract(50), ticker="AAPL"))
    desk = opened(tmp_path, foreign_allowed=("AAPL", 51))
    bought = ask.fill(50, "s.1", order_ref="manual", qty=100)
    found, facts = reconciled(desk, ask.read((), (bought,), (shares,)))
    assert (found.mismatches, facts) == ((), ())
    for con_id, told in ((50, []), (51, []), (52, [risk.RaiseKill])):
        live = ask.execution(con_id, f"l.{con_id}", order_ref="manual")
        assert [type(f) for f in desk.apply(live, ask.T0) if not isinstance(f, orders.ExecutionRecorded)] == told


def test_a_contract_of_our_own_is_compared_though_its_symbol_may_be_held(tmp_path: Path) -> None:
    desk = opened(tmp_path, foreign_allowed=("SPX",))
    desk.apply(ask.reserve(), ask.T0)
    desk.apply(ask.execution(), ask.T0)
    found, _ = reconciled(desk, ask.read((), (), (ask.broker_position(1, 5),)))
    assert "The broker holds 5" in found.mismatches[0]


def test_a_perm_id_of_0_names_no_order_and_replaces_none(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(orders.RecordOrderIds(order_ref=ask.ref(1), perm_id=901, status="working"), ask.T0)
    strangers = tuple(ask.broker_order(n, "", perm_id=0) for n in (8, 9))
    found, _ = reconciled(ledger, ask.read((ask.broker_order(1, perm_id=0), *strangers)))
    assert len(set(found.foreign_orders)) == 2
    ledger.apply(orders.RecordOrderIds(order_ref=ask.ref(1), perm_id=0, status="working"), ask.T0)
    order = LedgerReader(tmp_path, "paper").order(ask.ref(1))
    assert order is not None
    assert order["perm_id"] == 901


def test_rows_without_a_reference_are_those_of_the_order_that_has_their_perm_id(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(orders.RecordOrderIds(order_ref=ask.ref(1), perm_id=901, status="working"), ask.T0)
    nameless = filled_order(order_ref=""), ask.broker_order(8, "", perm_id=977)
    read = ask.read(nameless, (ask.fill(order_ref=""),), (ask.broker_position(),))
    found, facts = reconciled(ledger, read)
    assert found.named == ((901, ask.ref(1)),)
    assert [fact.order_ref for fact in facts if isinstance(fact, orders.FillRecorded)] == [ask.ref(1)]
    assert found.adopted_fills == 1
    assert found.foreign_positions == ()
    assert found.foreign_orders == ("perm:977",)


@pytest.mark.parametrize("qty", [0, -2])
def test_an_execution_of_less_than_one_contract_is_refused_as_a_fact_and_hides_no_other(
    ledger: DeskLedger, qty: int
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    refused, _ = ledger.apply(ask.execution(revision=2, qty=qty), ask.T0)
    assert isinstance(refused, risk.RaiseKill)
    assert f"a quantity of {qty}" in refused.reason
    again = [f for f in ledger.apply(ask.execution(revision=2, qty=qty), ask.T0) if isinstance(f, risk.RaiseKill)]
    assert again == [], "with every read-back: a person may have resumed meanwhile"
    read = ask.read((filled_order(),), (ask.fill(), ask.fill(revision=2, qty=qty)), (ask.broker_position(),))
    found, _ = reconciled(ledger, read)
    assert found.mismatches == ()
    assert [fill.qty for fill in fills_of(ledger)] == [2]


# -- closed by somebody else ------------------------------------------------------------------------


def by_hand(exec_id: str = "h.1", qty: int = 2, **changes: object) -> Execution:
    return ask.fill(exec_id=exec_id, order_ref="", perm_id=77, side=Side.SELL, qty=qty, price_ticks=430, **changes)


def test_a_close_by_hand_or_by_the_broker_is_booked_with_its_executions(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    told = [
        fact
        for execution in (by_hand("h.1", 1), by_hand("h.2", 1), by_hand("h.2", 1, revision=2))
        for fact in ledger.apply(orders.RecordExecution(execution=execution), ask.T0)
    ]
    booked = [fact for fact in told if isinstance(fact, orders.FillRecorded)]
    assert [(f.order_ref, f.side, f.filled_qty_total) for f in booked] == [
        ("broker:77", Side.SELL, 1), ("broker:77", Side.SELL, 2), ("broker:77", Side.SELL, 2),
    ]  # fmt: skip
    assert all(
        "closed at the broker by an order that is not ours" in f.reason for f in told if isinstance(f, risk.RaiseKill)
    )
    found, _ = reconciled(ledger, ask.read((filled_order(),), (ask.fill(),)))
    assert found.mismatches == ()
    assert LedgerReader(tmp_path, "paper").held()[0]["net_qty"] == 0


def directly(exec_id: str = "d.1", qty: int = 2) -> Execution:
    return replace(by_hand(exec_id, qty), order_ref="ZH-direct-ABCDEFGHIJKL-x1")


def test_what_our_direct_flatten_sold_is_booked_as_ours_and_halts_nothing(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    closes = (directly("d.1", 1), directly("d.2", 1))
    found, facts = reconciled(ledger, ask.read((filled_order(),), (ask.fill(), *closes)))
    booked = [f for f in facts if isinstance(f, orders.FillRecorded) and f.side is Side.SELL]
    assert [(f.order_ref, f.filled_qty_total) for f in booked] == [
        ("ZH-direct-ABCDEFGHIJKL-x1", 1), ("ZH-direct-ABCDEFGHIJKL-x1", 2),
    ]  # fmt: skip
    assert not any(isinstance(fact, risk.RaiseKill) for fact in facts)
    assert (found.mismatches, found.foreign_positions) == ((), ())
    assert LedgerReader(tmp_path, "paper").held()[0]["net_qty"] == 0


def test_what_a_direct_flatten_closed_and_no_ledger_holds_is_said_in_those_words(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    found, facts = reconciled(ledger, ask.read((filled_order(),), (ask.fill(), directly(qty=3))))
    (raised,) = [fact for fact in facts if isinstance(fact, risk.RaiseKill)]
    words = "The direct flatten closed 3 of contract 1 (execution d.1), which paper does not hold by its ledger."
    assert raised.reason == words
    assert words in found.mismatches


@pytest.mark.parametrize(
    "stranger", [by_hand(qty=3), by_hand(con_id=9), replace(by_hand(), side=Side.BUY)], ids=["more", "other", "buy"]
)
def test_what_is_no_close_of_ours_stays_foreign(ledger: DeskLedger, stranger: Execution) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    told, _ = ledger.apply(orders.RecordExecution(execution=stranger), ask.T0)
    assert isinstance(told, risk.RaiseKill)
    assert "belongs to no order of paper" in told.reason


def late_fill() -> Execution:
    """Our entry's fill, stamped after the close: the broker's instant could not be read."""
    return ask.fill(at_utc=Utc(ask.T0 + 3 * SECOND), is_time_uncertain=True)


@pytest.mark.parametrize("parts", [(2,), (1, 1)])
@pytest.mark.parametrize("reads", [1, 2])
def test_a_close_that_was_read_before_its_entry_is_taken_over(
    ledger: DeskLedger, tmp_path: Path, parts: tuple[int, ...], reads: int
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    closes = tuple(by_hand(f"h.{n}", qty) for n, qty in enumerate(parts))
    if reads == 2:  # the entry's fill is not among the executions of the first
        assert len(reconciled(ledger, ask.read((), closes))[0].mismatches) == len(closes)
    found, facts = reconciled(ledger, ask.read((filled_order(),), (*closes, late_fill())))
    booked = [fact for fact in facts if isinstance(fact, orders.FillRecorded)]
    assert [(f.order_ref, f.side) for f in booked] == [
        (ask.ref(1), Side.BUY), *(("broker:77", Side.SELL) for _ in closes),
    ]  # fmt: skip
    assert (found.mismatches, found.foreign_positions, found.adopted_fills) == ((), (), 1 + len(closes))
    assert LedgerReader(tmp_path, "paper").held()[0]["net_qty"] == 0
    _, again = reconciled(ledger, ask.read((filled_order(),), (*closes, late_fill())))
    assert not any(isinstance(fact, risk.RaiseKill) for fact in again)


@pytest.mark.parametrize(
    ("stranger", "held"),
    [
        (by_hand(at_utc=ask.T0 - 60 * SECOND), ()),
        (by_hand(), (ask.broker_position(1, 2),)),
        (by_hand(qty=3), ()),
        (replace(by_hand(), side=Side.BUY), ()),
    ],
    ids=["before the entry", "still held", "more", "buy"],
)
def test_a_stranger_that_explains_nothing_of_what_the_broker_holds_stays_foreign(
    ledger: DeskLedger, stranger: Execution, held: tuple[BrokerPosition, ...]
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    found, _ = reconciled(ledger, ask.read((filled_order(),), (stranger, late_fill()), held))
    assert any("belongs to no order of ours" in mismatch for mismatch in found.mismatches)
    assert [fill.order_ref for fill in fills_of(ledger)] == [ask.ref(1)]


def test_a_part_that_was_sold_by_hand_leaves_the_difference_told_with_both_quantities(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    found, _ = reconciled(ledger, ask.read((filled_order(),), (ask.fill(),), (ask.broker_position(1, 1),)))
    assert any("The broker holds 1 of" in m and "our executions make 2" in m for m in found.mismatches)


def test_a_released_reservation_whose_late_fill_comes_in_any_group_is_held(ledger: DeskLedger) -> None:
    for n, groups in enumerate(itertools.combinations(ReadGroup, 2), 1):
        ledger.apply(ask.reserve(n), ask.T0)
        ledger.apply(entries.ReleaseReservation(intent_id=f"i{n}", reason="r"), ask.T0)
        read = ask.read((filled_order(n),), (ask.fill(n, f"e{n}"),), (ask.broker_position(n),))
        _, facts = reconciled(ledger, broken(read, *groups))
        assert [type(fact) for fact in facts] == [orders.FillRecorded], groups
