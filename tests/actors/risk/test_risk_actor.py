"""The risk actor by histories of messages: the entry conversation, its silences, the last look."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from domain.alarm import Severity
from domain.fsm import IllegalTransition
from domain.instants import BUCKET_NS, MS, SECOND
from domain.instruments import Right, Side
from domain.orders.intent import DecisionPrices, EntryPlan, OrderLeg, Permit, PlannedLeg
from domain.orders.references import entry_ref
from domain.risk.desk_view import trades_today
from domain.risk.entry_stages import ENTRY, SILENCE, TERMINAL, EntryEvent, EntryStage
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import Outcome, Verdict, refused
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from messages import broker, entries, lifecycle, market, operator, positions, risk, session, signals
from messages.base import Message
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import (
    ALERT,
    BUCKET,
    CALL,
    CLOSE,
    DAY,
    INTENT,
    LONG_CALL,
    MORNING,
    NOW,
    OPEN,
    OTHER_CALL,
    QQQ_ALERT,
    QQQ_CALL,
    QQQ_SPOT,
    SETTINGS,
    SHORT_CALL,
    SPOT,
    alert,
    intent,
    quote,
    ref,
    signal,
)
from tests.testkit.narrow import known

REF = entry_ref(ref().position_id)
OTHER_KIND = alert(kind="OTHER")
(FUNDS,) = (told for told in MORNING if isinstance(told, broker.AccountRead))


@pytest.fixture
def talk() -> DeskTalk:
    return DeskTalk().morning()


def stage_of(talk: DeskTalk) -> EntryStage:
    (attempt,) = talk.state.attempts
    return attempt.stage


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
    assert {v.finding.outcome for v in ask.verdicts} == {Outcome.PASS}
    assert {v.note for v in ask.verdicts[len(asked_gates) :]} == {"last look"}
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
    assert talk.state.attempts == ()


def test_the_limit_is_rounded_passive_and_never_above_the_decision_ask(talk: DeskTalk) -> None:
    talk.hear(signal()).offer((CALL, quote(bid=1_000, ask=1_010))).fresh(quote(bid=1_018, ask=1_040))
    assert talk.last(entries.ReserveEntry).legs[0].limit_ticks == 1_010  # mid 10.29 rounds to 10.20


def test_a_stale_decision_quote_is_asked_for_once_before_it_counts(talk: DeskTalk) -> None:
    old = quote(at=NOW - 4 * SECOND)
    talk.hear(signal()).offer((CALL, old))
    assert stage_of(talk) is EntryStage.AWAITS_QUOTE
    talk.fresh()
    assert stage_of(talk) is EntryStage.AWAITS_FRESH_QUOTE
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


# -- several at once ----------------------------------------------------------------------------


def test_an_attempt_that_waits_holds_up_no_other(talk: DeskTalk) -> None:
    """All lanes fire at the same instant, and the first one's quotes never come."""
    talk.hear(signal(), signal(QQQ_ALERT))
    assert [w.ticker for w in talk.told(market.RequestContracts)] == ["SPX", "QQQ"]
    talk.offer().fresh().reserve()  # the newest request's
    (opened,) = talk.told(entries.OpenPosition)
    assert (opened.ref.contract, opened.ref.strategy) == (QQQ_CALL, "advisor")
    assert [attempt.intent.ticker for attempt in talk.state.attempts] == ["SPX"]
    assert talk.wait(1_500).code is RejectCode.MISSING_INPUT


def test_replies_find_their_attempts_in_any_order(talk: DeskTalk) -> None:
    talk.hear(signal(), signal(QQQ_ALERT))
    of_spx, of_qqq = (asked.request_id for asked in talk.told(market.RequestContracts))
    offered = ((QQQ_CALL, quote(900, 100, 104)),)
    talk.hear(
        market.ContractsOffered(request_id=of_qqq, quotes=offered, spot=QQQ_SPOT),
        market.ContractsOffered(request_id=of_spx, quotes=((CALL, quote()),), spot=SPOT),
    )
    asked = talk.told(market.RequestQuote)
    assert [read.con_id for read in asked] == [900, 812]
    for read, contract, fresh in zip(asked, (QQQ_CALL, CALL), (quote(900, 100, 104), quote()), strict=True):
        talk.hear(market.QuoteRead(request_id=read.request_id, contract=contract, quote=fresh, spot=None))
    reserved = [request.intent.intent_id for request in talk.told(entries.ReserveEntry)]
    assert reserved == [intent(QQQ_ALERT).intent_id, INTENT]
    talk.hear(*(entries.EntryReserved(intent_id=each) for each in reversed(reserved)))
    assert [opened.ref.contract for opened in talk.told(entries.OpenPosition)] == [CALL, QQQ_CALL]


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal(), signal(alert(source="advisor")), RejectCode.TICKER_LIMIT),
        (signal(), signal(alert(source="advisor"), direction=-1), RejectCode.REVERSE_WITHOUT_FLAT),
        (signal(), signal(alert(ticker="QQQ")), RejectCode.ONE_POSITION_ONLY),
    ],
)
def test_an_attempt_that_waits_counts_as_pending(
    talk: DeskTalk, first: Message, second: Message, code: RejectCode
) -> None:
    talk.hear(first, second)
    assert talk.code is code
    # Once the first has come to nothing, the same signal of another kind passes.
    assert len(talk.offer(why="none").told(market.RequestContracts)) == 1
    assert talk.state.attempts == ()


def test_an_attempt_that_was_sized_counts_with_its_money(talk: DeskTalk) -> None:
    talk.hear(replace(FUNDS, available_cents=300_000), signal(), signal(QQQ_ALERT))
    of_spx, of_qqq = (asked.request_id for asked in talk.told(market.RequestContracts))
    talk.hear(market.ContractsOffered(request_id=of_spx, quotes=((CALL, quote()),), spot=SPOT))
    assert known(talk.state.attempts[0].choice).qty == 2  # 2,060 of the 2,700 USD that may be spent
    offered = ((QQQ_CALL, quote(900, 100, 104)),)
    talk.hear(market.ContractsOffered(request_id=of_qqq, quotes=offered, spot=QQQ_SPOT))
    assert talk.code is RejectCode.BUYING_POWER
    assert known(talk.denied.verdict.finding.measured) > 206_000


def test_no_stage_waits_past_the_intents_deadline(talk: DeskTalk) -> None:
    talk.hear(signal())
    talk.wait(1_400).offer((CALL, quote(at=NOW - 10 * SECOND)))
    talk.wait(400)
    assert list(talk.timers.values()) == [NOW + 1_900 * MS]
    talk.fresh()
    assert list(talk.timers.values()) == [NOW + 3_000 * MS]
    talk.wait(1_200)
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
        (EntryStage.AWAITS_CONTRACTS, 1_500, "contract", RejectCode.MISSING_INPUT),
        (EntryStage.AWAITS_QUOTE, 500, "quote_fresh", RejectCode.STALE_QUOTE),
        (EntryStage.AWAITS_FRESH_QUOTE, 1_500, "fresh_quote", RejectCode.STALE_QUOTE),
        (EntryStage.AWAITS_RESERVATION, 250, "reservation", RejectCode.MISSING_INPUT),
    ],
)
def test_silence_denies_when_its_time_is_up_and_not_before(
    stage: EntryStage, wait_ms: int, gate: str, code: RejectCode
) -> None:
    talk = up_to(stage)
    assert stage_of(talk) is stage
    assert not talk.wait(wait_ms - 1).published(entries.EntryDenied)
    denied = talk.wait(1).denied
    assert (denied.verdict.gate, denied.code) == SILENCE[stage] == (gate, code)
    assert bool(talk.told(entries.ReleaseReservation)) == (stage is EntryStage.AWAITS_RESERVATION)
    assert talk.timers == {}


def test_a_ledger_that_is_too_slow_is_what_the_refusal_names() -> None:
    finding = up_to(EntryStage.AWAITS_RESERVATION).wait(250).denied.verdict.finding
    assert (finding.measured, finding.limit, finding.unit) == (250, 250, "ms")
    assert finding.looked_at.startswith("ledger_slow: the desk's ledger has not written the reservation within 250 ms")


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
    assert set(SILENCE) == waiting == set(EntryStage) - TERMINAL - {EntryStage.RAISED}
    assert all(ENTRY.next(stage, EntryEvent.TIMED_OUT) is EntryStage.DENIED for stage in waiting)
    assert all(ENTRY.next(stage, EntryEvent.DENIED) is EntryStage.DENIED for stage in {*waiting, EntryStage.RAISED})
    reached = {EntryStage.RAISED}
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
    message = replies(before.attempts[0].request_id)[reply]
    talk.hear(message)
    if type(message) not in AWAITED[stage]:
        assert (talk.state, talk.names()) == (before, [])
        return
    if talk.state.attempts:
        after = stage_of(talk)
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
        talk.hear(market.QuoteUnavailable(request_id=talk.state.attempts[0].request_id, con_id=812, why="no tick"))
        assert talk.last(market.RequestQuote).con_id == 813
    assert (talk.code, talk.denied.verdict.gate) == (RejectCode.STALE_QUOTE, "fresh_quote")


# -- what trading itself says -------------------------------------------------------------------


def test_a_halt_and_two_minutes_after_it_refuse_and_its_repetition_is_no_new_one(talk: DeskTalk) -> None:
    assert talk.hear(HALTED, replace(HALTED, at_utc=NOW + 1), signal()).code is RejectCode.HALTED
    talk.now += 30 * SECOND
    talk.hear(replace(HALTED, is_halted=False, at_utc=talk.now))
    assert talk.hear(signal(alert(BUCKET + BUCKET_NS))).code is RejectCode.HALTED
    talk.now += 90 * SECOND
    talk.hear(replace(HALTED, is_halted=False, at_utc=talk.now))  # told again: it counts from the first
    talk.now += 30 * SECOND
    later = signal(alert(BUCKET + 5 * BUCKET_NS), expires_utc=talk.now + SECOND)
    talk.hear(market.SpotsChanged(spots=(replace(SPOT, at_utc=talk.now),)), later)
    assert talk.last(market.RequestContracts).ticker == "SPX"


def test_that_it_trades_told_after_a_crash_ends_a_halt_and_is_no_resume_where_none_is_known(talk: DeskTalk) -> None:
    trades = replace(HALTED, is_halted=False, is_told_again=True)
    talk.hear(trades, signal())
    assert talk.last(market.RequestContracts).ticker == "SPX"
    talk.hear(HALTED, replace(trades, at_utc=talk.now))
    assert not talk.state.view.halts["SPX"].is_halted
    assert talk.hear(signal(alert(BUCKET + BUCKET_NS))).code is RejectCode.HALTED  # for a while after the resume


def test_another_tickers_halt_is_none_of_ours(talk: DeskTalk) -> None:
    talk.hear(replace(HALTED, ticker="QQQ"), signal())
    assert talk.last(market.RequestContracts).ticker == "SPX"


def test_hours_that_nobody_has_told_refuse_and_an_early_close_is_said_once() -> None:
    talk = DeskTalk().morning()
    early = market.HoursRead(ticker="SPX", session=DAY, hours=((OPEN, CLOSE - 3 * 3_600 * SECOND),))
    talk.hear(early, early)
    (alarm,) = talk.published(operator.Alarm)
    assert (alarm.key, alarm.severity) == ("hours:SPX", Severity.HIGH)
    assert alarm.text.startswith("The broker closes SPX at 13:00:00, the calendar at 16:00:00")
    assert talk.hear(signal()).code is RejectCode.SESSION_CLOSED
    unknown = DeskTalk().morning().hear(replace(early, hours=None), signal())
    assert unknown.denied.verdict.finding.looked_at == "liquid hours of SPX by the broker"


def test_hours_read_the_day_before_say_nothing_of_today() -> None:
    talk = DeskTalk().morning()
    day = 24 * 3_600 * SECOND
    talk.hear(market.HoursRead(ticker="SPX", session=DAY, hours=((OPEN - day, CLOSE - day),)))
    assert talk.published(operator.Alarm) == []
    assert talk.hear(signal()).code is RejectCode.SESSION_CLOSED


def test_a_withdrawn_kind_trades_no_more_whatever_its_lane_says(talk: DeskTalk) -> None:
    assert talk.hear(DEMOTED, signal()).code is RejectCode.SHADOW_SIGNAL
    talk.now += 30 * SECOND
    talk.hear(market.SpotsChanged(spots=(replace(SPOT, at_utc=talk.now),)), replace(DEMOTED, is_promoted=True))
    talk.hear(signal(alert(BUCKET + BUCKET_NS)))
    assert talk.told(market.RequestContracts)


# -- the row tells the truth to the end ---------------------------------------------------------


def amended(code: RejectCode) -> entries.EntryAmended:
    return entries.EntryAmended(key=ALERT, intent_id=INTENT, code=code, words="...", at_utc=NOW)


@pytest.mark.parametrize(
    ("code", "later"),
    [
        (RejectCode.PERMIT_EXPIRED, None),
        (RejectCode.DEADLINE_PASSED, None),
        (RejectCode.DUPLICATE_POSITION, None),
        (RejectCode.BROKER_REJECTED, RejectCode.COOLDOWN),  # it was sent
    ],
)
def test_an_order_that_was_never_sent_starts_no_cooldown_and_is_no_trade(
    talk: DeskTalk, code: RejectCode, later: RejectCode | None
) -> None:
    entered(talk).hear(amended(code), positions.EntryAbandoned(ref=ref(), order_ref=REF, why="no fill"))
    assert talk.state.view.decisions.rows[0].code is code
    assert trades_today(talk.state.view, "gexwatch") == 0
    talk.now += 30 * SECOND
    talk.sent.effects.clear()
    talk.hear(market.SpotsChanged(spots=(replace(SPOT, at_utc=talk.now),)), signal(alert(BUCKET + BUCKET_NS)))
    denials = [denied.code for denied in talk.published(entries.EntryDenied)]
    assert denials == ([] if later is None else [later])
    assert talk.hear(signal()).code in (RejectCode.DUPLICATE_ALERT, RejectCode.COOLDOWN)  # decided it stays


def test_an_amendment_of_what_was_refused_or_never_decided_changes_nothing(talk: DeskTalk) -> None:
    talk.hear(signal(is_shadow=True))
    before = talk.state.view
    talk.hear(amended(RejectCode.PERMIT_EXPIRED), replace(amended(RejectCode.PERMIT_EXPIRED), key=QQQ_ALERT))
    assert talk.state.view == before


# -- the last look and the hand-over ------------------------------------------------------------

LOST = session.ModeChanged(mode=Mode.DEGRADED, mode_n=4, session_epoch=7, cause="1100", at_utc=NOW)
KILL = risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="test", by="ann")
RUNNING_AGAIN = risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=5, reason="ok", by="ann")
NEW_SESSION = session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=9, session_epoch=8, cause="", at_utc=NOW)
LOCKED = risk.DayLocked(session=DAY, reason="eod")
HALTED = market.HaltChanged(ticker="SPX", is_halted=True, at_utc=NOW)
DEMOTED = signals.PromotionChanged(source="gexwatch", kind="GAMMA_FLIP", version=1, is_promoted=False, by="ann")


@pytest.mark.parametrize(
    ("news", "code"),
    [
        (LOST, RejectCode.MODE_DEGRADED),
        (KILL, RejectCode.KILL_SWITCH_L1),
        (LOCKED, RejectCode.DAY_LOCKED),
        (HALTED, RejectCode.HALTED),
        (DEMOTED, RejectCode.SHADOW_SIGNAL),
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
        ((HALTED,), "session", RejectCode.HALTED),
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


@pytest.mark.parametrize("is_promoted", [True, False])
def test_a_position_is_opened_with_the_names_of_the_promoted_exit_profiles(is_promoted: bool) -> None:
    talk = DeskTalk().morning()
    talk.hear(
        signals.PromotionChanged(source="exits", kind="ADAPTIVE", version=2, is_promoted=is_promoted, by="ann"),
        signal(),
    )  # fmt: skip
    talk.offer().fresh().reserve()
    (opened,) = talk.told(entries.OpenPosition)
    assert opened.exits == ("ADAPTIVE-2",) * is_promoted
