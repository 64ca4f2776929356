"""The sentence that tells people that there is no supervisor any more."""

from __future__ import annotations

from domain.instants import exchange_clock
from web import holdings
from web.desks import Desks
from web.view import View

AGAIN = "`main.py dashboard` shows the day again."


def end(desks: Desks, why: str | None) -> None:
    """Say in every view how a run ended: with its day, by a person, or by a trouble (`why`); and what is held."""
    view = desks.first
    at = f"{exchange_clock(view.now_utc)[:5]} New York" if view.now_utc else "an unknown time"
    hours = view.day
    is_over = why is None and (hours is None or view.now_utc >= hours.close_utc)
    if why is not None:
        how = f"The supervisor ended at {at}: {why}."
    elif hours is not None and view.now_utc < hours.close_utc:
        how = f"The supervisor was stopped at {at}."
    else:
        how = "The day is over."
    _say(desks, f"{how} {_all_held(desks)} {AGAIN}", is_finished=is_over and all(map(_is_flat, desks)))


def show_record(desks: Desks) -> None:
    """Say in every view that a day is shown from its records: one that was played to its end, or what there is of it.

    Of several desks, one that has no row of the day has not traded on it.
    """
    shown = desks.first.session
    days = [view.ledgers.day for view in desks]
    is_ended = any(day is not None for day in days) and all(day is None or day["trades"] is not None for day in days)
    is_finished = is_ended and all(map(_is_flat, desks))
    if is_finished:
        how = f"Finished day {shown}."
    else:
        what = "no session" if shown is None else shown.isoformat()
        how = f"No supervisor runs: this is what {what} left on record."
    _say(desks, f"{how} {_all_held(desks)}", is_finished=is_finished)


def _say(desks: Desks, text: str, *, is_finished: bool) -> None:
    for view in desks:
        view.ended, view.is_finished = text, is_finished


def _all_held(desks: Desks) -> str:
    """Return what each desk holds, of several with its name."""
    if len(desks.names) == 1:
        return _held(desks.first)
    return " ".join(f"Desk {view.settings.desk}: {_held(view)}" for view in desks)


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
    return f"{trades}, {result} USD net; nothing is held."


def count_text(n: int, noun: str) -> str:
    """Return a count with its noun: `1 position`, `2 positions`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
