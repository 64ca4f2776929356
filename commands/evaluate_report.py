"""An evaluation as a report: whose market it was, how often it was right with n and bounds, and the paths after."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Final

from commands.session_market import Market
from domain.instants import exchange_clock
from domain.reports.model import Cell, Chart, Column, Form, Kind, Rate, Report, Section, Series, Table
from domain.signals.columns import Found
from domain.signals.evaluator import Evaluator
from domain.signals.outcome import PATH_MINUTES, First, OutcomeState
from domain.signals.rates import Z_95

_WAYS: Final = {1: "up", -1: "down"}
_EDGES: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of the stop


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is evaluated: the evaluator, the source in whose name alerts are found, and on which tickers."""

    evaluator: Evaluator[Any, Any]
    source: str
    tickers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found: alerts with outcomes, which readings of which sessions they are from, and whose market it was."""

    wanted: Wanted
    first: date
    last: date
    alerts: tuple[Found, ...]
    sessions: tuple[date, ...]
    readings: dict[str, int]
    made_of_rows: int
    markets: dict[date, Market]


def evaluation_of(found: Evaluation, alerts_max: int | None = None) -> Report:
    """Return the report of an evaluation; of the alerts it lists so many of the newest (`None`: all)."""
    evaluator, sessions = found.wanted.evaluator, len(found.sessions)
    title = f"{evaluator.version_name}, {found.first} to {found.last}: {_many(sessions, 'session')}"
    sections = (
        _data(found), _rates(found), _times(found.alerts), _paths(found.alerts), _moves(found.alerts),
        _list(found.alerts, alerts_max),
    )  # fmt: skip
    return Report(title, found.first, found.last, ("no desk, an evaluation trades nothing",), sections)


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _table(columns: Iterable[tuple[str, Kind]], rows: Iterable[tuple[Cell, ...]]) -> Table:
    return Table(tuple(Column(title, kind) for title, kind in columns), tuple(rows))


def _data(found: Evaluation) -> Section:
    markets = dict.fromkeys(found.markets.values())
    of_market = [[s for s, of in found.markets.items() if of == market] for market in markets]
    says = [
        f"Readings: {sum(found.readings.values()):,} of {', '.join(found.readings)}."
        + (
            f" Of {_many(found.made_of_rows, 'ticker day')} they are made of the vendor's rows."
            * bool(found.made_of_rows)
        )
    ]
    if not all(market.is_real for market in markets):
        says.append(
            "What is not recorded from the market says whether the kind works as written, and nothing about profit."
        )
    rules = found.wanted.evaluator.rules
    says.append(
        f"Target {rules.target_bps:g} bps, stop {rules.stop_bps:g} bps, followed for {rules.horizon_ms / 60_000:g} min;"
        " moves are those of the underlying, before any cost."
    )
    rows = (
        (market.name, len(days), str(days[0]), str(days[-1])) for market, days in zip(markets, of_market, strict=True)
    )
    columns = (("market", Kind.TEXT), ("sessions", Kind.COUNT), ("first", Kind.TEXT), ("last", Kind.TEXT))
    return Section("What it stands on", " ".join(says), _table(columns, rows))


def _rates(found: Evaluation) -> Section:
    groups: list[tuple[str, list[Found]]] = [("all", list(found.alerts))]
    for way, name in _WAYS.items():
        groups.append((name, [one for one in found.alerts if one.alert.direction == way]))
    groups += [(t, [one for one in found.alerts if one.alert.key.ticker == t]) for t in found.readings]
    columns = (
        ("which", Kind.TEXT), ("alerts", Kind.COUNT), ("target first", Kind.RATE), ("stop first", Kind.COUNT),
        ("neither", Kind.COUNT), ("not resolved", Kind.COUNT), ("MFE", Kind.COUNT), ("MAE", Kind.COUNT),
    )  # fmt: skip
    rules = found.wanted.evaluator.rules
    chance = rules.stop_bps / (rules.stop_bps + rules.target_bps)
    says = (
        "Target before stop, of the resolved outcomes, with the 95 % interval; MFE and MAE are means, in stops."
        f" A walk without drift reaches the target first in {chance * 100:.0f} % at most."
        if found.alerts else f"Nothing was found in {_many(len(found.sessions), 'session')}."
    )  # fmt: skip
    rows = tuple(_rate_row(name, group) for name, group in groups) if found.alerts else ()
    return Section("Outcomes", says, _table(columns, rows))


def _resolved(group: Iterable[Found]) -> list[Found]:
    return [one for one in group if one.outcome.state is OutcomeState.RESOLVED]


def _rate(group: Iterable[Found]) -> Rate:
    resolved = _resolved(group)
    return Rate(sum(one.outcome.first is First.TARGET for one in resolved), len(resolved))


def _rate_row(name: str, group: Sequence[Found]) -> tuple[Cell, ...]:
    resolved = _resolved(group)
    ends = [one.outcome.first for one in resolved]
    return (
        name, len(group), _rate(group), ends.count(First.STOP), ends.count(First.NEITHER), len(group) - len(resolved),
        _mean(one.outcome.mfe_stops for one in resolved), _mean(one.outcome.mae_stops for one in resolved),
    )  # fmt: skip


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(math.fsum(known) / len(known), 2) if known else None


def _times(alerts: Sequence[Found]) -> Section:
    by_hour: dict[str, list[Found]] = {}
    for one in sorted(alerts, key=_clock):
        by_hour.setdefault(f"{_clock(one)[:2]}:00", []).append(one)
    rates = [_rate(group) for group in by_hour.values()]
    chart = _rate_chart("target first", list(by_hour), rates) if any(rate.n for rate in rates) else None
    columns = (("from", Kind.TEXT), ("alerts", Kind.COUNT), ("target first", Kind.RATE))
    rows = ((hour, len(group), _rate(group)) for hour, group in by_hour.items())
    says = "New York's hours; a bar is a rate, its line the interval." if by_hour else "no alert"
    return Section("By hour", says, _table(columns, rows), chart)


def _clock(one: Found) -> str:
    return exchange_clock(one.alert.key.bucket_utc)


def _rate_chart(name: str, labels: Sequence[str], rates: Sequence[Rate]) -> Chart:
    shares = tuple(None if rate.share is None else rate.share * 100 for rate in rates)
    bounds = tuple(None if rate.bounds is None else (rate.bounds[0] * 100, rate.bounds[1] * 100) for rate in rates)
    return Chart(Form.BARS, tuple(labels), (Series(name, shares, bounds),), "%")


def _paths(alerts: Sequence[Found]) -> Section:
    """Return the mean moves after the alert; beyond a horizon, and in a silent reading, an alert has none."""
    rows, series = list[tuple[Cell, ...]](), list[Series]()
    known = [
        n for n in range(len(PATH_MINUTES)) if any(one.outcome.path_bps[n] is not None for one in _resolved(alerts))
    ]
    for way, name in _WAYS.items():
        paths = [one.outcome.path_bps for one in _resolved(alerts) if one.alert.direction == way]
        means = [_mean_and_error(paths, n) for n in known]
        bounds = (
            None if mean is None or error is None else (mean - Z_95 * error, mean + Z_95 * error)
            for mean, error in means
        )
        series.append(Series(name, tuple(mean for mean, _ in means), tuple(bounds)))
        for n, (mean, error) in zip(known, means, strict=True):
            count = sum(path[n] is not None for path in paths)
            rows += [(name, f"{PATH_MINUTES[n]} min", count, mean, error)] if count else []
    columns = (
        ("direction", Kind.TEXT), ("after", Kind.TEXT), ("n", Kind.COUNT), ("mean", Kind.COUNT),
        ("± error", Kind.COUNT),
    )  # fmt: skip
    chart = Chart(Form.BARS, tuple(f"{PATH_MINUTES[n]} min" for n in known), tuple(series), "bps") if rows else None
    says = "bps of the entry, positive with the alert; the error is that of the mean, a bar's line its 95 %."
    return Section("Mean move after the alert", says if rows else "no resolved outcome", _table(columns, rows), chart)


def _mean_and_error(paths: Sequence[tuple[float | None, ...]], n: int) -> tuple[float | None, float | None]:
    known = [move for path in paths if (move := path[n]) is not None]
    if len(known) < 2:
        return (round(known[0], 2) if known else None), None
    mean = math.fsum(known) / len(known)
    variance = math.fsum((move - mean) ** 2 for move in known) / (len(known) - 1)
    return round(mean, 2), round(math.sqrt(variance / len(known)), 2)


def _moves(alerts: Sequence[Found]) -> Section:
    resolved = _resolved(alerts)
    names = [f"{low:g}-{high:g}" for low, high in pairwise(_EDGES)] + [f"> {_EDGES[-1]:g}"]
    sides: dict[str, Callable[[Found], float]] = {
        "with (MFE)": lambda one: one.outcome.mfe_stops, "against (MAE)": lambda one: one.outcome.mae_stops,
    }  # fmt: skip
    counts = {name: _counted(map(side, resolved)) for name, side in sides.items()}
    series = tuple(Series(name, tuple(map(float, of_side))) for name, of_side in counts.items())
    columns = (("stops", Kind.TEXT), *((name, Kind.COUNT) for name in counts))
    rows = zip(names, *counts.values(), strict=True) if resolved else ()
    chart = Chart(Form.BARS, tuple(names), series) if resolved else None
    says = "alerts by their farthest move within the horizon, in stops" if resolved else "no resolved outcome"
    return Section("How far it went", says, _table(columns, rows), chart)


def _counted(values: Iterable[float]) -> list[int]:
    counts = [0] * len(_EDGES)
    for value in values:
        counts[max(sum(value > edge for edge in _EDGES) - 1, 0)] += 1
    return counts


def _list(alerts: Sequence[Found], alerts_max: int | None) -> Section:
    shown = alerts if alerts_max is None else alerts[-alerts_max:]
    left_out = f" The newest {len(shown)} of {len(alerts):,}; --html and --json have all." * (len(shown) < len(alerts))
    columns = (
        ("session", Kind.TEXT), ("at", Kind.TEXT), ("ticker", Kind.TEXT), ("way", Kind.TEXT), ("entry", Kind.USD),
        ("aligned", Kind.COUNT), ("came first", Kind.TEXT), ("MFE", Kind.COUNT), ("MAE", Kind.COUNT),
    )  # fmt: skip
    return Section("Alerts", f"MFE and MAE in bps.{left_out}" if alerts else "none", _table(columns, map(_row, shown)))


def _row(one: Found) -> tuple[Any, ...]:
    key, outcome = one.alert.key, one.outcome
    end = outcome.first.value if outcome.state is OutcomeState.RESOLVED else outcome.state.value
    alignment = None if one.alignment is None else round(one.alignment, 2)
    return (
        str(key.session), _clock(one), key.ticker, _WAYS[one.alert.direction], one.alert.entry_ticks / 100, alignment,
        end, round(outcome.mfe_bps, 1), round(outcome.mae_bps, 1),
    )  # fmt: skip
