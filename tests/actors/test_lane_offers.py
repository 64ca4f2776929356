"""Signals from outside: an offer becomes an alert like any other, a shadow unless promoted, once for each id."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from actors.lane import LaneActor, LaneState
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, SECOND
from domain.session.phases import Phase
from domain.signals.offer import SOURCE, Offer, OfferRefused
from domain.units import Ticks, Utc
from messages import session, signals
from messages.restored import LaneRestored
from tests.testkit.probe import Probe
from tests.testkit.signal_histories import OPEN, SESSION, clock

NAME = f"lane:{SOURCE}:SPX"
SPOT = Ticks(600_000)
NOW = Utc(OPEN + 10 * BUCKET_NS + 2 * SECOND)
OFFER = Offer(
    kind="MODEL", version=1, direction=1, entry_ticks=Ticks(600_100), target_ticks=Ticks(601_000),
    stop_ticks=Ticks(599_500), horizon_ms=1_800_000,
)  # fmt: skip


def settings() -> Settings:
    return load_settings(
        profile="demo", overrides={"lanes": {SOURCE: ["SPX"]}, "outside": {"kinds": {"MODEL": 1}}}
    )  # fmt: skip


def lane(
    *, in_phase: Phase = Phase.ENTRY, promoted: tuple[str, ...] = (), spot: Ticks | None = SPOT
) -> Probe[LaneState]:
    probe = Probe(LaneActor(NAME, settings()), OPEN)
    probe.start(LaneRestored(last_alerts=(), last_direction=None, unraised=(), promoted=promoted))
    probe.feed(session.PhaseChanged(
        phase=in_phase, session=SESSION, open_utc=OPEN, close_utc=clock(16), at_utc=OPEN
    ))  # fmt: skip
    probe.feed(signals.FeaturesComputed(
        ticker="SPX", bucket_utc=Utc(OPEN + 9 * BUCKET_NS), reading_n=10, features=(1.0, None), missing=(), forces=(),
        alignment=0.5, spot=spot, zero_gamma=SPOT, is_complete=True,
    ), NOW)  # fmt: skip
    return probe


def asked(offer_id: str = "a", offer: Offer = OFFER, **changes: Any) -> signals.OfferSignal:
    values: dict[str, Any] = {"reply_to": "edge:1", "offer_id": offer_id, "offer": offer, "expires_utc": NOW + SECOND}
    return signals.OfferSignal(**(values | changes))


def code_of(probe: Probe[LaneState], message: signals.OfferSignal) -> OfferRefused:
    out = probe.feed(message)
    (denied,) = out.told(signals.OfferDenied, "edge:1")
    assert out.told(signals.RecordAlert) == []
    return denied.code


@pytest.mark.parametrize(("promoted", "is_shadow"), [((), True), (("MODEL-1",), False), (("MODEL-2",), True)])
def test_an_offer_is_recorded_first_then_answered_and_raised(promoted: tuple[str, ...], *, is_shadow: bool) -> None:
    probe = lane(promoted=promoted)
    out = probe.feed(asked())
    (record,) = out.told(signals.RecordAlert, "ledger")
    alert = record.alert
    assert (alert.key.source, alert.key.kind, alert.key.version) == ("outside", "MODEL", 1)
    assert (alert.is_shadow, alert.entry_ticks, record.features, record.alignment) == (
        is_shadow, 600_100, (1.0, None), 0.5
    )  # fmt: skip
    assert alert.key.bucket_utc == OPEN + 10 * BUCKET_NS
    assert out.told(signals.OfferTaken) == []
    out = probe.feed(signals.AlertRecorded(alert_id=alert.key.alert_id, is_new=True))
    assert out.told(signals.OfferTaken, "edge:1") == [
        signals.OfferTaken(offer_id="a", alert_id=alert.key.alert_id, is_shadow=is_shadow)
    ]
    (signal,) = out.published(signals.SignalRaised)
    assert (signal.intent.is_shadow, signal.intent.strategy) == (is_shadow, "outside")


def test_the_same_offer_again_is_answered_and_not_recorded_again() -> None:
    probe = lane()
    (record,) = probe.feed(asked()).told(signals.RecordAlert)
    assert probe.feed(asked(reply_to="edge:2")).messages == []  # not on record yet: it waits
    out = probe.feed(signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=True))
    assert out.recipients(signals.OfferTaken) == ["edge:2"]
    out = probe.feed(asked(reply_to="edge:3"))
    assert out.recipients(signals.OfferTaken) == ["edge:3"]
    assert out.told(signals.RecordAlert) == []


def test_an_id_of_another_offer_and_a_second_offer_of_a_bucket_are_refused() -> None:
    probe = lane()
    probe.feed(asked())
    assert code_of(probe, asked(offer=replace(OFFER, direction=-1))) is OfferRefused.ID_REUSED
    assert code_of(probe, asked("b")) is OfferRefused.BUCKET_TAKEN


def test_an_offer_of_a_bucket_that_the_ledger_knows_is_refused_and_never_raised() -> None:
    probe = lane()
    (record,) = probe.feed(asked()).told(signals.RecordAlert)
    out = probe.feed(signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=False))
    (denied,) = out.told(signals.OfferDenied, "edge:1")
    assert denied.code is OfferRefused.BUCKET_TAKEN
    assert out.published(signals.SignalRaised) == []


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        (replace(OFFER, kind="OTHER"), OfferRefused.UNKNOWN_KIND),
        (replace(OFFER, version=2), OfferRefused.UNKNOWN_KIND),
        (replace(OFFER, direction=-1), OfferRefused.BAD_LEVELS),
        (replace(OFFER, target_ticks=Ticks(600_100)), OfferRefused.BAD_LEVELS),
        (replace(OFFER, stop_ticks=Ticks(600_100)), OfferRefused.BAD_LEVELS),
        (replace(OFFER, stop_ticks=Ticks(0)), OfferRefused.BAD_LEVELS),
        (replace(OFFER, stop_ticks=Ticks(-600_000)), OfferRefused.BAD_LEVELS),
        (replace(OFFER, stop_ticks=Ticks(480_079)), OfferRefused.BAD_LEVELS),
        (replace(OFFER, target_ticks=Ticks(720_121)), OfferRefused.BAD_LEVELS),
        (replace(OFFER, target_ticks=Ticks(100_000_000)), OfferRefused.BAD_LEVELS),
        (replace(OFFER, entry_ticks=Ticks(60_000), stop_ticks=Ticks(59_000)), OfferRefused.OFF_THE_MARKET),
    ],
)
def test_an_offer_that_cannot_be_meant_is_refused_with_its_reason(offer: Offer, code: OfferRefused) -> None:
    assert code_of(lane(), asked(offer=offer)) is code


def test_levels_as_far_as_a_fifth_of_the_price_are_taken() -> None:
    far = replace(OFFER, stop_ticks=Ticks(480_080), target_ticks=Ticks(720_120))
    assert lane().feed(asked(offer=far)).told(signals.RecordAlert)


def test_an_offer_without_a_market_a_reading_or_in_time_is_refused() -> None:
    assert code_of(lane(in_phase=Phase.LATE), asked()) is OfferRefused.NO_ALERTS_NOW
    assert code_of(lane(spot=None), asked()) is OfferRefused.NO_READING
    assert code_of(lane(), asked(expires_utc=NOW - 1)) is OfferRefused.EXPIRED
    probe = lane()
    probe.now = Utc(NOW + 3 * BUCKET_NS)
    assert code_of(probe, asked(expires_utc=probe.now)) is OfferRefused.NO_READING


def test_a_lane_that_looks_for_something_takes_no_offer() -> None:
    probe = Probe(LaneActor("lane:gexwatch:SPX", settings()), OPEN)
    probe.start(LaneRestored(last_alerts=(), last_direction=None, unraised=(), promoted=()))
    assert code_of(probe, asked(expires_utc=OPEN)) is OfferRefused.UNKNOWN_KIND
