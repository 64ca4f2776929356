"""The risk actor by histories of messages: the entry conversation, its silences, the last look."""

from __future__ import annotations

import dataclasses

import pytest

from domain.fsm import IllegalTransition
from domain.instants import BUCKET_NS, MS, SECOND
from domain.instruments import Right, Side
from domain.orders.intent import DecisionPrices, EntryPlan, OrderLeg, Permit, PlannedLeg
from domain.orders.references import entry_ref
from domain.risk.entry_stages import ENTRY, SILENCE, TERMINAL, EntryEvent, EntryStage
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import Outcome, Verdict, refused
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from messages import entries, lifecycle, market, risk, session
from messages.base import Message
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import (
    ALERT,
    BUCKET,
    CALL,
    DAY,
    INTENT,
    LONG_CALL,
    NOW,
    OTHER_CALL,
    QQQ_ALERT,
    SETTINGS,
    SHORT_CALL,
    SPOT,
    alert,
    quote,
    ref,
    signal,
)
from tests.testkit.narrow import known

REF = entry_ref(ref().position_id)
OTHER_KIND = alert(kind="OTHER")


@pytest.fixture
def talk() -> DeskTalk:
    return DeskTalk().morning()


def entered(talk: DeskTalk) -> DeskTalk:
    return talk.hear(signal()).offer().fresh().reserve()


# -- the way through ----------------------------------------------------------------------------


def test_a_signal_becomes_an_order_in_four_round_trips(talk: DeskTalk) -> None:
    talk.hear(signal())
    assert talk.names() == [("quotes", "RequestContracts")]
    assert talk.last(market.RequestContracts).right is Right.CALL
    talk.offer()
    asked = talk.last(market.RequestQuote)
    assert (asked.con_id, asked.newer_than_utc, asked.expires_utc) == (812, NOW, NOW + 1_500 * MS)
    talk.wait(20).fresh(quote(bid=1_005, ask=1_035, at=NOW + 10 * MS))
    ask = talk.last(entries.ReserveEntry)
    assert ask.intent == signal().intent
    assert ask.limits == entries.ReservationLimits(
        positions_max=3, positions_per_ticker_max=1, trades_per_day_max=5, one_position_only=True
    )
    assert ask.expires_utc == NOW + 270 * MS
    asked_gates = [gate.name for gate in gates.GATES[:-1]]  # the reservation is the ledger's to answer
    assert [v.gate for v in ask.verdicts] == [*asked_gates, *(gate.name for gate in gates.LAST_LOOK)]
    assert {v.finding.outcome for v in ask.verdicts} == {Outcome.PASS, Outcome.NOT_FED}
    decision = DecisionPrices(1_000, 1_030, 600_000)
    leg = OrderLeg(contract=CALL, side=Side.BUY, qty=2, limit_ticks=1_020, order_ref=REF, decision=decision)
    assert ask.legs == (leg,)  # at the fresh mid, exactly on a dime
    talk.sent.effects.clear()
    talk.reserve()
    assert talk.told(entries.OpenPosition, "position:paper:812") == [
        entries.OpenPosition(
            ref=ref(),
            order_ref=REF,
            qty=2,
            limit_ticks=1_020,
            decision=decision,
            permit=Permit(kill_epoch=3, session_epoch=7, expires_utc=talk.now + 2_000 * MS),
            deadline_utc=ask.deadline_utc,
        )
    ]
    assert talk.published(entries.EntryHandedOver) == [entries.EntryHandedOver(key=ALERT, intent_id=INTENT, leg=leg)]
    assert talk.names() == [("position:paper:812", "OpenPosition"), ("", "EntryHandedOver")]
    assert talk.timers == {}
    assert talk.state.attempt is None


def test_the_limit_is_rounded_passive_and_never_above_the_decision_ask(talk: DeskTalk) -> None:
    talk.hear(signal()).offer((CALL, quote(bid=1_000, ask=1_010))).fresh(quote(bid=1_018, ask=1_040))
    assert talk.last(entries.ReserveEntry).legs[0].limit_ticks == 1_010  # mid 10.29 rounds to 10.20


def test_a_stale_decision_quote_is_asked_for_once_before_it_counts(talk: DeskTalk) -> None:
    old = quote(at=NOW - 4 * SECOND)
    talk.hear(signal()).offer((CALL, old))
    assert known(talk.state.attempt).stage is EntryStage.AWAITS_QUOTE
    talk.fresh()
    assert known(talk.state.attempt).stage is EntryStage.AWAITS_FRESH_QUOTE
    other = DeskTalk().morning().hear(signal()).offer((CALL, old)).fresh(old)
    assert other.code is RejectCode.NO_CONTRACT


def test_candidates_are_tried_in_order_and_three_at_most(talk: DeskTalk) -> None:
    wide, empty = (CALL, quote(ask=1_200)), (CALL, quote(bid=0))
    talk.hear(signal()).offer(wide, empty, (OTHER_CALL, quote(813)))
    assert talk.last(market.RequestQuote).con_id == 813
    other = DeskTalk().morning().hear(signal()).offer(wide, empty, wide, (CALL, quote()))
    assert other.code is RejectCode.NO_CONTRACT
    row = other.last(entries.RecordDenial)
    assert [v.finding.code for v in row.verdicts if v.is_reject] == [
        RejectCode.SPREAD_TOO_WIDE,
        RejectCode.EMPTY_MARKET,
        RejectCode.SPREAD_TOO_WIDE,
        RejectCode.NO_CONTRACT,
    ]
    assert row.verdicts[-1].finding.measured == 3


@pytest.mark.parametrize(("none_today", "code"), [(False, RejectCode.NO_CONTRACT), (True, RejectCode.NOT_0DTE)])
def test_an_empty_offer_is_denied_with_what_quotes_says(talk: DeskTalk, none_today: bool, code: RejectCode) -> None:
    talk.hear(signal()).offer(why="none listed", is_none_today=none_today)
    assert (talk.code, talk.denied.verdict.finding.looked_at) == (code, "none listed")


def test_a_denial_is_one_row_one_event_and_no_cooldown(talk: DeskTalk) -> None:
    talk.hear(signal(is_shadow=True))
    assert talk.names() == [("desk_ledger", "RecordDenial"), ("", "EntryDenied")]
    row = talk.last(entries.RecordDenial)
    assert (row.key, row.strategy, row.code, row.session) == (ALERT, "gexwatch", RejectCode.SHADOW_SIGNAL, DAY)
    assert [v.gate for v in row.verdicts] == ["kill_level", "live_flag", "port_and_account", "shadow_check"]
    assert talk.denied == entries.EntryDenied(key=ALERT, code=row.code, verdict=row.verdicts[-1])
    talk.hear(signal(alert(BUCKET - BUCKET_NS, kind="OTHER")))
    assert talk.last(market.RequestContracts).ticker == "SPX"


def test_the_cooldown_starts_when_an_order_is_handed_on(talk: DeskTalk) -> None:
    entered(talk)
    talk.now += 30 * SECOND
    assert talk.hear(signal(alert(BUCKET + BUCKET_NS))).code is RejectCode.COOLDOWN


def test_a_signal_nobody_has_rules_for_is_refused_and_on_record(talk: DeskTalk) -> None:
    for unknown in (signal(alert(ticker="ZZZ")), signal(OTHER_KIND, strategy="spread")):
        assert talk.hear(unknown).code is RejectCode.MISSING_INPUT
        assert talk.denied.verdict.gate == gates.SIGNAL_AGE
    assert len(talk.told(entries.RecordDenial)) == 2


@pytest.mark.parametrize("legs", [(LONG_CALL, LONG_CALL), (SHORT_CALL, LONG_CALL), ()])
def test_a_plan_of_several_legs_is_refused_before_anything_is_asked(legs: tuple[PlannedLeg, ...]) -> None:
    free = dataclasses.replace(SETTINGS.strategies["gexwatch"], long_only=False)
    settings = SETTINGS.model_copy(update={"strategies": {**SETTINGS.strategies, "gexwatch": free}})
    talk = DeskTalk(settings).morning().hear(signal(plan=EntryPlan(legs)))
    assert (talk.denied.verdict.gate, talk.code) == (gates.CONTRACT, RejectCode.MISSING_INPUT)
    assert talk.denied.verdict.finding.looked_at == "a plan of several legs needs a combo order"
    assert talk.names() == [("desk_ledger", "RecordDenial"), ("", "EntryDenied")]


def test_a_sold_leg_never_reaches_the_quotes(talk: DeskTalk) -> None:
    assert talk.hear(signal(plan=EntryPlan((SHORT_CALL,)), direction=-1)).code is RejectCode.LONG_ONLY
    assert not talk.told(market.RequestContracts)


# -- one at a time ------------------------------------------------------------------------------


def test_intents_go_through_one_at_a_time_in_order(talk: DeskTalk) -> None:
    talk.hear(signal(), signal(QQQ_ALERT))
    assert [w.ticker for w in talk.told(market.RequestContracts)] == ["SPX"]
    talk.offer().fresh().reserve()
    assert [w.ticker for w in talk.told(market.RequestContracts)] == ["SPX", "QQQ"]


def test_the_queue_denies_what_waited_past_its_deadline(talk: DeskTalk) -> None:
    talk.hear(signal(), signal(QQQ_ALERT))
    # The first one's reply is held up longer than any timer (the machine slept): the second is too old now.
    talk.now += 3_000 * MS + 1
    talk.offer(why="nothing")
    denials = talk.published(entries.EntryDenied)
    assert [d.code for d in denials] == [RejectCode.NO_CONTRACT, RejectCode.STALE_SIGNAL]
    assert denials[1].verdict.finding.looked_at == "in the queue"


def test_no_stage_waits_past_the_intents_deadline(talk: DeskTalk) -> None:
    talk.hear(signal())
    talk.now += 2_900 * MS
    talk.offer()
    assert list(talk.timers.values()) == [NOW + 3_000 * MS]
    talk.wait(100)
    assert talk.code is RejectCode.STALE_SIGNAL


# -- replies that never come, or come late ------------------------------------------------------


def up_to(stage: EntryStage) -> DeskTalk:
    talk = DeskTalk().morning().hear(signal())
    if stage is EntryStage.AWAITS_QUOTE:
        return talk.offer((CALL, quote(at=NOW - 10 * SECOND)))
    if stage in (EntryStage.AWAITS_FRESH_QUOTE, EntryStage.AWAITS_RESERVATION):
        talk.offer()
    return talk.fresh() if stage is EntryStage.AWAITS_RESERVATION else talk


@pytest.mark.parametrize(
    ("stage", "wait_ms", "gate", "code"),
    [
        (EntryStage.AWAITS_CONTRACTS, 500, "contract", RejectCode.MISSING_INPUT),
        (EntryStage.AWAITS_QUOTE, 500, "quote_fresh", RejectCode.STALE_QUOTE),
        (EntryStage.AWAITS_FRESH_QUOTE, 1_500, "fresh_quote", RejectCode.STALE_QUOTE),
        (EntryStage.AWAITS_RESERVATION, 250, "reservation", RejectCode.MISSING_INPUT),
    ],
)
def test_silence_denies_when_its_time_is_up_and_not_before(
    stage: EntryStage, wait_ms: int, gate: str, code: RejectCode
) -> None:
    talk = up_to(stage)
    assert known(talk.state.attempt).stage is stage
    assert not talk.wait(wait_ms - 1).published(entries.EntryDenied)
    denied = talk.wait(1).denied
    assert (denied.verdict.gate, denied.code) == SILENCE[stage] == (gate, code)
    assert bool(talk.told(entries.ReleaseReservation)) == (stage is EntryStage.AWAITS_RESERVATION)
    assert talk.timers == {}


def test_a_reservation_of_unknown_outcome_leaves_a_tombstone_before_its_row() -> None:
    talk = up_to(EntryStage.AWAITS_RESERVATION)
    talk.sent.effects.clear()
    talk.wait(250)
    assert talk.names()[:2] == [("desk_ledger", "ReleaseReservation"), ("desk_ledger", "RecordDenial")]
    assert talk.last(entries.ReleaseReservation).intent_id == INTENT
    before = talk.state
    talk.reserve()
    assert talk.state == before
    assert not talk.told(entries.OpenPosition)


def test_the_table_of_stages_leads_every_attempt_to_an_end() -> None:
    waiting = {stage for stage, event in ENTRY.transitions if event is EntryEvent.TIMED_OUT}
    assert set(SILENCE) == waiting == set(EntryStage) - TERMINAL - {EntryStage.QUEUED}
    assert all(ENTRY.next(stage, EntryEvent.TIMED_OUT) is EntryStage.DENIED for stage in waiting)
    assert all(ENTRY.next(stage, EntryEvent.DENIED) is EntryStage.DENIED for stage in {*waiting, EntryStage.QUEUED})
    reached = {EntryStage.QUEUED}
    for _ in EntryStage:
        reached |= {after for (stage, _), after in ENTRY.transitions.items() if stage in reached}
    assert reached == set(EntryStage)
    for stage in TERMINAL:
        for event in EntryEvent:
            with pytest.raises(IllegalTransition):
                ENTRY.next(stage, event)


def replies(request_id: str) -> tuple[Message, ...]:
    read = market.QuoteRead(request_id=request_id, contract=CALL, quote=quote(), spot=SPOT)
    return (
        market.ContractsOffered(request_id=request_id, quotes=((CALL, quote()),), spot=SPOT),
        read,
        market.QuoteUnavailable(request_id=request_id, con_id=812, why="no tick"),
        entries.EntryReserved(intent_id=INTENT),
        entries.EntryRefused(intent_id=INTENT, finding=refused(RejectCode.DUPLICATE_POSITION)),
    )


AWAITED: dict[EntryStage, set[type[Message]]] = {
    EntryStage.AWAITS_CONTRACTS: {market.ContractsOffered},
    EntryStage.AWAITS_QUOTE: {market.QuoteRead, market.QuoteUnavailable},
    EntryStage.AWAITS_FRESH_QUOTE: {market.QuoteRead, market.QuoteUnavailable},
    EntryStage.AWAITS_RESERVATION: {entries.EntryReserved, entries.EntryRefused},
}


@pytest.mark.parametrize("reply", range(len(replies(""))))
@pytest.mark.parametrize("stage", list(AWAITED))
def test_a_stage_moves_by_the_reply_it_waits_for_as_the_table_says_and_by_no_other(
    stage: EntryStage, reply: int
) -> None:
    talk = up_to(stage)
    before = talk.state
    talk.sent.effects.clear()
    message = replies(known(before.attempt).request_id)[reply]
    talk.hear(message)
    if type(message) not in AWAITED[stage]:
        assert (talk.state, talk.names()) == (before, [])
        return
    if talk.state.attempt is not None:
        after = talk.state.attempt.stage
    else:
        after = EntryStage.HANDED_OVER if talk.told(entries.OpenPosition) else EntryStage.DENIED
    assert after in {to for (at, _), to in ENTRY.transitions.items() if at is stage}


@pytest.mark.parametrize("stage", [EntryStage.AWAITS_CONTRACTS, EntryStage.AWAITS_QUOTE, EntryStage.AWAITS_FRESH_QUOTE])
def test_a_reply_to_another_request_is_ignored(stage: EntryStage) -> None:
    talk = up_to(stage)
    before = talk.state
    talk.hear(*replies(f"{INTENT}#0.1")[:3])
    talk.hear(lifecycle.TimerFired(kind="stage", subject="99", due_utc=talk.now))
    assert talk.state == before


def test_no_tick_in_time_tries_the_next_candidate_or_denies_at_submit() -> None:
    talk = DeskTalk().morning().hear(signal())
    talk.offer((CALL, quote(at=NOW - 10 * SECOND)), (OTHER_CALL, quote(813)))
    for _ in range(2):
        talk.hear(market.QuoteUnavailable(request_id=known(talk.state.attempt).request_id, con_id=812, why="no tick"))
        assert talk.last(market.RequestQuote).con_id == 813
    assert (talk.code, talk.denied.verdict.gate) == (RejectCode.STALE_QUOTE, "fresh_quote")


# -- the last look and the hand-over ------------------------------------------------------------

LOST = session.ModeChanged(mode=Mode.DEGRADED, mode_n=4, session_epoch=7, cause="1100", at_utc=NOW)
KILL = risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="test", by="ann")
RUNNING_AGAIN = risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=5, reason="ok", by="ann")
NEW_SESSION = session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=9, session_epoch=8, cause="", at_utc=NOW)
LOCKED = risk.DayLocked(session=DAY, reason="eod")


@pytest.mark.parametrize(
    ("news", "code"),
    [
        (LOST, RejectCode.MODE_DEGRADED),
        (KILL, RejectCode.KILL_SWITCH_L1),
        (LOCKED, RejectCode.DAY_LOCKED),
    ],
)
def test_the_last_look_sees_what_happened_while_waiting(news: Message, code: RejectCode) -> None:
    talk = up_to(EntryStage.AWAITS_FRESH_QUOTE).hear(news).fresh()
    assert talk.code is code
    assert talk.denied.verdict.finding.looked_at.startswith("last look")
    assert not talk.told(entries.ReserveEntry)


@pytest.mark.parametrize(
    ("news", "gate", "code"),
    [
        ((LOST,), "broker_mode", RejectCode.MODE_DEGRADED),
        ((KILL,), "kill_level", RejectCode.KILL_SWITCH_L1),
        ((LOCKED,), "session", RejectCode.DAY_LOCKED),
        ((KILL, RUNNING_AGAIN), "reservation", RejectCode.PERMIT_KILLED),
        ((NEW_SESSION,), "reservation", RejectCode.PERMIT_SESSION),
    ],
)
def test_a_reserved_intent_is_given_back_when_it_may_no_longer_go(
    news: tuple[Message, ...], gate: str, code: RejectCode
) -> None:
    talk = up_to(EntryStage.AWAITS_RESERVATION).hear(*news).reserve()
    assert (talk.denied.verdict.gate, talk.code) == (gate, code)
    assert talk.last(entries.ReleaseReservation) == entries.ReleaseReservation(intent_id=INTENT, reason=code)
    assert not talk.told(entries.OpenPosition)
    assert not talk.told(entries.RecordDenial)  # the ledger has written this attempt's row
    assert talk.state.view.holdings == ()


@pytest.mark.parametrize("code", next(gate for gate in gates.GATES if gate.name == gates.RESERVATION).other_codes)
def test_the_ledgers_refusal_is_told_and_not_recorded_twice(code: RejectCode) -> None:
    talk = up_to(EntryStage.AWAITS_RESERVATION)
    finding = refused(code, 1, 0, "positions", "812")
    talk.hear(entries.EntryRefused(intent_id=INTENT, finding=finding))
    assert (talk.denied.verdict, talk.code) == (Verdict("reservation", finding), code)
    assert not talk.told(entries.RecordDenial)
    assert not talk.told(entries.OpenPosition)


# -- a working entry that wants to pay more -----------------------------------------------------

WISH = entries.RequestPermit(intent_id=INTENT, order_ref=REF, reply_to="position:paper:812")


def test_a_pending_entry_gets_a_new_permit_under_the_epochs_of_now(talk: DeskTalk) -> None:
    entered(talk).hear(RUNNING_AGAIN, NEW_SESSION, WISH)
    permit = Permit(kill_epoch=5, session_epoch=8, expires_utc=talk.now + 2_000 * MS)
    assert talk.told(entries.PermitRenewed, "position:paper:812") == [
        entries.PermitRenewed(order_ref=REF, permit=permit)
    ]


@pytest.mark.parametrize(("news", "why"), [(LOST, "mode_degraded"), (KILL, "kill_switch_l1"), (LOCKED, "day_locked")])
def test_an_entry_pays_no_more_when_what_stood_at_the_hand_over_no_longer_stands(
    talk: DeskTalk, news: Message, why: str
) -> None:
    entered(talk).hear(news, WISH)
    assert talk.told(entries.PermitRefused, "position:paper:812") == [entries.PermitRefused(order_ref=REF, why=why)]


def test_an_entry_that_the_desk_does_not_await_gets_no_permit(talk: DeskTalk) -> None:
    assert talk.hear(WISH).last(entries.PermitRefused).why == "no such entry is pending"
