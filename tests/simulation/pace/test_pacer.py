"""The pacer of a demo's clock: how fast by what is at stake, and how far by what the buckets still lack."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from domain.instants import BUCKET_NS, MS, SECOND, at_exchange
from domain.instruments import DataType, Spot
from domain.position.cycle import PositionState
from domain.session.calendar import day
from domain.session.modes import Mode
from domain.units import Ticks, Utc
from messages import broker, desks, entries, market, operator, orders, positions, session, signals
from messages.base import Message
from simulation.pace.buckets import (
    FRAMES_STOP_NS,
    PATIENCE_NS,
    READINGS_STOP_NS,
    ROWS_STOP_NS,
    Buckets,
    Hours,
    Stop,
)
from simulation.pace.pacer import (
    DESK_PATIENCE_NS,
    EVENING_NS,
    MIDNIGHT_NS,
    MORNING_NS,
    NIGHT_RATE,
    OBSERVED,
    Outage,
    Pace,
    Pacer,
)
from simulation.pace.stakes import WAIT_NS, Stake
from tests.testkit.message_samples import one_of

DAY = date(2026, 11, 20)
OPEN, CLOSE = at_exchange(DAY, time(9, 30)), at_exchange(DAY, time(16))
HUBS, TICKERS = ("classic", "orderflow"), ("SPX", "QQQ")
GRACE_NS = 2 * SECOND
DESK_AHEAD_NS = 200 * MS
FAST = 300.0


def hours_of(session_date: date) -> Hours | None:
    found = day(session_date)
    return None if found is None else (found.open_utc, found.close_utc)


def make(kind: type[Any], **fields: Any) -> Any:
    return replace(one_of(kind), **fields)


class Scene:
    """A pacer with everything up, and the two times."""

    def __init__(self, now: Utc = OPEN, outages: tuple[Outage, ...] = (), *, is_up: bool = True) -> None:
        self.now, self.real_ns = now, 0
        buckets = Buckets(TICKERS, GRACE_NS)
        self.pacer = Pacer(FAST, HUBS, buckets, hours_of, outages, DESK_AHEAD_NS)
        self.pacer.begin_date(now)
        self.is_chain_idle = self.is_desk_idle = self.are_all_up = True
        if is_up:
            self.hear(make(session.ModeChanged, mode=Mode.FULLY_LIVE), "ibkr:paper")
            for hub in HUBS:
                self.hear(make(market.HubUp, hub=hub))

    def hear(self, message: Message, to: str = "") -> None:
        assert type(message) in OBSERVED
        self.pacer.hear(message, to, self.now)

    def pace(self, *, has_quotes: bool = True) -> Pace:
        if has_quotes and PositionState.OPEN not in self.pacer.stakes._positions.values():
            self.quoted(self.now)
        if self.is_desk_idle:
            self.pacer.note_desk_idle(self.now, self.real_ns)
        return self.pacer.pace(
            self.now, self.real_ns, is_chain_idle=self.is_chain_idle, are_all_up=self.are_all_up
        )  # fmt: skip

    def stop(self) -> Stop:
        self.pace()
        return self.pacer.buckets.stop

    def stop_utc(self) -> Utc | None:
        self.pace()
        return self.pacer.buckets.horizon_utc

    def whole(self, bucket_utc: Utc) -> None:
        for hub in HUBS:
            self.pacer.buckets.note_whole(hub, bucket_utc)

    def due(self, bucket_utc: Utc) -> None:
        due_utc = bucket_utc + BUCKET_NS + GRACE_NS
        self.hear(market.BucketDue(bucket_utc=bucket_utc, close_by_utc=Utc(due_utc + 2 * SECOND)))

    def read(self, bucket_utc: Utc) -> None:
        for ticker in TICKERS:
            self.hear(make(signals.FeaturesComputed, ticker=ticker, bucket_utc=bucket_utc))

    def position(self, state: PositionState, position_id: str = "p1") -> None:
        ref = replace(one_of(positions.PositionChanged).ref, position_id=position_id)
        self.hear(make(positions.PositionChanged, ref=ref, state=state), "position:paper:1")

    def quoted(self, at_utc: Utc, con_id: int | None = None, by: str = "quotes:paper") -> None:
        sample = one_of(market.QuoteChanged)
        held = one_of(positions.PositionChanged).ref.contract.con_id
        self.hear(replace(sample, quote=replace_quote(sample.quote, at_utc, held if con_id is None else con_id)), by)


def spot(at_utc: Utc) -> Spot:
    return Spot(ticker="SPX", price_ticks=Ticks(600_000), at_utc=at_utc, data_type=DataType.LIVE)


def replace_quote(quote: Any, at_utc: Utc, con_id: int) -> Any:
    return type(quote)(con_id, quote.bid_ticks, quote.ask_ticks, quote.bid_size, quote.ask_size, at_utc)


INTENT = one_of(signals.SignalRaised).intent
ALERT = one_of(signals.AlertRaised).alert
RAISED = make(signals.SignalRaised)
DENIED = make(entries.EntryDenied, key=INTENT.key)
HANDED = make(entries.EntryHandedOver, key=INTENT.key)
REF = one_of(positions.EntryAbandoned).ref

# name, what begins it, its stake, and what ends it
SPANS: list[tuple[str, list[tuple[Message, str]], Stake, list[tuple[Message, str]]]] = [
    ("alert", [(make(signals.RecordAlert, alert=ALERT), "ledger")], Stake.DECISION,
     [(make(signals.AlertRaised, alert=ALERT), "")]),
    ("signal refused", [(RAISED, "")], Stake.DECISION, [(DENIED, "")]),
    ("entry order closed", [(RAISED, ""), (HANDED, "")], Stake.ORDER,
     [(make(orders.OrderClosed, order_ref=HANDED.leg.order_ref), "position:paper:1")]),
    ("entry order rejected", [(HANDED, "")], Stake.ORDER,
     [(make(orders.OrderRejected, order_ref=HANDED.leg.order_ref), "position:paper:1")]),
    ("entry abandoned", [(HANDED, "")], Stake.ORDER,
     [(make(positions.EntryAbandoned, order_ref=HANDED.leg.order_ref), "")]),
    ("exit works", [(make(positions.PositionChanged, ref=REF, state=PositionState.PENDING_EXIT), "")], Stake.ORDER,
     [(make(positions.PositionClosed, ref=REF), "")]),
    ("exit took a part", [(make(positions.PositionChanged, ref=REF, state=PositionState.PENDING_EXIT), "")],
     Stake.ORDER, [(make(positions.PositionChanged, ref=REF, state=PositionState.FLAT), "")]),
    ("mode degraded", [(make(session.ModeChanged, mode=Mode.DEGRADED), "ibkr:paper")], Stake.OUTAGE,
     [(make(session.ModeChanged, mode=Mode.WARMUP), "ibkr:paper")]),
    ("hub down", [(make(market.HubDown, hub="classic"), "")], Stake.OUTAGE,
     [(make(market.HubUp, hub="classic"), "")]),
    ("quote session dialled", [(make(broker.Dial), "port:quotes:paper")], Stake.OUTAGE,
     [(make(broker.LinkUp), "quotes:paper")]),
    ("quote session lost", [(make(broker.LinkLost), "quotes:paper")], Stake.OUTAGE,
     [(make(broker.LinkRestored), "quotes:paper")]),
    ("chain listed", [(make(market.ListChain, ticker="SPX"), "port:quotes:paper")], Stake.OUTAGE,
     [(make(market.ChainListed, ticker="SPX"), "quotes:paper")]),
    ("read back", [(make(broker.ReadBack, read_n=4), "port:ibkr:paper")], Stake.OUTAGE,
     [(make(broker.BrokerRead, read_n=4), "ibkr:paper")]),
    ("negotiating", [(make(market.Negotiate, feed_epoch=2), "port:feed")], Stake.OUTAGE,
     [(make(market.Negotiated, feed_epoch=2), "feed")]),
    ("a person's command", [(make(operator.Flatten, command_id="c"), "operator")], Stake.DECISION,
     [(make(operator.CommandDone, command_id="c"), "edge:cli")]),
]  # fmt: skip


@pytest.mark.parametrize(("begins", "stake", "ends"), [s[1:] for s in SPANS], ids=[s[0] for s in SPANS])
def test_what_is_at_stake_slows_the_clock_until_it_is_over(
    begins: list[tuple[Message, str]], stake: Stake, ends: list[tuple[Message, str]]
) -> None:
    scene = Scene()
    assert scene.pace().stake is Stake.NOTHING and scene.pace().rate == FAST
    for message, to in begins:
        scene.hear(message, to)
    assert scene.pace().stake is stake and scene.pace().rate <= 2
    for message, to in ends:
        scene.hear(message, to)
    assert scene.pace().stake is Stake.NOTHING and scene.pace().rate == FAST


def test_decision_runs_in_real_time_and_an_order_at_most_twice_as_fast() -> None:
    scene = Scene()
    scene.hear(HANDED)
    assert scene.pace().rate == 2.0
    scene.hear(make(signals.RecordAlert, alert=ALERT), "ledger")
    assert scene.pace().rate == 1.0


def test_answer_that_never_comes_slows_the_clock_for_a_minute_and_no_longer() -> None:
    scene = Scene()
    scene.hear(make(signals.RecordAlert, alert=ALERT), "ledger")
    scene.hear(make(market.ListChain, ticker="SPX"), "port:quotes:paper")
    scene.now = Utc(scene.now + WAIT_NS - 1)
    assert scene.pace().stake is Stake.DECISION
    scene.now = Utc(scene.now + 1)
    assert scene.pace().stake is Stake.NOTHING


def test_exit_that_works_slows_the_clock_for_as_long_as_it_works() -> None:
    scene = Scene()
    scene.position(PositionState.PENDING_EXIT)
    scene.now = Utc(scene.now + 3_600 * SECOND)
    assert scene.pace().stake is Stake.ORDER


def test_nothing_runs_fast_before_every_link_is_up() -> None:
    scene = Scene(is_up=False)
    assert scene.pace().stake is Stake.OUTAGE
    scene.hear(make(session.ModeChanged, mode=Mode.FULLY_LIVE), "ibkr:paper")
    scene.hear(make(market.HubUp, hub="classic"))
    assert scene.pace().stake is Stake.OUTAGE
    scene.hear(make(market.HubUp, hub="orderflow"))
    assert scene.pace().stake is Stake.NOTHING


def test_actor_that_is_started_again_is_waited_for_in_real_time() -> None:
    scene = Scene()
    scene.are_all_up = False
    assert scene.pace().rate <= 2


def test_held_position_keeps_market_time_within_two_seconds_of_its_quotes() -> None:
    scene = Scene(Utc(OPEN + 6 * SECOND))
    scene.position(PositionState.OPEN)
    scene.quoted(Utc(OPEN + 4 * SECOND))
    pace = scene.pace()
    assert (pace.stake, pace.waits_for) == (Stake.HELD, "quotes")
    assert pace.horizon_utc == OPEN + 6 * SECOND and 2 < pace.rate < FAST
    scene.quoted(Utc(OPEN + 3 * SECOND))  # an older one takes nothing back
    assert scene.pace().horizon_utc == pace.horizon_utc


def test_position_found_after_a_restart_awaits_its_first_quote_at_half_speed_whatever_else_is_quoted() -> None:
    scene = Scene(Utc(OPEN + 6 * SECOND))
    scene.position(PositionState.OPEN)
    scene.quoted(scene.now, con_id=7)
    pace = scene.pace()
    assert (pace.stake, pace.rate) == (Stake.UNQUOTED, 0.5)
    scene.hear(make(broker.Dial), "port:quotes:paper")
    assert scene.pace().stake is Stake.UNQUOTED, "its quotes come over the link that is dialled"
    scene.hear(make(broker.LinkUp), "quotes:paper")
    scene.quoted(scene.now)
    assert scene.pace().stake is Stake.HELD


def test_position_that_nobody_quotes_keeps_the_clock_at_half_speed_for_a_minute_and_no_longer() -> None:
    scene = Scene(Utc(OPEN + 6 * SECOND))
    scene.position(PositionState.OPEN)
    scene.now = Utc(scene.now + WAIT_NS - 1)
    scene.quoted(scene.now, con_id=7)
    assert scene.pace().stake is Stake.UNQUOTED
    scene.now = Utc(scene.now + 1)
    assert scene.pace().stake is Stake.HELD


def test_contract_that_was_quoted_and_does_not_tick_while_others_do_stops_nothing() -> None:
    scene = Scene(Utc(OPEN + 60 * SECOND))
    scene.position(PositionState.OPEN)
    scene.quoted(Utc(OPEN + 4 * SECOND))
    scene.quoted(scene.now, con_id=7)
    scene.real_ns += SECOND + 1
    pace = scene.pace()
    assert pace.stake is Stake.HELD and pace.horizon_utc > scene.now


def test_market_never_leaves_its_quotes_far_behind_even_with_nothing_at_stake() -> None:
    scene = Scene(Utc(OPEN + 6 * SECOND))
    scene.quoted(Utc(OPEN + 4 * SECOND))
    pace = scene.pace(has_quotes=False)
    assert (pace.horizon_utc, pace.waits_for, pace.stake) == (OPEN + 16 * SECOND, "quotes", Stake.NOTHING)
    assert Scene(Utc(OPEN - SECOND)).pace(has_quotes=False).waits_for != "quotes", "before the open there are none"


def test_quotes_that_do_not_come_are_an_outage_and_stop_nothing() -> None:
    scene = Scene(Utc(OPEN + 6 * SECOND))
    scene.position(PositionState.OPEN)
    scene.quoted(Utc(OPEN + 4 * SECOND))
    assert scene.pace().horizon_utc == scene.now
    scene.real_ns += SECOND + 1
    pace = scene.pace()
    assert pace.stake is Stake.OUTAGE and pace.rate <= 2 and pace.waits_for != "quotes"
    scene.quoted(scene.now)
    assert scene.pace().stake is Stake.HELD


def test_of_several_desks_the_one_whose_quotes_lag_most_holds_the_market() -> None:
    scene = Scene(Utc(OPEN + 6 * SECOND))
    for desk in ("paper", "model"):
        scene.hear(make(broker.LinkUp), f"quotes:{desk}")
    scene.quoted(Utc(OPEN + 6 * SECOND), by="quotes:paper")
    assert scene.pace(has_quotes=False).horizon_utc <= scene.now, "the other has none yet, and is waited for"
    scene.quoted(Utc(OPEN + 4 * SECOND), by="quotes:model")
    scene.quoted(Utc(OPEN + 14 * SECOND), by="quotes:paper")
    assert scene.pace(has_quotes=False).horizon_utc == OPEN + 16 * SECOND
    scene.hear(market.SpotsChanged(spots=(spot(Utc(OPEN + 9 * SECOND)),)), "quotes:model")
    assert scene.pace(has_quotes=False).horizon_utc == OPEN + 21 * SECOND


def test_of_several_desks_each_must_have_decided_before_the_market_runs_fast() -> None:
    scene = Scene()
    scene.hear(make(desks.RouteChanged, strategy=INTENT.strategy, desks=("paper", "model")), "router")
    scene.hear(RAISED, "lane:gexwatch:SPX")
    scene.hear(DENIED, "risk:model")
    assert scene.pace().stake is Stake.DECISION
    scene.hear(DENIED, "risk:paper")
    assert scene.pace().stake is Stake.NOTHING
    scene.hear(make(desks.RouteChanged, strategy=INTENT.strategy, desks=()), "router")
    scene.hear(RAISED, "lane:gexwatch:SPX")
    assert scene.pace().stake is Stake.NOTHING, "nobody decides on it"


def test_of_several_desks_each_must_be_up_and_have_its_answers() -> None:
    scene = Scene()
    scene.hear(make(session.ModeChanged, mode=Mode.DEGRADED), "ibkr:model")
    scene.hear(make(session.ModeChanged, mode=Mode.FULLY_LIVE), "ibkr:paper")
    scene.hear(make(session.ModeChanged, mode=Mode.FULLY_LIVE), "risk:model")  # it asked, and was told what was
    assert scene.pace().stake is Stake.OUTAGE
    scene.hear(make(session.ModeChanged, mode=Mode.FULLY_LIVE), "ibkr:model")
    assert scene.pace().stake is Stake.NOTHING
    for desk in ("paper", "model"):
        scene.hear(make(broker.ReadBack, read_n=4), f"port:ibkr:{desk}")
        scene.hear(make(market.ListChain, ticker="SPX"), f"port:quotes:{desk}")
    for desk, stake in (("paper", Stake.OUTAGE), ("model", Stake.NOTHING)):
        scene.hear(make(broker.BrokerRead, read_n=4), f"ibkr:{desk}")
        scene.hear(make(market.ChainListed, ticker="SPX"), f"quotes:{desk}")
        assert scene.pace().stake is stake


def test_market_stands_while_the_desk_has_something_in_hand_so_that_no_wait_within_it_ends() -> None:
    scene = Scene(Utc(OPEN + 5 * SECOND))
    scene.position(PositionState.OPEN)
    scene.quoted(scene.now)
    pace = scene.pace()
    idle_utc = scene.now
    assert (pace.stake, pace.horizon_utc, pace.waits_for) == (Stake.HELD, idle_utc + DESK_AHEAD_NS, "the desk")
    scene.is_desk_idle = False  # it decides on an exit, and the ledger records that: 3 s of a slow disk
    scene.now, scene.real_ns = pace.horizon_utc, 3 * SECOND
    scene.quoted(scene.now)
    assert scene.pace().horizon_utc == scene.now
    scene.position(PositionState.PENDING_EXIT)
    assert scene.pace().horizon_utc == scene.now, "an exit works, and its intent is not recorded yet"
    scene.is_desk_idle = True
    assert scene.pace().horizon_utc == scene.now + DESK_AHEAD_NS


def test_desk_that_is_busy_for_too_long_stops_nothing_and_with_nothing_at_stake_it_is_not_asked() -> None:
    scene = Scene(Utc(OPEN + 5 * SECOND))
    assert scene.pace().waits_for != "the desk"
    scene.position(PositionState.PENDING_EXIT)
    assert scene.pace().waits_for == "the desk"
    scene.is_desk_idle = False
    scene.real_ns += DESK_PATIENCE_NS + 1
    assert scene.pace().waits_for != "the desk" and scene.pace().rate <= 2


def test_hub_that_is_quiet_before_the_open_has_its_first_frames_awaited_in_real_time() -> None:
    scene = Scene(Utc(OPEN - 60 * SECOND))
    scene.hear(make(market.HubQuiet, hub="classic", key_n=0), "hub:classic")
    pace = scene.pace()
    assert (pace.rate, pace.horizon_utc, pace.waits_for) == (FAST, OPEN, "the open")
    scene.now = OPEN
    assert scene.pace().rate <= 2
    scene.hear(make(market.HubFlows, hub="classic", key_n=0), "hub:classic")
    assert scene.pace().rate == FAST
    scene.hear(make(market.HubQuiet, hub="classic", key_n=0), "hub:classic")
    scene.hear(make(market.CoverHub, is_wanted=False, key_n=0), "port:hub:classic")
    assert scene.pace().rate == FAST, "its port begins afresh, and tells silence that lasts anew"


def test_first_bucket_is_awaited_though_no_hub_was_up_when_its_session_began() -> None:
    scene = Scene(Utc(OPEN - 300 * SECOND), is_up=False)
    assert scene.stop_utc() == OPEN + FRAMES_STOP_NS
    for hub in HUBS:
        scene.hear(make(market.HubUp, hub=hub))
    scene.now = Utc(OPEN + FRAMES_STOP_NS)
    assert scene.stop() is Stop.FRAMES
    scene.whole(OPEN)
    assert scene.stop() is Stop.READINGS


def test_hub_that_comes_up_before_the_stop_is_awaited_there() -> None:
    scene = Scene(Utc(OPEN + 25 * SECOND))
    scene.hear(make(market.HubDown, hub="orderflow"))
    scene.pacer.buckets.note_whole("classic", OPEN)
    assert scene.stop() is Stop.FRAMES
    scene.hear(make(market.HubUp, hub="orderflow"))
    scene.now = Utc(OPEN + FRAMES_STOP_NS)
    assert scene.stop() is Stop.FRAMES
    scene.pacer.buckets.note_whole("orderflow", OPEN)
    assert scene.stop() is Stop.READINGS


def test_frames_stop_holds_until_every_hub_has_delivered_the_bucket() -> None:
    scene = Scene(Utc(OPEN + 29 * SECOND))
    assert scene.stop_utc() == OPEN + FRAMES_STOP_NS
    scene.pacer.buckets.note_whole("classic", OPEN)
    assert scene.stop() is Stop.FRAMES
    scene.pacer.buckets.note_whole("orderflow", OPEN)
    assert scene.stop_utc() == OPEN + BUCKET_NS + GRACE_NS + READINGS_STOP_NS


def test_readings_stop_holds_until_all_are_in_and_the_lanes_have_looked() -> None:
    scene = Scene()
    scene.whole(OPEN)
    scene.due(OPEN)
    scene.hear(make(signals.FeaturesComputed, ticker="SPX", bucket_utc=OPEN))
    assert scene.stop() is Stop.READINGS
    scene.read(OPEN)
    scene.is_chain_idle = False
    assert scene.stop() is Stop.READINGS
    scene.is_chain_idle = True
    assert scene.stop() is Stop.FRAMES, "nothing to store: on to the next bucket"
    assert scene.pacer.buckets.bucket_utc == OPEN + BUCKET_NS


def test_rows_stop_holds_until_every_hub_is_stored_and_stands_before_anybody_misses_them() -> None:
    scene = Scene()
    scene.whole(OPEN)
    scene.due(OPEN)
    for hub in HUBS:
        scene.hear(make(market.StoreBucket, hub=hub, bucket_utc=OPEN), "warehouse")
    scene.read(OPEN)
    assert scene.stop_utc() == OPEN + BUCKET_NS + GRACE_NS + ROWS_STOP_NS
    scene.hear(make(market.BucketStored, hub="classic", bucket_utc=OPEN))
    assert scene.stop() is Stop.ROWS
    scene.hear(make(market.BucketNotStored, hub="orderflow", bucket_utc=OPEN))
    assert scene.stop() is Stop.FRAMES


def test_silent_hub_costs_its_patience_once_then_real_time_until_it_delivers() -> None:
    scene = Scene(Utc(OPEN + 29 * SECOND))
    scene.pacer.buckets.note_whole("classic", OPEN)
    assert scene.stop() is Stop.FRAMES
    scene.real_ns += PATIENCE_NS
    pace = scene.pace()
    assert scene.stop() is Stop.READINGS and pace.stake is Stake.OUTAGE
    scene.pacer.buckets.note_whole("orderflow", Utc(OPEN + BUCKET_NS))
    assert scene.pace().stake is Stake.NOTHING


def test_hub_that_is_down_is_not_waited_for() -> None:
    scene = Scene(Utc(OPEN + 29 * SECOND))
    scene.pacer.buckets.note_whole("classic", OPEN)
    scene.hear(make(market.HubDown, hub="orderflow"))
    assert scene.stop() is Stop.READINGS


def test_readings_that_do_not_come_let_the_deadline_of_the_bucket_pass_slowly() -> None:
    scene = Scene()
    scene.whole(OPEN)
    scene.due(OPEN)
    scene.now = Utc(OPEN + BUCKET_NS + GRACE_NS + READINGS_STOP_NS)
    assert scene.stop() is Stop.READINGS
    scene.real_ns += PATIENCE_NS
    pace = scene.pace()
    assert scene.stop() is Stop.LATE and pace.rate <= 2
    stop_utc = scene.pacer.buckets.horizon_utc
    assert stop_utc is not None and stop_utc > OPEN + BUCKET_NS + GRACE_NS + 2 * SECOND, "beyond its close_by"
    scene.read(OPEN)
    assert scene.stop() is Stop.FRAMES


def test_reading_that_never_comes_costs_its_patience_once() -> None:
    scene = Scene()
    for n in range(2):
        bucket_utc = Utc(OPEN + n * BUCKET_NS)
        scene.whole(bucket_utc)
        scene.due(bucket_utc)
        scene.hear(make(signals.FeaturesComputed, ticker="SPX", bucket_utc=bucket_utc))
        if n == 0:
            for after_ns in (READINGS_STOP_NS, 10 * SECOND):
                scene.now = Utc(bucket_utc + BUCKET_NS + GRACE_NS + after_ns)
                assert scene.stop() in (Stop.READINGS, Stop.LATE)
                scene.real_ns += PATIENCE_NS
        assert scene.stop() is Stop.FRAMES and scene.pacer.buckets.bucket_utc == bucket_utc + BUCKET_NS
    scene.read(Utc(OPEN + 2 * BUCKET_NS))  # it is back: awaited again
    scene.whole(Utc(OPEN + 2 * BUCKET_NS))
    scene.due(Utc(OPEN + 2 * BUCKET_NS))
    assert scene.stop() is Stop.FRAMES
    scene.whole(Utc(OPEN + 3 * BUCKET_NS))
    scene.due(Utc(OPEN + 3 * BUCKET_NS))
    scene.hear(make(signals.FeaturesComputed, ticker="SPX", bucket_utc=Utc(OPEN + 3 * BUCKET_NS)))
    assert scene.stop() is Stop.READINGS


def test_warehouse_that_does_not_answer_costs_its_patience_once() -> None:
    scene = Scene()
    for n in range(3):
        bucket_utc = Utc(OPEN + n * BUCKET_NS)
        scene.whole(bucket_utc)
        scene.due(bucket_utc)
        if n == 2:
            scene.hear(make(market.BucketStored, hub="classic", bucket_utc=Utc(bucket_utc - BUCKET_NS)))
        scene.hear(make(market.StoreBucket, hub="classic", bucket_utc=bucket_utc), "warehouse")
        scene.read(bucket_utc)
        scene.now = Utc(bucket_utc + BUCKET_NS + GRACE_NS + ROWS_STOP_NS)
        assert scene.stop() is (Stop.FRAMES if n == 1 else Stop.ROWS)
        if n == 0:
            scene.real_ns += PATIENCE_NS
            assert scene.stop() is Stop.FRAMES


def test_last_bucket_of_the_session_is_the_last_stop() -> None:
    last = Utc(CLOSE - BUCKET_NS)
    scene = Scene(last)
    scene.whole(last)
    scene.due(last)
    scene.read(last)
    assert scene.stop() is Stop.NONE
    assert Scene(CLOSE).pace().waits_for == ""


def test_day_that_is_resumed_begins_with_the_bucket_of_the_moment() -> None:
    scene = Scene(Utc(OPEN + 100 * BUCKET_NS + 7 * SECOND))
    assert scene.stop_utc() == OPEN + 100 * BUCKET_NS + FRAMES_STOP_NS


FRIDAY_NIGHT, MONDAY_OPEN = Utc(CLOSE + EVENING_NS), at_exchange(date(2026, 11, 23), time(9, 30))


def test_the_night_passes_quickly_and_stops_at_every_date_and_before_the_morning() -> None:
    scene = Scene(FRIDAY_NIGHT)
    horizons = []
    midnights = [at_exchange(date(2026, 11, n), time()) for n in (21, 22, 23)]
    while scene.pace().rate == NIGHT_RATE:
        scene.now = scene.pace().horizon_utc
        horizons.append(scene.now)
        assert scene.pace().rate == FAST, "a date begins, or a morning"
        if scene.now in midnights:
            scene.now = Utc(scene.now + MIDNIGHT_NS)
    assert horizons == [*midnights, MONDAY_OPEN - MORNING_NS]


@pytest.mark.parametrize(
    "now", [Utc(FRIDAY_NIGHT - 1), Utc(OPEN - MORNING_NS), Utc(OPEN + SECOND), Utc(CLOSE + SECOND)]
)
def test_evening_morning_and_session_are_no_night(now: Utc) -> None:
    assert Scene(now).pace().rate == FAST


def test_what_is_at_stake_at_night_runs_as_slowly_as_by_day() -> None:
    scene = Scene(FRIDAY_NIGHT)
    scene.position(PositionState.OPEN)
    assert scene.pace().rate < FAST
    scene.hear(HANDED)
    assert scene.pace().rate == 2.0


def test_the_next_session_has_its_own_buckets() -> None:
    scene = Scene(Utc(CLOSE - BUCKET_NS))
    scene.whole(Utc(CLOSE - BUCKET_NS))
    scene.due(Utc(CLOSE - BUCKET_NS))
    scene.read(Utc(CLOSE - BUCKET_NS))
    assert scene.stop() is Stop.NONE
    scene.now = Utc(MONDAY_OPEN - 300 * SECOND)
    assert scene.stop_utc() == MONDAY_OPEN + FRAMES_STOP_NS
    scene.now = Utc(MONDAY_OPEN + 29 * SECOND)
    assert scene.stop() is Stop.FRAMES, "the last frames of Friday are none of Monday's"
    scene.whole(MONDAY_OPEN)
    assert scene.stop() is Stop.READINGS


def test_scripted_outage_is_entered_slowly_and_its_hub_is_not_waited_for() -> None:
    outage = Outage(Utc(OPEN + 10 * SECOND), Utc(OPEN + 60 * SECOND), "classic")
    scene = Scene(outages=(outage,))
    assert scene.pace(has_quotes=False).horizon_utc <= outage.from_utc
    scene.now = outage.from_utc
    assert scene.pace().stake is Stake.OUTAGE
    scene.pacer.buckets.note_whole("orderflow", OPEN)
    assert scene.stop() is Stop.READINGS


CHOICES: list[tuple[Message, str]] = [pair for _, begins, _, ends in SPANS for pair in (*begins, *ends)]


class Days(RuleBasedStateMachine):
    """Messages, times and idleness in any order; the clock obeys each pace."""

    @initialize(at_s=st.integers(-600, 7 * 3_600))
    def begin(self, at_s: int) -> None:
        self.scene = Scene(Utc(OPEN + at_s * SECOND))
        self.granted_utc = self.scene.now
        self.asked: Pace = self.scene.pace()

    @rule(pair=st.sampled_from(CHOICES))
    def hear(self, pair: tuple[Message, str]) -> None:
        self.scene.hear(*pair)

    @rule(state=st.sampled_from(PositionState))
    def move(self, state: PositionState) -> None:
        self.scene.position(state)

    @rule()
    def deliver(self) -> None:
        self.scene.whole(self.scene.pacer.buckets.bucket_utc)

    @rule()
    def close(self) -> None:
        bucket_utc = self.scene.pacer.buckets.bucket_utc
        self.scene.due(bucket_utc)
        self.scene.read(bucket_utc)

    @rule(is_stored=st.booleans(), hub=st.sampled_from(HUBS))
    def store(self, is_stored: bool, hub: str) -> None:
        kind = market.BucketStored if is_stored else market.StoreBucket
        self.scene.hear(make(kind, hub=hub, bucket_utc=self.scene.pacer.buckets.bucket_utc))

    @rule(ago_s=st.integers(0, 20))
    def quote(self, ago_s: int) -> None:
        self.scene.quoted(Utc(self.scene.now - ago_s * SECOND))

    @rule(real_ms=st.integers(1, 15_000), are_idle=st.booleans())
    def wait(self, real_ms: int, are_idle: bool) -> None:
        """Time passes under the pace in force, as the clock would let it."""
        self.scene.is_chain_idle = are_idle
        pace = self.scene.pace()
        self.scene.real_ns += real_ms * 1_000_000
        wanted = self.scene.now + round(real_ms * 1_000_000 * pace.rate)
        self.scene.now = max(self.scene.now, min(Utc(wanted), pace.horizon_utc))

    @invariant()
    def what_is_at_stake_is_never_fast_and_no_stop_is_passed(self) -> None:
        scene = getattr(self, "scene", None)
        if scene is None:
            return
        was_at = scene.pacer.buckets.stop, scene.pacer.buckets.bucket_utc
        pace = scene.pace()
        if scene.pacer.stakes.at(scene.now) not in (Stake.HELD, Stake.NOTHING):
            assert pace.rate <= 2
        stop_utc = scene.pacer.buckets.horizon_utc
        assert stop_utc is None or pace.horizon_utc <= stop_utc
        assert scene.pacer.buckets.bucket_utc >= was_at[1], "buckets only go on"

    @invariant()
    def patience_always_ends(self) -> None:
        scene = getattr(self, "scene", None)
        if scene is not None and scene.pacer.buckets.stop is not Stop.NONE:
            assert scene.pace().rate > 0


TestDays = Days.TestCase


@settings(deadline=None)
@given(st.lists(st.sampled_from(CHOICES), max_size=30))
def test_market_never_stands_for_ever(said: list[tuple[Message, str]]) -> None:
    scene = Scene()
    for message, to in said:
        scene.hear(message, to)
    scene.is_chain_idle = scene.is_desk_idle = False
    for _ in range(400):
        pace = scene.pace(has_quotes=False)
        if scene.now >= OPEN + 3 * BUCKET_NS:
            return
        scene.real_ns += SECOND
        scene.now = max(scene.now, min(Utc(scene.now + round(SECOND * pace.rate)), pace.horizon_utc))
    raise AssertionError(f"still at {scene.now - OPEN}")
