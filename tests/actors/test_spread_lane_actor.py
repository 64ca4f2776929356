"""The spread's lane by histories of messages: what it asks for, what it records, and what it says where it does not."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest

from actors.spread_lane import SpreadLaneActor, SpreadLaneState
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, MS, SECOND, at_exchange
from domain.instruments import Contract, DataType, Quote, Right, Side, Spot
from domain.position.cycle import ExitReason
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.signals import spread
from domain.structure.saga import SagaState
from domain.units import Qty, Ticks, Utc
from messages import entries, market, session, signals, structures
from messages.restored import LaneRestored
from tests.testkit import ledger_asks as ask
from tests.testkit.probe import Outbox, Probe

DAY = date(2026, 11, 20)
OPEN, CLOSE = at_exchange(DAY, time(9, 30)), at_exchange(DAY, time(16))
BUCKET = at_exchange(DAY, time(9, 40))
NOW = Utc(BUCKET + BUCKET_NS + 2 * SECOND)
SETTINGS = load_settings(profile="demo", overrides={"spread": {"is_on": True}})


class Lane(Probe[SpreadLaneState]):
    """A lane in its window with prices of both underlyings."""

    def __init__(self, *, is_promoted: bool = True, settings: Settings = SETTINGS) -> None:
        super().__init__(SpreadLaneActor(spread.LANE, settings), NOW)
        promoted = (f"{spread.kind_of(settings.spread)}-{spread.VERSION}",) if is_promoted else ()
        self.start(LaneRestored(last_alerts=(), last_direction=None, unraised=(), promoted=promoted))
        self.phase(Phase.ENTRY)
        self.spots()

    def phase(self, phase: Phase) -> None:
        self.feed(
            session.PhaseChanged(phase=phase, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=self.now)
        )  # fmt: skip

    def spots(self, spx: int = 600_000, spy: int = 60_000, **more: Any) -> None:
        """Let both underlyings trade."""
        told = (("SPX", spx), ("SPY", spy))
        self.feed(
            market.SpotsChanged(spots=tuple(Spot(t, Ticks(p), more.get("at", self.now), more.get("kind", DataType.LIVE))
                                            for t, p in told))
        )  # fmt: skip

    def bucket(self, bucket_utc: Utc = BUCKET) -> Outbox:
        return self.feed(market.BucketDue(bucket_utc=bucket_utc, close_by_utc=self.now))

    def quote(self, asked: market.RequestStrike, bid: int, ask: int) -> Outbox:
        """Answer a request."""
        con_id = 11 if asked.ticker == "SPX" else 22
        contract = Contract(con_id, asked.ticker, "SPXW", DAY, asked.strike_ticks, Right.CALL)
        quote = Quote(con_id, Ticks(bid), Ticks(ask), Qty(50), Qty(50), self.now)
        return self.feed(market.QuoteRead(request_id=asked.request_id, contract=contract, quote=quote, spot=None))

    def look(self, sold: int = 250) -> Outbox:
        """Look at a bucket with both quotes; return what the second one brought about."""
        cover, short = self.bucket().told(market.RequestStrike, "quotes")
        self.quote(cover, 1_970, 2_000)
        return self.quote(short, sold, sold + 1)


def why(outbox: Outbox) -> list[str]:
    return [said.why for said in outbox.published(signals.NotEvaluated)]


def test_both_calls_at_the_money_are_quoted_and_a_good_credit_is_recorded() -> None:
    lane = Lane()
    lane.spots(600_260, 60_049)
    cover, short = lane.bucket().told(market.RequestStrike, "quotes")
    assert [(one.ticker, one.strike_ticks, one.right) for one in (cover, short)] == [
        ("SPX", 600_500, Right.CALL), ("SPY", 60_000, Right.CALL),
    ]  # fmt: skip
    (recorded,) = Lane().look().told(signals.RecordAlert, "ledger")
    known = dict(recorded.thresholds)
    assert known["credit"] == pytest.approx(482.99)
    assert known["edge"] == pytest.approx(482.99)
    assert (known["gap"], recorded.alert.is_shadow) == (0, False)


def test_a_recorded_alert_is_raised_with_both_legs() -> None:
    lane = Lane()
    (recorded,) = lane.look().told(signals.RecordAlert)
    out = lane.feed(signals.AlertRecorded(alert_id=recorded.alert.key.alert_id, is_new=True))
    (raised,) = out.published(signals.SignalRaised)
    legs = raised.intent.plan.legs
    assert [(leg.side, leg.ticker, leg.ratio) for leg in legs] == [(Side.BUY, "SPX", 1), (Side.SELL, "SPY", 10)]
    assert raised.intent.plan.is_covered
    assert out.published(signals.AlertRaised)


def test_a_vertical_needs_the_index_alone_and_is_raised_with_both_legs_of_it() -> None:
    vertical = {"is_on": True, "vertical_width": 10, "min_entry_credit": 0, "max_position_loss": 900}
    lane = Lane(settings=load_settings(profile="demo", overrides={"spread": vertical}))
    lane.spots(600_260, 30_000)  # the fund's price says nothing of it
    cover, short = lane.bucket().told(market.RequestStrike, "quotes")
    assert [(one.ticker, one.strike_ticks) for one in (cover, short)] == [("SPX", 601_500), ("SPX", 600_500)]
    lane.quote(cover, 1_500, 1_520)
    (recorded,) = lane.quote(short, 2_000, 2_030).told(signals.RecordAlert, "ledger")
    assert (recorded.alert.key.kind, recorded.alert.is_shadow) == ("CREDIT_VERTICAL", False)
    known = dict(recorded.thresholds)
    assert (known["cover_strike"], known["short_strike"], known["gap"]) == (6_015, 6_005, 1_000)
    out = lane.feed(signals.AlertRecorded(alert_id=recorded.alert.key.alert_id, is_new=True))
    plan = out.published(signals.SignalRaised)[0].intent.plan
    assert [(leg.side, leg.ticker, leg.ratio) for leg in plan.legs] == [(Side.BUY, "SPX", 1), (Side.SELL, "SPX", 1)]
    assert plan.cover_ratio == 1


def test_a_vertical_is_promoted_by_itself() -> None:
    lane = Lane(is_promoted=False, settings=load_settings(profile="demo", overrides={
        "spread": {"is_on": True, "vertical_width": 10},
    }))  # fmt: skip
    for kind, is_promoted in ((spread.KIND, False), (spread.VERTICAL, True)):
        lane.feed(
            signals.PromotionChanged(
                source=spread.SOURCE, kind=kind, version=spread.VERSION, is_promoted=True, by="test"
            )
        )
        assert lane.state.is_promoted is is_promoted


def test_a_shadow_is_recorded_as_one() -> None:
    (recorded,) = Lane(is_promoted=False).look().told(signals.RecordAlert)
    assert recorded.alert.is_shadow


def test_a_thin_credit_is_said_and_nothing_is_recorded() -> None:
    out = Lane().look(sold=220)
    assert not out.told(signals.RecordAlert)
    assert why(out)[0].startswith("credit: ")


@pytest.mark.parametrize(
    ("spots", "words"),
    [
        ({"spy": 59_000}, "ratio: 10.1695"),
        ({"at": Utc(NOW - 60 * SECOND)}, "no price of SPX or of SPY"),
        ({"kind": DataType.DELAYED}, "no price of SPX or of SPY"),
    ],
)
def test_prices_that_say_nothing_ask_for_nothing(spots: Any, words: str) -> None:
    lane = Lane()
    lane.spots(**spots)
    out = lane.bucket()
    assert not out.told(market.RequestStrike)
    assert words in why(out)[0]


@pytest.mark.parametrize(("hour", "minute", "asks"), [(9, 34, 0), (9, 59, 2), (10, 0, 0), (11, 0, 0)])
def test_only_the_window_is_looked_at_and_outside_of_it_nothing_is_said(hour: int, minute: int, asks: int) -> None:
    lane = Lane()
    lane.now = Utc(at_exchange(DAY, time(hour, minute)) + 2 * SECOND)
    lane.spots()
    out = lane.bucket(Utc(at_exchange(DAY, time(hour, minute)) - BUCKET_NS))
    assert (len(out.told(market.RequestStrike)), why(out)) == (asks, [])


def test_outside_of_the_entry_phase_nothing_is_looked_for() -> None:
    lane = Lane()
    lane.phase(Phase.FLATTEN)
    assert not lane.bucket().messages


def test_a_quote_that_cannot_be_had_is_said_once() -> None:
    lane = Lane()
    cover, short = lane.bucket().told(market.RequestStrike)
    gone = lane.feed(market.QuoteUnavailable(request_id=cover.request_id, con_id=0, why="no SPX 6000C expires today"))
    assert why(gone) == ["quotes: no SPX 6000C expires today"]
    assert not lane.quote(short, 250, 251).messages


def test_what_became_of_its_signal_is_remembered() -> None:
    lane = Lane()
    verdict: Any = None
    lane.feed(entries.EntryDenied(key=spread.key_of(BUCKET), code=RejectCode.COOLDOWN, verdict=verdict))
    assert lane.state.last_answer == "cooldown"


def test_an_alert_that_nobody_decided_on_comes_back_expired() -> None:
    lane = Lane()
    (recorded,) = lane.look().told(signals.RecordAlert)
    known = LaneRestored(
        last_alerts=(), last_direction=None, unraised=(recorded.alert,), promoted=(spread.PROMOTION,)
    )  # fmt: skip
    (raised,) = lane.start(known, incarnation=2).published(signals.SignalRaised)
    assert raised.intent.expires_utc < lane.now


# -- while a spread is under way ------------------------------------------------------------------------


def told(state: SagaState, structure_id: str = "s1") -> structures.StructureChanged:
    return structures.StructureChanged(
        structure_id=structure_id, state=state, reason=ExitReason.EOD, cover_qty=Qty(1), short_qty=Qty(10),
        pnl_cents=None, at_utc=NOW,
    )  # fmt: skip


def test_while_a_spread_is_held_nothing_is_looked_for_and_afterwards_it_is_again() -> None:
    lane = Lane()
    for state in (SagaState.BUYING_COVER, SagaState.HELD, SagaState.BUYING_BACK):
        lane.feed(told(state))
        out = lane.bucket()
        assert not out.told(market.RequestStrike)
        assert why(out) == ["s1 is under way"]
    lane.feed(told(SagaState.CLOSED, "an earlier one"))
    assert not lane.bucket().told(market.RequestStrike)
    lane.feed(told(SagaState.CLOSED))
    assert lane.bucket().told(market.RequestStrike)


def test_from_the_handing_over_on_nothing_is_looked_for() -> None:
    lane = Lane()
    (recorded,) = lane.look().told(signals.RecordAlert)
    lane.feed(signals.AlertRecorded(alert_id=recorded.alert.key.alert_id, is_new=True))
    leg = ask.leg(1)
    lane.feed(entries.EntryHandedOver(key=recorded.alert.key, intent_id="s1", leg=leg))
    assert not lane.bucket(Utc(BUCKET + BUCKET_NS)).told(market.RequestStrike)


def test_a_lane_that_was_started_again_hears_from_risk_that_one_is_held_and_pauses() -> None:
    lane = Lane()
    verdict: Any = None
    lane.feed(entries.EntryDenied(key=spread.key_of(BUCKET), code=RejectCode.ONE_POSITION_ONLY, verdict=verdict))
    assert why(lane.bucket()) == ["a spread is under way"]
    lane.advance(Utc(NOW + SETTINGS.spread.cooldown_ms * MS))
    lane.spots()
    assert lane.bucket(Utc(BUCKET + 10 * BUCKET_NS)).told(market.RequestStrike)


def test_another_session_begins_without_one() -> None:
    lane = Lane()
    lane.feed(told(SagaState.HELD))
    lane.feed(
        session.PhaseChanged(
            phase=Phase.ENTRY, session=date(2026, 11, 23), open_utc=OPEN, close_utc=CLOSE, at_utc=lane.now
        )
    )
    assert lane.bucket().told(market.RequestStrike)
