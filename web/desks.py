"""The desks of a process, each with a view of its own: what is said of one is never shown as another's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from config.desks import desk_names
from config.settings import Settings
from domain.alarm import Severity
from domain.notices.alarm_words import plain_text
from domain.units import Utc
from messages import market, session, signals
from messages.base import Message
from web import desk, holdings, models
from web.view import View

_GRAVE: Final = (Severity.HIGH.value, Severity.CRITICAL.value)
_OF_ALL: Final = (session.PhaseChanged, market.HubUp, market.HubDown, signals.FeaturesComputed)


class Desks:
    """The views, that of `desk` first: it has the charts and the outcomes, which are no desk's own."""

    def __init__(self, *views: View) -> None:
        self.first = views[0]
        self._by_name = {view.settings.desk: view for view in views}

    def __iter__(self) -> Iterator[View]:
        return iter(self._by_name.values())

    @property
    def names(self) -> tuple[str, ...]:
        """What the desks are called."""
        return tuple(self._by_name)

    def of(self, name: str) -> View | None:
        """Return a desk's view; empty: that of `desk`; `None`: there is no such desk."""
        return self._by_name.get(name or self.first.settings.desk)

    def take(self, at_utc: Utc, fact: Message, name: str = "") -> None:
        """Take a pushed fact of a desk; empty: of none, or of the only one."""
        for view in self:
            if isinstance(fact, _OF_ALL) or view is self.of(name):
                view.take(at_utc, fact, name)
            else:
                view.hear(at_utc)

    def answered(self, status: dict[str, Any]) -> None:
        """Take what the supervisor said of itself and its actors."""
        for view in self:
            view.answered(status)

    async def read_ledgers(self) -> bool:
        """Read the ledgers of every desk again where their files have changed; return whether any had."""
        read = [await view.read_ledgers() for view in self]
        return any(read)

    async def read_outcomes(self) -> None:
        """Follow the session's alerts, which are those of every desk, as far as their spots are stored."""
        await self.first.read_outcomes()
        for view in self:
            view.outcomes = self.first.outcomes


def desks_of(
    settings: Settings, data_dir: Path, run_n: int, account: str | None,
    accounts: Mapping[str, str | None] | None = None,
) -> Desks:  # fmt: skip
    """Return the desks of the settings, of which nothing is known yet.

    `account` is masked, and the first desk's; `accounts` are those of the desks beside it, likewise.
    """
    known = {settings.desk: account} | dict(accounts or {})
    return Desks(*(View(settings, data_dir, run_n, known.get(name), name) for name in desk_names(settings)))


def desk_lines(desks: Desks) -> list[models.DeskLine]:
    """Return every desk in a line."""
    return [_line(view) for view in desks]


def _line(view: View) -> models.DeskLine:
    stands, ledgers = desk.status(view), view.ledgers
    latched = view.latched and f"Entries are latched off: {plain_text(view.latched)}."
    return models.DeskLine(
        desk=stands.desk, kind=stands.kind, mode=stands.mode, is_connected=stands.is_connected,
        is_trading=stands.is_trading, open_positions=stands.open_positions,
        total_pnl=holdings.performance(view).total_pnl if ledgers.is_read else None,
        kill_level=stands.kill_level, kill_reason=stands.kill_reason,
        alarms=sum(line.severity in _GRAVE and not line.is_over for line in desk.alarm_lines(view)),
        trouble=" ".join(text for text in (ledgers.trouble, view.money_trouble, latched) if text) or None,
    )  # fmt: skip
