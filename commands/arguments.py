"""The arguments of every command, by subject; examples of their use are in `examples.py`."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NoReturn, Protocol

from commands.examples import EXAMPLES

PORT_MAX: Final = 65_535
# How argparse (3.11 to 3.13) says that a command is none.
_UNKNOWN: Final = re.compile(r"argument COMMAND: invalid choice: '(?P<said>.*)' \(choose from (?P<choices>.*)\)")


class Adder(Protocol):
    """Adds a command with its sentence, and returns it for its arguments."""

    def __call__(self, name: str, text: str) -> argparse.ArgumentParser:
        """Add one."""


class _Parser(argparse.ArgumentParser):
    """A parser that names what a mistyped command was nearest to, not the whole list of them."""

    def error(self, message: str) -> NoReturn:
        """End the program with a sentence."""
        found = _UNKNOWN.match(message)
        if found is not None:
            near = _near(found["said"], re.findall(r"[\w-]+", found["choices"]))
            meant = f"did you mean {near[0]!r}?" if near else "`main.py --help` lists them."
            message = f"there is no command {found['said']!r}: {meant}"
        super().error(message)


def _near(said: str, known: list[str]) -> list[str]:
    """Return the command that a mistyped one is near to; far ones only where they begin alike."""
    return get_close_matches(said, known, 1, 0.75) or get_close_matches(
        said, [one for one in known if one[:1] == said[:1]], 1
    )


def build(version: str) -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = _Parser(prog="main.py", description="Zerohour: supervised 0DTE trading.")
    top.add_argument("--version", action="version", version=f"Zerohour {version}")
    top.add_argument("--config", type=Path, help="a settings file of your own (YAML)")
    top.add_argument("--data", type=Path, help="the data folder (default: data_dir of the settings; demo: data/demo)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=text, description=f"{text[:1].upper()}{text[1:]}.", epilog=_epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        made.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        made.add_argument("--data", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return made

    for add in (_running, _looking, _operating, _reporting, _simulating, _asking, _keeping, _filing, _trying):
        add(command)
    return top


def _epilog(name: str) -> str | None:
    """Return the examples of a command for the end of its help."""
    lines = [f"  main.py {call}\n      {does}" for call, does in EXAMPLES.get(name, ())]
    return "\n".join(["examples:", *lines]) if lines else None


def _running(command: Adder) -> None:
    """Add what runs the system."""
    run = command("run", "run the supervisor (profile demo: the whole system on loopback)")
    run.add_argument("--profile", choices=("demo", "real"), help="demo (default) or real")
    run.add_argument("--market", type=Path, metavar="FOLDER", help="demo: follow a recorded real day")
    run.add_argument("--rate", type=float, help="demo, --clock: market seconds per real second")
    run.add_argument("--clock", type=Path, metavar="FILE", help="real, for tests: lead the clock of simulated servers")
    run.add_argument("--seed", type=int, help="demo: seed of the market")
    run.add_argument("--fresh", action="store_true", help="demo: do not resume an unfinished day")


def _add_desk(made: argparse.ArgumentParser, text: str = "of this desk (default: that of `desk`)") -> None:
    made.add_argument("--desk", metavar="NAME", help=f"where there are several: {text}")


def _looking(command: Adder) -> None:
    """Add what looks at a run and its traces."""
    status = command("status", "the actor tree and what it is doing")
    status.add_argument("--watch", action="store_true", help="refresh until interrupted")
    status.add_argument("--json", action="store_true", help="for machines")

    top = command("top", "one calm screen of the running desk: risk, positions, what happened last")
    top.add_argument("--json", action="store_true", help="once, for machines")
    _add_desk(top)

    logs = command("logs", "the plain log of what the console said")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    logs.add_argument("-n", "--lines", type=_at_least_one, default=40, help="how many of the newest")
    logs.add_argument(
        "--level",
        choices=("info", "warning", "high", "critical"),
        default="info",
        help="the least urgent that is shown",
    )
    logs.add_argument("--topic", action="append", help="entry, exit, reject, mode, kill, feed, alarm, day; repeatable")

    replay = command("replay", "check a recorded trace against today's code; name the first divergence")
    replay.add_argument("trace", type=Path, nargs="?", help="a trace file (default: the newest)")
    replay.add_argument("--settings", type=Path, metavar="FILE", help="override recorded settings (YAML)")
    replay.add_argument(
        "--what-if", action="store_true", help="--settings: trade the whole day with them, beside the day as it was"
    )
    replay.add_argument("--stale", type=float, metavar="S", help="--what-if: how long a quote stands (default: 10)")
    replay.add_argument("--json", action="store_true", help="for machines")

    why = command("why", "the causal chain of an order, a position or a signal")
    why.add_argument("ref", help="an order ref (ZH-...), or an alert id")
    why.add_argument("--trace", type=Path, help="a trace file (default: the newest that knows the ref)")
    why.add_argument("--json", action="store_true", help="for machines")

    why_not = command("why-not", "why a signal did not become a trade, or why there was no signal")
    why_not.add_argument(
        "signal", nargs="*",
        help="an alert id; LANE KIND TIME, as gexwatch:SPX GAMMA_FLIP 10:12; or a date: the whole day (default)",
    )  # fmt: skip
    why_not.add_argument("--session", help="YYYY-MM-DD (default: the last one)")
    why_not.add_argument("--json", action="store_true", help="for machines")
    _add_desk(why_not)


def _operating(command: Adder) -> None:
    """Add people's commands to a running supervisor."""
    kill = command("kill", "raise the kill level: 1 no entries, 2 flatten")
    kill.add_argument("level", type=int, choices=(1, 2), help="1 no entries, 2 flatten")
    resume = command("resume", "lower the kill level (a person, with a reason)")
    resume.add_argument("level", type=int, choices=(0, 1), nargs="?", default=0, help="0 trade, 1 no entries")
    flatten = command("flatten", "close everything at market and stay closed (kill level 2)")
    flatten.add_argument("--direct", action="store_true", help="with the supervisor dead: through an own client id")
    flatten.add_argument("--yes", action="store_true", help="--direct: do not ask")
    flatten.add_argument("--force", action="store_true", help="--direct: stop, or kill, a supervisor that is alive")
    switch = command("switch", "let another desk trade a strategy in place of the one that does, while it is flat")
    switch.add_argument("strategy", metavar="STRATEGY", help="which, as gexwatch")
    switch.add_argument("to_desk", metavar="DESK", help="the desk that trades it from now on")
    switch.add_argument(
        "--from", dest="from_desk", metavar="DESK", help="in place of which (default: of the only one that trades it)"
    )
    for made in (kill, resume, flatten):
        _add_desk(made, "of this desk alone (default: of every desk; resume wants one)")
    promote = command("promote", "let alerts of a source, kind and version trade (a person, with a reason)")
    demote = command("demote", "make alerts of a source, kind and version shadows again")
    for made in (promote, demote):
        made.add_argument("source", metavar="SOURCE", help="whose alerts, as gexwatch")
        made.add_argument("kind", metavar="KIND-VERSION", help="which, as GAMMA_FLIP-1")
    promote.add_argument(
        "--unproven", action="store_true", help="without the outcomes that the settings ask for; the record says so"
    )
    memberships = command("memberships", "join the categories that the settings file has under feed.hubs now")
    for made in (kill, flatten):  # whoever is in a hurry is not asked for words
        made.add_argument("--reason", default="no reason was given", help="why, for the record")
    for made in (resume, switch, promote, demote, memberships):
        made.add_argument("--reason", required=True, help="why, for the record")
    for made in (kill, resume, flatten, switch, promote, demote, memberships):
        made.add_argument("--by", default="cli", help="who, for the record")


def _reporting(command: Adder) -> None:
    """Add reports and checks."""
    shadows = command("shadows", "win rates of alert kinds and their shadows, side by side, and who may be promoted")
    shadows.add_argument("--json", action="store_true", help="for machines")
    report = command("report", "what a session brought: trades, rejects, P&L")
    report.add_argument("session", nargs="?", help="YYYY-MM-DD (default: the last one); or day, week, month")
    report.add_argument("on", nargs="?", metavar="DATE", help="of a day, week or month: one of its days")
    report.add_argument("--html", type=Path, metavar="FILE", help="a period as one page with charts, for a browser")
    report.add_argument("--last", type=_at_least_one, metavar="N", help="the newest N sessions, a line each")
    report.add_argument("--csv", action="store_true", help="the trades (with --last: the sessions) as CSV")
    report.add_argument("--json", action="store_true", help="for machines")
    _add_desk(report, "this desk's (default: that of `desk`)")
    report.add_argument("--desks", action="store_true", help="every desk beside the others, trade by trade")

    tax = command("tax", "Form 8949 with wash sales and Form 6781 of a year, of desks that trade live money")
    tax.add_argument("year", type=int, metavar="YEAR", help="the tax year")
    tax.add_argument(
        "--what-if", action="store_true", help="the year under other readings, and what a purchase now defers"
    )
    tax.add_argument(
        "--desk", action="append", metavar="NAME", help="this desk, whatever its money (default: all live)"
    )
    tax.add_argument(
        "--mark", action="append", metavar="CONTRACT=PRICE", help="what an index option was worth at year end"
    )
    tax.add_argument("--rows", type=_at_least_one, default=20, help="rows of a form that are shown")
    tax.add_argument("--csv", action="store_true", help="all rows of both forms as CSV")
    tax.add_argument("--json", action="store_true", help="for machines")
    tax.add_argument("--today", help=argparse.SUPPRESS)

    notify = command("notify", "where lines for people go beyond the console, and whether they arrive")
    notify.add_argument("--test", action="store_true", help="send a line to each, and ask the heartbeat's address")
    notify.add_argument("--target", action="append", metavar="NAME", help="only this one (default: all)")

    shown = command("dashboard", "show a finished session in the browser, read-only, without a supervisor")
    shown.add_argument("session", nargs="?", help="YYYY-MM-DD (default: the last one)")
    shown.add_argument("--port", type=_port, help="port to listen on (default: web.port, or the next free one)")

    readiness = command("readiness", "what paper trading has shown, against the minima for live")
    readiness.add_argument("--json", action="store_true", help="for machines")

    doctor = command("doctor", "check configuration, ports, clock, disk, feed and gateway")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.add_argument("--profile", choices=("demo", "real"), help="demo (default) or real")
    doctor.add_argument(
        "--try-order", action="store_true", help="ask the broker what an order would need, without sending one"
    )


def _simulating(command: Adder) -> None:
    """Add the simulated servers."""
    completion = command("completion", "a script that has your shell complete commands and options")
    completion.add_argument("shell", choices=("bash", "zsh"), help="which shell")
    completion.add_argument("--name", default="zerohour", help="the short name that is completed, and aliased")

    init = command("init", "ask what a desk of your own needs; write a commented settings file and .env")
    init.add_argument(
        "--out", type=Path, metavar="FOLDER", default=Path(), help="where to (default: here; .env is read here)"
    )
    init.add_argument("--yes", action="store_true", help="ask nothing: a paper desk with the defaults")
    init.add_argument("--force", action="store_true", help="replace what is there")

    sim = command("sim", "a simulated IB Gateway, GEX hubs, data provider or REST broker, alone, for anybody's client")
    sim.add_argument(
        "what", choices=("gateway", "hubs", "provider", "tastytrade", "clock", "stop"),
        help="clock publishes one for both in --clock FILE; stop ends those of an unfinished demo day",
    )  # fmt: skip
    sim.add_argument("--host", default="127.0.0.1", help="address to listen on")
    sim.add_argument(
        "--port", type=_port, help="port to listen on (default: gateway 4002, tastytrade 4004, others any)"
    )
    sim.add_argument("--run-folder", type=Path, help=argparse.SUPPRESS)
    sim.add_argument("--seed", type=int, help="seed of the market")
    sim.add_argument("--rate", type=float, help="market seconds per real second (default 1)")
    sim.add_argument("--clock", type=Path, metavar="FILE", help="follow a published clock (or publish it there)")
    sim.add_argument(
        "--start", metavar="'[YYYY-MM-DD ]HH:MM:SS'", help="market time at the start, New York (default: 10:00:00)"
    )
    sim.add_argument(
        "--accounts", metavar="NAME,NAME", help="accounts of the gateway's login, five at most (default: DU1234567)"
    )
    sim.add_argument("--faults", type=Path, help="a fault script (YAML)")
    sim.add_argument(
        "--control-port", type=_port, metavar="PORT",
        help="set, see and end the gateway's faults while it runs, over HTTP on 127.0.0.1 (0: any free port)",
    )  # fmt: skip


def _asking(command: Adder) -> None:
    """Add queries of what is stored."""
    ask = command("ask", "a question in plain language, answered from the records that it names")
    ask.add_argument("question", nargs="+", help="as: why did we buy the 5890 put?")
    ask.add_argument("--no-model", action="store_true", help="the fixed grammar alone, whatever `ask` of the settings")
    ask.add_argument("--json", action="store_true", help="for machines")
    command("mcp", "an MCP server on standard input and output: read-only tools for any MCP client")

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

    features = command(
        "features", "the 73 features of a reading: unit, inputs, window, formula, what missing inputs do"
    )
    features.add_argument(
        "group", nargs="?", choices=("location", "magnitude", "change", "shape", "greeks", "flow", "price"),
        help="one group (default: all, and the forces)",
    )  # fmt: skip
    features.add_argument("--json", action="store_true", help="for machines")

    evaluate = command("evaluate", "what an alert kind would have found in stored sessions, and its outcomes")
    evaluate.add_argument(
        "name", metavar="NAME", help="a kind (GAMMA_FLIP, GAMMA_FLIP-2), or your own file (my.py, my.py:KIND)"
    )
    evaluate.add_argument("first", metavar="FROM", help="YYYY-MM-DD")
    evaluate.add_argument("last", metavar="TO", help="YYYY-MM-DD")
    evaluate.add_argument(
        "--ticker", action="append", type=str.upper, help="only this one (default: those of its lanes); repeatable"
    )
    evaluate.add_argument("--html", type=Path, metavar="FILE", help="as one page with charts, for a browser")
    evaluate.add_argument("--json", action="store_true", help="for machines, with every alert")

    new = command("new-alert", "a file with an alert kind of your own, to be changed; it loads as it is")
    new.add_argument("name", metavar="NAME", help="of the kind, in capitals: MY_KIND")
    new.add_argument("--out", type=Path, metavar="FILE", help="where to (default: strategies/<name>.py)")

    chain = command("chain", "the newest stored chain around the money, with volatility, greeks and open interest")
    chain.add_argument("symbol", type=str.upper, help="a ticker (SPX)")
    chain.add_argument("expiry", nargs="?", help="YYYY-MM-DD (default: all)")
    chain.add_argument("--session", help="YYYY-MM-DD (default: the last one)")
    chain.add_argument("--json", action="store_true", help="all columns as JSON")
    chain.add_argument("--csv", action="store_true", help="all columns as CSV")


def _keeping(command: Adder) -> None:
    """Add what keeps copies."""
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


def _filing(command: Adder) -> None:
    """Add what writes and reads files, and simulated days."""
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
    imported.add_argument("--again", action="store_true", help="files that were imported before, too")
    imported.add_argument("--json", action="store_true", help="for machines")

    notebooks = command("notebooks", "execute the notebooks on a data folder and render them to docs/notebooks")
    notebooks.add_argument("names", nargs="*", help="which (default: all)")
    notebooks.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: docs/notebooks)")


def _trying(command: Adder) -> None:
    backtest = command("backtest", "recorded or imported days traded by the same actors and settings, and a report")
    _past_days(backtest)
    backtest.add_argument(
        "--parity", action="store_true", help="compare one day with what ran then, filled as its orders were filled"
    )

    sweep = command("sweep", "the same days under every combination of some settings, over processes, and a report")
    _past_days(sweep)
    sweep.add_argument(
        "values", nargs="+", metavar="SETTING=VALUES", help="as exits.premium_stop=0.3,0.4 or fills.crossing=1,1.5"
    )
    sweep.add_argument(
        "--out", type=Path, default=Path("sweep"), metavar="FOLDER",
        help="where results go, as Parquet; what is there is not run again (default: sweep)",
    )  # fmt: skip
    sweep.add_argument("--workers", type=_at_least_one, help="processes (default: one a core)")
    sweep.add_argument(
        "--address", metavar="ADDRESS",
        help="run on a Ray cluster in place of processes here: HOST:6379, auto, or local (needs `make ray`)",
    )  # fmt: skip

    fitted = command("fit-exits", "take-profit and hold levels learned from positions, as a shadow table")
    fitted.add_argument("first", metavar="FROM", help="YYYY-MM-DD")
    fitted.add_argument("last", metavar="TO", help="YYYY-MM-DD, this day included")
    fitted.add_argument(
        "--judge", metavar="EXITS-N", help="learn nothing: judge this table on sessions after those it was learned from"
    )
    fitted.add_argument(
        "--backtest", action="store_true", help="from positions of a backtest of these days, not from the desk's own"
    )
    fitted.add_argument("--html", type=Path, metavar="FILE", help="the report as one page with charts, for a browser")
    fitted.add_argument("--json", action="store_true", help="for machines")

    simulate = command("simulate", "thousands of faulty days on virtual time, what must hold checked after every step")
    simulate.add_argument("--days", type=_at_least_one, default=1, help="how many days, each with the next seed")
    simulate.add_argument("--seed", type=int, default=1, help="seed of the first day")
    simulate.add_argument("--workers", type=_at_least_one, help="processes (default: one a core)")
    simulate.add_argument("--resume", type=Path, metavar="FILE", help="keep the results in FILE, and go on from there")
    simulate.add_argument("--only-seed", type=int, metavar="K", help="one day with its trace on")
    simulate.add_argument("--trace", type=Path, metavar="DIR", help="where traces of broken days go, or that of one")
    simulate.add_argument(
        "--facts", action="store_true",
        help="trade nothing: measure prices, quotes and alerts of so many honest days, beside those of real days",
    )  # fmt: skip
    simulate.add_argument(
        "--feedback", type=_factor, metavar="F",
        help="an honest market (without it faulty days have the anchored one, which brings about more trades), with F"
        " times the feedback of dealers' hedging (0 to 3); at 0 nothing pays",
    )  # fmt: skip
    simulate.add_argument(
        "--market", type=Path, metavar="FOLDER", help="trade nothing: say what of a recorded day is recorded"
    )
    simulate.add_argument(
        "--record", type=Path, metavar="FOLDER",
        help="check nothing: record so many honest days of the demo, one session after the other, for `backtest`",
    )  # fmt: skip
    simulate.add_argument(
        "--with", dest="extras", action="append", default=[], metavar="WHAT",
        choices=("spreads", "twap", "desks", "rest", "slow-reads", "combos", "lost-permits"),
        help="spreads: a share of the days also has credit spreads; twap: on a share of them entries go out in slices;"
        " desks: a share has a second desk beside the first; rest: on a share of them one desk's orders go to the REST"
        " broker (the others stay as they are without); slow-reads: on all of them read-backs take up to 1.2 s and"
        " reports come in any order, mostly positions before executions; combos: the spreads are verticals, iron"
        " condors and iron butterflies, each one order, with spreads on every other such day; lost-permits: on all of"
        " them a share of the risk check's answers on permits and slices never arrives",
    )  # fmt: skip
    simulate.add_argument(
        "--parity-every", type=int, default=200, metavar="N", help="compare each N-th day with one stepped every second"
    )
    simulate.add_argument("--json", action="store_true", help="for machines")


def _past_days(command: argparse.ArgumentParser) -> None:
    """Add which days of the past are traded, how orders fill, and what the report comes as."""
    command.add_argument("first", metavar="FROM", help="YYYY-MM-DD")
    command.add_argument("last", metavar="TO", help="YYYY-MM-DD, this day included")
    command.add_argument(
        "--promote", action="append", metavar="KIND-VERSION",
        help="let these alerts trade, of every source, and this exit profile rule (default: what the ledger of the"
        " folder says, else the settings)",
    )  # fmt: skip
    command.add_argument("--nav", type=_at_least_one, metavar="USD", help="cash at the start (default: demo.nav_usd)")
    command.add_argument("--latency", type=int, metavar="MS", help="from the port to the book (default: 100)")
    command.add_argument("--stale", type=float, metavar="S", help="how long a quote stands after a tick (default: 10)")
    command.add_argument(
        "--crossing", type=float, metavar="SHARE",
        help="of half the spread that each leg pays from the mid on (default: 1, the touch; more is worse)",
    )  # fmt: skip
    command.add_argument("--html", type=Path, metavar="FILE", help="the report as one page with charts, for a browser")
    command.add_argument("--json", action="store_true", help="for machines")


def _factor(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 3.0:
        raise argparse.ArgumentTypeError("must be from 0 to 3")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"there is no port {value}; give 1 to {PORT_MAX}")
    return value


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value
