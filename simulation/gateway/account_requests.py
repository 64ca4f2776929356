"""Requests about the account and its positions, and what is sent unasked to clients that follow them."""

from __future__ import annotations

from collections.abc import Callable

from domain.units import Utc
from simulation.broker.events import PositionChange
from simulation.broker.exchange import Exchange
from simulation.broker.login import Login
from simulation.broker.portfolio import Position
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient
from simulation.gateway.contracts import Catalogue
from simulation.gateway.faults import ActiveFaults
from simulation.gateway.strangers import Strangers
from simulation.gateway.wire import account
from simulation.gateway.wire.frames import encode
from simulation.gateway.wire.requests import FieldReader

NEW_ACCOUNT = "New account data requested from TWS. API client has been unsubscribed from account data."
ALL = "All"


def no_account(name: str) -> tuple[int, str]:
    """Return the code and the text for an account that is none of the login's, or is not named where there are several.

    Of these two refusals IB's own words are not on record.
    """
    if name:
        return 321, f"Error validating request.-'': cause - Invalid account code '{name}'."
    return 435, "You must specify an account."


class AccountRequests:
    """Serves the account requests of all clients."""

    def __init__(
        self, login: Login, catalogue: Catalogue, clients: Clients, active: ActiveFaults, strangers: Strangers,
        now_utc: Callable[[], Utc],
    ) -> None:  # fmt: skip
        self._login = login
        self._active = active
        self._strangers = strangers
        self._catalogue = catalogue
        self._clients = clients
        self._now_utc = now_utc
        self.handlers: dict[int, Handler] = {
            6: self._account_updates,
            17: self._managed_accounts,
            61: self._positions,
            62: self._account_summary,
            63: self._cancel_account_summary,
            64: self._cancel_positions,
            74: self._positions_multi,
            76: self._account_multi,
        }

    def report_positions(self, changed: list[PositionChange]) -> None:
        """Send new positions to the clients that follow positions or the account that has them."""
        for connection in self._clients.admitted():
            if connection.wants_positions:
                connection.send(*(self._position_row(change.account, change.position) for change in changed))
            followed = self._followed(connection)
            if followed is not None and (own := [c.position for c in changed if c.account == followed.account]):
                connection.send(*self._account_rows(followed, own))

    def report_account(self) -> None:
        """Send an account's values and positions to the clients that follow it."""
        for connection in self._clients.admitted():
            if (followed := self._followed(connection)) is not None:
                connection.send(*self._account_rows(followed, followed.positions()))

    def _followed(self, client: ApiClient) -> Exchange | None:
        """Return the account that a client follows; `None` for none."""
        return self._login.of(client.follows_account) if client.follows_account else None

    def _account_rows(self, exchange: Exchange, positions: list[Position]) -> list[bytes]:
        rows = [
            account.portfolio(
                p, self._catalogue.order_fields(p.con_id), exchange.mark_ticks(p.con_id), exchange.account
            )
            for p in positions
        ]
        values = account.account_updates(exchange.account_values(), exchange.account)
        return [*values, *self._strangers.value_rows(), *rows, account.account_time(self._now_utc())]

    def _position_row(self, owner: str, position: Position) -> bytes:
        return account.position_row(position, self._catalogue.order_fields(position.con_id), owner)

    def managed(self) -> bytes:
        """Write managedAccounts (15): the accounts of the login."""
        return encode(15, 1, ",".join(self._login.accounts))

    def _managed_accounts(self, client: ApiClient, fields: list[str]) -> None:
        client.send(self.managed())

    def _positions(self, client: ApiClient, fields: list[str]) -> None:
        client.wants_positions = True
        fault = self._active.group_fault("positions")
        if fault is not None:
            if not fault.flag("silent"):
                client.error(-1, fault.code(2151), fault.text("Positions info is not available yet."))
            return
        rows = [self._position_row(e.account, p) for e in self._login.exchanges for p in e.positions()]
        client.send(*rows, *self._strangers.position_rows(), account.position_end())

    def _cancel_positions(self, client: ApiClient, fields: list[str]) -> None:
        client.wants_positions = False

    def _account_updates(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        is_wanted, name = reader.flag(), reader.text()
        if not is_wanted:
            client.follows_account = ""
            return
        exchange = self._login.of(name)
        if exchange is None:
            client.error(-1, *no_account(name))
            return
        if client.follows_account not in ("", exchange.account):  # one at a time
            client.error(-1, 2100, NEW_ACCOUNT)
        client.follows_account = exchange.account
        rows = self._account_rows(exchange, exchange.positions())
        client.send(*rows, account.account_download_end(exchange.account))

    def _account_multi(self, client: ApiClient, fields: list[str]) -> None:
        request, exchanges = self._asked_for(client, fields)
        rows = [row for e in exchanges for row in account.account_multi(request, e.account_values(), e.account)]
        if exchanges:
            client.send(*rows, account.account_multi_end(request))

    def _positions_multi(self, client: ApiClient, fields: list[str]) -> None:
        request, exchanges = self._asked_for(client, fields)
        rows = [
            account.position_multi(request, p, self._catalogue.order_fields(p.con_id), e.account)
            for e in exchanges
            for p in e.positions()
        ]
        if exchanges:
            client.send(*rows, account.position_multi_end(request))

    def _asked_for(self, client: ApiClient, fields: list[str]) -> tuple[int, tuple[Exchange, ...]]:
        """Return a request's id and its account, or all where it names none; an unknown one is refused: nothing."""
        reader = FieldReader(fields, at=2)
        request, name = reader.number(), reader.text()
        if name in ("", ALL):
            return request, self._login.exchanges
        exchange = self._login.of(name)
        if exchange is None:
            client.error(request, *no_account(name))
            return request, ()
        return request, (exchange,)

    def _account_summary(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request, _, tags = reader.number(), reader.text(), reader.text()
        rows = [
            row
            for exchange in self._login.exchanges
            for row in account.account_summary(request, exchange.account_values(), tags, exchange.account)
        ]
        client.send(*rows, account.account_summary_end(request))

    def _cancel_account_summary(self, client: ApiClient, fields: list[str]) -> None:
        """A summary is sent once here, so there is nothing to stop."""
