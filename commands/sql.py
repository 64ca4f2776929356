"""`main.py sql "SELECT …"`: one query over market, signals and trades, beside a running supervisor or without one."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.tables import print_csv, print_json, print_table
from storage.manifest import WarehouseRefusedError
from storage.views.database import Database, QueryError


def act(arguments: Namespace) -> int:
    """Answer one query; `-` reads it from standard input."""
    sql = sys.stdin.read() if arguments.query == "-" else arguments.query
    db = Database(existing(arguments))
    try:
        found = db.query(sql)
    except QueryError as error:
        raise CommandError(f"{error} `main.py shell` lists the views (.views, .columns VIEW).") from None
    except WarehouseRefusedError as error:
        raise CommandError(str(error), 3) from None
    if db.left_out is not None:
        print(db.left_out, file=sys.stderr)
    if arguments.json:
        print_json(found)
    elif arguments.csv:
        print_csv(found)
    else:
        print_table(found, arguments.rows)
    return 0


def existing(arguments: Namespace) -> Path:
    """Return the data folder of a call.

    Raises:
        CommandError: nothing was ever stored there.
    """
    root = DataFolder(settings_of(arguments).data_dir).root
    if not any((root / name).is_dir() for name in ("warehouse", "ledgers", "traces")):
        raise CommandError(
            f"There is nothing to query in {root}: run a session first, or name its folder with --data.", 1
        )
    return root
