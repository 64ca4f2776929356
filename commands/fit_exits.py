"""`main.py fit-exits FROM TO`: take-profit and hold levels learned from what the desk's positions did after entry.

What is learned is a table with a version, `exit_tables/EXITS-<n>.json` in the data folder, which nothing trades by.
`--judge EXITS-<n>` judges it on sessions after those that it was learned from, and says whether it has shown what a
promotion asks for, with the line of the settings that has it follow positions as a shadow. A person's promotion puts it
in force. With `--backtest` the positions are those of a backtest of these days.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final

import msgspec
import orjson

from commands.backtest import day_of, promotions_of, sessions_between, traded
from commands.backtest_report import record_of
from commands.cli import CommandError
from commands.fit_exits_report import ExitTable, Paths, judgement_of, report_of
from commands.folder import DataFolder, settings_of
from commands.interrupted import kept
from commands.lines import counted
from commands.pages import tell, try_page
from commands.session_market import told_of
from commands.shadows import promoted_of
from config.settings import Settings
from domain.position.exit_paths import Levels
from domain.position.profiles import LEARNED, SOURCE
from domain.reports.model import Report
from domain.units import Cents
from simulation.backtest.exit_fit import PATHS_MIN, SESSIONS_MIN, fit, judged
from simulation.backtest.exit_paths import paths_of
from simulation.backtest.model import FillModel
from simulation.backtest.recorded import load
from simulation.days.sweep import quick_folder
from storage.queries import LedgerReader

TABLES: Final = "exit_tables"
_WANTED: Final = f"name a longer period, with {PATHS_MIN} positions on {SESSIONS_MIN} sessions at least"
_NONE_WRITTEN: Final = "No table was written: the same command begins again."


def act(arguments: Namespace) -> int:
    """Learn a table, or judge one, and report; 1 where nothing better was learned, or what was judged is not proven.

    Raises:
        CommandError: a date cannot be, there are too few paths, or a table is not known or cannot be written.
    """
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    first, last = day_of(arguments.first), day_of(arguments.last)
    if last < first:
        raise CommandError(f"{first} lies after {last}; give the earlier date first.")
    try_page(arguments.html)
    if arguments.judge is None:
        _try_tables(folder.root / TABLES)
    else:
        _later_than(_table(folder.root / TABLES, arguments.judge), arguments.judge, first)
    with kept(_NONE_WRITTEN), tempfile.TemporaryDirectory(dir=quick_folder()) as aside:
        ledgers = folder.ledgers
        if arguments.backtest:
            ledgers = Path(aside)
            _backtest(folder, settings, first, last, ledgers, may_teach=arguments.judge is None)
        paths = _paths(folder, settings, first, last, ledgers)
    if arguments.judge is None:
        report, told, is_good = _learn(folder, settings, first, last, paths, of_backtest=arguments.backtest)
    else:
        report, told, is_good = _judge(folder, settings, arguments.judge, first, last, paths)
    if arguments.backtest:
        report = msgspec.structs.replace(report, desks=(f"{settings.desk} (backtest)",))
    tell(arguments, report, told)
    return 0 if is_good else 1


def _backtest(
    folder: DataFolder, settings: Settings, first: date, last: date, ledgers: Path, *, may_teach: bool
) -> None:
    """Trade what is stored of these days as `main.py backtest` does without options.

    Raises:
        CommandError: something is to be learned of them, and they are fewer than what anything is learned from.
    """
    sessions, promotions = sessions_between(folder, first, last, settings), promotions_of(folder, settings, None)
    if may_teach and len(sessions) < SESSIONS_MIN:
        stored = f"{counted(len(sessions), 'stored session')} {'teaches' if len(sessions) == 1 else 'teach'} nothing"
        raise CommandError(f"{stored}; {_WANTED}.", 1)
    traded(settings, folder, sessions, promotions, FillModel(), Cents(settings.demo.nav_usd * 100), ledgers)


def _paths(folder: DataFolder, settings: Settings, first: date, last: date, ledgers: Path) -> Paths:
    ledger = LedgerReader(ledgers, settings.desk)
    found, missing, damaged = [], 0, list[tuple[date, Sequence[str], Sequence[str]]]()
    for session in ledger.sessions():
        if first <= session <= last:
            trades = ledger.trades(session)
            if not trades:
                continue
            day = load(folder.series, session)
            of_day, without = paths_of(day, trades, ledger.executions(session))
            damaged.append((session, (), day.damaged))
            found += of_day
            missing += without
    known = [path for path in found if path.ticker in settings.ticker_rules]
    market = told_of(folder, sorted({path.session for path in known}))
    return Paths(tuple(known), missing, market + record_of((), damaged))


def _learn(
    folder: DataFolder, settings: Settings, first: date, last: date, paths: Paths, *, of_backtest: bool
) -> tuple[Report, dict[str, object], bool]:
    n, sessions = len(paths.found), len({path.session for path in paths.found})
    if n < PATHS_MIN or sessions < SESSIONS_MIN:
        instead = "" if of_backtest else ", or give --backtest for the positions of a backtest of these days"
        raise CommandError(
            f"{counted(n, 'closed position')} with quotes on {counted(sessions, 'session')}"
            f" {'teaches' if n == 1 else 'teach'} nothing; {_WANTED}{instead}.", 1,
        )  # fmt: skip
    before = before_of(settings, _promoted(folder, settings))
    found = fit(paths.found, before, settings.exits.premium_stop)
    table = None
    if found.levels is not None:
        table = _kept(
            folder.root / TABLES,
            ExitTable(
                version=0, learned_from=first, learned_to=last, levels=found.levels, before=before, n=found.n,
                ahead=found.ahead, chance=found.chance, is_of_backtest=of_backtest,
            ),
        )  # fmt: skip
    report = report_of(first, last, settings.desk, paths, found, table, before)
    return report, {"table": msgspec.to_builtins(table)}, table is not None


def _judge(
    folder: DataFolder, settings: Settings, name: str, first: date, last: date, paths: Paths
) -> tuple[Report, dict[str, object], bool]:
    table = _table(folder.root / TABLES, name)
    found = judged(
        paths.found, table.levels, before_of(settings, _promoted(folder, settings)), settings.exits.premium_stop
    )
    report, is_proven = judgement_of(first, last, settings, paths, table, found)
    return report, {"table": msgspec.to_builtins(table), "judged": msgspec.to_builtins(found)}, is_proven


def _later_than(table: ExitTable, name: str, first: date) -> None:
    """Refuse to judge a table on what it was learned from."""
    if first <= table.learned_to:
        raise CommandError(
            f"{name} was learned from sessions to {table.learned_to}; what it knows already proves nothing, so judge it"
            " on later ones."
        )


def before_of(settings: Settings, promoted: frozenset[tuple[str, str, int]]) -> dict[str, Levels]:
    """Return the levels in force by ticker: those of the settings, or learned ones that are promoted."""
    rules, learned = settings.ticker_rules, settings.exits.learned
    if learned is not None and (SOURCE, LEARNED, learned.version) in promoted:
        return dict.fromkeys(sorted(rules), Levels(learned.take, learned.hold_ms))
    return {ticker: Levels(settings.exits.take_single, rules[ticker].max_hold_ms) for ticker in sorted(rules)}


def _promoted(folder: DataFolder, settings: Settings) -> frozenset[tuple[str, str, int]]:
    return promoted_of(LedgerReader(folder.ledgers, settings.desk))


def _next_version(tables: Path) -> int:
    names = (path.stem.rpartition("-")[2] for path in tables.glob(f"{LEARNED}-*.json"))
    return 1 + max((int(name) for name in names if name.isdecimal()), default=0)


def _try_tables(tables: Path) -> None:
    """Try whether a table can be written, before the work for it begins; nothing is left there.

    Raises:
        CommandError: it cannot.
    """
    is_new = not tables.exists()
    try:
        tables.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=tables):
            pass
        if is_new:
            tables.rmdir()
    except OSError as error:
        raise _unwritten(tables / f"{LEARNED}-{_next_version(tables)}.json", error) from None


def _kept(tables: Path, table: ExitTable) -> ExitTable:
    """Write a table whole under the next free version, never over another one; return it with that version."""
    aside = tables / f"{LEARNED}-{os.getpid()}.tmp"
    while True:
        table = msgspec.structs.replace(table, version=_next_version(tables))
        path = tables / f"{LEARNED}-{table.version}.json"
        try:
            tables.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(orjson.dumps(msgspec.to_builtins(table), option=orjson.OPT_INDENT_2))
            path.hardlink_to(aside)
        except OSError as error:
            if isinstance(error, FileExistsError) and path.is_file():
                continue  # somebody else has learned one in the same moment
            raise _unwritten(path, error) from None
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        print(f"Written: {path.resolve()}", file=sys.stderr)
        return table


def _unwritten(path: Path, error: OSError) -> CommandError:
    return CommandError(f"{path} cannot be written ({error.strerror}); free the folder or its place.", 3)


def _table(tables: Path, name: str) -> ExitTable:
    path = tables / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=ExitTable)
    except FileNotFoundError:
        known = ", ".join(sorted(found.stem for found in tables.glob(f"{LEARNED}-*.json"))) or "none yet"
        raise CommandError(f"There is no exit table {name} in {tables}; there are: {known}.") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is no exit table ({error}); learn another one.", 3) from None
