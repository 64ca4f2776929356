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

VERSION = "0.2.0"


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
    run.add_argument("--rate", type=float, help="demo: market seconds per real second")
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

    kill = command("kill", "raise the kill level: 1 no entries, 2 flatten")
    kill.add_argument("level", type=int, choices=(1, 2), help="1 no entries, 2 flatten")
    resume = command("resume", "lower the kill level (a person, with a reason)")
    resume.add_argument("level", type=int, choices=(0, 1), nargs="?", default=0, help="0 trade, 1 no entries")
    flatten = command("flatten", "close everything at market and stay closed (kill level 2)")
    flatten.add_argument("--direct", action="store_true", help="with the supervisor dead: through an own client id")
    for made in (kill, resume, flatten):
        made.add_argument("--reason", required=True, help="why, for the record")
        made.add_argument("--by", default="cli", help="who, for the record")

    report = command("report", "what a session brought: trades, rejects, P&L")
    report.add_argument("session", nargs="?", help="YYYY-MM-DD (default: the last one)")
    report.add_argument("--json", action="store_true", help="for machines")

    doctor = command("doctor", "check configuration, ports, clock, disk, feed and gateway")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.add_argument("--profile", choices=("demo", "real"), help="demo (default) or real")

    sim = command("sim", "the simulated IB Gateway or GEX hubs, stand-alone, for anybody's client")
    sim.add_argument("what", choices=("gateway", "hubs", "stop"), help="stop ends those of an unfinished demo day")
    sim.add_argument("--host", default="127.0.0.1", help="address to listen on")
    sim.add_argument("--port", type=int, help="port to listen on (default: gateway 4002, hubs any free one)")
    sim.add_argument("--run-folder", type=Path, help=argparse.SUPPRESS)
    sim.add_argument("--seed", type=int, help="seed of the market")
    sim.add_argument("--rate", type=float, help="market seconds per real second (default 1)")
    sim.add_argument("--start", metavar="HH:MM:SS", help="market time at the start (New York)")
    sim.add_argument("--faults", type=Path, help="a fault script (YAML)")

    simulate = command("simulate", "random days on the stepped runtime, invariants checked")
    simulate.add_argument("--days", type=_at_least_one, default=1, help="how many days, each with the next seed")
    simulate.add_argument("--seed", type=int, default=1, help="seed of the first day")
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
    with libraries_needed("main.py ..."):
        act: Callable[[argparse.Namespace], int] = import_module(f"commands.{_MODULES[arguments.command]}").act
        settings_error: type[Exception] = import_module("config.settings").SettingsError
        ledger_error: type[Exception] = import_module("storage.sqlite_file").LedgerRefusedError
    try:
        return act(arguments)
    except settings_error as error:
        print(error, file=sys.stderr)
        return 2
    except ledger_error as error:
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
    "run": "run", "status": "status", "replay": "replay", "why": "why", "kill": "operate", "resume": "operate",
    "flatten": "operate", "report": "report", "doctor": "doctor", "sim": "sim", "simulate": "simulate",
}  # fmt: skip
