"""`main.py replay --settings FILE --what-if`: the day of a trace traded twice, with its own settings and with others.

Both are backtests that hear what the desk heard then, at the same instants, so that what differs comes from the
settings alone; an order that is on record fills as it did, another by the model of backtests. Of a contract that the
desk did not watch nobody knows more than the series keep.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from commands.backtest import promotions_of, sessions_between
from commands.cli import CommandError
from commands.folder import DataFolder
from commands.lines import wrapped
from config.settings import Settings
from domain.instants import BUCKET_NS, exchange_clock
from domain.reports.trades import results_cents
from domain.units import Cents, Utc
from domain.wording import reason_text
from simulation.backtest.heard import heard_in
from simulation.backtest.model import FillModel
from simulation.backtest.recorded import load
from simulation.backtest.recorded_fills import fills_of
from simulation.backtest.run import Backtest, Day, Trade
from simulation.backtest.traced import with_traced
from simulation.days.sweep import quick_folder
from storage.queries import LedgerReader

_NAME, _VALUE = 24, 13  # widths of columns; a line has 80
_TITLES: Final = ("as it was", "with these")
_NONE: Final = "-"


class WhatIf(msgspec.Struct, frozen=True):
    """A day under the settings of its run, and under others; `on_record` is how many trades it truly had."""

    then: Day
    here: Day
    on_record: int


def what_if(folder: DataFolder, session: date, recorded: Settings, wanted: Settings, model: FillModel) -> WhatIf:
    """Trade a session under both settings, from the NAV that the desk began it with.

    Raises:
        CommandError: nothing of the session is stored.
    """
    sessions_between(folder, session, session, recorded)
    then, here = (_traded(folder, session, settings, model) for settings in (recorded, wanted))
    return WhatIf(then, here, len(results_cents(LedgerReader(folder.ledgers, recorded.desk).trades(session))))


def model_of(arguments: Namespace) -> FillModel:
    """Return how orders fill that are not on record.

    Raises:
        CommandError: a quote cannot stand for that long.
    """
    if arguments.stale is None:
        return FillModel()
    if not arguments.stale > 0:
        raise CommandError("--stale is how many seconds a quote stands after its last tick: more than 0.")
    return FillModel(stale_ms=round(arguments.stale * 1000))


def _traded(folder: DataFolder, session: date, settings: Settings, model: FillModel) -> Day:
    then = LedgerReader(folder.ledgers, settings.desk)
    traces = folder.traces_of(session)
    nav_cents = Cents((then.day(session) or {}).get("start_nav_cents") or settings.demo.nav_usd * 100)
    with tempfile.TemporaryDirectory(dir=quick_folder()) as ledgers:
        run = Backtest(
            settings, folder.series, folder.warehouse, promotions_of(folder, settings, None), model, nav_cents,
            Path(ledgers), fills_of(then, session),
            lambda series, day: with_traced(load(series, day), traces), heard_in(traces) if traces else None,
        )  # fmt: skip
        (day,) = run.days((session,))
    return day


def lines_of(found: WhatIf, file: Path) -> list[str]:
    """Return both days beside each other: the sums, the refusals that are not the same, and every trade."""
    then, here = found.then, found.here
    rows = [
        ("", *_TITLES),
        ("alerts", str(then.alerts), str(here.alerts)),
        ("trades, won", _won(then), _won(here)),
        ("net USD", _net(then.trades), _net(here.trades)),
        ("passed without a fill", str(then.unfilled), str(here.unfilled)),
        *(
            (f"refused: {code}", str(then.refused.get(code, 0)), str(here.refused.get(code, 0)))
            for code in {**then.refused, **here.refused}
            if then.refused.get(code, 0) != here.refused.get(code, 0)
        ),
        *((("left open", str(then.held), str(here.held)),) if then.held or here.held else ()),
    ]
    lines = wrapped(f"The whole day on what is stored of it, as it was and with the settings of {file.name}")
    lines += [f"  {name:<{_NAME}}{one:>{_VALUE}}{other:>{_VALUE}}" for name, one, other in rows]
    lines += _trade_lines(then.trades, here.trades)
    for day, which in zip((then, here), _TITLES, strict=True):
        if day.crashed:
            lines += wrapped(f"Crashed {which}: {', '.join(day.crashed)}.")
    if len(then.trades) != found.on_record:
        codes = ", ".join(f"{code} {n}" for code, n in then.refused.items()) or "nothing"
        sentence = (
            f"The day truly had {found.on_record} trades, traded again {len(then.trades)} (refused: {codes}). What a"
            " person or a fault did then is not done again (kill levels, a lost session, a restart); nor is known what"
            " no trace has of its quotes: `--stale 60` lets one stand longer."
        )
        lines += ["", *wrapped(sentence)]
    if then.digest == here.digest:
        return [*lines, "", "Both come out the same: no alert, no verdict and no fill of this day differs."]
    sentence = (
        "An order that is on record fills as it did then, another at the touch of the quotes that the desk heard,"
        " against us; of a contract that it did not watch then there are few or none. After the first trade that"
        " differs the day's limits differ too. One day shows what changes, not what pays."
    )
    return [*lines, "", *wrapped(sentence)]


def _won(day: Day) -> str:
    return f"{len(day.trades)}, {sum(trade.pnl_cents > 0 for trade in day.trades)}"


def _net(trades: Iterable[Trade]) -> str:
    return f"{sum(trade.pnl_cents for trade in trades) / 100:+,.2f}"


def _trade_lines(then: Sequence[Trade], here: Sequence[Trade]) -> list[str]:
    """Return a line a trade: those of the same contract that were entered in the same bucket are one line."""
    before, after = ({_key(trade): trade for trade in trades} for trades in (then, here))
    keys = sorted({**before, **after}, key=lambda key: ((before.get(key) or after[key]).opened_utc, key))
    if not keys:
        return ["", "No trade with either."]
    lines = ["", f"  {'trades, USD':<{_NAME}}{_TITLES[0]:>{_VALUE}}{_TITLES[1]:>{_VALUE}}  closed by"]
    for key in keys:
        one, other = before.get(key), after.get(key)
        trade = one or other
        assert trade is not None  # the key is of one of them
        sizes = " / ".join(dict.fromkeys(str(found.qty) for found in (one, other) if found is not None))
        reasons = " / ".join(dict.fromkeys(_reason(found) for found in (one, other) if found is not None))
        name = f"{exchange_clock(trade.opened_utc)} {sizes} {trade.contract}"
        head = f"  {name:<{_NAME}}{_money(one):>{_VALUE}}{_money(other):>{_VALUE}}  "
        lines += wrapped(reasons, 6, first=head)
    return lines


def _key(trade: Trade) -> tuple[str, str, Utc]:
    return trade.strategy, trade.contract, Utc(trade.opened_utc // BUCKET_NS)


def _reason(trade: Trade) -> str:
    return trade.closed_by or reason_text(trade.reason)


def _money(trade: Trade | None) -> str:
    return _NONE if trade is None else f"{trade.pnl_cents / 100:+,.2f}"
