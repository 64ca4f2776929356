"""The report of a sweep: how all combinations came out, what each value did, and what choosing one was worth."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import orjson

from commands.backtest_report import record_of
from commands.lines import counted
from domain.reports.model import Cell, Chart, Column, Form, Kind, Rate, Report, Section, Series, Table
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.sweep_figures import (
    CHANCE_DAYS_MIN,
    Nets,
    Spread,
    by_chance,
    falls_of,
    of_value,
    spread_of,
    walk_forward,
)

Combination = dict[str, Any]
Rows = Sequence[tuple[int, dict[str, Any]]]

_BINS: Final = 12
_SHOWN_MAX: Final = 30  # combinations in the table: the best and the worst half of it
_NAMES: Final = ("worst", "lower quarter", "median", "upper quarter", "best")
_REASONS_MAX: Final = 3
_NOTHING: Final = Table((), ())


def report_of(
    first: date, last: date, desk: str, combinations: Sequence[Combination], rows: Rows,
    missing: Sequence[date], nav_cents: Cents, model: FillModel, market: str,
) -> Report:  # fmt: skip
    """Return the report of all combinations on all sessions; of `missing` sessions of the exchange nothing is stored.

    `market` says whose days these are.
    """
    sessions = sorted({row["session"] for _, row in rows})
    nets = np.zeros((len(combinations), len(sessions)), np.int64)
    place = {session: n for n, session in enumerate(sessions)}
    for n, row in rows:
        nets[n, place[row["session"]]] = row["net_cents"]
    tried = f"{counted(len(combinations), 'combination')} on {counted(len(sessions), 'session')}"
    title = f"Sweep {first} to {last}: {tried}" + (f", {len(missing)} not stored" if missing else "")
    of_days = {row["session"]: (row["session"], row["lacking"], row["damaged"]) for _, row in rows}
    market += record_of(missing, (of_days[session] for session in sessions))
    sections = (
        _spread(nets, rows, market), _values(combinations, nets, _idle(combinations, rows)), _forward(nets, sessions),
        _combinations(combinations, nets, rows), _taken(nav_cents, model),
    )  # fmt: skip
    return Report(title, first, last, (f"{desk} (backtest)",), sections)


def _table(columns: Iterable[tuple[str, Kind]], rows: Iterable[tuple[Cell, ...]]) -> Table:
    return Table(tuple(Column(title, kind) for title, kind in columns), tuple(rows))


def _value(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _taken(nav_cents: Cents, model: FillModel) -> Section:
    says = (
        f"Each session begins with {nav_cents / 100:,.2f} USD and empty ledgers, so sessions are independent; net of"
        f" fees. Settings of a sweep replace these: {' '.join(model.assumptions())}"
    )
    return Section("Taken for granted", says, _NOTHING)


def _spread(nets: Nets, runs: Rows, market: str) -> Section:
    totals = nets.sum(axis=1)
    spread, chance = spread_of(totals), by_chance(nets)
    says = f"{market} {spread.gained} gained. " + (
        f"Whether the best one could be luck is not told: fewer than {CHANCE_DAYS_MIN} sessions."
        if chance is None
        else f"The best of as many combinations without any edge does as well in {chance} draws of these sessions."
    )
    idle = Counter(row["why_no_entry"] for _, row in runs if row["why_no_entry"] is not None)
    if idle.total() == len(runs):
        why = "; ".join(f"{why} ({n} of {len(runs)} runs)" for why, n in idle.most_common(_REASONS_MAX))
        says = f"{market} Nothing was entered in any run: {why}."
    counts, edges = np.histogram(totals / 100, bins=_BINS)
    labels = tuple(f"{low:,.0f} to {high:,.0f}" for low, high in itertools.pairwise(edges))
    if totals.min() == totals.max():
        counts, labels = np.array([len(totals)]), (f"{totals[0] / 100:,.0f}",)
    chart = Chart(Form.BARS, labels, (Series("combinations, by their net", tuple(map(float, counts))),))
    rows: list[tuple[Cell, ...]] = [
        (name, cents / 100, cents / 100 / nets.shape[1])
        for name, cents in zip(_NAMES, spread.cents, strict=True)
    ]  # fmt: skip
    columns = (("of all combinations", Kind.TEXT), ("net", Kind.MONEY), ("a session", Kind.MONEY))
    return Section("How the combinations spread, USD", says, _table(columns, rows), chart)


def _idle(combinations: Sequence[Combination], rows: Rows) -> list[str]:
    """Return the settings of several values of which each did the same as the others, whatever else was set."""
    found = []
    for name in combinations[0]:
        did: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
        for n, row in rows:
            others = tuple(_value(value) for other, value in combinations[n].items() if other != name)
            did.setdefault((row["session"], *others), set()).add((row["digest"], row["net_cents"]))
        has_several = len({_value(combination[name]) for combination in combinations}) > 1
        if has_several and all(len(one) == 1 for one in did.values()):
            found.append(name)
    return found


def _values(combinations: Sequence[Combination], nets: Nets, idle: Sequence[str]) -> Section:
    totals = nets.sum(axis=1)
    rows: list[tuple[Cell, ...]] = []
    for name in combinations[0]:
        values = {_value(combination[name]): None for combination in combinations}
        for value in values:
            spread = of_value(totals, [_value(combination[name]) == value for combination in combinations])
            rows.append((f"{name}={value}", *_low_median_high(spread), spread.gained))
    columns = (
        ("value", Kind.TEXT), ("worst", Kind.MONEY), ("median", Kind.MONEY), ("best", Kind.MONEY),
        ("gained", Kind.RATE),
    )  # fmt: skip
    says = f"{', '.join(idle)} changed nothing on any session: alerts, verdicts and fills are the same." if idle else ""
    return Section("What each value came to, over all others, USD", says, _table(columns, rows))


def _low_median_high(spread: Spread) -> tuple[float, float, float]:
    low, _, median, _, high = (cents / 100 for cents in spread.cents)
    return low, median, high


def _forward(nets: Nets, sessions: Sequence[date]) -> Section:
    title = "Walk-forward: chosen on the sessions before, judged on the next, USD a session"
    folds = walk_forward(nets)
    if not folds or len(nets) < 2:
        return Section(title, "needs two sessions and two combinations", _NOTHING)
    rows: list[tuple[Cell, ...]] = [
        (
            _span(sessions[fold.cut], sessions[fold.end - 1]), f"#{fold.chosen}",
            fold.trained_cents / fold.cut / 100, fold.tested_cents / (fold.end - fold.cut) / 100,
            fold.median_cents / (fold.end - fold.cut) / 100, fold.beaten,
        )
        for fold in folds
    ]  # fmt: skip
    tested, median = sum(fold.tested_cents for fold in folds), sum(fold.median_cents for fold in folds)
    hits, n = sum(fold.beaten.hits for fold in folds), sum(fold.beaten.n for fold in folds)
    says = (
        f"The chosen ones came to {tested / 100:+,.2f} on sessions that they were not chosen on, the median of all to"
        f" {median / 100:+,.2f}; they did better than {Rate(hits, n)} of the others. A choice that means nothing does"
        " better than half of them."
    )
    columns = (
        ("judged on", Kind.TEXT), ("chosen", Kind.TEXT), ("before", Kind.MONEY), ("then", Kind.MONEY),
        ("median", Kind.MONEY), ("did worse", Kind.RATE),
    )  # fmt: skip
    return Section(title, says, _table(columns, rows))


def _span(first: date, last: date) -> str:
    return f"{first:%m-%d}" if first == last else f"{first:%m-%d} to {last:%m-%d}"


def _combinations(combinations: Sequence[Combination], nets: Nets, rows: Rows) -> Section:
    totals, falls = nets.sum(axis=1).tolist(), falls_of(nets).tolist()
    wins, trades = np.zeros(len(nets), np.int64), np.zeros(len(nets), np.int64)
    for n, row in rows:
        wins[n] += row["wins"]
        trades[n] += row["trades"]
    order = sorted(range(len(nets)), key=lambda n: (-totals[n], n))
    half = _SHOWN_MAX // 2
    shown = order if len(order) <= _SHOWN_MAX else [*order[:half], *order[-half:]]
    told: list[tuple[Cell, ...]] = [
        (
            f"#{n}",
            *map(_value, combinations[n].values()),
            totals[n] / 100,
            Rate(int(wins[n]), int(trades[n])),
            -falls[n] / 100 or 0.0,
        )
        for n in shown
    ]
    broken = sorted({name for _, row in rows for name in row["crashed"]})
    held = sum(row["held"] for _, row in rows)
    which = "all, the best first" if len(shown) == len(order) else f"the {half} best and the {half} worst"
    says = f"{which}, by their numbers in the table of results"
    says += f". {held} positions were not closed." if held else ""
    says += f". Crashed: {', '.join(broken)}." if broken else ""
    names = ((name.rpartition(".")[2], Kind.TEXT) for name in combinations[0])
    columns = (("", Kind.TEXT), *names, ("net", Kind.MONEY), ("won", Kind.RATE), ("largest fall", Kind.MONEY))
    return Section("Combinations, USD", says, _table(columns, told))
