"""Requests about the account and its positions, and what is sent unasked to clients that follow them."""

from __future__ import annotations

from collections.abc import Callable

from domain.units import Utc
from simulation.broker.exchange import Exchange
from simulation.broker.portfolio import Position
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient
from simulation.gateway.contracts import Catalogue
from simulation.gateway.faults import ActiveFaults
from simulation.gateway.strangers import Strangers
from simulation.gateway.wire import account
from simulation.gateway.wire.frames import encode
from simulation.gateway.wire.requests import FieldReader


class AccountRequests:
    """Serves the account requests of all clients."""

    def __init__(
        self, exchange: Exchange, catalogue: Catalogue, clients: Clients, active: ActiveFaults, strangers: Strangers,
        now_utc: Callable[[], Utc],
    ) -> None:  # fmt: skip
        self._exchange = exchange
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
            76: self._account_multi,
        }

    def report_positions(self, changed: list[Position]) -> None:
        """Send new positions to the clients that follow positions or the account."""
        for connection in self._clients.admitted():
            if connection.wants_positions:
                connection.send(*(self._position_row(p) for p in changed))
            if connection.wants_account:
                connection.send(*self._account_rows(changed))

    def report_account(self) -> None:
        """Send the account's values and positions to the clients that follow it."""
        for connection in self._clients.admitted():
            if connection.wants_account:
                connection.send(*self._account_rows(self._exchange.positions()))

    def _account_rows(self, positions: list[Position]) -> list[bytes]:
        exchange = self._exchange
        rows = [
            account.portfolio(
                p, self._catalogue.order_fields(p.con_id), exchange.mark_ticks(p.con_id), exchange.account
            )
            for p in positions
        ]
        values = account.account_updates(exchange.account_values(), exchange.account)
        return [*values, *self._strangers.value_rows(), *rows, account.account_time(self._now_utc())]

    def _position_row(self, position: Position) -> bytes:
        return account.position_row(position, self._catalogue.order_fields(position.con_id), self._exchange.account)

    def _managed_accounts(self, client: ApiClient, fields: list[str]) -> None:
        client.send(encode(15, 1, self._exchange.account))

    def _positions(self, client: ApiClient, fields: list[str]) -> None:
        client.wants_positions = True
        fault = self._active.group_fault("positions")
        if fault is not None:
            if not fault.flag("silent"):
                client.error(-1, fault.code(2151), fault.text("Positions info is not available yet."))
            return
        rows = [self._position_row(p) for p in self._exchange.positions()]
        client.send(*rows, *self._strangers.position_rows(), account.position_end())

    def _cancel_positions(self, client: ApiClient, fields: list[str]) -> None:
        client.wants_positions = False

    def _account_updates(self, client: ApiClient, fields: list[str]) -> None:
        client.wants_account = FieldReader(fields, at=2).flag()
        if client.wants_account:
            rows = self._account_rows(self._exchange.positions())
            client.send(*rows, account.account_download_end(self._exchange.account))

    def _account_multi(self, client: ApiClient, fields: list[str]) -> None:
        request, values = FieldReader(fields, at=2).number(), self._exchange.account_values()
        client.send(*account.account_multi(request, values, self._exchange.account))

    def _account_summary(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request, _, tags = reader.number(), reader.text(), reader.text()
        values = self._exchange.account_values()
        client.send(*account.account_summary(request, values, tags, self._exchange.account))

    def _cancel_account_summary(self, client: ApiClient, fields: list[str]) -> None:
        """A summary is sent once here, so there is nothing to stop."""
