"""Signals from outside: an offer becomes an alert like any other, a shadow unless promoted, once for each id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from actors.lane import LaneActor, LaneState
from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, SECOND
from domain.session.phases import Phase
from domain.signals.offer import SOURCE, Offer, OfferRefused
from domain.units import Ticks, Utc
from messages import lifecycle, session, signals
from messages.restored import LaneRestored
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit.probe import Probe
from tests.testkit.signal_histories import OPEN, SESSION, clock

NAME = f"lane:{SOURCE}:SPX"
SPOT = Ticks(600_000)
NOW = Utc(OPEN + 10 * BUCKET_NS + 2 * SECOND)
OFFER = Offer(
    kind="MODEL", version=1, direction=1, entry_ticks=Ticks(600_100), target_ticks=Ticks(601_000),
    stop_ticks=Ticks(599_500), horizon_ms=1_800_000,
)  # fmt: skip
OTHER = replace(OFFER, direction=-1, target_ticks=Ticks(599_000), stop_ticks=Ticks(600_500))


def settings() -> Settings:
    return load_settings(
        profile="demo", overrides={"lanes": {SOURCE: ["SPX"]}, "outside": {"kinds": {"MODEL": 1}}}
    )  # fmt: skip


def lane(
    *, in_phase: Phase = Phase.ENTRY, promoted: tuple[str, ...] = (), spot: Ticks | None = SPOT,
    restored: LaneRestored | None = None,
) -> Probe[LaneState]:  # fmt: skip
    probe = Probe(LaneActor(NAME, settings()), OPEN)
    probe.start(restored or LaneRestored(last_alerts=(), last_direction=None, unraised=(), promoted=promoted))
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


# -- over a restart of the lane, with the ledger ------------------------------------------------


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SharedLedger]:
    start_run(tmp_path, ("paper",), NOW)
    ledger = SharedLedger(tmp_path, ("paper",))
    ledger.open()
    yield ledger
    ledger.close()


def restarted(shared: SharedLedger) -> Probe[LaneState]:
    """Return the lane after a start, with what the ledger gives back."""
    question = lifecycle.RequestState(name=NAME, reply_to="supervisor", session=SESSION)
    (reply,) = shared.apply(question, NOW)
    assert isinstance(reply, lifecycle.StateRead)
    assert isinstance(reply.restored, LaneRestored)
    return lane(restored=reply.restored)


def answers(probe: Probe[LaneState], shared: SharedLedger, message: signals.OfferSignal, at: Utc = NOW) -> list[Any]:
    """Offer, have the ledger record what is to be recorded, and return what the program hears."""
    out = probe.feed(replace(message, expires_utc=Utc(at + SECOND)), at)
    heard: list[Any] = [*out.told(signals.OfferTaken, "edge:1"), *out.told(signals.OfferDenied, "edge:1")]
    for record in out.told(signals.RecordAlert):
        for fact in shared.apply(record, at):
            out = probe.feed(fact)
            heard += [*out.told(signals.OfferTaken, "edge:1"), *out.told(signals.OfferDenied, "edge:1")]
            heard += out.published(signals.SignalRaised)
    return heard


@pytest.mark.parametrize("later_ns", [SECOND, BUCKET_NS])
def test_an_offer_repeated_after_a_restart_gets_its_answer_and_is_no_second_alert(
    shared: SharedLedger, later_ns: int
) -> None:
    taken, signal = answers(restarted(shared), shared, asked())
    assert (taken.offer_id, signal.intent.key.alert_id) == ("a", taken.alert_id)
    assert answers(restarted(shared), shared, asked(), Utc(NOW + later_ns)) == [taken]


def test_another_offer_under_an_id_from_before_the_restart_is_refused(shared: SharedLedger) -> None:
    answers(restarted(shared), shared, asked())
    (denied,) = answers(restarted(shared), shared, asked(offer=OTHER), Utc(NOW + BUCKET_NS))
    assert denied.code is OfferRefused.ID_REUSED


def test_an_id_of_an_offer_that_the_lane_no_longer_remembers_is_refused_by_the_ledger(shared: SharedLedger) -> None:
    taken, _ = answers(restarted(shared), shared, asked())
    (denied,) = answers(lane(), shared, asked(), Utc(NOW + BUCKET_NS))
    assert denied.code is OfferRefused.ID_REUSED
    assert taken.alert_id in denied.detail


def test_an_offer_whose_record_the_ledger_answers_only_after_it_crashed_is_taken(shared: SharedLedger) -> None:
    probe = restarted(shared)
    (record,) = probe.feed(asked()).told(signals.RecordAlert)
    shared.apply(record, NOW)  # committed, and not answered
    (fact,) = shared.apply(record, NOW)
    out = probe.feed(fact)
    assert [taken.offer_id for taken in out.told(signals.OfferTaken, "edge:1")] == ["a"]
    assert len(out.published(signals.SignalRaised)) == 1


def test_an_offer_that_was_on_its_way_when_the_lane_crashed_is_raised_and_answered_when_repeated(
    shared: SharedLedger,
) -> None:
    (record,) = restarted(shared).feed(asked()).told(signals.RecordAlert)
    (fact,) = shared.apply(record, NOW)
    probe = restarted(shared)
    assert probe.feed(fact).effects == []  # the answer to the one that crashed; `start` has raised it
    (taken,) = answers(probe, shared, asked())
    assert taken.alert_id == record.alert.key.alert_id


def test_the_same_id_to_two_lanes_names_two_offers(shared: SharedLedger) -> None:
    (record,) = restarted(shared).feed(asked()).told(signals.RecordAlert)
    shared.apply(record, NOW)
    other = replace(record, alert=replace(record.alert, key=replace(record.alert.key, ticker="QQQ")))
    assert shared.apply(other, NOW)[0].is_new  # type: ignore[union-attr]


def test_an_offer_of_a_bucket_that_the_ledger_knows_is_refused_and_never_raised() -> None:
    probe = lane()
    (record,) = probe.feed(asked()).told(signals.RecordAlert)
    out = probe.feed(signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=False))
    (denied,) = out.told(signals.OfferDenied, "edge:1")
    assert denied.code is OfferRefused.BUCKET_TAKEN
    assert out.published(signals.SignalRaised) == []


def test_an_offer_that_the_ledger_refuses_for_its_id_turns_nothing_and_leaves_the_direction() -> None:
    probe = lane(promoted=("MODEL-1",))
    probe.state.last_direction = -1
    out = probe.feed(asked())
    assert out.published(signals.ReversalRaised) == []
    (record,) = out.told(signals.RecordAlert)
    recorded = signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=False, offered="outside-SPX-earlier")
    out = probe.feed(recorded)
    assert [denied.code for denied in out.told(signals.OfferDenied, "edge:1")] == [OfferRefused.ID_REUSED]
    assert out.published(signals.ReversalRaised) == []
    assert (probe.state.last_direction, probe.state.pending, probe.state.offers) == (-1, (), ())


def test_an_offer_on_record_turns_what_was_opened_for_the_opposite() -> None:
    probe = lane(promoted=("MODEL-1",))
    probe.state.last_direction = -1
    (record,) = probe.feed(asked()).told(signals.RecordAlert)
    out = probe.feed(signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=True))
    assert [reversal.direction for reversal in out.published(signals.ReversalRaised)] == [1]
    assert probe.state.last_direction == 1
    assert probe.feed(signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=True)).messages == []


def test_an_offer_whose_record_was_not_heard_of_before_a_crash_turns_positions_when_it_is_raised_again(
    shared: SharedLedger,
) -> None:
    probe = lane(promoted=("MODEL-1",))
    (record,) = probe.feed(asked()).told(signals.RecordAlert)
    shared.apply(record, NOW)
    again = restarted(shared)
    assert [reversal.direction for reversal in again.sent.published(signals.ReversalRaised)] == [1]


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
