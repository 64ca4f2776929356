"""The hard stop at C-5: what is still held is closed by a way that needs no actor, and the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Final

from commands.emergency import keep_level
from commands.folder import DataFolder
from commands.held import account_key, booked, contracts, desks_at, owned
from commands.live import Supervisor
from commands.traces import UNREADABLE
from config.secrets import secret
from config.settings import Settings
from config.tree import Gateway
from domain.alarm import Severity
from domain.instants import MS, session_of
from domain.orders.capabilities import IB
from domain.session import calendar
from domain.units import Qty, Utc
from gateways.brokers import DirectSetup, direct_way
from gateways.contract_book import ContractBook
from gateways.direct import DirectError, Outcome
from gateways.direct import flatten as flatten_at
from messages import operator
from storage.reconcile import allowed_con_ids
from storage.sqlite_file import LedgerRefusedError
from supervision.clock import LedClock, MarketClock

LOOK_EVERY_S: Final = 0.5
RETRY_EVERY_S: Final = 10.0  # real: between two attempts to flatten
Flatten = Callable[[dict[int, Qty], Callable[[str], None]], Outcome]


class HardStop:
    """A thread that looks at the broker's book from C-5 to the close.

    What it must not depend on is an actor that decides: it reads what the order session knows of the broker where that
    session stands, else what the ledgers and the positions' own states say. Of several desks, each has one; the process
    ends when none of `beside`, those of the other desks, has anything left to close.
    """

    def __init__(
        self, running: Supervisor, settings: Settings, folder: DataFolder, clock: MarketClock,
        gateways: tuple[Gateway, ...], flatten: Flatten | None = None,
    ) -> None:  # fmt: skip
        self._running = running
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._contracts = ContractBook()
        account = secret(settings.broker.account_env)  # now: minutes before the close no file may fail
        key = account_key(folder.ledgers, [settings.desk])
        self._way = direct_way(DirectSetup(settings, gateways, clock, account, self._contracts, key))
        self._flatten = flatten or self._directly
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name="hard-stop", daemon=True)
        self._has_missed_ledger = False
        self.desk = settings.desk
        self.beside: tuple[HardStop, ...] = ()
        self._is_acting = False
        self._is_done = False
        self.is_flat = False  # it has acted, and nothing is left; the ledgers learn of it with the next start

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self, *, may_finish: bool = False) -> None:
        """End; an attempt to flatten is waited for, and the next ones, too, where it `may_finish` what it has begun."""
        if not (may_finish and self._is_acting):
            self._over.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _guarded(self) -> None:
        try:
            while not self._over.wait(LOOK_EVERY_S):
                if self.is_due(self._clock.now_utc()) and self.what_may_be_held():
                    self._act()
                    return
        except BaseException as error:
            self._is_acting = False
            self._running.runtime.fail(f"the hard stop failed: {type(error).__name__}: {error}")
        finally:
            self._is_done = True

    def is_at_work(self) -> bool:
        """Return whether it closes what is held, or is about to."""
        if self._is_done:
            return False
        return self._is_acting or (self.is_due(self._clock.now_utc()) and bool(self.what_may_be_held()))

    def is_due(self, now: Utc) -> bool:
        """Return whether it is between C-5 and the close of a session."""
        day = self._day(session_of(now))
        return day is not None and day.close_utc - self._settings.day.verify_flat_again_ms * MS <= now < day.close_utc

    def _day(self, session: date) -> calendar.TradingDay | None:
        return calendar.day(session, self._settings.day.closed_dates)

    def what_may_be_held(self) -> dict[int, Qty]:
        """Return what of ours may be held, by contract id: the broker's word where it stands, else our own.

        What was sold to open is negative. Of a contract that nobody of ours holds nothing counts; only where the desk's
        ledger cannot be asked, what is bought of a contract that the order session follows, unless it may stay.
        """
        ours, is_asked = self._ours()
        session = self._running.session_view(self._settings.desk)
        if session is None:
            return ours
        allowed = allowed_con_ids(session.read, [str(one) for one in self._settings.broker.foreign_allowed])
        followed = frozenset() if is_asked else frozenset(session.con_ids) - allowed
        return {
            con_id: qty
            for con_id, qty in session.positions
            if qty * ours.get(con_id, 0) > 0 or (con_id not in ours and con_id in followed and qty > 0)
        }

    def _ours(self) -> tuple[dict[int, Qty], bool]:
        """Return what the ledgers own, and the positions hold in memory: the larger of both, by contract.

        And whether the desk's ledger was among those that could be asked.
        """
        desks, is_asked = desks_at(self._folder.ledgers, self._settings), True
        try:
            found = owned(self._folder.ledgers, desks)
        except (LedgerRefusedError, *UNREADABLE) as error:
            if not self._has_missed_ledger:
                self._has_missed_ledger = True
                self._page(f"The ledgers cannot be asked what is held ({error}) The positions' own memory counts.")
            found, is_asked = {}, False
        for con_id, qty in self._running.held_in_memory(self._settings.desk).items():
            found[con_id] = max(qty, found.get(con_id, Qty(0)), key=abs)
        return found, is_asked and self._settings.desk in desks

    def _to_close(self) -> dict[int, Qty]:
        """Return what is to be closed: never more of a contract than is ours, nor than the broker says."""
        (ours, _), told = self._ours(), self.what_may_be_held()
        return ours | {con_id: min(qty, ours.get(con_id, qty), key=abs) for con_id, qty in told.items()}

    def _booked(self) -> frozenset[str]:
        try:
            return booked(self._folder.ledgers, desks_at(self._folder.ledgers, self._settings))
        except (LedgerRefusedError, *UNREADABLE):
            return frozenset()  # then nothing that was sold directly is taken for booked

    def _act(self) -> None:
        """Stop everything that could send an order, close what is held, and end the process when nobody else does."""
        self._is_acting = True
        held = self._to_close()
        what = ", ".join(f"{qty} of contract {con_id}" for con_id, qty in held.items())
        minutes = self._settings.day.verify_flat_again_ms // 60_000
        self._page(
            f"NOT FLAT {minutes} min before the close ({what}). The desk is stopped and everything is closed"
            " at market, past it."
        )
        self._running.close(are_entries_withdrawn=True)  # the global cancel takes them
        if isinstance(self._clock, LedClock):
            self._clock.follow(1.0)
        self._flatten_until_the_close(held)
        keep_level(self._folder.kill_file, 1)
        self._is_acting, self._is_done = False, True  # before it looks at the others: none waits for one that waits
        while any(other.is_at_work() for other in self.beside) and not self._over.wait(LOOK_EVERY_S):
            pass
        self._running.runtime.end("the hard stop before the close; the next start comes up at kill level 1")

    def _flatten_until_the_close(self, held: dict[int, Qty]) -> None:
        """Flatten again and again until nothing is left, the close has come or the process is to end.

        An attempt counts what an earlier one has closed, so each is asked for the same. The first failure and the last
        one are pages, those between are lines.
        """
        announce = self._page
        while True:
            failure = self._attempt(held)
            if not failure:
                self.is_flat = True
                self._page("Flat by the direct flatten; the ledger learns of it with the next start.")
                return
            if not self.is_due(self._clock.now_utc()):
                self._page(f"{failure} Close it by the broker's own screen NOW.")
                return
            announce(f"{failure} Close it by the broker's own screen; it is tried again in {RETRY_EVERY_S:g} s.")
            announce = self._say
            if self._over.wait(RETRY_EVERY_S):
                return

    def _attempt(self, held: dict[int, Qty]) -> str:
        """Flatten once; return why that did not make it flat, as one sentence, empty where it did."""
        try:
            outcome = self._flatten(held, self._say)
        except DirectError as error:
            return f"The direct flatten failed: {error}."
        left = ", ".join(f"{qty} of contract {con_id}" for con_id, qty in outcome.left.items())
        return "" if outcome.is_flat else f"STILL NOT FLAT: {left or outcome.why or 'orders still work'}."

    def _directly(self, held: dict[int, Qty], say: Callable[[str], None]) -> Outcome:
        if self._settings.broker.orders != IB:
            self._note_contracts()
        return flatten_at(self._way, held, booked=self._booked(), clock=self._clock, say=say)

    def _note_contracts(self) -> None:
        """Learn whose contract a symbol is: by the last reading of the broker, and by the ledgers where they answer."""
        session = self._running.session_view(self._settings.desk)
        if session is not None and session.read is not None:
            self._contracts.note(position.contract for position in session.read.positions)
        with suppress(LedgerRefusedError, *UNREADABLE):
            self._contracts.note(contracts(self._folder.ledgers, desks_at(self._folder.ledgers, self._settings)))

    def _page(self, text: str) -> None:
        self._announce("alarm", Severity.CRITICAL, f"[hard_stop] {text}")

    def _say(self, text: str) -> None:
        self._announce("exit", Severity.HIGH, f"Direct flatten: {text}")

    def _announce(self, topic: str, severity: Severity, text: str) -> None:
        line = operator.Announce(topic=topic, severity=severity, text=text, at_utc=self._clock.now_utc())
        self._running.console.put(line)
