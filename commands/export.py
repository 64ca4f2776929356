"""`main.py export TABLE`: a view as CSV or JSON, also under the names of the systems before."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import nullcontext

from commands.cli import CommandError
from commands.gaps import session_in
from commands.sql import existing
from commands.tables import print_csv, print_json
from storage.manifest import WarehouseRefusedError
from storage.views.catalog import VIEWS
from storage.views.database import Database, QueryError


def act(arguments: Namespace) -> int:
    """Write a whole view."""
    name = arguments.table
    if name not in VIEWS:
        raise CommandError(f"There is no table {name!r}; there are: {', '.join(sorted(VIEWS))}.")
    session = session_in(arguments.session)
    columns = [column.name for column in VIEWS[name].columns]
    day = next((column for column in ("session", "trade_date", "date") if column in columns), None)
    if session is not None and day is None:
        raise CommandError(f"{name} is not kept by session; leave --session out.")
    where = f" WHERE {day} = $session" if session is not None else ""
    db = Database(existing(arguments))
    try:
        found = db.query(
            f"SELECT * FROM {name}{where} ORDER BY ALL", {"session": session} if session is not None else ()
        )
    except QueryError as error:
        raise CommandError(str(error)) from None
    except WarehouseRefusedError as error:
        raise CommandError(str(error), 3) from None
    try:
        with nullcontext(sys.stdout) if arguments.out is None else arguments.out.open("w", encoding="utf-8") as out:
            (print_json if arguments.json else print_csv)(found, out)
    except BrokenPipeError:
        raise  # whoever read the output has enough of it: no file to name
    except OSError as error:
        raise CommandError(f"{arguments.out} cannot be written ({error.strerror}); name another file.") from None
    if arguments.out is not None:
        print(f"{found.num_rows} rows of {name} are in {arguments.out}.")
    return 0
