"""The command line: one small module per command, exit codes documented here.

0 done · 1 done, and what it found is bad (a divergence, a doctor's finding, a day not flat) · 2 the call or the
settings are wrong · 3 something needed could not be reached, or a ledger or the warehouse cannot be used ·
130 interrupted, with a line on what is kept (Ctrl-C on `run` is a clean stop: 0)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from commands.arguments import build
from commands.emergency import SIGNALS
from commands.interrupted import CODE, CTRL_C, line_of

VERSION = "0.3.0"


class CommandError(Exception):
    """A command cannot go on; the text is one sentence with the remedy, `code` the exit code."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    return build(VERSION)


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
        take_env_file: Callable[[], None] = import_module("config.env_file").take_env_file
        refused: tuple[type[Exception], ...] = (
            import_module("storage.sqlite_file").LedgerRefusedError,
            import_module("storage.manifest").WarehouseRefusedError,
            import_module("supervision.trace").TraceError,
        )
    try:
        CTRL_C.during()
        take_env_file()
        code = act(arguments)
        sys.stdout.flush()  # whoever read it may be gone: that shows here, not at the end of the process
        return code
    except refused as error:
        print(error, file=sys.stderr)
        return 3
    except (CommandError, settings_error) as error:
        if arguments.command == "run":
            error = import_module("commands.unattended").tried_again(error, arguments)
        print(error, file=sys.stderr)
        return error.code if isinstance(error, CommandError) else 2
    except KeyboardInterrupt as error:
        CTRL_C.after()
        print(line_of(arguments.command, error), file=sys.stderr)
        return CODE
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # of a file that no command thought would be in the way
        if error.filename is None or arguments.command == "run":
            raise
        print(
            f"{error.filename} cannot be used ({error.strerror}); mend its place or its permissions.", file=sys.stderr
        )
        return 3
    finally:
        CTRL_C.after()


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
    "ask": "ask", "mcp": "mcp_server",
    "readiness": "readiness", "completion": "completion", "init": "init", "top": "top", "logs": "logs", "run": "run",
    "status": "status",
    "replay": "replay", "why": "why",
    "why-not": "why_not", "kill": "operate", "resume": "operate", "flatten": "operate", "promote": "operate",
    "demote": "operate", "switch": "operate",
    "memberships": "operate",
    "shadows": "shadows", "report": "report", "tax": "tax", "notify": "notify",
    "dashboard": "finished",
    "backtest": "backtest", "sweep": "sweep", "fit-exits": "fit_exits",
    "doctor": "doctor", "sim": "sim", "simulate": "simulate", "sql": "sql", "shell": "shell", "gaps": "gaps",
    "chain": "chain",
    "evaluate": "evaluate", "new-alert": "new_alert", "features": "features",
    "archive": "archive", "backup": "backup", "restore": "restore",
    "export": "export", "compact": "compact", "notebooks": "notebooks", "gamma": "gamma", "import": "import_",
}  # fmt: skip
