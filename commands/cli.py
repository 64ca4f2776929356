"""The command line: one small module per command, exit codes documented here.

0 done · 1 done, and what it found is bad (a divergence, a doctor's finding, a day not flat) · 2 the call or the
settings are wrong · 3 something needed could not be reached, or a ledger or the warehouse cannot be used ·
130 interrupted (Ctrl-C on `run` is a clean stop: 0)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from commands.emergency import SIGNALS

VERSION = "0.3.0"


class CommandError(Exception):
    """A command cannot go on; the text is one sentence with the remedy, `code` the exit code."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


def parser() -> argparse.ArgumentParser:  # noqa: PLR0915 - one screen of commands is clearer than six small ones
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(prog="main.py", description="Zerohour: supervised 0DTE trading.")
    top.add_argument("--version", action="version", version=f"Zerohour {VERSION}")
    top.add_argument("--config", type=Path, help="a settings file of your own (YAML)")
    top.add_argument("--data", type=Path, help="the data folder (default: data_dir of the settings; demo: data/demo)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        made.add_argument("--data", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return made

    run = command("run", "run the supervisor (profile demo: the whole system on loopback)")
    run.add_argument("--profile", choices=("demo", "real"), help="demo (default) or real")
    run.add_argument("--market", type=Path, metavar="FOLDER", help="demo: follow a recorded real day")
    run.add_argument("--rate", type=float, help="demo, --clock: market seconds per real second")
    run.add_argument("--clock", type=Path, metavar="FILE", help="real, for tests: lead the clock of simulated servers")
    run.add_argument("--seed", type=int, help="demo: seed of the market")
    run.add_argument("--fresh", action="store_true", help="demo: do not resume an unfinished day")

    status = command("status", "the actor tree and what it is doing")
    status.add_argument("--watch", action="store_true", help="refresh until interrupted")
    status.add_argument("--json", action="store_true", help="for machines")

    replay = command("replay", "check a recorded trace against today's code; name the first divergence")
    replay.add_argument("trace", type=Path, nargs="?", help="a trace file (default: the newest)")
    replay.add_argument("--settings", type=Path, metavar="FILE", help="override recorded settings (YAML)")
    replay.add_argument("--json", action="store_true", help="for machines")

    why = command("why", "the causal chain of an order, a position or a signal")
    why.add_argument("ref", help="an order ref (ZH-...), or an alert id")
    why.add_argument("--trace", type=Path, help="a trace file (default: the newest that knows the ref)")
    why.add_argument("--json", action="store_true", help="for machines")

    why_not = command("why-not", "why a signal did not become a trade, or why there was no signal")
    why_not.add_argument("signal", nargs="+", help="an alert id; or LANE KIND TIME, as gexwatch:SPX GAMMA_FLIP 10:12")
    why_not.add_argument("--session", help="YYYY-MM-DD (default: the last one)")
    why_not.add_argument("--json", action="store_true", help="for machines")

    kill = command("kill", "raise the kill level: 1 no entries, 2 flatten")
    kill.add_argument("level", type=int, choices=(1, 2), help="1 no entries, 2 flatten")
    resume = command("resume", "lower the kill level (a person, with a reason)")
    resume.add_argument("level", type=int, choices=(0, 1), nargs="?", default=0, help="0 trade, 1 no entries")
    flatten = command("flatten", "close everything at market and stay closed (kill level 2)")
    flatten.add_argument("--direct", action="store_true", help="with the supervisor dead: through an own client id")
    flatten.add_argument("--yes", action="store_true", help="--direct: do not ask")
    flatten.add_argument("--force", action="store_true", help="--direct: stop, or kill, a supervisor that is alive")
    promote = command("promote", "let alerts of a source, kind and version trade (a person, with a reason)")
    demote = command("demote", "make alerts of a source, kind and version shadows again")
    for made in (promote, demote):
        made.add_argument("source", metavar="SOURCE", help="whose alerts, as gexwatch")
        made.add_argument("kind", metavar="KIND-VERSION", help="which, as GAMMA_FLIP-1")
    for made in (kill, resume, flatten, promote, demote):
        made.add_argument("--reason", required=True, help="why, for the record")
        made.add_argument("--by", default="cli", help="who, for the record")

    report = command("report", "what a session brought: trades, rejects, P&L")
    report.add_argument("session", nargs="?", help="YYYY-MM-DD (default: the last one)")
    report.add_argument("--json", action="store_true", help="for machines")

    doctor = command("doctor", "check configuration, ports, clock, disk, feed and gateway")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.add_argument("--profile", choices=("demo", "real"), help="demo (default) or real")

    sim = command("sim", "the simulated IB Gateway or GEX hubs, stand-alone, for anybody's client")
    sim.add_argument(
        "what", choices=("gateway", "hubs", "clock", "stop"),
        help="clock publishes one for both in --clock FILE; stop ends those of an unfinished demo day",
    )  # fmt: skip
    sim.add_argument("--host", default="127.0.0.1", help="address to listen on")
    sim.add_argument("--port", type=int, help="port to listen on (default: gateway 4002, hubs any free one)")
    sim.add_argument("--run-folder", type=Path, help=argparse.SUPPRESS)
    sim.add_argument("--seed", type=int, help="seed of the market")
    sim.add_argument("--rate", type=float, help="market seconds per real second (default 1)")
    sim.add_argument("--clock", type=Path, metavar="FILE", help="follow a published clock (or publish it there)")
    sim.add_argument(
        "--start", metavar="'[YYYY-MM-DD ]HH:MM:SS'", help="market time at the start, New York (default: 10:00:00)"
    )
    sim.add_argument("--faults", type=Path, help="a fault script (YAML)")

    sql = command("sql", "one query over market, signals and trades (views: docs/reference/views.md)")
    sql.add_argument("query", help="a statement of DuckDB's SQL; - reads it from standard input")
    sql.add_argument("--json", action="store_true", help="all rows as JSON")
    sql.add_argument("--csv", action="store_true", help="all rows as CSV")
    shell = command("shell", "queries one after the other")
    for made in (sql, shell):
        made.add_argument("--rows", type=_at_least_one, default=100, help="rows of a table that are shown")

    gaps = command("gaps", "what was expected and is not stored, by hub and cause")
    gaps.add_argument("session", nargs="?", help="YYYY-MM-DD (default: all)")
    gaps.add_argument("--json", action="store_true", help="for machines")

    archive = command("archive", "finished days to a folder or an S3 bucket, read back and compared")
    archive.add_argument("session", nargs="?", help="YYYY-MM-DD (default: all)")
    archive.add_argument("--to", metavar="TARGET", help="a folder or s3://… (default: warehouse.archive_to)")
    archive.add_argument("--prune", action="store_true", help="delete here what is archived and past its retention")
    archive.add_argument("--ticks-days", type=_at_least_one, help="--prune: how long traces and quotes stay")
    archive.add_argument("--buckets-days", type=_at_least_one, help="--prune: how long the rest stays")
    archive.add_argument("--today", help=argparse.SUPPRESS)
    backup = command("backup", "an encrypted backup (age) of ledgers and finished files, beside a running supervisor")
    backup.add_argument("--to", metavar="TARGET", action="append", help="where to (default: all of backup.targets)")
    backup.add_argument("--new-key", type=Path, metavar="FILE", help="write a new identity, print its recipient")
    restore = command("restore", "bring the newest backup back to a data folder that is not there, at kill level 1")
    restore.add_argument("--from", dest="source", metavar="TARGET", required=True, help="where the backups are")
    restore.add_argument("--backup", metavar="NAME", help="an older one, as 20261120T221500Z (default: the newest)")

    chain = command("chain", "the newest stored chain around the money, with volatility, greeks and open interest")
    chain.add_argument("symbol", type=str.upper, help="a ticker (SPX)")
    chain.add_argument("expiry", nargs="?", help="YYYY-MM-DD (default: all)")
    chain.add_argument("--session", help="YYYY-MM-DD (default: the last one)")
    chain.add_argument("--json", action="store_true", help="all columns as JSON")
    chain.add_argument("--csv", action="store_true", help="all columns as CSV")

    export = command("export", "a view as a file, also under the names of the systems before")
    export.add_argument("table", help="a view (trades, alert_log, readings, ...)")
    export.add_argument("--session", help="YYYY-MM-DD (default: all)")
    export.add_argument("--csv", action="store_true", help="as CSV (the default)")
    export.add_argument("--json", action="store_true", help="as JSON")
    export.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")

    compact = command("compact", "seal finished days whole: one file a hub and shape")
    compact.add_argument("session", nargs="?", help="YYYY-MM-DD (default: all)")

    gamma = command("gamma", "net gamma, walls and zero gamma of an option chain in a file, without a vendor")
    gamma.add_argument("file", type=Path, metavar="FILE", help="Cboe delayed quotes, CSV or JSON, also gzip")
    gamma.add_argument("--spot", type=float, help="price of the underlying (default: that of the file)")
    gamma.add_argument("--at", metavar="INSTANT", help="2026-11-20T10:30, New York (default: that of the file)")
    gamma.add_argument("--plot", action="store_true", help="draw strikes and the curve over spot in the terminal")
    gamma.add_argument("--json", action="store_true", help="for machines")

    imported = command("import", "days, chains, bars and quotes of others into the warehouse, beside live days")
    imported.add_argument("files", type=Path, nargs="*", metavar="FILE", help="files, or folders of them")
    imported.add_argument("--ticker", help="what the file is of, where it does not say")
    imported.add_argument("--category", help="the vendor's category of a history file, where its name does not say")
    imported.add_argument("--sqlite", type=Path, metavar="FILE", help="another program's database")
    imported.add_argument("--map", type=Path, metavar="FILE", help="names of its tables and columns (YAML)")
    imported.add_argument("--json", action="store_true", help="for machines")

    notebooks = command("notebooks", "execute the notebooks on a data folder and render them to docs/notebooks")
    notebooks.add_argument("names", nargs="*", help="which (default: all)")
    notebooks.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: docs/notebooks)")

    simulate = command("simulate", "thousands of faulty days on virtual time, what must hold checked after every step")
    simulate.add_argument("--days", type=_at_least_one, default=1, help="how many days, each with the next seed")
    simulate.add_argument("--seed", type=int, default=1, help="seed of the first day")
    simulate.add_argument("--workers", type=_at_least_one, help="processes (default: one a core)")
    simulate.add_argument("--resume", type=Path, metavar="FILE", help="keep the results in FILE, and go on from there")
    simulate.add_argument("--only-seed", type=int, metavar="K", help="one day with its trace on")
    simulate.add_argument("--trace", type=Path, metavar="DIR", help="where traces of broken days go, or that of one")
    simulate.add_argument(
        "--parity-every", type=int, default=200, metavar="N", help="compare each N-th day with one stepped every second"
    )
    simulate.add_argument("--json", action="store_true", help="for machines")
    return top


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


@contextmanager
def libraries_needed(call: str) -> Iterator[None]:
    """End the program with one sentence where an import finds that this Python lacks a library.

    Args:
        call: what follows `.venv/bin/python` in the call that works.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _ROOMS:
            raise
        print(
            f"This Python has no {error.name}: run `make run` (or `make .venv/.ready`) once, then use"
            f" `.venv/bin/python {call}`.",
            file=sys.stderr,
        )
        sys.exit(2)


def main(argv: Sequence[str]) -> int:
    """Run one command, loading no other; errors are one sentence on standard error."""
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        print("Zerohour needs Python 3.11, 3.12 or 3.13; `make run` finds one and sets it up.", file=sys.stderr)
        return 2
    arguments = parser().parse_args(argv)
    if arguments.command == "run":
        SIGNALS.install()  # before anything heavy is loaded: until then the signal would end the process
    with libraries_needed("main.py ..."):
        act: Callable[[argparse.Namespace], int] = import_module(f"commands.{_MODULES[arguments.command]}").act
        settings_error: type[Exception] = import_module("config.settings").SettingsError
        refused: tuple[type[Exception], ...] = (
            import_module("storage.sqlite_file").LedgerRefusedError,
            import_module("storage.manifest").WarehouseRefusedError,
            import_module("supervision.trace").TraceError,
        )
    try:
        return act(arguments)
    except settings_error as error:
        print(error, file=sys.stderr)
        return 2
    except refused as error:
        print(error, file=sys.stderr)
        return 3
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


_ROOMS = frozenset(
    (
        "actors",
        "benchmarks",
        "commands",
        "config",
        "domain",
        "gateways",
        "main",
        "messages",
        "simulation",
        "storage",
        "supervision",
    )
)
_MODULES = {
    "run": "run", "status": "status", "replay": "replay", "why": "why", "why-not": "why_not",
    "kill": "operate", "resume": "operate", "flatten": "operate", "promote": "operate", "demote": "operate",
    "report": "report", "doctor": "doctor", "sim": "sim", "simulate": "simulate",
    "sql": "sql", "shell": "shell", "gaps": "gaps", "chain": "chain",
    "archive": "archive", "backup": "backup", "restore": "restore", "export": "export", "compact": "compact",
    "notebooks": "notebooks",
    "gamma": "gamma", "import": "import_",
}  # fmt: skip
