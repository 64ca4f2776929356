"""A lane: a finding is recorded before anybody acts on it, and a restart neither loses nor repeats an alert."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from actors.lane import LaneActor, LaneState
from domain.features.context import CONTEXT
from domain.features.evidence import Evidence, Force
from domain.features.forces import INPUTS
from domain.features.measures import MEASURES
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Contract, Right, Side
from domain.orders.intent import OrderLeg
from domain.risk.gates.types import Finding, Outcome, Verdict
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.signals.alert import Alert, AlertKey
from domain.signals.evaluator import reading_of
from domain.signals.gamma_flip import FlipRules
from domain.signals.registry import FEATURES, INDEX
from domain.signals.snapshot import Snapshot
from messages import entries, session, signals
from messages.restored import LaneRestored
from supervision.effects import Publish, Tell
from tests.testkit.narrow import of_class
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import OPEN, SESSION, SETTINGS, clock

NAME = "lane:gexwatch:SPX"
ZERO = 600_000
PROMOTED = ("GAMMA_FLIP-1",)
ONE_KIND = SETTINGS.model_copy(update={"alerts": {"gexwatch": ("GAMMA_FLIP",)}})
MISSING = "missing alignment, loc_major_pos_vol_bps, loc_major_neg_vol_bps, price_return_30m_bps, flow_dex_5m_z"
BOTH_KINDS = SETTINGS.model_copy(update={"alerts": {"gexwatch": ("GAMMA_FLIP", "STRUCTURE_BREAK")}})


def seen(
    n: int, bps: float | None, *, missing: tuple[str, ...] = (), complete: bool = True, alignment: float | None = None,
    **values: float,
) -> signals.FeaturesComputed:  # fmt: skip
    """Return a reading of so many bps above zero gamma, on whose sides net gamma is negative and positive."""
    spot = None if bps is None else round(ZERO * (1 + bps / 1e4))
    features = tuple(values.get(feature.name) for feature in FEATURES)
    context = tuple(values.get(name) for name in CONTEXT)
    bucket_utc = OPEN + n * BUCKET_NS
    net_gamma = None if spot is None else float(spot - ZERO)
    measures = tuple(net_gamma if name == "net_oi" else None for name in MEASURES)
    return signals.FeaturesComputed(
        ticker="SPX",
        bucket_utc=bucket_utc,
        reading_n=n + 1,
        features=(None,) * len(FEATURES),
        missing=missing,
        forces=(),
        alignment=None,
        spot=spot,
        zero_gamma=ZERO,
        is_complete=complete,
        snapshot=Snapshot(bucket_utc, spot=spot, zero_gamma=ZERO, measures=measures),
        evidence=Evidence(features, context, tuple(Force(name, 0.0, 1.0) for name in INPUTS), alignment),
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
    probe = lane(restored(promoted=("STRUCTURE_BREAK-2", "GAMMA_FLIP-2")))
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
        unraised=(unraised(0), unraised(2)), last_alerts=(("GAMMA_FLIP-1", OPEN + 95 * SECOND),), last_direction=-1
    )
    started = probe.start(known, incarnation=2)
    assert [raised.alert for raised in started.published(signals.AlertRaised)] == [unraised(0), unraised(2)]
    (signal,) = started.published(signals.SignalRaised)
    assert signal.intent.key == unraised(2).key
    assert signal.intent.plan.legs[0].right is Right.PUT


def test_a_restarted_lane_keeps_its_cooldown_and_arms_in_silence() -> None:
    probe = lane(restored(last_alerts=(("GAMMA_FLIP-1", OPEN + 95 * SECOND),), last_direction=1))
    assert not read(probe, [10.0] * 4 + [-10.0] * 4, 4).told(signals.RecordAlert)
    assert read(probe, [-10.0] * 10 + [10.0] * 2, 12).told(signals.RecordAlert)


def test_a_cooldown_of_another_kind_is_none_of_this_one() -> None:
    probe = lane(restored(last_alerts=(("STRUCTURE_BREAK-2", OPEN + 10 * SECOND),)))
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
        "advisor", "QQQ", "STRUCTURE_BREAK", MISSING,
    )  # fmt: skip


def breaking(probe: Probe[LaneState]) -> Outbox:
    """Let spot cross zero gamma and break a major level in the same bucket."""
    around = {
        "loc_major_neg_vol_bps": 80.0, "price_return_30m_bps": 4.0, "flow_dex_5m_z": 2.0, "above_pos_age": 1.0,
    }  # fmt: skip
    effects = []
    for n, bps in enumerate((-10.0, -10.0, 6.0, 12.0)):
        told = seen(n, bps, alignment=0.5, loc_major_pos_vol_bps=bps - 8.0, **around)
        effects += probe.feed(told, OPEN + (n + 1) * BUCKET_NS).effects
    return Outbox(effects)


def test_an_alert_is_recorded_with_all_that_was_seen_and_what_pushed_it() -> None:
    probe = lane(settings=BOTH_KINDS)
    _, broken = breaking(probe).told(signals.RecordAlert, "ledger")
    assert broken.features[INDEX["flow_dex_5m_z"]] == 2.0
    assert broken.alignment == 0.5
    assert [force.name for force in broken.forces] == list(INPUTS)
    (push,) = [push for push in broken.pushes if push.name == "flow_dex_5m_z"]
    assert (push.force, push.value) == ("flow", 2.0)
    assert push.push > 0.0
    assert dict(broken.thresholds)["within_readings"] == 4.0


def test_a_version_that_is_tried_runs_beside_the_live_one_as_a_shadow_with_a_cooldown_of_its_own() -> None:
    rules = of_class(FlipRules, SETTINGS.alert_rules["GAMMA_FLIP"])
    trial = dataclasses.replace(rules, version=2, cooldown_ms=0, hysteresis_bps=8.0)
    settings = ONE_KIND.model_copy(update={"alert_trials": {"GAMMA_FLIP": (trial,)}})
    probe = lane(settings=settings)
    told = read(probe, [-10.0, -10.0, 10.0, 10.0, -10.0, -10.0]).told(signals.RecordAlert, "ledger")
    assert [(one.alert.key.version, one.alert.is_shadow, one.alert.direction) for one in told] == [
        (1, False, 1), (2, True, 1), (2, True, -1),
    ]  # fmt: skip
    assert told[0].alert.key.bucket_utc == told[1].alert.key.bucket_utc
    back = lane(restored(last_alerts=(("GAMMA_FLIP-2", OPEN),), promoted=("GAMMA_FLIP-1",)), settings=settings)
    assert [watch.last_alert_utc for watch in back.state.watches] == [None, OPEN]


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
        ("STRUCTURE_BREAK", f"missing spot, {MISSING.removeprefix('missing ')}"),
    ]


def test_each_kind_has_a_cooldown_of_its_own() -> None:
    probe = lane(restored(last_alerts=(("GAMMA_FLIP-1", OPEN + 10 * SECOND),)), settings=BOTH_KINDS)
    (record,) = breaking(probe).told(signals.RecordAlert, "ledger")
    assert record.alert.key.kind == "STRUCTURE_BREAK"


def looked_again(path: Sequence[float]) -> signals.ReadingsRead:
    events = [seen(n, bps) for n, bps in enumerate(path)]
    readings = tuple(
        reading_of(e.bucket_utc, e.spot, e.zero_gamma, e.features, e.evidence, e.snapshot) for e in events
    )  # fmt: skip
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
    cooling.start(restored(last_alerts=(("GAMMA_FLIP-1", OPEN + BUCKET_NS),)))
    cooling.feed(looked_again([10.0, 10.0]))
    cooling.feed(phase(Phase.ENTRY))
    out = read(cooling, [-10.0, -10.0], 2)
    assert not out.told(signals.RecordAlert)
    assert out.published(signals.NotEvaluated)[-1].why == "cooldown: this flip is let go"
