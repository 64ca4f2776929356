"""Profit and loss as clients follow it: of an account (reqPnL), or of one position in it (reqPnLSingle)."""

from __future__ import annotations

from domain.units import Cents, Utc
from simulation.broker.exchange import Exchange
from simulation.broker.login import Login
from simulation.gateway.account_requests import no_account
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient
from simulation.gateway.wire.frames import encode, usd
from simulation.gateway.wire.requests import FieldReader

NO_POSITION = "Invalid position trade derived value"  # 2150


class Profit:
    """Serves the requests about profit and loss of all clients.

    The day's profit is what an account has gained since this gateway first saw its session; that of a position is what
    it has gained since it was opened. What is realised is never forgotten.
    """

    def __init__(self, login: Login, clients: Clients) -> None:
        self._login = login
        self._clients = clients
        self._at_open: dict[str, tuple[Utc, Cents]] = {}  # by account: its session, and what it was worth then
        self.handlers: dict[int, Handler] = {
            92: self._follow,
            93: self._leave,
            94: self._follow_position,
            95: self._leave,
        }
        self._look()

    def report(self) -> None:
        """Send every client what it follows."""
        self._look()
        for client in self._clients.admitted():
            for request, (account, con_id) in client.profits.items():
                self._send(client, request, account, con_id)

    def _look(self) -> None:
        """Note what an account is worth where its session is a new one."""
        for exchange in self._login.exchanges:
            open_utc = exchange.market.open_utc
            if self._at_open.get(exchange.account, (None, 0))[0] != open_utc:
                self._at_open[exchange.account] = open_utc, exchange.account_values()["NetLiquidation"]

    def _follow(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields)
        self._begin(client, reader.number(), reader.text(), None)

    def _follow_position(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields)
        request, name = reader.number(), reader.text()
        reader.skip(1)  # model
        self._begin(client, request, name, reader.number())

    def _begin(self, client: ApiClient, request: int, name: str, con_id: int | None) -> None:
        exchange = self._login.of(name)
        if exchange is None:
            client.error(request, *no_account(name))
        elif con_id is not None and not exchange.position(con_id).qty:
            client.error(request, 2150, NO_POSITION)
        else:
            client.profits[request] = exchange.account, con_id
            self._send(client, request, exchange.account, con_id)

    def _leave(self, client: ApiClient, fields: list[str]) -> None:
        client.profits.pop(FieldReader(fields).number(), None)

    def _send(self, client: ApiClient, request: int, account: str, con_id: int | None) -> None:
        exchange = self._login.of(account)
        assert exchange is not None  # it was found before
        if con_id is None:
            values, (_, before) = exchange.account_values(), self._at_open[account]
            gained = values["NetLiquidation"] - before, values["UnrealizedPnL"], values["RealizedPnL"]
            client.send(encode(94, request, *map(usd, gained)))
        else:
            client.send(encode(95, request, *_of_position(exchange, con_id)))


def _of_position(exchange: Exchange, con_id: int) -> tuple[object, ...]:
    """Return quantity, day's, unrealised and realised profit and value of a position, in USD."""
    position, contract = exchange.position(con_id), exchange.market.contract(con_id)
    value = position.qty * exchange.mark_ticks(con_id) * (contract.multiplier if contract is not None else 0)
    unrealised = value - position.cost_cents
    realised = position.realised_cents
    return (position.qty, usd(unrealised + realised), usd(unrealised), usd(realised), usd(value))
