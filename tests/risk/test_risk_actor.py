"""The risk actor by histories of messages: the entry conversation, its silences, and the desk's day."""

from __future__ import annotations

import dataclasses

import pytest
from desk_talk import Talk
from desk_world import (
    BUCKET,
    CALL,
    CLOSE,
    DAY,
    MORNING,
    NAV,
    NOW,
    OPEN,
    OTHER_CALL,
    SETTINGS,
    SPOT,
    name_of,
    quote,
    signal,
)
from msgspec.structs import replace

from domain.entry_stages import IGNORED, SILENCE, TERMINAL, TRANSITIONS, Event, Stage
from domain.identifiers import entry_ref
from domain.instants import BUCKET_NS, MS, SECOND
from domain.instruments import Side, Spot
from domain.modes import Mode
from domain.phases import Phase
from domain.position_cycle import EndReason, ExitReason, PositionState
from domain.reject import RejectCode
from messages import lifecycle, market, operator, orders, positions, risk, session, signals

INTENT = f"{name_of()}/gexwatch/0"
REF = entry_ref("paper", INTENT)


@pytest.fixture
def talk() -> Talk:
    return Talk().morning()


def entered(talk: Talk) -> Talk:
    return talk.hear(signal()).offer().fresh().reserve()


# -- the way through ----------------------------------------------------------------------------


def test_a_signal_becomes_an_order_in_four_round_trips(talk):
    talk.hear(signal())
    assert [(to, type(m)) for to, m in talk.told] == [("quotes", market.ContractsWanted)]
    talk.offer()
    asked = talk.last(market.RequestQuote)
    assert (asked.con_id, asked.newer_than_utc, asked.expires_utc) == (812, NOW, NOW + 1_500 * MS)
    talk.wait(20).fresh(quote(bid=1_005, ask=1_035, at=NOW + 10 * MS))
    ask = talk.last(orders.ReserveEntry)
    assert (ask.max_positions, ask.per_ticker, ask.max_trades, ask.one_position_only) == (3, 1, 5, True)
    assert ask.expires_utc == NOW + 270 * MS
    assert [v.gate for v in ask.verdicts] == [*range(1, 25), *range(1, 20)]
    assert {v.outcome for v in ask.verdicts} == {"pass", "not_fed"}
    (leg,) = ask.legs
    assert (leg.contract, leg.side, leg.qty, leg.order_ref) == (CALL, Side.BUY, 2, REF)
    assert leg.limit_ticks == 1_020  # the fresh mid, exactly on a dime
    talk.told.clear()
    talk.reserve()
    to, opening = talk.told[0]
    assert to == "position:paper:812"
    assert opening == orders.OpenPosition(
        intent_id=INTENT,
        signal_id=name_of(),
        source="gexwatch",
        strategy="gexwatch",
        direction=1,
        contract=CALL,
        order_ref=REF,
        qty=2,
        limit_ticks=1_020,
        decision_bid_ticks=1_000,
        decision_ask_ticks=1_030,
        decision_spot_ticks=600_000,
        permit=orders.Permit(kill_epoch=3, session_epoch=7, expires_utc=talk.now + 2_000 * MS),
        deadline_utc=ask.deadline_utc,
    )
    handed = orders.EntryHandedOver(
        signal_id=name_of(), alert_id=name_of(), intent_id=INTENT, order_ref=REF, con_id=812
    )
    assert talk.told[1:] == [(to, handed) for to in ("lane:gexwatch:SPX", "web", "notifier")]
    assert talk.timers == {}
    assert talk.state.attempt is None


def test_the_limit_is_rounded_passive_and_never_above_the_decision_ask(talk):
    talk.hear(signal()).offer((CALL, quote(bid=1_000, ask=1_010))).fresh(quote(bid=1_018, ask=1_040))
    assert talk.last(orders.ReserveEntry).legs[0].limit_ticks == 1_010  # mid 10.29 rounds to 10.20


def test_a_stale_decision_quote_is_asked_for_once_before_it_counts(talk):
    old = quote(at=NOW - 4 * SECOND)
    talk.hear(signal()).offer((CALL, old))
    assert talk.state.attempt.stage is Stage.AWAITS_QUOTE
    talk.fresh()
    assert talk.state.attempt.stage is Stage.AWAITS_FRESH_QUOTE
    other = Talk().morning().hear(signal()).offer((CALL, old)).fresh(old)
    assert other.code == "no_contract"


def test_candidates_are_tried_in_order_and_three_at_most(talk):
    wide, empty = (CALL, quote(ask=1_200)), (CALL, quote(bid=0))
    talk.hear(signal()).offer(wide, empty, (OTHER_CALL, quote(813)))
    assert talk.last(market.RequestQuote).con_id == 813
    other = Talk().morning().hear(signal()).offer(wide, empty, wide, (CALL, quote()))
    assert other.code == "no_contract"
    row = other.last(orders.RecordDenial)
    assert [v.code for v in row.verdicts if v.outcome == "reject"] == [
        RejectCode.SPREAD_TOO_WIDE,
        RejectCode.EMPTY_MARKET,
        RejectCode.SPREAD_TOO_WIDE,
        RejectCode.NO_CONTRACT,
    ]


@pytest.mark.parametrize(("none_today", "code"), [(False, "no_contract"), (True, "not_0dte")])
def test_an_empty_offer_is_denied_with_what_quotes_says(talk, none_today, code):
    talk.hear(signal()).offer(why="none listed", is_none_today=none_today)
    assert (talk.code, talk.last(orders.EntryDenied).looked_at) == (code, "none listed")


def test_a_denial_is_one_row_one_word_to_the_lane_and_no_cooldown(talk):
    talk.hear(signal(is_shadow=True))
    assert [(to, type(m).__name__) for to, m in talk.told] == [
        ("desk_ledger", "RecordDenial"),
        ("lane:gexwatch:SPX", "EntryDenied"),
        ("web", "EntryDenied"),
        ("notifier", "EntryDenied"),
    ]
    row = talk.last(orders.RecordDenial)
    assert (row.code, row.session, [v.gate for v in row.verdicts]) == (RejectCode.SHADOW_SIGNAL, DAY, [1, 2, 3, 4])
    talk.hear(signal(BUCKET - BUCKET_NS, kind="OTHER"))
    assert talk.last(market.ContractsWanted).ticker == "SPX"


def test_the_cooldown_starts_when_an_order_is_handed_on(talk):
    entered(talk)
    talk.now += 30 * SECOND
    assert talk.hear(signal(BUCKET + BUCKET_NS)).code == "cooldown"


def test_a_signal_nobody_has_rules_for_is_refused_and_on_record(talk):
    assert talk.hear(signal(ticker="ZZZ")).code == "missing_input"
    assert talk.hear(signal(alert_id="b", strategy="spread")).code == "missing_input"
    assert len(talk.all(orders.RecordDenial)) == 2


def test_two_losses_in_a_row_halve_the_size(talk):
    for n in (1, 2):
        talk.hear(closed(f"p{n}", -1_000))
    talk.hear(signal()).offer().fresh()
    assert talk.last(orders.ReserveEntry).legs[0].qty == 1


# -- one at a time ------------------------------------------------------------------------------


def test_intents_go_through_one_at_a_time_in_order(talk):
    talk.hear(signal(), signal(source="advisor", strategy="advisor", ticker="QQQ", alert_id="q"))
    assert [w.ticker for w in talk.all(market.ContractsWanted)] == ["SPX"]
    talk.offer().fresh().reserve()
    assert [w.ticker for w in talk.all(market.ContractsWanted)] == ["SPX", "QQQ"]


def test_the_queue_denies_what_waited_past_its_deadline(talk):
    second = signal(source="advisor", strategy="advisor", ticker="QQQ", alert_id="q")
    talk.hear(signal(), second)
    # The first one's reply is held up longer than any timer (the machine slept): the second is too old now.
    talk.now += 3_000 * MS + 1
    talk.offer(why="nothing")
    assert [d.code.value for d in talk.all(orders.EntryDenied, "web")] == ["no_contract", "stale_signal"]


def test_no_stage_waits_past_the_intents_deadline(talk):
    talk.hear(signal())
    talk.now += 2_900 * MS
    talk.offer()
    assert list(talk.timers.values()) == [NOW + 3_000 * MS]
    talk.wait(100)
    assert talk.code == "stale_signal"


# -- replies that never come, or come late ------------------------------------------------------


def up_to(stage: Stage) -> Talk:
    talk = Talk().morning().hear(signal())
    if stage is Stage.AWAITS_QUOTE:
        return talk.offer((CALL, quote(at=NOW - 10 * SECOND)))
    if stage in (Stage.AWAITS_FRESH_QUOTE, Stage.AWAITS_RESERVATION):
        talk.offer()
    return talk.fresh() if stage is Stage.AWAITS_RESERVATION else talk


@pytest.mark.parametrize(
    ("stage", "wait_ms", "gate", "code"),
    [
        (Stage.AWAITS_CONTRACTS, 500, 19, "missing_input"),
        (Stage.AWAITS_QUOTE, 500, 20, "stale_quote"),
        (Stage.AWAITS_FRESH_QUOTE, 1_500, 24, "stale_quote"),
        (Stage.AWAITS_RESERVATION, 250, 25, "missing_input"),
    ],
)
def test_silence_denies_when_its_time_is_up_and_not_before(stage, wait_ms, gate, code):
    talk = up_to(stage)
    assert talk.state.attempt.stage is stage
    assert not talk.wait(wait_ms - 1).all(orders.EntryDenied)
    denied = talk.wait(1).last(orders.EntryDenied)
    assert (denied.gate, denied.code.value) == (gate, code)
    assert SILENCE[stage] == (gate, denied.code)
    assert bool(talk.all(orders.ReleaseReservation)) == (stage is Stage.AWAITS_RESERVATION)
    assert talk.timers == {}


def test_a_reservation_of_unknown_outcome_leaves_a_tombstone_before_its_row():
    talk = up_to(Stage.AWAITS_RESERVATION)
    talk.told.clear()
    talk.wait(250)
    assert [(to, type(m).__name__) for to, m in talk.told[:2]] == [
        ("desk_ledger", "ReleaseReservation"),
        ("desk_ledger", "RecordDenial"),
    ]
    assert talk.told[0][1].intent_id == INTENT
    before = talk.state
    talk.reserve()
    assert talk.state == before
    assert not talk.all(orders.OpenPosition)


def test_every_pair_of_stage_and_event_is_a_transition_or_has_its_reason():
    pairs = {(stage, event) for stage in Stage for event in Event}
    assert set(TRANSITIONS) | set(IGNORED) == pairs
    assert not set(TRANSITIONS) & set(IGNORED)
    assert not any(stage in TERMINAL for stage, _ in TRANSITIONS)
    assert set(SILENCE) == {stage for stage, event in TRANSITIONS if event is Event.TIMER}


def heard_as(event: Event, request_id: str):
    read = market.QuoteRead(request_id=request_id, contract=CALL, quote=quote(), spot=SPOT)
    return {
        Event.OFFERED: market.ContractsOffered(request_id=request_id, quotes=((CALL, quote()),), spot=SPOT),
        Event.QUOTE_READ: read,
        Event.QUOTE_UNAVAILABLE: market.QuoteUnavailable(request_id=request_id, con_id=812, why="no tick"),
        Event.WHAT_IF_READ: orders.WhatIfRead(request_id=request_id, init_margin_change_cents=1),
        Event.WHAT_IF_FAILED: orders.WhatIfFailed(request_id=request_id, why="no"),
        Event.RESERVED: orders.EntryReserved(intent_id=INTENT),
        Event.REFUSED: orders.EntryRefused(intent_id=INTENT, code=RejectCode.DUPLICATE_POSITION),
    }[event]


@pytest.mark.parametrize("event", [e for e in Event if e is not Event.TIMER])
@pytest.mark.parametrize("stage", list(SILENCE))
def test_the_actor_moves_as_the_table_says(stage, event):
    """`AWAITS_WHAT_IF` is not reached by any strategy yet."""
    if stage is Stage.AWAITS_WHAT_IF:
        assert (stage, Event.WHAT_IF_READ) in TRANSITIONS
        return
    talk = up_to(stage)
    before = talk.state
    talk.hear(heard_as(event, before.attempt.request_id))
    if (stage, event) in IGNORED:
        assert talk.state == before
        return
    if talk.state.attempt is not None:
        after = talk.state.attempt.stage
    else:
        after = Stage.HANDED_OVER if talk.all(orders.OpenPosition) else Stage.DENIED
    assert after in TRANSITIONS[stage, event]


@pytest.mark.parametrize("stage", [Stage.AWAITS_CONTRACTS, Stage.AWAITS_QUOTE, Stage.AWAITS_FRESH_QUOTE])
def test_a_reply_to_another_request_is_ignored(stage):
    talk = up_to(stage)
    before = talk.state
    for event in (Event.OFFERED, Event.QUOTE_READ, Event.QUOTE_UNAVAILABLE):
        talk.hear(heard_as(event, f"{INTENT}#0.1"))
    talk.hear(lifecycle.TimerFired(key="stage:99", due_utc=talk.now))
    assert talk.state == before


def test_no_tick_in_time_tries_the_next_candidate_or_denies_at_submit():
    talk = Talk().morning().hear(signal())
    talk.offer((CALL, quote(at=NOW - 10 * SECOND)), (OTHER_CALL, quote(813)))
    talk.hear(heard_as(Event.QUOTE_UNAVAILABLE, talk.state.attempt.request_id))
    assert talk.last(market.RequestQuote).con_id == 813
    talk.hear(heard_as(Event.QUOTE_UNAVAILABLE, talk.state.attempt.request_id))
    assert (talk.code, talk.last(orders.EntryDenied).gate) == ("stale_quote", 24)


# -- the last look and the hand-over ------------------------------------------------------------

WARM = session.ModeChanged(mode=Mode.DEGRADED, mode_n=4, session_epoch=7, cause="1100", at_utc=NOW)
KILL = risk.KillRaised(level=1, kill_epoch=4, reason="test", by="ann")


@pytest.mark.parametrize(
    ("news", "code"),
    [(WARM, "mode_degraded"), (KILL, "kill_switch_l1"), (risk.DayLocked(session=DAY, reason="eod"), "day_locked")],
)
def test_the_last_look_sees_what_happened_while_waiting(news, code):
    talk = up_to(Stage.AWAITS_FRESH_QUOTE).hear(news).fresh()
    assert talk.code == code
    assert talk.last(orders.EntryDenied).looked_at.startswith("last look")
    assert not talk.all(orders.ReserveEntry)


@pytest.mark.parametrize(
    ("news", "code"),
    [
        ((WARM,), "mode_degraded"),
        ((KILL,), "kill_switch_l1"),
        ((KILL, risk.KillLowered(level=0, kill_epoch=5, reason="ok", by="ann")), "permit_killed"),
        (
            (session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=9, session_epoch=8, cause="", at_utc=NOW),),
            "permit_session",
        ),
    ],
)
def test_a_reserved_intent_is_given_back_when_it_may_no_longer_go(news, code):
    talk = up_to(Stage.AWAITS_RESERVATION).hear(*news).reserve()
    assert talk.code == code
    assert talk.last(orders.ReleaseReservation) == orders.ReleaseReservation(intent_id=INTENT, reason=code)
    assert not talk.all(orders.OpenPosition)
    assert not talk.all(orders.RecordDenial)  # the ledger has written this attempt's row
    assert talk.state.view.holdings == ()


def test_the_ledgers_refusal_is_told_and_not_recorded_twice():
    talk = up_to(Stage.AWAITS_RESERVATION)
    talk.hear(
        orders.EntryRefused(intent_id=INTENT, code=RejectCode.DUPLICATE_POSITION, measured=1, limit=0, looked_at="812")
    )
    denied = talk.last(orders.EntryDenied)
    assert (denied.gate, denied.code, denied.looked_at) == (25, RejectCode.DUPLICATE_POSITION, "812")
    assert not talk.all(orders.RecordDenial)


# -- positions in the read model ----------------------------------------------------------------


def opened(intent: str = INTENT) -> positions.PositionOpened:
    return positions.PositionOpened(
        position_id="p", intent_id=intent, contract=CALL, source="gexwatch", strategy="gexwatch", direction=1, qty=2,
        cost_cents=204_000, opened_utc=NOW,
    )  # fmt: skip


def changed(
    unrealised: int | None, state: PositionState = PositionState.OPEN, qty: int = 2, why: ExitReason | None = None
) -> positions.PositionChanged:
    return positions.PositionChanged(
        position_id="p", intent_id=INTENT, contract=CALL, source="gexwatch", strategy="gexwatch", direction=1,
        state=state, qty=qty, cost_cents=102_000 * qty, realised_cents=0, fees_cents=300, unrealised_cents=unrealised,
        mark_utc=NOW, exit_reason=why, at_utc=NOW,
    )  # fmt: skip


def closed(position_id: str, realised: int, intent: str = "i") -> positions.PositionClosed:
    return positions.PositionClosed(
        position_id=position_id, intent_id=intent, contract=CALL, source="gexwatch", strategy="other", direction=1,
        reason=ExitReason.TAKE_PROFIT, end=EndReason.CLOSED, bought_qty=2, realised_cents=realised, fees_cents=300,
        opened_utc=NOW, closed_utc=NOW,
    )  # fmt: skip


def shape(talk: Talk) -> list[tuple[str, bool, int, int | None]]:
    return [(h.intent_id, h.is_pending, h.qty, h.unrealised_cents) for h in talk.state.view.holdings]


def test_a_position_is_followed_from_pending_to_its_end(talk):
    entered(talk)
    assert shape(talk) == [(INTENT, True, 2, 0)]
    talk.hear(changed(None, PositionState.PENDING_ENTRY, 0))
    assert shape(talk) == [(INTENT, True, 2, 0)]
    talk.hear(opened())
    assert shape(talk) == [(INTENT, False, 2, 0)]
    talk.hear(changed(-5_000))
    assert shape(talk) == [(INTENT, False, 2, -5_000)]
    talk.hear(closed("p", -5_600, INTENT), closed("p", -5_600, INTENT), changed(0, PositionState.FLAT, 0))
    assert shape(talk) == []
    assert [c.realised_cents for c in talk.state.view.closed] == [-5_600]


def test_an_abandoned_entry_frees_its_place(talk):
    entered(talk)
    gone = positions.EntryAbandoned(
        intent_id=INTENT, order_ref=REF, contract=CALL, strategy="gexwatch", ticker="SPX", why="no fill"
    )
    assert shape(talk.hear(gone, gone)) == []


# -- the day ------------------------------------------------------------------------------------


def test_start_nav_is_the_first_reading_of_a_reconciled_account_after_four():
    talk = Talk()
    phase, _, _, account, reconciled, *_ = MORNING
    talk.now = OPEN - 6 * 3_600 * SECOND  # 03:30
    early = replace(account, read_utc=talk.now)
    talk.hear(phase, early, reconciled)
    assert not talk.all(risk.RecordStartNav)
    talk.now += 3_600 * SECOND
    talk.hear(replace(account, read_utc=talk.now, nav_cents=NAV + 5))
    assert talk.all(risk.RecordStartNav) == [risk.RecordStartNav(session=DAY, nav_cents=NAV + 5, at_utc=talk.now)]
    talk.hear(risk.StartNavRecorded(session=DAY, nav_cents=NAV), replace(account, read_utc=talk.now))
    assert talk.state.view.start_nav_cents == NAV
    assert len(talk.all(risk.RecordStartNav)) == 1


def test_the_hard_stop_locks_and_flattens_after_its_second_evaluation(talk):
    entered(talk).hear(opened(), changed(-600_000))
    assert not talk.all(risk.LockDay)
    assert talk.hear(signal(BUCKET - 5 * BUCKET_NS, alert_id="q")).code  # refused meanwhile
    talk.wait(5_000)
    assert talk.last(risk.LockDay) == risk.LockDay(session=DAY, reason="daily_loss", at_utc=talk.now)
    assert talk.all(positions.FlattenPosition, "positions") == [positions.FlattenPosition(reason=ExitReason.KILL)]
    assert not talk.all(risk.RaiseKill)
    talk.hear(changed(-900_000, why=ExitReason.KILL))
    assert [(k.level, k.by) for k in talk.all(risk.RaiseKill, "kill")] == [(2, "risk:paper")]
    talk.hear(changed(-950_000, why=ExitReason.KILL))
    assert (len(talk.all(risk.LockDay)), len(talk.all(risk.RaiseKill))) == (1, 1)


def test_a_breach_that_passes_before_five_seconds_locks_nothing(talk):
    entered(talk).hear(opened(), changed(-600_000)).wait(4_000).hear(changed(-100)).wait(5_000)
    assert not talk.all(risk.LockDay)


def test_on_hard_stop_halt_locks_without_flattening():
    halt = SETTINGS.model_copy(update={"entry": dataclasses.replace(SETTINGS.entry, on_hard_stop="halt")})
    talk = entered(Talk(halt).morning()).hear(opened(), changed(-600_000)).wait(5_000)
    assert talk.all(risk.LockDay)
    assert not talk.all(positions.FlattenPosition)


def test_a_position_that_missed_the_order_to_flatten_is_told_again(talk):
    talk.hear(replace(KILL, level=2), opened())
    assert talk.all(positions.FlattenPosition, "position:paper:812")
    talk.told.clear()
    talk.hear(changed(0, PositionState.PENDING_EXIT, why=ExitReason.KILL))
    assert not talk.all(positions.FlattenPosition)
    talk.hear(changed(0, why=ExitReason.TAKE_PROFIT))
    assert talk.all(positions.FlattenPosition, "position:paper:812")


def phase(kind: Phase, at: int) -> session.PhaseChanged:
    return session.PhaseChanged(phase=kind, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=at)


def test_the_end_of_the_day_locks_verifies_and_writes_its_row(talk):
    entered(talk).hear(opened(), changed(0))
    talk.now = CLOSE - 900 * SECOND
    talk.told.clear()
    talk.hear(phase(Phase.FLATTEN, talk.now))
    assert [m.reason for m in talk.all(risk.LockDay)] == ["eod"]
    talk.wait(300_000)
    assert talk.last(operator.Alarm).text == "Not flat near the close: 2 SPXW 20261120 6000C."
    talk.hear(closed("p", 4_400, INTENT))
    assert talk.all(positions.DayFlattened, "notifier")
    alarms = len(talk.all(operator.Alarm))
    talk.wait(600_000).hear(phase(Phase.CLOSED, talk.now))
    assert len(talk.all(operator.Alarm)) == alarms
    talk.wait(400_000)
    assert talk.all(risk.RecordDay) == [
        risk.RecordDay(
            session=DAY, trades=1, wins=1, losses=0, realised_cents=4_400, fees_cents=300, drawdown_cents=232,
            at_utc=CLOSE,
        )
    ]  # fmt: skip
    assert (len(talk.all(risk.LockDay)), len(talk.all(positions.DayFlattened, "web"))) == (1, 1)


def test_a_day_that_does_not_get_flat_has_its_row_at_the_settlement(talk):
    entered(talk).hear(opened(), changed(0))
    talk.now = CLOSE
    talk.hear(phase(Phase.CLOSED, CLOSE))
    assert not talk.all(risk.RecordDay)
    assert talk.wait(300_000).last(risk.RecordDay).at_utc == CLOSE + 300 * SECOND


def test_a_new_session_starts_clean(talk):
    entered(talk).hear(risk.DayLocked(session=DAY, reason="eod"), closed("p", -1, INTENT))
    tomorrow = DAY.replace(day=23)
    talk.hear(session.PhaseChanged(phase=Phase.PRE, session=tomorrow, open_utc=OPEN, close_utc=CLOSE, at_utc=talk.now))
    view = talk.state.view
    assert (view.day_locked, view.closed, view.decisions, view.start_nav_cents) == (None, (), (), None)


def test_automatic_level_one_is_asked_for_once_until_it_is_heard(talk):
    move = [market.SpotsChanged(spots=(Spot("SPX", 604_000 + n, NOW + n),)) for n in (1, 2)]
    talk.hear(*move)
    assert [m.level for m in talk.all(risk.RaiseKill, "kill")] == [1]
    talk.hear(KILL, *move)
    assert len(talk.all(risk.RaiseKill)) == 1
    talk.hear(risk.KillLowered(level=0, kill_epoch=5, reason="ok", by="ann"), move[0])
    assert len(talk.all(risk.RaiseKill)) == 2


def test_three_lost_sessions_ask_for_level_one(talk):
    talk.hear(WARM, WARM)
    assert not talk.all(risk.RaiseKill)
    assert "3 broker sessions lost" in talk.hear(WARM).last(risk.RaiseKill).reason


# -- restart ------------------------------------------------------------------------------------


def restored(**changes: object) -> lifecycle.RiskRestored:
    base = lifecycle.RiskRestored(
        session=DAY, day_locked=None, start_nav_cents=NAV, decisions=(), reservations=(), closed=(), pending_alerts=()
    )
    return replace(base, **changes)


ROW = lifecycle.GateDecision(
    source="gexwatch", strategy="gexwatch", ticker="SPX", kind="GAMMA_FLIP", version=1, bucket_utc=BUCKET,
    alert_id=name_of(), code=None, decided_utc=NOW - SECOND,
)  # fmt: skip


def test_a_restart_asks_for_what_nobody_tells_by_itself_and_refuses_until_told():
    talk = Talk(restored=restored())
    assert [(to, type(m).__name__) for to, m in talk.told] == [("session", "PhaseWanted"), ("kill", "KillWanted")]
    assert talk.hear(signal()).code == "missing_input"


def test_a_restart_remembers_decisions_lock_and_start_nav():
    talk = Talk(restored=restored(decisions=(ROW,))).morning()
    assert talk.hear(signal()).code == "cooldown"
    talk.now += 300 * SECOND
    assert talk.hear(signal(expires_utc=talk.now)).code == "stale_signal"
    locked = Talk(restored=restored(day_locked="daily_loss")).morning()
    assert (locked.hear(signal()).code, locked.state.view.stops.is_hard) == ("day_locked", True)
    told_again = Talk(restored=restored(decisions=(replace(ROW, code="spread_too_wide"),))).morning()
    assert told_again.hear(signal()).code == "duplicate_alert"


RESERVED = lifecycle.Reservation(
    intent_id=INTENT, signal_id=name_of(), source="gexwatch", strategy="gexwatch", ticker="SPX", direction=1,
    contract=CALL, order_ref=REF, qty=2, limit_ticks=1_020, deadline_utc=NOW, state="PENDING_ENTRY",
)  # fmt: skip


def test_a_live_reservation_counts_as_pending_with_an_unknown_mark():
    talk = Talk(restored=restored(reservations=(RESERVED,))).morning()
    assert shape(talk) == [(INTENT, True, 2, None)]
    assert talk.hear(signal()).last(orders.EntryDenied).gate == 10
    talk.hear(changed(0, PositionState.PENDING_ENTRY, 0), signal(alert_id="b", signal_id="b"))
    assert talk.last(orders.EntryDenied).code is RejectCode.TICKER_LIMIT


def test_an_alert_in_hand_at_a_crash_gets_its_row_when_it_is_stale():
    early = name_of(BUCKET - BUCKET_NS)
    talk = Talk(restored=restored(pending_alerts=((name_of(), NOW), (early, NOW)))).morning()
    assert talk.timers[f"alert:{name_of()}"] == BUCKET + BUCKET_NS + 45 * SECOND
    entered(talk)  # the surviving mailbox had one of the two signals
    talk.wait(60_000)
    (row,) = talk.all(orders.RecordDenial)
    assert (row.alert_id, row.code, row.ticker, row.kind, row.version, row.bucket_utc, row.session) == (
        early, RejectCode.ATTEMPT_INTERRUPTED, "SPX", "GAMMA_FLIP", 1, BUCKET - BUCKET_NS, DAY,
    )  # fmt: skip


def test_a_message_for_somebody_else_is_a_bug(talk):
    with pytest.raises(TypeError, match="does not know"):
        talk.hear(signals.AlertRecorded(alert_id="a", is_new=True))
