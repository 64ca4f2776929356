"""The report of exit levels: what positions did after entry, what was learned, and what it was worth afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec
import numpy as np

from config.settings import Settings
from domain.position.exit_paths import ExitPath, Levels
from domain.position.profiles import LEARNED, SOURCE, Other
from domain.reports.model import Cell, Chart, Column, Form, Kind, Rate, Report, Section, Series, Table
from simulation.backtest.exit_fit import TRIED, Fit, Judged

_EDGES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0)
_NOTHING: Final = Table((), ())
_TAKEN: Final = (
    "A level is reached at a recorded look whose mid is there, and is sold at the bid of that look; the premium stop"
    " goes before both levels. An exit for another reason than take-profit or longest hold stays where it was. Nothing"
    " is known after the recording ends: the last bid counts. All of a position is sold at once. Fees are the same for"
    " all levels, and left out."
)


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of a period, of how many closed positions there is no quote, and whose days these are, in words."""

    found: tuple[ExitPath, ...]
    missing: int
    market: str


class ExitTable(msgspec.Struct, frozen=True, kw_only=True):
    """A version of learned levels, with what it was learned from and what its choice was worth ahead.

    `is_of_backtest`: the positions were not the desk's own.
    """

    version: int
    learned_from: date
    learned_to: date
    levels: Levels
    before: dict[str, Levels]
    n: int
    ahead: Judged
    chance: Rate | None
    is_of_backtest: bool = False

    @property
    def name(self) -> str:
        """As people and promotions call it."""
        return Other(LEARNED, self.version).name

    @property
    def line(self) -> str:
        """The line of a settings file that has it follow positions as a shadow."""
        one = self.levels
        return f"exits: {{learned: {{version: {self.version}, take: {one.take:g}, hold_ms: {one.hold_ms}}}}}"


def report_of(
    first: date, last: date, desk: str, paths: Paths, found: Fit, table: ExitTable | None, before: Mapping[str, Levels]
) -> Report:
    """Return the report of what was learned; `table` is `None` where nothing better than before was."""
    n = len(paths.found)
    title = f"Exit levels {first} to {last}: {n:,} positions"
    sections = (
        _learned(found, table, before),
        _excursions(paths),
        _forward(found),
        Section("Taken for granted", f"{paths.market} {_TAKEN}", _NOTHING),
    )
    return Report(title, first, last, (desk,), sections)


def judgement_of(
    first: date, last: date, settings: Settings, paths: Paths, table: ExitTable, found: Judged
) -> tuple[Report, bool]:
    """Return the report of a table on sessions that it was not learned from, and whether it may be promoted."""
    wanted, better = settings.promotion, found.better
    is_enough = better.n >= wanted.outcomes_min
    is_proven = is_enough and better.bounds is not None and better.bounds[0] > 0.5 and (found.mean_cents or 0) > 0
    says = f"{_judged(found)} "
    if is_proven:
        says += (
            "It has shown what a promotion asks for. In your settings file it follows each position as a shadow:"
            f" `{table.line}`; `main.py promote {SOURCE} {table.name}` puts it in force, once that has shown it, too."
        )
    elif not is_enough:
        says += f"{better.n} trades that it changes, {wanted.outcomes_min} are asked for; let it go on as a shadow."
    else:
        says += "The lower bound of the trades that it betters is not above a half, or it gains nothing; leave it."
    sections = (Section(table.name, says, _levels(table.levels, table.before)), _excursions(paths),
                Section("Taken for granted", f"{paths.market} {_TAKEN}", _NOTHING))  # fmt: skip
    return Report(f"{table.name} judged {first} to {last}", first, last, (settings.desk,), sections), is_proven


def _judged(found: Judged) -> str:
    if found.mean_cents is None:
        return "No trade to judge by."
    bounds = f" ({found.bounds[0] / 100:+,.2f} to {found.bounds[1] / 100:+,.2f})" if found.bounds else ""
    return (
        f"{found.mean_cents / 100:+,.2f} USD a trade beside the levels in force{bounds}, {found.n} trades on"
        f" {found.sessions} sessions; of the trades that it changes it bettered {found.better}."
    )


def _table(columns: Iterable[tuple[str, Kind]], rows: Iterable[tuple[Cell, ...]]) -> Table:
    return Table(tuple(Column(title, kind) for title, kind in columns), tuple(rows))


def _levels(levels: Levels | None, before: Mapping[str, Levels]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (ticker, _text(one), "the same" if levels is None else _text(levels)) for ticker, one in before.items()
    ]
    return _table((("ticker", Kind.TEXT), ("in force", Kind.TEXT), ("learned", Kind.TEXT)), rows)


def _text(levels: Levels) -> str:
    return f"take {levels.take:.0%}, hold {levels.hold_ms / 60_000:g} min"


def _learned(found: Fit, table: ExitTable | None, before: Mapping[str, Levels]) -> Section:
    chance = (
        "Whether that could be luck is not told: fewer than 20 sessions."
        if found.chance is None
        else f"The best of {len(TRIED)} levels without an edge does as well in {found.chance} draws of these sessions."
    )
    if table is None:
        says = f"None of {len(TRIED)} levels came to more than those in force on {found.n} positions."
    else:
        says = (
            f"{table.name}, a shadow. Chosen on the sessions before and judged on the next: {_judged(found.ahead)}"
            f" {chance} Nothing trades by it; judge it on later sessions with --judge {table.name}."
        )
    return Section("Learned", says, _levels(found.levels, before))


def _excursions(paths: Paths) -> Section:
    missing = f" Of {paths.missing} more there is no quote." if paths.missing else ""
    if not paths.found:
        return Section("Farthest gain after entry", f"No position with quotes.{missing}", _NOTHING)
    gains = np.array([path.mfe for path in paths.found])
    minutes = np.array([path.mfe_ms for path in paths.found]) / 60_000
    counts, _ = np.histogram(np.minimum(gains, _EDGES[-1]), (*_EDGES, np.inf))
    says = (
        f"Half of {len(gains)} positions gained {np.median(gains):.0%} or more at the mid, after"
        f" {np.median(minutes):.0f} min by the median.{missing}"
    )
    labels = tuple(f"{edge:.0%}" for edge in _EDGES)
    series = Series("positions, by their farthest gain from here on", tuple(map(float, counts)))
    rows: list[tuple[Cell, ...]] = [
        (f"{edge:.0%}", Rate(int((gains >= edge).sum()), len(gains))) for edge in _EDGES[1:]
    ]
    columns = (("gain", Kind.TEXT), ("reached it", Kind.RATE))
    return Section("Farthest gain after entry", says, _table(columns, rows), Chart(Form.BARS, labels, (series,)))


def _forward(found: Fit) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (
            fold.cut, fold.end - fold.cut,
            "those in force" if fold.chosen == 0 else _text(TRIED[fold.chosen - 1]),
            fold.tested_cents / 100, fold.median_cents / 100, fold.beaten,
        )
        for fold in found.folds
    ]  # fmt: skip
    columns = (
        ("before", Kind.COUNT), ("next", Kind.COUNT), ("levels", Kind.TEXT), ("then", Kind.MONEY),
        ("median", Kind.MONEY), ("did worse", Kind.RATE),
    )  # fmt: skip
    says = "numbers of sessions, and what the next ones came to at the chosen levels and at the median of all"
    return Section("Walk-forward: chosen on the sessions before, judged on the next, USD", says, _table(columns, rows))
