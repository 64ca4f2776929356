"""The lane of the credit spread, `lane:spread:SPX-SPY`: looks once a bucket, in its window, whether one may be opened.

It knows no other lane. With prices of both underlyings at a ratio within bounds it has the calls at the money quoted,
or the legs of what is opened in place of the spread; where credit and worst case hold, that is recorded as an alert
and, once recorded, raised as a signal. Risk judges all of it again, on quotes of its own. While a spread is under way
nothing is looked for. On a crash: a recorded alert that nobody decided on is raised as expired, so that it leaves its
gate row; the next bucket is looked at afresh, and where risk then says that one is held, there is a pause.
"""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.instants import BUCKET_NS, MS, session_of
from domain.instruments import Contract, DataType, Quote, Spot
from domain.orders.intent import EntryPlan
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.signals import spread
from domain.signals.alert import Alert
from domain.signals.registry import FEATURES
from domain.structure.credit import Terms, ratio_of, strikes_of, terms_of, unmet_before_quotes, unmet_on_quotes
from domain.structure.rules import COVER, SHORT, SpreadRules
from domain.structure.saga import OVER
from domain.units import Utc
from messages import entries, lifecycle, market, session, signals, structures
from messages.restored import LaneRestored
from supervision.actor import Actor
from supervision.turn import Turn

Inbox = (
    lifecycle.Started
    | session.PhaseChanged
    | market.SpotsChanged
    | market.BucketDue
    | market.QuoteRead
    | market.QuoteUnavailable
    | signals.AlertRecorded
    | signals.PromotionChanged
    | entries.EntryDenied
    | entries.EntryHandedOver
    | structures.StructureChanged
)


class AskedQuotes(msgspec.Struct, frozen=True):
    """What was asked for of one bucket, and which legs were answered (each cover before its short)."""

    bucket_utc: Utc
    ratio: float
    seen: tuple[tuple[Contract, Quote] | None, ...]

    def id_of(self, n: int) -> str:
        """Name the request for a leg."""
        return f"{self.bucket_utc}/{n}"


class Found(msgspec.Struct, frozen=True):
    """An alert on its way to the ledger, with the legs that it is for."""

    alert: Alert
    plan: EntryPlan


class SpreadLaneState(msgspec.Struct):
    """What the lane remembers; `phase` holds the session's instants, `is_promoted` whether its alerts may trade.

    `last_answer` is what became of its last signal, `under_way` the structure that was made of one (`None`: none is).
    Before `quiet_until_utc` nothing is looked for.
    """

    phase: session.PhaseChanged | None = None
    cover: Spot | None = None
    short: Spot | None = None
    asked: AskedQuotes | None = None
    found: tuple[Found, ...] = ()
    is_promoted: bool = False
    last_answer: str | None = None
    under_way: str | None = None
    quiet_until_utc: Utc = Utc(0)


class Wiring(msgspec.Struct, frozen=True):
    """What does not change."""

    rules: SpreadRules
    spot_age_max_ns: int
    quote_age_max_ns: int
    quote_wait_ns: int


LaneTurn = Turn[SpreadLaneState]


class SpreadLaneActor(Actor[SpreadLaneState, Inbox]):
    """The spread's lane."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        entry = settings.entry
        self._wiring = Wiring(
            settings.spread, entry.spot_age_max_ms * MS, entry.quote_age_max_ms * MS, entry.fresh_quote_wait_ms * MS
        )

    def initial(self) -> SpreadLaneState:
        """Know nothing yet."""
        return SpreadLaneState()

    def decide(self, turn: LaneTurn, message: Inbox) -> None:
        """Take one message into account."""
        state, wiring = turn.state, self._wiring
        match message:
            case market.SpotsChanged():
                _take_spots(state, message.spots)
            case market.BucketDue():
                _look(wiring, turn, message.bucket_utc)
            case market.QuoteRead():
                _on_quote(wiring, turn, message)
            case market.QuoteUnavailable():
                _on_no_quote(wiring, turn, message)
            case signals.AlertRecorded():
                _on_recorded(wiring, turn, message.alert_id)
            case signals.PromotionChanged():
                if (message.source, message.kind, message.version) == (
                    spread.SOURCE, spread.kind_of(wiring.rules), spread.VERSION,
                ):  # fmt: skip
                    state.is_promoted = message.is_promoted
            case entries.EntryDenied():
                _on_denied(wiring, turn, message.code)
            case entries.EntryHandedOver():
                state.last_answer, state.under_way = "handed over", message.intent_id
            case structures.StructureChanged():
                _on_structure(state, message)
            case session.PhaseChanged():
                _on_phase(state, message)
            case lifecycle.Started():
                _start(wiring, turn, message)
            case _:
                assert_never(message)


def _start(wiring: Wiring, turn: LaneTurn, started: lifecycle.Started) -> None:
    """Take back what the ledger knows; the strikes of an alert that nobody decided on are gone, so it has expired."""
    turn.tell("session", session.RequestPhase(reply_to=turn.name))
    known = started.restored
    if not isinstance(known, LaneRestored):
        return
    turn.state.is_promoted = f"{spread.kind_of(wiring.rules)}-{spread.VERSION}" in known.promoted
    for alert in known.unraised:
        turn.publish(signals.AlertRaised(alert=alert))
        plan = spread.plan_of(strikes_of(alert.entry_ticks, alert.entry_ticks, wiring.rules), wiring.rules)
        expired = replace(spread.intent_of(alert, plan, wiring.rules), expires_utc=Utc(0))
        turn.publish(signals.SignalRaised(intent=expired))


def _on_phase(state: SpreadLaneState, event: session.PhaseChanged) -> None:
    """Take the day's phase; in another session nothing of the last one is under way."""
    if state.phase is not None and state.phase.session != event.session:
        state.under_way, state.quiet_until_utc = None, Utc(0)
    state.phase = event


def _on_structure(state: SpreadLaneState, event: structures.StructureChanged) -> None:
    """Take which structure is under way."""
    if event.state not in OVER:
        state.under_way = event.structure_id
    elif state.under_way == event.structure_id:
        state.under_way = None


def _on_denied(wiring: Wiring, turn: LaneTurn, code: RejectCode) -> None:
    """Take what risk said; where one is held that this incarnation has not heard of, do not ask again each bucket."""
    turn.state.last_answer = code.value
    if code is RejectCode.ONE_POSITION_ONLY:
        turn.state.quiet_until_utc = Utc(turn.now + wiring.rules.cooldown_ms * MS)


def _take_spots(state: SpreadLaneState, spots: tuple[Spot, ...]) -> None:
    for spot in spots:
        if spot.ticker == COVER:
            state.cover = spot
        elif spot.ticker == SHORT:
            state.short = spot


def _look(wiring: Wiring, turn: LaneTurn, bucket_utc: Utc) -> None:
    """Look at a bucket that has just ended: ask for a quote of each leg, or say why not."""
    state = turn.state
    state.asked = None
    if state.phase is None or state.phase.phase is not Phase.ENTRY:
        return  # outside of the day's entry window nothing is looked for, and nothing is said
    if state.under_way is not None or turn.now < state.quiet_until_utc:
        _say(wiring, turn, bucket_utc, f"{state.under_way or 'a spread'} is under way")
        return
    ratio = _ratio(wiring, turn)
    unmet = unmet_before_quotes(
        state.phase.session, state.phase.open_utc, Utc(bucket_utc + BUCKET_NS), ratio, wiring.rules,
        state.phase.close_utc,
    )  # fmt: skip
    sold = state.cover if wiring.rules.is_of_index else state.short
    if unmet is not None or ratio is None or state.cover is None or sold is None:
        if unmet is not None and unmet.condition.value != "window":
            _say(wiring, turn, bucket_utc, unmet.text)
        return
    plan = spread.plan_of(strikes_of(state.cover.price_ticks, sold.price_ticks, wiring.rules), wiring.rules)
    state.asked = asked = AskedQuotes(bucket_utc, ratio, (None,) * len(plan.legs))
    for n, leg in enumerate(plan.legs):
        assert leg.ticker is not None
        assert leg.strike_ticks is not None
        turn.tell(
            "quotes",
            market.RequestStrike(
                request_id=asked.id_of(n), reply_to=turn.name, ticker=leg.ticker, right=leg.right,
                strike_ticks=leg.strike_ticks, newer_than_utc=Utc(turn.now - wiring.quote_age_max_ns),
                expires_utc=Utc(turn.now + wiring.quote_wait_ns),
            ),
        )  # fmt: skip


def _ratio(wiring: Wiring, turn: LaneTurn) -> float | None:
    """Return the ratio of two live prices that are not old; `None` without them. What is of the index has one alone."""
    state, is_of_index = turn.state, wiring.rules.is_of_index
    for spot in (state.cover,) if is_of_index else (state.cover, state.short):
        if spot is None or spot.data_type != DataType.LIVE or turn.now - spot.at_utc > wiring.spot_age_max_ns:
            return None
    if is_of_index:
        return 1.0
    assert state.cover is not None
    assert state.short is not None
    return ratio_of(state.cover.price_ticks, state.short.price_ticks)


def _on_quote(wiring: Wiring, turn: LaneTurn, read: market.QuoteRead) -> None:
    """Take the quote of a leg; with all of them, judge the spread."""
    state, asked = turn.state, turn.state.asked
    n = _leg_of(asked, read.request_id)
    if asked is None or n is None:
        return
    seen = tuple((read.contract, read.quote) if at == n else old for at, old in enumerate(asked.seen))
    state.asked = asked = replace(asked, seen=seen)
    quoted = [(leg[0].strike_ticks, leg[1]) for leg in asked.seen if leg is not None]
    if len(quoted) < len(asked.seen):
        return
    cover, short, *further = quoted
    terms = terms_of(session_of(asked.bucket_utc), asked.ratio, cover, short, wiring.rules, *further)
    unmet = unmet_on_quotes(terms, wiring.rules)
    state.asked = None
    if unmet is not None or terms is None:
        _say(wiring, turn, asked.bucket_utc, "no terms" if unmet is None else unmet.text)
    else:
        _record(wiring, turn, asked.bucket_utc, terms)


def _on_no_quote(wiring: Wiring, turn: LaneTurn, unavailable: market.QuoteUnavailable) -> None:
    asked = turn.state.asked
    if asked is not None and _leg_of(asked, unavailable.request_id) is not None:
        turn.state.asked = None
        _say(wiring, turn, asked.bucket_utc, f"quotes: {unavailable.why}")


def _leg_of(asked: AskedQuotes | None, request_id: str) -> int | None:
    if asked is None:
        return None
    return next((n for n in range(len(asked.seen)) if asked.id_of(n) == request_id), None)


def _record(wiring: Wiring, turn: LaneTurn, bucket_utc: Utc, terms: Terms) -> None:
    """Have it recorded that a spread may be opened."""
    state = turn.state
    assert state.phase is not None
    assert state.cover is not None
    alert = spread.alert_of(
        bucket_utc, state.cover.price_ticks, terms, wiring.rules, turn.now, state.phase.close_utc,
        is_shadow=not state.is_promoted,
    )  # fmt: skip
    plan = spread.plan_of(terms.strikes_ticks, wiring.rules)
    state.found = (*state.found, Found(alert, plan))
    record = signals.RecordAlert(
        reply_to=turn.name, alert=alert, thresholds=spread.thresholds_of(terms, wiring.rules),
        features=(None,) * len(FEATURES), forces=(), alignment=None,
    )  # fmt: skip
    turn.tell("ledger", record)


def _on_recorded(wiring: Wiring, turn: LaneTurn, alert_id: str) -> None:
    """Raise a recorded alert."""
    state = turn.state
    recorded = [found for found in state.found if found.alert.key.alert_id == alert_id]
    state.found = tuple(found for found in state.found if found.alert.key.alert_id != alert_id)
    for found in recorded:
        turn.publish(signals.SignalRaised(intent=spread.intent_of(found.alert, found.plan, wiring.rules)))
        turn.publish(signals.AlertRaised(alert=found.alert))


def _say(wiring: Wiring, turn: LaneTurn, bucket_utc: Utc, why: str) -> None:
    turn.publish(
        signals.NotEvaluated(
            source=spread.SOURCE, ticker=spread.PAIR, kind=spread.kind_of(wiring.rules), bucket_utc=bucket_utc,
            why=why, version=spread.VERSION,
        )
    )  # fmt: skip
