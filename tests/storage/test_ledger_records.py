"""Amended attempts, histories of orders, latched stops, promotions, spreads, and a second day in one ledger."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.tiers import Tier
from domain.position.cycle import EndReason, PositionState
from domain.risk.day import DayStops
from domain.risk.kill_watch import Norm
from domain.risk.reject import RejectCode
from domain.units import Cents, Ticks, Utc
from messages import entries, lifecycle, orders, risk, signals
from messages.restored import (
    ActorsRestored,
    IbkrRestored,
    KillRestored,
    LaneRestored,
    PositionRestored,
    Restored,
    RiskRestored,
)
from storage.desk_ledger import DeskLedger
from storage.promotions import promote
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger
from tests.testkit import ledger_asks as ask

NEXT_DAY = ask.DAY + timedelta(days=3)  # the 20th is a Friday


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    desk = DeskLedger(tmp_path, "paper", run_n=1, is_durable=False)
    desk.open()
    return desk


@pytest.fixture
def shared(tmp_path: Path) -> SharedLedger:
    ledger = SharedLedger(tmp_path, ("paper",), is_durable=False)
    ledger.open()
    return ledger


def restored(ledger: DeskLedger | SharedLedger, name: str, session: date = ask.DAY) -> Restored | None:
    (reply,) = ledger.apply(lifecycle.RequestState(name=name, reply_to="supervisor", session=session), ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    return reply.restored


def risk_of(ledger: DeskLedger, session: date = ask.DAY) -> RiskRestored:
    found = restored(ledger, "risk:paper", session)
    assert isinstance(found, RiskRestored)
    return found


# -- amended attempts -------------------------------------------------------------------------------


def test_an_accepted_attempt_that_came_to_nothing_says_so_beside_its_verdicts(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.amended(), ask.T0)
    ledger.apply(ask.amended(code=RejectCode.NOT_CONNECTED, words="later"), ask.T0)
    reader = LedgerReader(tmp_path, "paper")
    (row,) = reader.attempts(ask.DAY)
    assert (row["code"], row["amended_code"], row["amended_words"], row["amended_utc"]) == (
        None, "permit_expired", "the permit had expired", ask.T0 + 3 * SECOND,
    )  # fmt: skip
    assert reader.gate_counts(ask.DAY) == {"permit_expired": 1}
    assert [decision.code for decision in risk_of(ledger).decisions] == [RejectCode.PERMIT_EXPIRED]


def test_an_amendment_touches_no_refused_attempt_and_no_other_ones(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.denial(1), ask.T0)
    ledger.apply(ask.reserve(2), ask.T0)
    ledger.apply(ask.amended(1), ask.T0)
    ledger.apply(ask.amended(2, key=ask.key(3)), ask.T0)
    assert [row["amended_code"] for row in LedgerReader(tmp_path, "paper").attempts(ask.DAY)] == [None, None]


def test_gate_rows_and_histories_cannot_be_rewritten_or_deleted(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.amended(), ask.T0)
    for sql in (
        "DELETE FROM gate_log", "UPDATE gate_log SET amended_code = 'x'", "UPDATE gate_log SET verdicts = '[]'",
        "DELETE FROM order_events", "UPDATE order_events SET words = ''",
    ):  # fmt: skip
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            ledger._db.execute(sql)


# -- histories of orders ----------------------------------------------------------------------------


def test_an_orders_history_is_kept_from_intention_to_fill_with_the_brokers_words(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(orders.RecordOrderIds(order_ref=ask.ref(1), perm_id=5, status="working"), ask.T0)
    ledger.apply(ask.execution(qty=1), ask.T0)
    ledger.apply(ask.execution(revision=2, qty=1, price_ticks=510), ask.T0)
    ledger.apply(ask.exit_intent(), ask.T0)
    ledger.apply(ask.broker_refused(1, "x1"), ask.T0)
    ledger.apply(ask.exit_intent(tier=Tier.MARKET), ask.T0)
    reader = LedgerReader(tmp_path, "paper")

    def told(ref: str) -> list[tuple[object, ...]]:
        names = ("event", "qty", "order_type", "price_ticks", "words")
        return [tuple(row[name] for name in names) for row in reader.order_events(ref)]

    assert told(ask.ref(1)) == [
        ("intended", 2, "LMT", 500, ""), ("working", 2, "LMT", 500, ""),
        ("fill", 1, None, 500, "00e1.1"), ("correction", 1, None, 510, "00e1.1"),
    ]  # fmt: skip
    assert told(ask.ref(1, "x1")) == [
        ("intended", 2, "LMT", None, "premium_stop"),
        ("refused", None, None, None, "201: Order rejected - reason: no margin"),
        ("changed", 2, "MKT", None, "premium_stop"),
    ]
    (refusal,) = reader.refusals(ask.DAY)
    assert (refusal["order_ref"], refusal["is_exit"], refusal["words"][:4]) == (ask.ref(1, "x1"), 1, "201:")


def told_of(folder: Path, ref: str) -> list[tuple[object, ...]]:
    names = ("event", "price_ticks", "by", "words")
    return [tuple(row[name] for name in names) for row in LedgerReader(folder, "paper").order_events(ref)]


def order_of(folder: Path, ref: str) -> tuple[object, ...]:
    found = LedgerReader(folder, "paper").order(ref)
    assert found is not None
    return found["status"], found["limit_ticks"], found["changed_by"]


def ids(suffix: str, status: str, limit_ticks: int | None, by: str = "broker") -> orders.RecordOrderIds:
    limit = None if limit_ticks is None else Ticks(limit_ticks)
    return orders.RecordOrderIds(order_ref=ask.ref(1, suffix), perm_id=5, status=status, limit_ticks=limit, by=by)


def test_an_order_keeps_its_last_limit_and_each_change_says_who_what_when_and_why(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    ledger.apply(ask.exit_intent(), ask.T0)
    for message in (ids("x1", "working", 450), ids("x1", "working", 430), ids("x1", "filled", None, "read-back")):
        ledger.apply(message, Utc(ask.T0 + SECOND))
    assert order_of(tmp_path, ask.ref(1, "x1")) == ("filled", 430, "read-back")
    assert told_of(tmp_path, ask.ref(1, "x1")) == [
        ("intended", None, "desk", "premium_stop"), ("working", 450, "broker", "premium_stop"),
        ("changed", 430, "broker", "premium_stop"), ("filled", 430, "read-back", "premium_stop"),
    ]  # fmt: skip
    assert {row["at_utc"] for row in LedgerReader(tmp_path, "paper").order_events(ask.ref(1, "x1"))[1:]} == {
        ask.T0 + SECOND
    }


def test_what_says_nothing_new_of_an_order_leaves_its_row_as_it_was(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    for by, limit_ticks in (("broker", 450), ("read-back", 450), ("read-back", None)):
        ledger.apply(ids("e", "working", limit_ticks, by), ask.T0)
    assert order_of(tmp_path, ask.ref(1)) == ("working", 450, "broker")
    ledger.apply(ids("e", "working", 460, "read-back"), ask.T0)
    assert order_of(tmp_path, ask.ref(1)) == ("working", 460, "read-back")


def test_an_entry_that_was_released_before_it_was_sent_is_over(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(entries.ReleaseReservation(intent_id="i1", reason="kill level 1"), ask.T0)
    assert order_of(tmp_path, ask.ref(1)) == ("released", 500, "desk")
    assert told_of(tmp_path, ask.ref(1))[-1] == ("released", 500, "desk", "kill level 1")


def test_an_entry_that_was_abandoned_is_over_and_what_the_broker_says_of_it_later_still_counts(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ids("e", "unknown", 500), ask.T0)
    ledger.apply(ask.abandoned(), ask.T0)
    assert order_of(tmp_path, ask.ref(1)) == ("abandoned", 500, "ledger")
    ledger.apply(ids("e", "cancelled", 500), ask.T0)
    assert order_of(tmp_path, ask.ref(1)) == ("cancelled", 500, "broker")


def test_orders_that_the_broker_ended_first_stay_as_it_said_when_their_position_ends(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    for message in (
        ids("e", "filled", 500),
        ask.execution(),
        ask.position(1),
        ask.exit_intent(1, 1),
        ids("x1", "cancelled", 470),
        ask.exit_intent(1, 2),
        ask.execution(1, exec_id="x.2", order_ref=ask.ref(1, "x2"), side=Side.SELL),
        ask.exit_intent(1, 3),
        ask.closed(1),
    ):
        ledger.apply(message, ask.T0)
    found = [order_of(tmp_path, ask.ref(1, suffix))[0] for suffix in ("e", "x1", "x2", "x3")]
    assert found == ["filled", "cancelled", "filled", "abandoned"]


# -- the day's stops --------------------------------------------------------------------------------


def test_the_days_latches_peak_and_first_breach_come_back(ledger: DeskLedger) -> None:
    stops = DayStops(breach_utc=ask.T0, is_soft=True, peak_cents=Cents(900), drawdown_cents=Cents(1_500))
    ledger.apply(risk.RecordDayStops(session=ask.DAY, stops=stops, at_utc=ask.T0), ask.T0)
    assert risk_of(ledger).stops == stops
    later = replace(stops, breach_utc=None, is_soft=False, is_hard=True, peak_cents=Cents(0), drawdown_cents=Cents(0))
    ledger.apply(risk.RecordDayStops(session=ask.DAY, stops=later, at_utc=ask.T0), ask.T0)
    assert risk_of(ledger).stops == replace(stops, breach_utc=None, is_hard=True), "what was latched stays latched"
    assert risk_of(ledger, NEXT_DAY).stops == DayStops()


@pytest.mark.parametrize("nav", [0, -5])
def test_a_start_nav_that_is_not_positive_is_not_kept(ledger: DeskLedger, nav: int) -> None:
    assert ledger.apply(risk.RecordStartNav(session=ask.DAY, nav_cents=Cents(nav), at_utc=ask.T0), ask.T0) == ()
    good = risk.RecordStartNav(session=ask.DAY, nav_cents=Cents(30_000_000), at_utc=ask.T0)
    assert ledger.apply(good, ask.T0) == (risk.StartNavRecorded(session=ask.DAY, nav_cents=Cents(30_000_000)),)
    assert risk_of(ledger).start_nav_cents == 30_000_000


# -- a second day -----------------------------------------------------------------------------------


def test_a_contract_that_expired_is_named_for_settlement_but_neither_counted_nor_ordered(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(ask.execution(1), ask.T0)
    assert len(risk_of(ledger).reservations) == 1
    assert risk_of(ledger, NEXT_DAY).reservations == ()
    live = restored(ledger, "positions:paper", NEXT_DAY)
    assert live == ActorsRestored(names=("position:paper:1",)), "somebody has to settle it"
    assert restored(ledger, "ibkr:paper", NEXT_DAY) == IbkrRestored(orders=())
    fresh = ask.leg(2, 2, order_ref=ask.ref(2))
    fresh = replace(fresh, contract=replace(fresh.contract, expiry=NEXT_DAY))
    answer = ledger.apply(
        ask.reserve(2, session=NEXT_DAY, legs=(fresh,), positions_max=1, positions_per_ticker_max=1, direction=-1),
        ask.T0,
    )
    assert answer == (entries.EntryReserved(intent_id="i2"),)


def test_a_position_of_yesterday_is_booked_on_its_own_session(ledger: DeskLedger, tmp_path: Path) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    settled = ask.closed(end=EndReason.EXPIRED_UNPRICED, reason=None, closed_utc=Utc(ask.T0 + 6 * 3600 * SECOND))
    ledger.apply(settled, Utc(ask.T0 + 3 * 86_400 * SECOND))
    assert [c.realised_cents for c in risk_of(ledger).closed] == [-12_000]
    assert risk_of(ledger, NEXT_DAY).closed == ()
    assert LedgerReader(tmp_path, "paper").trades(ask.DAY)[0]["end"] == "expired_unpriced"


def settlement_of(ledger: DeskLedger, con_id: int) -> int | None:
    found = restored(ledger, f"position:paper:{con_id}", NEXT_DAY)
    assert isinstance(found, PositionRestored)
    return found.settlement_ticks


def test_a_settlement_price_that_was_seen_outlives_the_process_and_is_not_forgotten(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    assert settlement_of(ledger, 1) is None
    ledger.apply(ask.position(state=PositionState.SETTLING, settlement_ticks=Ticks(600_300)), ask.T0)
    assert settlement_of(ledger, 1) == 600_300
    ledger.apply(ask.position(state=PositionState.SETTLING), ask.T0)
    assert settlement_of(ledger, 1) == 600_300


def test_a_settlement_price_holds_for_every_contract_of_its_class_and_expiry_and_for_no_other(
    ledger: DeskLedger,
) -> None:
    other_class = replace(ask.leg(3), contract=replace(ask.contract(3), trading_class="SPX"))
    for n, legs in ((1, (ask.leg(1),)), (2, (ask.leg(2),)), (3, (other_class,))):
        ledger.apply(ask.reserve(n, legs=legs, positions_max=9, positions_per_ticker_max=9), ask.T0)
        ledger.apply(ask.execution(n, f"00e{n}.1"), ask.T0)
    ledger.apply(ask.position(1, state=PositionState.SETTLING, settlement_ticks=Ticks(600_300)), ask.T0)
    assert [settlement_of(ledger, con_id) for con_id in (1, 2, 3)] == [600_300, 600_300, None]


def test_a_late_fee_is_booked_on_its_own_orders_position_and_not_on_the_next_life(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    ledger.apply(ask.reserve(1), ask.T0)
    ledger.apply(ask.execution(1), ask.T0)
    ledger.apply(ask.closed(1, fees_cents=Cents(0), realised_cents=-1_000), ask.T0)
    ledger.apply(ask.reserve(2, con_id=1), ask.T0)
    ledger.apply(ask.execution(2, "e2", con_id=1), ask.T0)
    (told,) = ledger.apply(ask.commission("00e1.1", 130), ask.T0)
    assert isinstance(told, orders.CommissionRecorded)
    assert told.order_ref == ask.ref(1)
    ledger.apply(ask.closed(2, ref=ask.position_ref(2, 1), fees_cents=Cents(0), realised_cents=-7), ask.T0)
    trades = LedgerReader(tmp_path, "paper").trades(ask.DAY)
    assert sorted((row["realised_cents"], row["fees_cents"]) for row in trades) == [(-1_130, 130), (-7, 0)]


def test_a_fee_that_came_while_the_position_was_closing_is_in_its_result(ledger: DeskLedger, tmp_path: Path) -> None:
    """The position reported its end before it had heard of the fee."""
    ledger.apply(ask.reserve(), ask.T0)
    ledger.apply(ask.execution(), ask.T0)
    ledger.apply(ask.commission(cents=260), ask.T0)
    ledger.apply(ask.closed(fees_cents=Cents(0), realised_cents=-1_000), ask.T0)
    (row,) = LedgerReader(tmp_path, "paper").trades(ask.DAY)
    assert (row["realised_cents"], row["fees_cents"]) == (-1_260, 260)


# -- promotions -------------------------------------------------------------------------------------


def word(n: int, is_promoted: bool, kind: str = "GAMMA_FLIP") -> signals.RecordPromotion:
    return signals.RecordPromotion(
        command_id=f"p{n}", source="gexwatch", kind=kind, version=1, is_promoted=is_promoted, by="ann", reason="r",
        at_utc=Utc(ask.T0 + n),
    )  # fmt: skip


def promoted(shared: SharedLedger) -> tuple[str, ...]:
    lane = restored(shared, "lane:gexwatch:SPX")
    assert isinstance(lane, LaneRestored)
    return lane.promoted


def test_a_promotion_holds_until_it_is_withdrawn_and_a_repeated_command_is_no_second_word(
    shared: SharedLedger, tmp_path: Path
) -> None:
    assert shared.apply(word(1, True), ask.T0) == (signals.PromotionRecorded(command_id="p1"),)
    assert promoted(shared) == ("GAMMA_FLIP-1",)
    shared.apply(word(2, False), ask.T0)
    shared.apply(word(1, True), ask.T0)
    assert promoted(shared) == ()
    rows = LedgerReader(tmp_path, "paper").promotions()
    assert [(row["kind"], row["is_promoted"], row["by"]) for row in rows] == [
        ("GAMMA_FLIP", 1, "ann"), ("GAMMA_FLIP", 0, "ann"),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["settings", "demo"])
def test_a_kind_that_the_settings_name_no_more_stops_trading(shared: SharedLedger, tmp_path: Path, by: str) -> None:
    promote(tmp_path, ["GAMMA_FLIP-1", "BREAK-2"], "gexwatch", by, "named", ask.T0)
    assert promoted(shared) == ("BREAK-2", "GAMMA_FLIP-1")
    promote(tmp_path, ["BREAK-2"], "gexwatch", by, "named", Utc(ask.T0 + 1))
    assert promoted(shared) == ("BREAK-2",)
    promote(tmp_path, [], "gexwatch", by, "named", Utc(ask.T0 + 2))
    assert promoted(shared) == ()
    promote(tmp_path, ["GAMMA_FLIP-1"], "gexwatch", by, "named", Utc(ask.T0 + 3))
    assert promoted(shared) == ("GAMMA_FLIP-1",), "named again, it trades again"


def test_a_persons_word_outlives_the_settings(shared: SharedLedger, tmp_path: Path) -> None:
    promote(tmp_path, ["GAMMA_FLIP-1"], "gexwatch", "settings", "named", ask.T0)
    shared.apply(word(1, False), ask.T0)
    shared.apply(word(2, True, "BREAK"), ask.T0)
    promote(tmp_path, ["GAMMA_FLIP-1"], "gexwatch", "settings", "named", Utc(ask.T0 + 9))
    assert promoted(shared) == ("BREAK-1",)


def test_risk_is_given_the_promoted_set_at_its_start(ledger: DeskLedger, shared: SharedLedger) -> None:
    shared.apply(word(1, True), ask.T0)
    shared.apply(replace(word(2, True, "BREAK"), source="advisor", version=3), ask.T0)
    assert risk_of(ledger).promoted == (("advisor", "BREAK", 3), ("gexwatch", "GAMMA_FLIP", 1))


# -- spreads ----------------------------------------------------------------------------------------


def test_the_norms_of_the_last_twenty_sessions_come_back_to_the_kill_switch(shared: SharedLedger) -> None:
    days = [ask.DAY - timedelta(days=n) for n in range(25)]
    for n, day in enumerate(days):
        for slot in (600, 570):
            said = risk.RecordSpread(session=day, slot_min=slot, median=n / 100, at_utc=ask.T0)
            shared.apply(said, ask.T0)
    shared.apply(risk.RecordSpread(session=ask.DAY, slot_min=600, median=0.5, at_utc=Utc(ask.T0 + 1)), ask.T0)
    kill = restored(shared, "kill")
    assert isinstance(kill, KillRestored)
    assert kill.is_new
    assert len(kill.spread_norms) == 40
    assert kill.spread_norms[0] == Norm(days[19].isoformat(), 570, 0.19)
    assert kill.spread_norms[-1] == Norm(ask.DAY.isoformat(), 600, 0.5), "the last word of a slot"


# -- reservations -----------------------------------------------------------------------------------


class Counting(sqlite3.Connection):
    """Counts statements."""

    statements = 0

    def execute(self, *arguments: object) -> sqlite3.Cursor:
        type(self).statements += 1
        return super().execute(*arguments)


def test_an_entry_is_reserved_in_few_statements(
    ledger: DeskLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.close()
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **{"factory": Counting, **k}))
    ledger.open()
    before = Counting.statements
    assert ledger.apply(ask.reserve(), ask.T0) == (entries.EntryReserved(intent_id="i1"),)
    assert Counting.statements - before <= 8, "BEGIN, all checks, four rows, COMMIT"


_STEPS = st.lists(st.tuples(st.sampled_from(["reserve", "close", "release"]), st.integers(1, 4)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS)
def test_never_more_live_intents_than_the_limit_and_never_two_of_one_contract(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = DeskLedger(tmp_path_factory.mktemp("limits"), "paper", run_n=1, is_durable=False)
    desk.open()
    for n, (what, con_id) in enumerate(steps, 1):
        if what == "reserve":
            desk.apply(ask.reserve(n, con_id=con_id, positions_max=2, trades_per_day_max=99), ask.T0)
        elif what == "close":
            live = desk._db.execute("SELECT intent_id FROM reservations WHERE con_id = ?", (con_id,)).fetchone()
            if live is not None:
                desk.apply(ask.abandoned(int(live[0][1:]), con_id), ask.T0)
        else:
            desk.apply(entries.ReleaseReservation(intent_id=f"i{con_id}", reason="r"), ask.T0)
        held = desk._db.execute("SELECT con_id FROM reservations WHERE state IN ('PENDING_ENTRY', 'OPEN')").fetchall()
        assert len(held) == len(set(held)) <= 2
    assert desk.take_set_aside() == ()
    desk.close()


def test_a_sold_leg_held_short_is_no_stranger(ledger: DeskLedger) -> None:
    ledger.apply(ask.reserve(legs=(ask.leg(1, side=Side.SELL),)), ask.T0)
    ledger.apply(ask.execution(side=Side.SELL), ask.T0)
    *_, found = ledger.apply(ask.read((), (), (ask.broker_position(1, -2),)), ask.T0)
    assert getattr(found, "mismatches", None) == ()
