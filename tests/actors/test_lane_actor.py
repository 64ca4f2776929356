"""A lane: a finding is recorded before anybody acts on it, and a restart neither loses nor repeats an alert."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from actors.lane import LaneActor, LaneState
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Contract, Right, Side
from domain.orders.intent import OrderLeg
from domain.risk.gates.types import Finding, Outcome, Verdict
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.signals.alert import Alert, AlertKey
from domain.signals.evaluator import Reading
from domain.signals.registry import FEATURES, INDEX
from messages import entries, session, signals
from messages.restored import LaneRestored
from supervision.effects import Publish, Tell
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import OPEN, SESSION, SETTINGS, clock

NAME = "lane:gexwatch:SPX"
ZERO = 600_000
PROMOTED = ("GAMMA_FLIP-1",)
ONE_KIND = SETTINGS.model_copy(update={"alerts": {"gexwatch": ("GAMMA_FLIP",)}})
BOTH_KINDS = SETTINGS.model_copy(update={"alerts": {"gexwatch": ("GAMMA_FLIP", "STRUCTURE_BREAK")}})


def seen(
    n: int, bps: float | None, *, missing: tuple[str, ...] = (), complete: bool = True, **features: float
) -> signals.FeaturesComputed:
    values: list[float | None] = [None] * len(FEATURES)
    for name, value in features.items():
        values[INDEX[name]] = value
    return signals.FeaturesComputed(
        ticker="SPX",
        bucket_utc=OPEN + n * BUCKET_NS,
        reading_n=n + 1,
        features=tuple(values),
        missing=missing,
        forces=(),
        alignment=None,
        spot=None if bps is None else round(ZERO * (1 + bps / 1e4)),
        zero_gamma=ZERO,
        is_complete=complete,
    )


def restored(**fields: Any) -> LaneRestored:
    blank = {"last_alerts": (), "last_direction": None, "unraised": (), "promoted": PROMOTED}
    return LaneRestored(**(blank | fields))


def phase(name: Phase) -> session.PhaseChanged:
    return session.PhaseChanged(phase=name, session=SESSION, open_utc=OPEN, close_utc=clock(16), at_utc=OPEN)


def lane(
    known: LaneRestored | None = None, in_phase: Phase = Phase.ENTRY, settings: Any = ONE_KIND
) -> Probe[LaneState]:
    probe = Probe(LaneActor(NAME, settings), OPEN)
    probe.start(restored() if known is None else known)
    probe.feed(phase(in_phase))
    return probe


def read(probe: Probe[LaneState], path: Sequence[float | None], start: int = 0) -> Outbox:
    """Feed readings of so many bps above zero gamma, each as its bucket closes."""
    effects = []
    for n, bps in enumerate(path, start):
        effects += probe.feed(seen(n, bps), OPEN + (n + 1) * BUCKET_NS + 2 * SECOND).effects
    return Outbox(effects)


def flipped(probe: Probe[LaneState]) -> signals.RecordAlert:
    (record,) = read(probe, [-10.0, -10.0, 10.0, 10.0]).told(signals.RecordAlert, "ledger")
    return record


def recorded(alert_id: str, is_new: bool = True) -> signals.AlertRecorded:
    return signals.AlertRecorded(alert_id=alert_id, is_new=is_new)


def test_a_flip_is_recorded_first_and_raised_when_the_record_is_durable() -> None:
    probe = lane()
    record = flipped(probe)
    alert = record.alert
    assert alert.key.alert_id == "20261120-gexwatch-SPX-093130-GAMMA_FLIP-1"
    assert (alert.direction, alert.is_shadow, record.reply_to) == (1, False, NAME)
    out = probe.feed(recorded(alert.key.alert_id))
    (signal,) = out.published(signals.SignalRaised)
    (leg,) = signal.intent.plan.legs
    assert (leg.right, leg.side, leg.ratio) == (Right.CALL, Side.BUY, 1)
    assert signal.intent.expires_utc == alert.key.bucket_utc + BUCKET_NS + 45 * SECOND
    assert out.published(signals.AlertRaised) == [signals.AlertRaised(alert=alert)]
    assert probe.feed(recorded(alert.key.alert_id, is_new=False)).effects == []


def test_the_intent_says_which_strategy_wants_what_of_which_alert() -> None:
    probe = lane()
    alert = flipped(probe).alert
    (signal,) = probe.feed(recorded(alert.key.alert_id)).published(signals.SignalRaised)
    intent = signal.intent
    assert (intent.key, intent.strategy, intent.direction) == (alert.key, "gexwatch", 1)
    assert intent.intent_id == f"{alert.key.alert_id}/gexwatch/0"
    assert intent.raised_utc == alert.raised_utc


def test_without_the_record_there_is_no_signal() -> None:
    assert not read(lane(), [-10.0, -10.0, 10.0, 10.0, 10.0, 10.0]).published(signals.SignalRaised)


def test_what_is_not_promoted_is_a_shadow_and_still_raised() -> None:
    probe = lane(restored(promoted=("STRUCTURE_BREAK-1", "GAMMA_FLIP-2")))
    alert = flipped(probe).alert
    assert alert.is_shadow
    (signal,) = probe.feed(recorded(alert.key.alert_id)).published(signals.SignalRaised)
    assert signal.intent.is_shadow


def test_a_promotion_and_its_withdrawal_hold_from_the_next_alert_on() -> None:
    for was, is_promoted in ((("GAMMA_FLIP-1",), False), ((), True)):
        probe = lane(restored(promoted=was))
        for source in ("advisor", "gexwatch"):
            changed = signals.PromotionChanged(
                source=source, kind="GAMMA_FLIP", version=1, is_promoted=is_promoted, by="me"
            )
            probe.feed(changed)
            assert ("GAMMA_FLIP-1" in probe.state.promoted) is (is_promoted if source == "gexwatch" else bool(was))
        assert flipped(probe).alert.is_shadow is not is_promoted


def test_an_opposite_alert_turns_positions_at_once_behind_its_record() -> None:
    probe = lane()
    read(probe, [-10.0, -10.0, 10.0, 10.0])
    out = read(probe, [10.0] * 10 + [-10.0, -10.0], 4)
    (reversal,) = out.published(signals.ReversalRaised)
    assert (reversal.source, reversal.ticker, reversal.direction) == ("gexwatch", "SPX", -1)
    record, turned = out.effects[-2:]
    assert isinstance(record, Tell)
    assert isinstance(turned, Publish)


def test_an_opposite_shadow_turns_no_position() -> None:
    probe = lane(restored(promoted=()))
    read(probe, [-10.0, -10.0, 10.0, 10.0])
    assert not read(probe, [10.0] * 10 + [-10.0, -10.0], 4).published(signals.ReversalRaised)


@pytest.mark.parametrize(
    ("in_phase", "fires"),
    [(Phase.PRE, False), (Phase.OPEN, True), (Phase.ENTRY, True), (Phase.LATE, False), (Phase.PANIC, False),
     (Phase.FLATTEN, False), (Phase.CLOSED, False), (Phase.CLOSED_DAY, False)],
)  # fmt: skip
def test_alerts_are_looked_for_from_the_open_to_the_last_entry_only(in_phase: Phase, fires: bool) -> None:
    out = read(lane(in_phase=in_phase), [-10.0, -10.0, 10.0, 10.0])
    assert bool(out.told(signals.RecordAlert)) is fires
    assert len(out.published(signals.NotEvaluated)) == (3 if fires else 4)


def test_until_the_phase_is_known_nothing_is_evaluated() -> None:
    probe = Probe(LaneActor(NAME, ONE_KIND), OPEN)
    out = probe.start(restored())
    assert out.told(session.RequestPhase, "session") == [session.RequestPhase(reply_to=NAME)]
    (refusal,) = probe.feed(seen(0, 10.0)).published(signals.NotEvaluated)
    assert refusal.why == "phase not known"


def test_a_reading_without_spot_is_not_evaluated_and_the_silent_categories_are_named() -> None:
    out = lane().feed(seen(0, None, missing=("classic_gex_zero",), complete=False))
    (refusal,) = out.published(signals.NotEvaluated)
    assert refusal.why == "missing spot (silent: classic_gex_zero) (not every hub's marker was in)"
    assert refusal.kind == "GAMMA_FLIP"


def test_a_reading_told_twice_is_judged_once() -> None:
    probe = lane()
    read(probe, [-10.0, -10.0, 10.0])
    assert probe.feed(seen(2, 10.0)).effects == []
    assert probe.feed(seen(3, 10.0)).told(signals.RecordAlert)


def unraised(n: int, direction: int = -1) -> Alert:
    bucket_utc = OPEN + n * BUCKET_NS
    return Alert(
        key=AlertKey("gexwatch", "SPX", "GAMMA_FLIP", 1, bucket_utc),
        direction=direction,
        entry_ticks=ZERO,
        target_ticks=ZERO,
        stop_ticks=ZERO,
        horizon_ms=1,
        is_shadow=False,
        raised_utc=bucket_utc + 32 * SECOND,
    )


def test_a_restarted_lane_raises_again_what_is_fresh_and_nobody_decided_on() -> None:
    probe = Probe(LaneActor(NAME, ONE_KIND), OPEN + 3 * BUCKET_NS)
    known = restored(
        unraised=(unraised(0), unraised(2)), last_alerts=(("GAMMA_FLIP", OPEN + 95 * SECOND),), last_direction=-1
    )
    (signal,) = probe.start(known, incarnation=2).published(signals.SignalRaised)
    assert signal.intent.key == unraised(2).key
    assert signal.intent.plan.legs[0].right is Right.PUT


def test_a_restarted_lane_keeps_its_cooldown_and_arms_in_silence() -> None:
    probe = lane(restored(last_alerts=(("GAMMA_FLIP", OPEN + 95 * SECOND),), last_direction=1))
    assert not read(probe, [10.0] * 4 + [-10.0] * 4, 4).told(signals.RecordAlert)
    assert read(probe, [-10.0] * 10 + [10.0] * 2, 12).told(signals.RecordAlert)


def test_a_cooldown_of_another_kind_is_none_of_this_one() -> None:
    probe = lane(restored(last_alerts=(("STRUCTURE_BREAK", OPEN + 10 * SECOND),)))
    assert flipped(probe)


def test_answers_of_risk_are_kept() -> None:
    probe = lane()
    key = unraised(0).key
    verdict = Verdict("cooldown", Finding(Outcome.REJECT, RejectCode.COOLDOWN))
    assert probe.feed(entries.EntryDenied(key=key, code=RejectCode.COOLDOWN, verdict=verdict)).effects == []
    assert probe.state.last_answer == f"{key.alert_id} cooldown"
    leg = OrderLeg(
        contract=Contract(1, "SPX", "SPXW", date(2026, 11, 20), ZERO, Right.PUT),
        side=Side.BUY,
        qty=1,
        limit_ticks=500,
        order_ref="ZH",
    )
    assert probe.feed(entries.EntryHandedOver(key=key, intent_id="i", leg=leg)).effects == []
    assert probe.state.last_answer == f"{key.alert_id} ZH"


def test_the_advisor_watches_its_own_ticker_with_its_own_kind() -> None:
    settings = SETTINGS.model_copy(update={"alerts": {"advisor": ("STRUCTURE_BREAK",)}})
    probe = Probe(LaneActor("lane:advisor:QQQ", settings), OPEN)
    probe.start(restored())
    probe.feed(phase(Phase.ENTRY))
    (refusal,) = probe.feed(seen(0, 10.0)).published(signals.NotEvaluated)
    assert (refusal.source, refusal.ticker, refusal.kind, refusal.why) == (
        "advisor", "QQQ", "STRUCTURE_BREAK", "missing level",
    )  # fmt: skip


def level(n: int, bps: float, above_level_bps: float) -> signals.FeaturesComputed:
    """Return a reading with spot so far above zero gamma and above one positive major level that stands still."""
    spot = round(ZERO * (1 + bps / 1e4))
    return seen(
        n, bps, loc_major_pos_vol_bps=above_level_bps, loc_major_neg_vol_bps=(spot - 590_000) / 590_000 * 1e4,
        price_return_30m_bps=0.0,
    )  # fmt: skip


def breaking(probe: Probe[LaneState]) -> Outbox:
    """Let spot cross zero gamma and a major level 8 bps above it in the same bucket."""
    major = round(ZERO * 1.0008)
    effects = []
    for n, bps in enumerate((-10.0, -10.0, 6.0, 12.0)):
        spot = round(ZERO * (1 + bps / 1e4))
        effects += probe.feed(level(n, bps, (spot - major) / major * 1e4), OPEN + (n + 1) * BUCKET_NS).effects
    return Outbox(effects)


def test_two_kinds_in_one_bucket_are_two_alerts_each_under_its_own_promotion() -> None:
    probe = lane(settings=BOTH_KINDS)
    flip, broken = (record.alert for record in breaking(probe).told(signals.RecordAlert, "ledger"))
    assert [flip.key.kind, broken.key.kind] == ["GAMMA_FLIP", "STRUCTURE_BREAK"]
    assert flip.key.bucket_utc == broken.key.bucket_utc
    assert flip.key.alert_id != broken.key.alert_id
    assert (flip.is_shadow, broken.is_shadow) == (False, True)


def test_each_of_two_alerts_is_raised_by_its_own_record() -> None:
    probe = lane(settings=BOTH_KINDS)
    flip, broken = (record.alert for record in breaking(probe).told(signals.RecordAlert, "ledger"))
    for alert in (broken, flip):
        (signal,) = probe.feed(recorded(alert.key.alert_id)).published(signals.SignalRaised)
        assert signal.intent.key == alert.key
    assert probe.state.pending == ()


def test_each_kind_says_for_itself_why_it_was_not_evaluated() -> None:
    out = lane(settings=BOTH_KINDS).feed(seen(0, None))
    assert [(n.kind, n.why) for n in out.published(signals.NotEvaluated)] == [
        ("GAMMA_FLIP", "missing spot"),
        ("STRUCTURE_BREAK", "missing level"),
    ]


def test_each_kind_has_a_cooldown_of_its_own() -> None:
    probe = lane(restored(last_alerts=(("GAMMA_FLIP", OPEN + 10 * SECOND),)), settings=BOTH_KINDS)
    (record,) = breaking(probe).told(signals.RecordAlert, "ledger")
    assert record.alert.key.kind == "STRUCTURE_BREAK"


def looked_again(path: Sequence[float]) -> signals.ReadingsRead:
    events = [seen(n, bps) for n, bps in enumerate(path)]
    readings = tuple(Reading(e.bucket_utc, e.features, e.spot, e.zero_gamma) for e in events)
    return signals.ReadingsRead(ticker="SPX", readings=readings)


def test_a_lane_that_restarts_looks_at_the_stored_readings_in_silence_and_knows_its_side() -> None:
    probe = Probe(LaneActor(NAME, ONE_KIND), OPEN)
    (asked,) = probe.start(restored()).told(signals.RequestReadings, "series")
    assert (asked.reply_to, asked.ticker) == (NAME, "SPX")
    # The stored readings hold a flip of their own: it was the business of the lane that saw it.
    assert probe.feed(looked_again([10.0, 10.0, -10.0, -10.0])).effects == []
    probe.feed(phase(Phase.ENTRY))
    assert read(probe, [-10.0], 3).effects == []
    (record,) = read(probe, [10.0, 10.0], 4).told(signals.RecordAlert, "ledger")
    assert record.alert.direction == 1


def test_stored_readings_that_come_late_are_no_news_and_the_ledgers_cooldown_stands() -> None:
    probe = lane()
    read(probe, [-10.0, -10.0], 4)
    before = probe.state
    assert probe.feed(looked_again([10.0, 10.0, 10.0])).effects == []
    assert probe.state == before

    cooling = Probe(LaneActor(NAME, ONE_KIND), OPEN)
    cooling.start(restored(last_alerts=(("GAMMA_FLIP", OPEN + BUCKET_NS),)))
    cooling.feed(looked_again([10.0, 10.0]))
    cooling.feed(phase(Phase.ENTRY))
    out = read(cooling, [-10.0, -10.0], 2)
    assert not out.told(signals.RecordAlert)
    assert out.published(signals.NotEvaluated)[-1].why == "cooldown: this flip is let go"
