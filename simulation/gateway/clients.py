"""The connections of a gateway, and which of them has which client id."""

from __future__ import annotations

from collections.abc import Callable

from simulation.gateway.connection import ApiClient

Handler = Callable[[ApiClient, list[str]], None]  # of one kind of request: the connection and the request's fields


class Clients:
    """The open connections; a client id belongs to one of them at a time."""

    def __init__(self) -> None:
        self._connections: set[ApiClient] = set()
        self._by_id: dict[int, ApiClient] = {}

    def add(self, connection: ApiClient) -> None:
        """Add a connection that has no client id yet."""
        self._connections.add(connection)

    def remove(self, connection: ApiClient) -> None:
        """Forget a connection and free its client id."""
        self._connections.discard(connection)
        if connection.client_id is not None and self._by_id.get(connection.client_id) is connection:
            del self._by_id[connection.client_id]

    def claim(self, connection: ApiClient, client_id: int) -> bool:
        """Let a connection have a client id; False if another one has it."""
        if client_id in self._by_id:
            return False
        self._by_id[client_id] = connection
        connection.client_id = client_id
        return True

    def of_id(self, client_id: int) -> ApiClient | None:
        """Return the connection of a client id; `None` if it has none."""
        return self._by_id.get(client_id)

    def connections(self) -> list[ApiClient]:
        """Return every open connection."""
        return list(self._connections)

    def admitted(self) -> list[ApiClient]:
        """Return the connections that have a client id."""
        return list(self._by_id.values())

    def lines_used(self) -> int:
        """Return the number of market data lines of the account, over all connections."""
        return sum(len(connection.subscriptions) for connection in self._connections)
