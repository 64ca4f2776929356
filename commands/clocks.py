"""The clocks of servers and supervisors that are started by hand: one of their own, or a published one.

`main.py sim clock` publishes one that stands; servers follow it, and `main.py run --profile real --clock FILE` leads
it: quickly while nothing is at stake, in real time while an order works.
"""

from __future__ import annotations

import ipaddress
from argparse import Namespace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from commands.cli import CommandError
from config.settings import Settings
from domain.instants import at_exchange, exchange_clock, session_of
from domain.orders.capabilities import TASTYTRADE
from domain.session import calendar
from domain.units import Utc
from simulation.pace.nights import session_after, session_at
from supervision.clock import ClockFileError, LedClock, MarketClock

START = "10:00:00"  # of a server alone: in the session, past the minutes in which a desk takes no entry


def start_of(text: str | None) -> tuple[str | None, str]:
    """Return the date (`None` where it has none) and the time of `[YYYY-MM-DD ]HH:MM:SS`."""
    day, _, clock = (text or START).replace("T", " ").rpartition(" ")
    return day or None, clock


def make_clock(settings: Settings, path: Path | None, rate: float | None) -> int:
    """Publish a clock that stands at the start that the settings say; with a rate it runs.

    Raises:
        CommandError: no file is named, there is one already, or it cannot be written.
    """
    if path is None:
        raise CommandError("Name the file: `main.py sim clock --clock FILE --start '2026-11-20 09:20:00'`.")
    if path.exists():
        raise CommandError(f"{path} is there already; remove it, or name another file.")
    start_utc = at_exchange(settings.demo.session, settings.demo.start_clock)
    try:
        clock = LedClock.begin(path, start_utc)
    except OSError as error:
        raise CommandError(f"The clock {path} cannot be written ({error.strerror}); name another file.", 3) from None
    if rate is not None:
        clock.follow(settings.demo.rate)
    how = "stands" if rate is None else f"runs {settings.demo.rate:g} times as fast as a real one, from"
    print(
        f"The clock in {path} {how} at {instant_text(start_utc)}. Servers follow it with `--clock {path}`, and"
        f" `main.py run --profile real --clock {path}` leads it."
    )
    return 0


def followed_clock(path: Path) -> MarketClock:
    """Return a published clock to follow.

    Raises:
        CommandError: there is none.
    """
    try:
        return MarketClock.load(path)
    except (OSError, ClockFileError) as error:
        raise CommandError(f"The clock in {path} cannot be followed: {error}; give a running day's.") from None


def led_clock(settings: Settings, path: Path) -> LedClock:
    """Return a published clock that this process leads, for a real profile against servers that follow it.

    Raises:
        CommandError: the desk trades live money, a server is not this machine's, or the clock cannot be led.
    """
    if settings.trading_mode == "live" or any(beside.kind == "live" for beside in settings.desks.values()):
        raise CommandError("--clock: a desk that trades live money goes by the real market's clock; leave it out.")
    urls = [settings.feed.negotiate_url]
    if settings.broker.orders == TASTYTRADE:
        urls += [settings.broker.tastytrade.rest_url, settings.broker.tastytrade.stream_url]
    gateways = (*settings.broker.gateways, *(one for beside in settings.desks.values() for one in beside.gateways))
    hosts = (*(gateway.host for gateway in gateways), *(urlsplit(url).hostname for url in urls))
    for host in hosts:
        if not _is_loopback(host):
            raise CommandError(
                f"--clock: {host} is not this machine (127.0.0.1), and only servers that follow the same file can be"
                f" traded with by it: `main.py sim gateway --clock {path}`, `main.py sim hubs --clock {path}`."
            )
    try:
        return LedClock.lead(path)
    except (OSError, ClockFileError) as error:
        raise CommandError(
            f"The clock in {path} cannot be led: {error}. `main.py sim clock --clock FILE` makes one."
        ) from None


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def check_session(settings: Settings, session: date) -> None:
    """Refuse a date on which the exchange does not trade.

    Raises:
        CommandError: it is one.
    """
    closed = settings.day.closed_dates
    if calendar.day(session, closed) is None:
        raise CommandError(f"{session} is no session of the exchange ({calendar.closure_of(session, closed)}).")


def market_text(settings: Settings, now: Utc) -> str:
    """Return what a market's clock says, for people: the instant, and until when it trades or is closed."""
    closed = settings.day.closed_dates
    day = session_at(now, closed)
    if now >= day.close_utc:
        day = session_after(day, closed)
    if now < day.open_utc:
        until = f"CLOSED until {instant_text(day.open_utc)}, orders wait until then"
    else:
        until = f"in a session until {exchange_clock(day.close_utc)}"
    return f"{instant_text(now)}: {until}"


def instant_text(at_utc: Utc) -> str:
    """Return an instant as New York's weekday, date and time."""
    session = session_of(at_utc)
    return f"{session:%A} {session} {exchange_clock(at_utc)} New York"


def is_own(arguments: Namespace) -> bool:
    """Return whether a server goes by a clock of its own."""
    return arguments.run_folder is None and arguments.clock is None
