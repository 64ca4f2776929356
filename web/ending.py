"""The sentence that tells people that there is no supervisor any more."""

from __future__ import annotations

from domain.instants import exchange_clock
from web import holdings
from web.view import View

AGAIN = "`main.py dashboard` shows the day again."


def end(view: View, why: str | None) -> None:
    """Say in the view how a run ended: with its day, by a person, or by a trouble (`why`); and what is held."""
    at = f"{exchange_clock(view.now_utc)[:5]} New York" if view.now_utc else "an unknown time"
    hours = view.day
    view.is_finished = why is None and (hours is None or view.now_utc >= hours.close_utc) and _is_flat(view)
    if why is not None:
        view.ended = f"The supervisor ended at {at}: {why}. {_held(view)} {AGAIN}"
    elif hours is not None and view.now_utc < hours.close_utc:
        view.ended = f"The supervisor was stopped at {at}. {_held(view)} {AGAIN}"
    else:
        view.ended = f"The day is over. {_held(view)} {AGAIN}"


def show_record(view: View) -> None:
    """Say in the view that a day is shown from its records: one that was played to its end, or what there is of it."""
    day, shown = view.ledgers.day, view.session
    view.is_finished = day is not None and day["trades"] is not None and _is_flat(view)
    if view.is_finished:
        view.ended = f"Finished day {shown}. {_held(view)}"
    else:
        what = "no session" if shown is None else shown.isoformat()
        view.ended = f"No supervisor runs: this is what {what} left on record. {_held(view)}"


def _is_flat(view: View) -> bool:
    return view.ledgers.is_read and not view.ledgers.held


def _held(view: View) -> str:
    if not view.ledgers.is_read:
        return "What is held is not known: the ledger could not be read."
    held = sum(row["state"] == "OPEN" for row in view.ledgers.held)
    unsure = len(view.ledgers.held) - held  # what an entry order holds is not known before the broker is read
    if view.ledgers.held:
        parts = [f"{count_text(held, 'position')} open"] if held else []
        parts += [f"{count_text(unsure, 'entry order')} that may have filled"] if unsure else []
        return f"{' and '.join(parts)}, and nobody watches: start the supervisor, or close by hand."
    money = holdings.performance(view)
    trades = count_text(money.trades_count, "trade")
    result = f"{money.daily_realized_pnl:+,.2f}".replace("-", "\N{MINUS SIGN}")
    of_desk = f" at desk {view.settings.desk}" if view.settings.desks else ""  # of others this page tells nothing
    return f"{trades}, {result} USD net; nothing is held{of_desk}."


def count_text(n: int, noun: str) -> str:
    """Return a count with its noun: `1 position`, `2 positions`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
