"""Days of a lane as it lives them: readings one by one through the lane's actor, and what it has recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from actors.lane import LaneActor
from config.settings import Settings
from domain.features.evidence import evidence_of
from domain.features.frames import NO_WINDOW, appended, live
from domain.instants import MS
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals.columns import Found
from domain.signals.snapshot import Snapshot
from messages import market, session, signals
from tests.testkit.probe import Probe


def readings_of(ticker: str, day: TradingDay, snapshots: Iterable[Snapshot]) -> list[signals.FeaturesComputed]:
    """Return what the reading's actor publishes of a session's snapshots."""
    window, last_utc, out = NO_WINDOW, None, []
    for n, snapshot in enumerate(snapshots, 1):
        window, last_utc = appended(window, last_utc, snapshot), snapshot.bucket_utc
        evidence = evidence_of(live(window, last_utc, day))
        out.append(signals.FeaturesComputed(
            ticker=ticker, bucket_utc=last_utc, reading_n=n, features=evidence.features, missing=(), forces=(),
            alignment=evidence.alignment, spot=snapshot.spot, zero_gamma=snapshot.zero_gamma, is_complete=True,
            snapshot=snapshot, evidence=evidence,
        ))  # fmt: skip
    return out


def lived(
    settings: Settings,
    lane: str,
    days: Sequence[tuple[TradingDay, Sequence[signals.FeaturesComputed]]],
    promoted: Sequence[str] = (),
    told: Sequence[market.ContextRead] = (),
) -> list[signals.RecordAlert]:
    """Return what a lane's actor has recorded over sessions, each reading handled when a whole bucket is closed.

    `told` are the derived series that it hears meanwhile, ascending.
    """
    waiting = list(told)
    first, _ = days[0]
    probe = Probe(LaneActor(lane, settings), first.open_utc)
    probe.start()
    for name in promoted:
        kind, _, version = name.rpartition("-")
        probe.feed(signals.PromotionChanged(
            source=lane.split(":")[1], kind=kind, version=int(version), is_promoted=True, by="test",
        ))  # fmt: skip
    for day, readings in days:
        starts = list(calendar.phase_starts(day, settings.day))
        for reading in readings:
            now = reading.bucket_utc + 30_000 * MS + settings.day.bucket_grace_ms * MS
            while starts and starts[0][0] <= now:
                at_utc, phase = starts.pop(0)
                probe.feed(session.PhaseChanged(
                    phase=phase, session=day.session, open_utc=day.open_utc, close_utc=day.close_utc, at_utc=at_utc,
                ), at_utc)  # fmt: skip
            while waiting and waiting[0].told_utc <= now:
                probe.feed(waiting[0], waiting.pop(0).told_utc)
            for record in probe.feed(reading, now).told(signals.RecordAlert):
                probe.feed(signals.AlertRecorded(alert_id=record.alert.key.alert_id, is_new=True), now)
    return probe.sent.told(signals.RecordAlert)


def as_recorded(found: Found) -> dict[str, Any]:
    """Return what a lane records of an alert, field by field, of one found in columns."""
    return {name: getattr(found, name) for name in RECORDED} | {"forces": force_values(found.forces)}


def recorded(record: signals.RecordAlert) -> dict[str, Any]:
    """Return every field of a record but who is answered, and the offer that no evaluator's finding comes of."""
    return {name: getattr(record, name) for name in RECORDED} | {"forces": force_values(record.forces)}


def force_values(forces: Iterable[Any]) -> tuple[tuple[str, float, float], ...]:
    """Return forces as plain values: messages have a type of their own."""
    return tuple((force.name, force.score, force.confidence) for force in forces)


RECORDED = tuple(name for name in signals.RecordAlert.__struct_fields__ if name not in ("reply_to", "offer_id"))
