"""The risk actor by histories of messages: the entry conversation, its silences, the last look."""

from __future__ import annotations

import pytest

from domain.identifiers import entry_ref
from domain.instants import BUCKET_NS, MS, SECOND
from domain.instruments import Side
from domain.risk.entry_stages import IGNORED, SILENCE, TERMINAL, TRANSITIONS, Event, Stage
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from messages import lifecycle, market, orders, risk, session
from tests.testkit.desk_talk import Talk
from tests.testkit.desk_world import (
    BUCKET,
    CALL,
    DAY,
    NOW,
    OTHER_CALL,
    SPOT,
    name_of,
    quote,
    signal,
)

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
