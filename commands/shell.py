"""`main.py shell`: queries one after the other, each over what is there at that moment."""

from __future__ import annotations

import contextlib
import sys
import time
from argparse import Namespace

from commands.sql import existing
from commands.tables import print_csv, print_table
from storage.manifest import WarehouseRefusedError
from storage.sqlite_file import LedgerRefusedError
from storage.views.catalog import ALL, GROUPS, VIEWS
from storage.views.database import Database, QueryError

_HELP = """\
A statement ends with `;` and may take several lines. Prices are US dollars, `_utc` and `_ny` the same instant twice.
.views          the views
.columns VIEW   the columns of a view, with units
.csv            from now on as CSV; .table back to tables
.quit           leave (also Ctrl-D)"""


def act(arguments: Namespace) -> int:
    """Read statements until the end of input; an error is told and the next one is read."""
    db = Database(existing(arguments))
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):  # lines can be edited and called back where Python has readline
            import readline  # noqa: F401, PLC0415
        print(f"Zerohour's views over {existing(arguments)}. `.help` says what can be asked.")
    pending, is_csv = "", False
    while True:
        try:
            line = input(("zerohour> " if not pending else "     ...> ") if sys.stdin.isatty() else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            pending = ""
            print()
            continue
        if not pending and line.strip().startswith("."):
            word, _, rest = line.strip().partition(" ")
            if word in (".quit", ".exit"):
                return 0
            is_csv = word == ".csv" if word in (".csv", ".table") else is_csv
            print("\n".join(_told(word, rest.strip())))
            continue
        pending += line + "\n"
        if pending.strip() and line.rstrip().endswith(";"):
            _answer(db, pending, arguments.rows, is_csv=is_csv)
            pending = ""
        elif not pending.strip():
            pending = ""
    if pending.strip():
        _answer(db, pending, arguments.rows, is_csv=is_csv)
    return 0


def _answer(db: Database, sql: str, rows_max: int, *, is_csv: bool) -> None:
    began = time.monotonic()
    try:
        found = db.query(sql)
    except (QueryError, LedgerRefusedError, WarehouseRefusedError) as error:
        print(error)
        return
    except KeyboardInterrupt:
        print("Interrupted.")
        return
    if db.left_out is not None:
        print(db.left_out, file=sys.stderr)
    if is_csv:
        print_csv(found)
    else:
        print_table(found, rows_max)
        print(f"{(time.monotonic() - began) * 1000:.0f} ms")


def _told(word: str, name: str) -> list[str]:
    match word:
        case ".views":
            lines = []
            for group, title in GROUPS.items():
                lines += [title, *(f"  {view.name:<18} {view.row}" for view in ALL if view.group == group)]
            return lines
        case ".columns" if name in VIEWS:
            return [f"  {c.name:<22} {c.unit:<12} {c.meaning}".rstrip() for c in VIEWS[name].columns]
        case ".columns":
            return [f"There is no view {name!r}; `.views` lists them."]
        case ".csv" | ".table":
            return [f"Answers come as {'CSV' if word == '.csv' else 'tables'} now."]
        case ".help":
            return [_HELP]
        case _:
            return [f"{word} is no command here; `.help` lists them."]
