"""A lane: a finding is recorded before anybody acts on it, and a restart neither loses nor repeats an alert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.lane import LaneActor
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Right
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.signals.features import FEATURES
from messages import lifecycle, orders, session, signals
from supervision.effects import Tell
from tests.testkit.signal_histories import OPEN, SESSION, SETTINGS, History, clock, started, told

NAME = "lane:gexwatch:SPX"
ZERO = 600_000
PROMOTED = ("GAMMA_FLIP-1",)


def seen(
    n: int, bps: float | None, *, missing: tuple[str, ...] = (), complete: bool = True
) -> signals.FeaturesComputed:
    return signals.FeaturesComputed(
        ticker="SPX",
        bucket_utc=OPEN + n * BUCKET_NS,
        reading_n=n + 1,
        features=(None,) * len(FEATURES),
        missing=missing,
        forces=(),
        alignment=None,
        spot=None if bps is None else round(ZERO * (1 + bps / 1e4)),
        zero_gamma=ZERO,
        is_complete=complete,
    )


def restored(**fields: Any) -> lifecycle.LaneRestored:
    blank = {"last_alert_utc": None, "last_direction": None, "unraised": (), "promoted": PROMOTED}
    return lifecycle.LaneRestored(**(blank | fields))


def phase(name: Phase) -> session.PhaseChanged:
    return session.PhaseChanged(phase=name, session=SESSION, open_utc=OPEN, close_utc=clock(16), at_utc=OPEN)


def lane(known: lifecycle.LaneRestored | None = None, in_phase: Phase = Phase.ENTRY) -> History:
    history = History(LaneActor(NAME, SETTINGS), OPEN)
    history.hear(started(NAME, restored=restored() if known is None else known))
    history.hear(phase(in_phase))
    return history


def feed(history: History, path: Sequence[float | None], start: int = 0) -> list[Any]:
    effects = []
    for n, bps in enumerate(path, start):
        effects += history.hear(seen(n, bps), OPEN + (n + 1) * BUCKET_NS + 2 * SECOND)
    return effects


def flipped(history: History) -> signals.RecordAlert:
    record: signals.RecordAlert
    (record,) = told(feed(history, [-10.0, -10.0, 10.0, 10.0]), signals.RecordAlert, "ledger")
    return record


def test_a_flip_is_recorded_first_and_raised_when_the_record_is_durable() -> None:
    history = lane()
    record = flipped(history)
    assert record.alert_id == "20261120-gexwatch-SPX-093130-GAMMA_FLIP-1"
    assert (record.direction, record.is_shadow, record.reply_to) == (1, False, NAME)
    effects = history.hear(signals.AlertRecorded(alert_id=record.alert_id, is_new=True))
    (signal,) = told(effects, signals.SignalRaised, "risk")
    assert signal.right is Right.CALL
    assert signal.expires_utc == record.bucket_utc + BUCKET_NS + 45 * SECOND
    assert told(effects, signals.AlertRaised, "outcomes")
    again = history.hear(signals.AlertRecorded(alert_id=record.alert_id, is_new=False))
    assert again == []


def test_without_the_record_there_is_no_signal() -> None:
    history = lane()
    effects = feed(history, [-10.0, -10.0, 10.0, 10.0, 10.0, 10.0])
    assert not told(effects, signals.SignalRaised)


def test_what_is_not_promoted_is_a_shadow_and_still_told_to_risk() -> None:
    history = lane(restored(promoted=("STRUCTURE_BREAK-1", "GAMMA_FLIP-2")))
    record = flipped(history)
    assert record.is_shadow
    (signal,) = told(history.hear(signals.AlertRecorded(alert_id=record.alert_id, is_new=True)), to="risk")
    assert signal.is_shadow


def test_an_opposite_alert_turns_positions_at_once() -> None:
    history = lane()
    feed(history, [-10.0, -10.0, 10.0, 10.0])
    effects = feed(history, [10.0] * 10 + [-10.0, -10.0], 4)
    (reversal,) = told(effects, signals.ReversalRaised, "positions")
    assert (reversal.source, reversal.ticker, reversal.direction) == ("gexwatch", "SPX", -1)


def test_an_opposite_shadow_turns_no_position() -> None:
    history = lane(restored(promoted=()))
    feed(history, [-10.0, -10.0, 10.0, 10.0])
    assert not told(feed(history, [10.0] * 10 + [-10.0, -10.0], 4), signals.ReversalRaised)


@pytest.mark.parametrize(
    ("in_phase", "fires"),
    [(Phase.PRE, False), (Phase.OPEN, True), (Phase.ENTRY, True), (Phase.LATE, False), (Phase.PANIC, False),
     (Phase.FLATTEN, False), (Phase.CLOSED, False), (Phase.CLOSED_DAY, False)],
)  # fmt: skip
def test_alerts_are_looked_for_from_the_open_to_the_last_entry_only(in_phase: Phase, fires: bool) -> None:
    effects = feed(lane(in_phase=in_phase), [-10.0, -10.0, 10.0, 10.0])
    assert bool(told(effects, signals.RecordAlert)) is fires
    assert len(told(effects, signals.NotEvaluated, "journal")) == (3 if fires else 4)


def test_until_the_phase_is_known_nothing_is_evaluated() -> None:
    history = History(LaneActor(NAME, SETTINGS), OPEN)
    effects = history.hear(started(NAME, restored=restored()))
    assert Tell("session", session.PhaseWanted(reply_to=NAME)) in effects
    (refusal,) = told(history.hear(seen(0, 10.0)))
    assert refusal.why == "phase not known"


def test_a_reading_without_spot_is_not_evaluated_and_the_silent_categories_are_named() -> None:
    history = lane()
    (refusal,) = told(history.hear(seen(0, None, missing=("classic_gex_zero",), complete=False)), to="journal")
    assert refusal.why == "missing spot (silent: classic_gex_zero) (not every hub's marker was in)"


def test_a_reading_told_twice_is_judged_once() -> None:
    history = lane()
    feed(history, [-10.0, -10.0, 10.0])
    assert history.hear(seen(2, 10.0)) == []
    assert told(history.hear(seen(3, 10.0)), signals.RecordAlert)


def unraised(n: int) -> lifecycle.UnraisedAlert:
    bucket_utc = OPEN + n * BUCKET_NS
    return lifecycle.UnraisedAlert(
        alert_id=f"alert-{n}",
        kind="GAMMA_FLIP",
        version=1,
        ticker="SPX",
        direction=-1,
        bucket_utc=bucket_utc,
        is_shadow=False,
        raised_utc=bucket_utc + 32 * SECOND,
    )


def test_a_restarted_lane_raises_again_what_is_fresh_and_nobody_decided_on() -> None:
    history = History(LaneActor(NAME, SETTINGS), OPEN + 3 * BUCKET_NS)
    known = restored(unraised=(unraised(0), unraised(2)), last_alert_utc=OPEN + 95 * SECOND, last_direction=-1)
    (signal,) = told(history.hear(started(NAME, 2, known)), signals.SignalRaised, "risk")
    assert (signal.alert_id, signal.right) == ("alert-2", Right.PUT)


def test_a_restarted_lane_keeps_its_cooldown_and_arms_in_silence() -> None:
    known = restored(last_alert_utc=OPEN + 95 * SECOND, last_direction=1)
    history = lane(known)
    assert not told(feed(history, [10.0] * 4 + [-10.0] * 4, 4), signals.RecordAlert)
    assert told(feed(history, [-10.0] * 10 + [10.0] * 2, 12), signals.RecordAlert)


def test_answers_of_risk_are_kept() -> None:
    history = lane()
    denied = orders.EntryDenied(
        signal_id="a", alert_id="a", ticker="SPX", code=RejectCode.COOLDOWN, gate=8, measured=None, limit=None,
        unit="", looked_at="",
    )  # fmt: skip
    assert history.hear(denied) == []
    assert history.state.last_answer == "a cooldown"
    handed = orders.EntryHandedOver(signal_id="b", alert_id="b", intent_id="i", order_ref="ZH", con_id=1)
    assert history.hear(handed) == []
    assert history.state.last_answer == "b ZH"


def test_the_advisor_watches_its_own_ticker_with_its_own_kind() -> None:
    actor = LaneActor("lane:advisor:QQQ", SETTINGS)
    history = History(actor, OPEN)
    history.hear(started(actor.name, restored=restored()))
    history.hear(phase(Phase.ENTRY))
    (refusal,) = told(history.hear(seen(0, 10.0)))
    assert (refusal.source, refusal.ticker, refusal.why) == ("advisor", "QQQ", "missing level")
