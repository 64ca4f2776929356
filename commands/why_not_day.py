"""`main.py why-not [DATE]`: what each lane found on a day, what became of it, and what came nearest to more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec
import orjson

from commands.folder import DataFolder
from commands.lanes import looked_for, spreads_on_record
from commands.lines import counted, wrapped
from commands.report_figures import fates
from commands.traces import UNREADABLE, enveloped, records
from commands.why_lines import levels_text
from config.settings import Settings
from domain.features.evidence import Evidence
from domain.instants import BUCKET_NS, exchange_clock
from domain.market.derived import values_at
from domain.reports.refusals import code_text, refused_measure
from domain.signals import spread
from domain.signals.conditioned import ConditionEvaluator
from domain.signals.evaluator import Reading, reading_of
from domain.signals.nearest_miss import Miss, nearest_miss
from domain.signals.nearest_threshold import NearThreshold, nearest_threshold
from domain.signals.snapshot import Snapshot
from domain.structure.credit import Unmet, unmet_of
from domain.units import Ticks, Utc
from storage.derived_told import derived_told
from storage.queries import Found, LedgerReader
from storage.series_reader import SeriesReader
from storage.series_rows import READINGS

_NOT_EVALUATED = b'"signals.NotEvaluated"'


class NearSpread(msgspec.Struct, frozen=True):
    """The bucket in which a spread came nearest to being opened, and the condition that failed there."""

    bucket_utc: Utc
    unmet: Unmet


class KindOfDay(msgspec.Struct, kw_only=True):
    """One lane and kind on one day.

    `readings` are what the lane had to judge. That of the spread reads none: they are then the buckets of which it said
    why it found nothing (`is_spread`).
    """

    lane: str
    kind: str
    alerts: int = 0
    shadows: int = 0
    filled: int = 0
    unfilled: int = 0
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    nearest_refusal: Found | None = None
    readings: int = 0
    not_judged: Counter[str] = msgspec.field(default_factory=Counter)
    nearest_miss: Miss | None = None
    nearest_threshold: NearThreshold | None = None
    nearest_spread: NearSpread | None = None
    is_spread: bool = False


def show(session: date, settings: Settings, folder: DataFolder, ledger: LedgerReader, *, is_json: bool) -> int:
    """Print the day; 1 where no lane read anything."""
    found = kinds_of(session, settings, folder, ledger)
    if is_json:
        print(orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2, default=str).decode())
    else:
        print("\n".join(lines_of(session, found)))
    return 0 if any(kind.readings or kind.alerts for kind in found) else 1


def kinds_of(session: date, settings: Settings, folder: DataFolder, ledger: LedgerReader) -> list[KindOfDay]:
    """Return what is known of each lane and kind that the settings name.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    attempts, alerts = ledger.attempts(session), ledger.alerts(session)
    approved, filled, _ = fates(attempts, ledger.trades(session), ledger.held())
    silences, out_of_phase, spreads = _not_judged(folder, session)
    by_ticker = _readings(folder, session)
    looked = looked_for(settings)
    found = []
    for one in (*looked, *spreads_on_record((*attempts, *alerts), looked)):
        of_kind, raised = [row for row in attempts if one.is_of(row)], [row for row in alerts if one.is_of(row)]
        refusals = [row for row in of_kind if code_text(row) is not None and not row["is_shadow"]]
        ours = {row["intent_id"] for row in of_kind} & approved
        not_judged = silences.get((one.source, one.ticker, one.kind), Counter())
        day = KindOfDay(
            lane=one.lane, kind=one.kind, alerts=len(raised), shadows=sum(bool(row["is_shadow"]) for row in raised),
            filled=len(ours & filled), unfilled=len(ours - filled),
            refused=Counter(code for row in refusals if (code := code_text(row)) is not None),
            nearest_refusal=min(refusals, key=closeness, default=None), not_judged=not_judged,
        )  # fmt: skip
        found.append(day)
        if one.source == spread.SOURCE:
            day.is_spread, day.readings = True, not_judged.total()
            day.nearest_spread = spreads.get(one.kind)
            continue
        readings = by_ticker.get(one.ticker, [])
        looked_at = [r for r in readings if (one.source, one.ticker, r.bucket_utc) not in out_of_phase]
        evaluator = settings.kinds[one.kind](settings.alert_rules[one.kind])
        day.readings = len(readings)
        if isinstance(evaluator, ConditionEvaluator):
            day.nearest_threshold = nearest_threshold(evaluator, looked_at)
        else:
            day.nearest_miss = nearest_miss(evaluator, looked_at)
    return found


def closeness(row: Found) -> float:
    """Return how far a refusal's measure was from its limit, as a share of it; infinite where none was measured."""
    return _share_away(row["measured"], row["limit_value"])


def _share_away(measured: float | None, limit: float | None) -> float:
    if measured is None or limit is None or not math.isfinite(measured):
        return math.inf
    return abs(measured - limit) / max(abs(limit), 1e-9)


class _Line(msgspec.Struct, frozen=True):
    """What is read of a stored reading."""

    bucket_utc: Utc
    features: tuple[float | None, ...]
    spot: Ticks | None
    zero_gamma: Ticks | None
    snapshot: Snapshot | None
    evidence: Evidence | None


def _readings(folder: DataFolder, session: date) -> dict[str, list[Reading]]:
    """Return the day's stored readings by ticker, in the order of their buckets."""
    reader = SeriesReader(folder.series)
    told = derived_told(reader, session)
    table = reader.day(READINGS, session).select(
        ["ticker", "bucket_utc", "features", "spot", "zero_gamma", "snapshot", "evidence"]
    )  # fmt: skip
    out: dict[str, list[Reading]] = {}
    for row in sorted(table.to_pylist(), key=lambda row: row["bucket_utc"]):
        line = msgspec.convert(row, _Line)
        seen = values_at(told, Utc(line.bucket_utc + BUCKET_NS))
        out.setdefault(row["ticker"], []).append(
            reading_of(line.bucket_utc, line.spot, line.zero_gamma, line.features, line.evidence, line.snapshot, seen)
        )
    return out


def _not_judged(
    folder: DataFolder, session: date
) -> tuple[dict[tuple[str, str, str], Counter[str]], set[tuple[str, str, int]], dict[str, NearSpread]]:
    """Count why buckets were not judged, by source, ticker and kind; what comes in brackets is left out.

    With them the buckets of each lane in which no alerts were looked for at all, by the phase of the day, and the
    nearest miss of each kind of spread.
    """
    out: dict[tuple[str, str, str], Counter[str]] = {}
    out_of_phase: set[tuple[str, str, int]] = set()
    spreads: dict[str, NearSpread] = {}
    for path in folder.traces_newest_first():
        if path.parent.name != session.isoformat():
            continue
        for message in _messages(records(path)):
            key = (message["source"], message["ticker"], message["kind"])
            why = _short(message["source"], str(message["why"]))
            out.setdefault(key, Counter())[why] += 1
            if why.startswith("phase "):
                out_of_phase.add((message["source"], message["ticker"], message["bucket_utc"]))
            unmet = unmet_of(str(message["why"])) if message["source"] == spread.SOURCE else None
            if unmet is not None:
                near = NearSpread(message["bucket_utc"], unmet)
                spreads[message["kind"]] = min(spreads.get(message["kind"], near), near, key=_away)
    return out, out_of_phase, spreads


def _away(near: NearSpread) -> tuple[float, Utc]:
    return _share_away(near.unmet.measured, near.unmet.limit), near.bucket_utc


def _short(source: str, why: str) -> str:
    """Return why nothing was judged without what is of one bucket alone: what stands in brackets, of a spread all."""
    if source != spread.SOURCE:
        return why.partition(" (")[0]
    return "one is under way" if why.endswith(" is under way") else why.partition(":")[0].replace("_", " ")


def _messages(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    seen = set()
    for line in lines:
        if _NOT_EVALUATED not in line:
            continue
        found = enveloped(line)
        try:
            if found is None or found[1]["type"] != "signals.NotEvaluated":
                continue
            message = found[1]
            key = (message["source"], message["ticker"], message["kind"], message["bucket_utc"], message["why"])
        except UNREADABLE:
            continue
        if key not in seen:
            seen.add(key)
            yield message


def lines_of(session: date, found: list[KindOfDay]) -> list[str]:
    """Return the day for people."""
    lines = [f"Session {session}, New York's clock", *_sum(found)]
    for kind in found:
        lines += ["", *wrapped(f"{kind.lane} {kind.kind}: {_fates(kind)}")]
        if kind.nearest_refusal is not None:
            lines += wrapped(f"nearest to a trade: {_refusal(kind.nearest_refusal)}", 2)
        if kind.nearest_miss is not None:
            lines += wrapped(f"nearest to an alert: {_miss(kind.nearest_miss)}", 2)
        if kind.nearest_threshold is not None:
            lines += wrapped(f"nearest to an alert: {_threshold(kind.nearest_threshold)}", 2)
        if kind.nearest_spread is not None:
            near = kind.nearest_spread
            lines += wrapped(f"nearest to an alert: {exchange_clock(near.bucket_utc)} {near.unmet.text}", 2)
        if kind.not_judged:
            counts = ", ".join(f"{why} {n}" for why, n in kind.not_judged.most_common())
            lines += wrapped(
                f"nothing was opened: {counts}" if kind.is_spread
                else f"without a judgement, of {kind.readings} readings: {counts}", 2,
            )  # fmt: skip
    if not found:
        lines += ["", "No lane watches anything: name tickers under `lanes` of the settings."]
    return lines


def _sum(found: list[KindOfDay]) -> list[str]:
    """Return the day's sum: what became of all attempts, the refusals by code, and the nearest misses of all kinds."""
    if not found:
        return []
    alerts, shadows = sum(kind.alerts for kind in found), sum(kind.shadows for kind in found)
    filled, unfilled = sum(kind.filled for kind in found), sum(kind.unfilled for kind in found)
    refused: Counter[str] = sum((kind.refused for kind in found), Counter())
    tried = filled + unfilled + refused.total()
    lines = wrapped(
        f"{counted(alerts, 'alert')} ({shadows} of them shadows), {counted(tried, 'attempt')}: {filled} traded,"
        f" {unfilled} without a fill, {refused.total()} refused"
    )
    if refused:
        lines += wrapped(f"refused by {', '.join(f'{code} {n}' for code, n in refused.most_common())}", 2)
    refusals = [kind.nearest_refusal for kind in found if kind.nearest_refusal is not None]
    if refusals:
        lines += wrapped(f"nearest of all to a trade: {_refusal(min(refusals, key=closeness))}", 2)
    missed = [(kind, kind.nearest_miss) for kind in found if kind.nearest_miss is not None]
    if missed:
        kind, miss = min(missed, key=lambda row: row[1].distance_bps)
        lines += wrapped(f"nearest of all to an alert: {kind.lane} {kind.kind} {_miss(miss)}", 2)
    return lines


def _refusal(row: Found) -> str:
    measure = refused_measure(row)
    told = f"{code_text(row)}{f', {measure}' if measure else ''}"
    return f"{exchange_clock(row['decided_utc'])} {told} ({row['alert_id']})"


def _fates(kind: KindOfDay) -> str:
    if not kind.alerts and not kind.refused:
        what = "buckets" if kind.is_spread else "readings"
        return f"no alert in {kind.readings} {what}" if kind.readings else "nothing was read"
    parts = [counted(kind.alerts, "alert")]
    if kind.shadows:
        whole = "a shadow" if kind.alerts == 1 else "all shadows"
        parts.append(whole if kind.shadows == kind.alerts else f"{kind.shadows} of them shadows")
    parts += [f"{kind.filled} traded"] if kind.filled else []
    parts += [f"{kind.unfilled} without a fill"] if kind.unfilled else []
    parts += [f"refused by {code} {n}" for code, n in kind.refused.most_common()]
    return ", ".join(parts)


def _miss(miss: Miss) -> str:
    reading = miss.reading
    away = f"{miss.distance_bps:.1f} bps away" if miss.distance_bps else "it was there"
    why = f"; {miss.why}" if miss.why else ""
    levels = levels_text(reading.spot, reading.zero_gamma)
    return f"{exchange_clock(reading.bucket_utc)} {away}, {levels}{why}"


def _threshold(near: NearThreshold) -> str:
    return (
        f"{exchange_clock(near.reading.bucket_utc)} {near.name} alone stood in the way: it is {near.limit:g},"
        f" {near.needed:.4g} would have let it through"
    )
