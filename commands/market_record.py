"""What of a recorded day is recorded and what is synthetic, for `main.py simulate --market`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from commands.cli import CommandError
from commands.lines import WIDTH, wrapped
from domain.instants import MINUTE, SECOND
from simulation.market.market import Market
from simulation.market.minute_bars import RecordedDay, RecordedError, load_recorded_day
from simulation.market.path import LEAD_S

HALF_MIN: Final = 2  # half minutes of a minute


def show(folder: Path, seed: int, *, as_json: bool) -> int:
    """Print what a recorded day holds, what is left out of it, and which share of its market is synthetic.

    Raises:
        CommandError: the folder does not hold one.
    """
    try:
        recorded = load_recorded_day(folder)
    except RecordedError as error:
        raise CommandError(str(error)) from None
    facts = facts_of(recorded, seed)
    print(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode() if as_json else "\n".join(lines_of(facts)))
    return 0


def facts_of(recorded: RecordedDay, seed: int) -> dict[str, Any]:
    """Return the figures of a recorded day and of the market that follows it."""
    market, hours = Market.from_recorded(recorded, seed, ("SPX",)), recorded.hours
    of_today = [c for c in market.contracts("SPX") if c.expiry == recorded.session]
    minutes = (hours.close_utc - hours.open_utc) // MINUTE
    instants = [hours.open_utc + n * MINUTE for n in range(minutes)]
    quoted = sum(recorded.is_quoted(contract, at) for contract in of_today for at in instants)
    begins = recorded.index.begin_utc
    closes = int(((begins >= hours.open_utc) & (begins < hours.close_utc)).sum())
    log = np.log(market.path.spots["SPX"][LEAD_S : LEAD_S + (hours.close_utc - hours.open_utc) // SECOND + 1])
    halves = np.diff(log[::30]).reshape(-1, HALF_MIN)
    official_usd = recorded.official_close_usd
    return {
        "session": recorded.session.isoformat(),
        "market": dict(market.provenance),
        "index_minutes": {"recorded": 0 if recorded.is_index_implied else closes, "of": minutes},
        "index_minutes_implied": closes if recorded.is_index_implied else 0,
        "official_close_usd": official_usd,
        "holes": [{"begin_utc": at, "minutes": n} for at, n in recorded.holes],
        "left_out": recorded.left_out,
        "quote_minutes_of_today": {"recorded": quoted, "of": len(of_today) * minutes},
        "half_minutes_correlation": round(float(np.corrcoef(halves.T)[0, 1]), 3),
    }


def lines_of(facts: dict[str, Any]) -> list[str]:
    """Return the figures for people."""
    index, quotes = facts["index_minutes"], facts["quote_minutes_of_today"]
    share = quotes["recorded"] / quotes["of"]
    lines = [f"Recorded day {facts['session']}"]
    for what, how in facts["market"].items():
        lines += wrapped(f"{what}: {how}", columns=WIDTH, indent=4, first="  ")
    official = "not recorded" if facts["official_close_usd"] is None else f"{facts['official_close_usd']:.2f}"
    lines += [
        "",
        f"{'minutes of the index recorded':44}{index['recorded']:>7} of {index['of']}",
        f"{'minutes of the index implied by quotes':44}{facts['index_minutes_implied']:>7} of {index['of']}",
        f"{'contract-minutes of 0DTE quotes recorded':44}{quotes['recorded']:>7} of {quotes['of']} ({share:.1%})",
        f"{'official close':44}{official:>12}",
        f"{'first half minute against the second':44}{facts['half_minutes_correlation']:>+12.3f}  (0: tells nothing)",
        "",
    ]
    rest = (
        "Everything else is synthetic. Each trade says in the report which it was; what synthetic ones come to means"
        " nothing about profit."
    )
    return [*lines, *wrapped(rest, columns=WIDTH)]
