"""An entry in slices: each asked for, recorded and sent once, in its time; whatever stops it, what filled is held."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position import PositionActor
from config.settings import load_settings
from domain.instants import SECOND
from domain.instruments import OrderType, Side
from domain.orders.intent import DecisionPrices
from domain.orders.references import slice_ref
from domain.orders.twap import TwapPlan, TwapStage
from domain.position.cycle import ExitReason, PositionState
from domain.risk.gates.types import Verdict, refused
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Qty, Ticks
from messages import broker, entries, orders, positions, restored, risk, signals
from tests.testkit.position_history import ENTRY, NAME, REF, STEM, History, flatten, reservation

PLAN = TwapPlan(total_qty=Qty(10), slices=4, gap_ms=30_000)
SECOND_REF, THIRD_REF = slice_ref(STEM, 2), slice_ref(STEM, 3)


class Sliced(History):
    """A position whose entry of ten contracts goes out in four slices, half a minute apart."""

    def begin(self) -> Sliced:
        self.feed(
            entries.OpenPosition(
                ref=REF, order_ref=ENTRY, qty=PLAN.qty_until(1), limit_ticks=Ticks(500),
                decision=DecisionPrices(Ticks(490), Ticks(505), Ticks(600_000)), permit=self.permit(2_000),
                deadline_utc=self.now + 10 * SECOND, twap=PLAN,
            )
        )  # fmt: skip
        return self

    def filled_first(self) -> Sliced:
        self.begin()
        self.ack()
        self.quote(495, 505)
        self.bought(ENTRY, 2, 500)
        self.ended(ENTRY, 2)
        self.broker(2)
        return self

    def bought(self, ref: str, qty: int, price: int) -> None:
        self.executions += 1
        row = self.state.fills.row(ref)
        before, cost = (0, 0) if row is None else (row.qty, row.cost_ticks)
        self.feed(
            orders.FillRecorded(
                order_ref=ref, con_id=812, side=Side.BUY, exec_id=f"0001.{self.executions}", revision=1, qty=Qty(qty),
                price_ticks=Ticks(price), at_utc=self.now, filled_qty_total=Qty(before + qty),
                filled_cost_ticks_total=cost + qty * price,
            )
        )  # fmt: skip

    def until_due(self) -> Sliced:
        """Wait for the next slice's instant, quoted all the while."""
        for _ in range(15):
            self.wait(2_000)
            self.quote(495, 505)
        return self

    def allow(self, ref: str, limit: int = 499) -> None:
        permit = self.permit(2_000)
        self.feed(entries.SliceAllowed(order_ref=ref, limit_ticks=Ticks(limit), permit=permit))

    def recorded(self, ref: str) -> None:
        self.feed(orders.SliceRecorded(order_ref=ref))

    def refuse(self, ref: str, gate: str, code: RejectCode, *, is_final: bool) -> None:
        self.feed(entries.SliceRefused(order_ref=ref, verdict=Verdict(gate, refused(code)), is_final=is_final))

    @property
    def orders_sent(self) -> list[tuple[str, int]]:
        return [(told.order.order_ref, told.order.qty) for told in self.all(orders.SubmitOrder)]

    def has_entry(self) -> bool:
        return self.state.orders.entry is not None

    @property
    def notes(self) -> list[tuple[str, str]]:
        return [(note.event, note.why) for note in self.all(orders.SliceNoted)]


def test_the_first_slice_alone_goes_out_at_once() -> None:
    history = Sliced().begin()
    assert history.orders_sent == [(ENTRY, 2)]
    assert history.cycle() is PositionState.PENDING_ENTRY


def test_slices_are_asked_for_recorded_and_sent_one_after_the_other_until_all_is_ordered() -> None:
    history = Sliced().filled_first()
    for n, qty in ((2, 3), (3, 2), (4, 3)):  # 5, 7 and 10 contracts in all
        ref = slice_ref(STEM, n)
        history.until_due()
        asked = history.last(entries.RequestSlice)
        assert (asked.order_ref, asked.qty, asked.decision.ask_ticks) == (ref, qty, 505)
        assert len(history.orders_sent) == n - 1  # nothing before the gates have answered
        history.allow(ref)
        record = history.last(orders.RecordSlice)
        assert (record.order_ref, record.qty, record.limit_ticks, record.n, record.slices) == (ref, qty, 499, n, 4)
        assert len(history.orders_sent) == n - 1  # nor before the ledger has
        history.recorded(ref)
        assert history.orders_sent[-1] == (ref, qty)
        submit = history.last(orders.SubmitOrder)
        assert (submit.order.limit_ticks, submit.order.is_exit, submit.permit is not None) == (499, False, True)
        history.ack(ref)
        history.bought(ref, qty, 499)
        history.broker(history.state.fills.held)
    assert [booked.is_entry for booked in history.all(positions.FillBooked)] == [True] * 4
    assert (history.state.fills.held, history.cycle()) == (10, PositionState.OPEN)
    assert history.notes == [("slices ended", "10 of 10 filled, slice 4 of 4: all of it is filled")]
    history.until_due()
    assert len(history.orders_sent) == 4


def test_what_a_slice_did_not_fill_is_asked_for_with_the_next() -> None:
    history = Sliced().filled_first().until_due()
    history.allow(SECOND_REF)
    history.recorded(SECOND_REF)
    history.ack(SECOND_REF)
    history.bought(SECOND_REF, 1, 499)
    history.wait(8_000)
    assert history.last(orders.CancelOrder).order_ref == SECOND_REF
    history.ended(SECOND_REF, 1, "Cancelled")
    for _ in range(11):
        history.wait(2_000)
        history.quote(495, 505)
    assert history.last(entries.RequestSlice).qty == 4  # 7 by then, 3 are held


def test_a_first_slice_without_a_fill_ends_the_entry() -> None:
    history = Sliced().begin()
    history.ack()
    history.wait(8_000)
    history.ended(ENTRY, 0, "Cancelled")
    assert history.cycle() is PositionState.FLAT
    assert history.all(positions.EntryAbandoned)[0].order_ref == ENTRY
    history.wait(120_000)
    assert history.all(entries.RequestSlice) == []


def test_no_slice_goes_out_while_the_one_before_works() -> None:
    history = Sliced().filled_first().until_due()
    history.allow(SECOND_REF)
    history.recorded(SECOND_REF)
    history.ack(SECOND_REF)
    history.wait(8_000)  # its cancel is not confirmed
    history.wait(60_000)
    assert [asked.order_ref for asked in history.all(entries.RequestSlice)] == [SECOND_REF]


@pytest.mark.parametrize("stage", [TwapStage.WAITING, TwapStage.ASKED, TwapStage.RECORDING, TwapStage.WORKING])
@pytest.mark.parametrize("what", ["kill", "stop", "person", "late", "link", "reversal"])
def test_whatever_ends_an_entry_ends_its_slices_in_every_stage(stage: TwapStage, what: str) -> None:
    history = Sliced().filled_first()
    if stage is not TwapStage.WAITING:
        history.until_due()
    if stage in (TwapStage.RECORDING, TwapStage.WORKING):
        history.allow(SECOND_REF)
    if stage is TwapStage.WORKING:
        history.recorded(SECOND_REF)
        history.ack(SECOND_REF)
    assert history.state.twap is not None and history.state.twap.stage is stage
    before = history.orders_sent
    match what:
        case "kill":
            history.feed(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=1, reason="x", by="x"))
        case "stop":
            for _ in range(2):
                history.wait(300)
                history.quote(200, 210)
        case "person":
            flatten(history, ExitReason.OPERATOR)
        case "late":
            history.phase(Phase.LATE)
        case "link":
            history.mode(Mode.DEGRADED)
        case _:
            history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=history.now))
    assert not history.state.twap.is_on
    assert history.notes[-1][0] == "slices ended"
    history.allow(SECOND_REF)
    history.recorded(SECOND_REF)
    history.wait(90_000)
    assert entries_sent(history) == [sent for sent in before if "-e" in sent[0]]
    if stage is TwapStage.WORKING and what != "link":
        assert history.all(orders.CancelOrder)[0].order_ref == SECOND_REF
    assert history.state.fills.held == 2


def test_a_slice_refused_for_its_quote_is_passed_over_and_its_contracts_go_into_the_next() -> None:
    history = Sliced().filled_first().until_due()
    history.refuse(SECOND_REF, "spread", RejectCode.SPREAD_TOO_WIDE, is_final=False)
    assert history.notes == [("passed over", "slice 2 of 4: spread refused it: spread_too_wide")]
    history.until_due()
    asked = history.last(entries.RequestSlice)
    assert (asked.order_ref, asked.qty) == (THIRD_REF, 5)


def test_a_final_refusal_ends_the_slices() -> None:
    history = Sliced().filled_first().until_due()
    history.refuse(SECOND_REF, "kill_level", RejectCode.KILL_SWITCH_L1, is_final=True)
    history.wait(120_000)
    assert history.notes == [("slices ended", "2 of 10 filled, slice 2 of 4: kill_level refused it: kill_switch_l1")]
    assert len(history.all(entries.RequestSlice)) == 1


@pytest.mark.parametrize("is_allowed", [False, True])
def test_silence_of_the_gates_or_of_the_ledger_ends_the_slices(is_allowed: bool) -> None:
    history = Sliced().filled_first().until_due()
    if is_allowed:
        history.allow(SECOND_REF)
    history.wait(2_000)
    silent = "the ledger" if is_allowed else "risk"
    assert history.notes == [("slices ended", f"2 of 10 filled, slice 2 of 4: {silent} did not answer in time")]
    history.allow(SECOND_REF)
    history.recorded(SECOND_REF)
    assert history.orders_sent == [(ENTRY, 2)]


def test_a_slice_that_the_broker_rejects_or_the_port_denies_ends_them_and_amends_nothing() -> None:
    for news in (
        orders.OrderRejected(order_ref=SECOND_REF, vendor_code=201, text="no"),
        broker.OrderDenied(order_ref=SECOND_REF, code=RejectCode.PERMIT_KILLED, why="kill level 1"),
    ):
        history = Sliced().filled_first().until_due()
        history.allow(SECOND_REF)
        history.recorded(SECOND_REF)
        history.feed(news)
        assert history.all(entries.EntryAmended) == []  # the attempt has its two contracts
        assert history.notes[-1][0] == "slices ended"
        assert history.cycle() is PositionState.OPEN


def test_a_slice_raised_too_late_asks_for_a_permit_of_its_own() -> None:
    history = Sliced().filled_first().until_due()
    history.allow(SECOND_REF, limit=495)
    history.recorded(SECOND_REF)
    history.ack(SECOND_REF)
    history.wait(3_900)
    history.quote(490, 504)
    history.wait(100)
    assert history.last(entries.RequestPermit).order_ref == SECOND_REF
    history.feed(entries.PermitRenewed(order_ref=SECOND_REF, permit=history.permit(2_000)))
    assert history.last_change.order_ref == SECOND_REF
    assert (history.last_change.limit_ticks or 0) <= 505


def restarted() -> Sliced:
    """Return a position that was started again while its second slice may work."""
    history = Sliced().filled_first().until_due()
    history.allow(SECOND_REF)
    history.recorded(SECOND_REF)
    history.restart(
        restored.PositionRestored(
            reservation=reservation(10),
            fills=(
                restored.OrderFill(
                    order_ref=ENTRY, is_exit=False, side=Side.BUY, qty=Qty(2), cost_ticks=1_000, fees_cents=0,
                    charged_qty=Qty(0), first_utc=history.now,
                ),
            ),
            state=PositionState.OPEN, exit_reason=None, exit_kind=None, exit_n=0, exit_order_ref=None, tier=0,
            entry_spot_ticks=None, entry_iv=None, opened_utc=history.now, took_part=False,
            entry=restored.OwnOrder(order_ref=SECOND_REF, con_id=812, is_exit=False, side=Side.BUY, qty=Qty(3)),
        )
    )  # fmt: skip
    history.mode(Mode.WARMUP)
    history.reconciled(2)
    history.wait(2_100)
    assert history.last(orders.RequestOrderState).order_ref == SECOND_REF
    return history


def test_after_a_restart_a_slice_that_nobody_knows_is_looked_for_until_it_cannot_arrive_any_more() -> None:
    history = restarted()
    history.missing(SECOND_REF)
    assert history.has_entry()  # it may have left just before, and be under way still
    history.wait(25_000)
    history.missing(SECOND_REF)
    assert not history.has_entry()
    assert history.state.fills.held == 2


def test_a_stop_at_the_broker_is_placed_for_all_of_it_once_no_slice_follows() -> None:
    history = Sliced()
    history.actor = PositionActor(NAME, load_settings(profile="real", overrides={"exits": {"disaster_stop": True}}))
    history.filled_first().until_due()
    assert [sent for sent in history.orders_sent if "-x" in sent[0]] == []
    history.refuse(SECOND_REF, "kill_level", RejectCode.KILL_SWITCH_L1, is_final=True)
    assert history.last_order.order_type is OrderType.STOP
    assert history.last_order.qty == 2


def test_after_a_restart_the_slice_that_may_work_is_cancelled_and_nothing_more_is_sent() -> None:
    history = restarted()
    history.found(SECOND_REF, working=True, filled=0, qty=3)
    assert history.last(orders.CancelOrder).order_ref == SECOND_REF
    history.bought(SECOND_REF, 1, 499)
    history.ended(SECOND_REF, 1, "Cancelled")
    history.until_due()
    assert history.orders_sent == [(ENTRY, 2), (SECOND_REF, 3)]  # both of the life before
    assert (history.state.fills.held, history.state.orders.entry) == (3, None)


def test_a_late_answer_about_an_earlier_slice_sends_nothing() -> None:
    history = Sliced().filled_first().until_due()
    history.refuse(SECOND_REF, "spread", RejectCode.SPREAD_TOO_WIDE, is_final=False)
    history.allow(SECOND_REF)
    history.recorded(SECOND_REF)
    history.until_due()
    history.allow(SECOND_REF)
    assert history.all(orders.RecordSlice) == []
    assert history.orders_sent == [(ENTRY, 2)]


def test_slices_are_never_of_an_exit() -> None:
    history = Sliced().filled_first()
    flatten(history)
    (sold,) = [told.order for told in history.all(orders.SubmitOrder) if told.order.is_exit]
    assert (sold.qty, sold.side) == (2, Side.SELL)


STEPS = ("next", "due", "allow", "pass over", "record", "fill", "cancelled", "wait", "kill", "leave", "link")


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 3)), max_size=40))
def test_whatever_comes_in_whatever_order_no_more_is_ordered_than_the_whole_and_nothing_after_an_end(
    steps: list[tuple[str, int]],
) -> None:
    history, has_ended = Sliced().filled_first(), False
    sent_before_end: list[tuple[str, int]] = []
    for step, n in steps:
        twap, entry = history.state.twap, history.state.orders.entry
        assert twap is not None
        ref = slice_ref(STEM, twap.n)
        match step:
            case "next":
                history.until_due()
                asked = slice_ref(STEM, twap.n + 1)
                history.allow(asked)
                history.recorded(asked)
            case "due":
                history.until_due()
            case "allow":
                history.allow(ref)
            case "pass over":
                history.refuse(ref, "spread", RejectCode.SPREAD_TOO_WIDE, is_final=False)
            case "record":
                history.recorded(ref)
            case "fill" if entry is not None:
                history.ack(entry.ref)
                left = entry.qty - history.state.fills.filled(entry.ref)
                history.bought(entry.ref, min(n, left), 499)
                history.broker(history.state.fills.held)
            case "cancelled" if entry is not None:
                history.wait(8_000)
                history.ended(entry.ref, history.state.fills.filled(entry.ref), "Cancelled")
            case "wait":
                history.wait(n * 700)
            case "kill" | "leave" | "link":
                if step == "kill":
                    history.feed(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=1, reason="x", by="x"))
                elif step == "leave":
                    flatten(history)
                else:
                    history.mode(Mode.DEGRADED)
                if not has_ended:
                    has_ended, sent_before_end = True, entries_sent(history)
            case _:
                pass
        sent = entries_sent(history)
        live = history.state.orders.entry
        working = 0 if live is None else live.qty - history.state.fills.filled(live.ref)
        assert history.state.fills.opened_qty + working <= PLAN.total_qty
        assert len({ref for ref, _ in sent}) == len(sent)
        if has_ended:
            assert sent == sent_before_end


def entries_sent(history: Sliced) -> list[tuple[str, int]]:
    return [sent for sent in history.orders_sent if "-e" in sent[0]]
