"""`main.py chain SYMBOL [EXPIRY]`: the newest stored band around the money, calls left, puts right of the strikes."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from datetime import date
from typing import Any

from commands.cli import CommandError
from commands.gaps import session_in
from commands.sql import existing
from commands.tables import print_csv, print_json
from storage.views.database import Database, QueryError
from storage.views.named import chain

_WIDE = 110  # columns from which everything fits
_SIDE = (("bid", 7, ".2f"), ("ask", 7, ".2f"), ("iv", 6, ".1%"), ("delta", 5, ".2f"), ("open_interest", 6, "d"))
_SIDE_WIDE = (*_SIDE, ("volume", 7, "d"), ("gamma", 7, ".4f"))
_TITLES = {"open_interest": "OI"}


def act(arguments: Namespace) -> int:
    """Print the chain; 1 where none of it was ever stored."""
    expiry, session = session_in(arguments.expiry), session_in(arguments.session)
    try:
        found = chain(Database(existing(arguments)), arguments.symbol, expiry, session)
    except QueryError as error:
        raise CommandError(str(error)) from None
    if not found.num_rows:
        which = f" of expiry {expiry}" if expiry is not None else ""
        when = f" on {session}" if session is not None else ""
        raise CommandError(
            f"No chain of {arguments.symbol}{which} is stored{when}; chains are stored while a session runs, of the"
            " tickers that a lane trades.",
            1,
        )
    if arguments.json:
        print_json(found)
    elif arguments.csv:
        print_csv(found)
    else:
        width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80
        print("\n".join(screen(arguments.symbol, found.to_pylist(), width)))
    return 0


def screen(symbol: str, rows: list[dict[str, Any]], width: int) -> list[str]:
    """Lay a chain out in lines of at most `width` columns (80 are enough), expiry by expiry."""
    side = _SIDE_WIDE if width >= _WIDE else _SIDE
    lines: list[str] = []
    expiry: date | None = None
    for row in rows:
        if row["expiry"] != expiry:
            expiry = row["expiry"]
            spot = "unknown" if row["spot"] is None else f"{row['spot']:.2f}"
            titles = " ".join(_TITLES.get(name, name).rjust(size) for name, size, _ in side)
            lines += ["" for _ in lines[:1]]
            lines += [f"{symbol} {expiry}: spot {spot} at {row['at_ny']:%Y-%m-%d %H:%M:%S} New York", ""]
            lines += [f"{'calls'.center(len(titles))} {'strike':>8} {'puts'.center(len(titles))}".rstrip()]
            lines += [f"{titles} {'':>8} {titles}"]
        calls, puts = (
            " ".join(_cell(row[f"{right}_{name}"], how).rjust(size) for name, size, how in side) for right in "cp"
        )
        lines.append(f"{calls} {row['strike']:>8g} {puts}")
    return lines


def _cell(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)
