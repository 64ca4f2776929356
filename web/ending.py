"""The sentence that tells people that there is no supervisor any more."""

from __future__ import annotations

from domain.instants import exchange_clock
from web import holdings
from web.view import View

AGAIN = "`main.py dashboard` shows the day again."


def ending_of(view: View, why: str | None) -> str:
    """Return how a run ended: with its day, by a person, or by a trouble (`why`); and what is held."""
    hours = view.day
    at = f"{exchange_clock(view.now_utc)[:5]} New York" if view.now_utc else "an unknown time"
    if why is not None:
        return f"The supervisor ended at {at}: {why}. {_held(view)} {AGAIN}"
    if hours is not None and view.now_utc < hours.close_utc:
        return f"The supervisor was stopped at {at}. {_held(view)} {AGAIN}"
    return f"The day is over. {_held(view)} {AGAIN}"


def day_ended(view: View) -> str:
    """Return the sentence over a day that is shown from its records."""
    shown = "no session" if view.session is None else view.session.isoformat()
    return f"No supervisor runs: this is what {shown} left on record. {_held(view)}"


def _held(view: View) -> str:
    if not view.ledgers.is_read:
        return "What is held is not known: the ledger could not be read."
    held = [row for row in view.ledgers.held if row["state"] == "OPEN"]
    if held:
        many = f"{len(held)} position{'' if len(held) == 1 else 's'}"
        return f"{many} open, and nobody watches: start the supervisor, or close by hand."
    money = holdings.performance(view)
    trades = f"{money.trades_count} trade{'' if money.trades_count == 1 else 's'}"
    result = f"{money.daily_realized_pnl:+,.2f}".replace("-", "\N{MINUS SIGN}")
    return f"{trades}, {result} USD net; nothing is held."
