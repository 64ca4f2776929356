"""Orders that came with transmit off: kept at the gateway until one of their family is transmitted."""

from __future__ import annotations

from simulation.gateway.wire.requests import PlaceRequest

HeldOrder = tuple[PlaceRequest, int]  # the request and the id of its contract


class HeldOrders:
    """What waits at the gateway, by client; the exchange knows nothing of it."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], HeldOrder] = {}

    def hold(self, client_id: int, request: PlaceRequest, con_id: int) -> None:
        """Keep an order, or what it is changed to."""
        self._held[client_id, request.order_id] = request, con_id

    def release(self, client_id: int, request: PlaceRequest, con_id: int) -> list[HeldOrder]:
        """Return what goes out with an order that is transmitted: its family, the parent first, and itself."""
        self.hold(client_id, request, con_id)
        root = request.parent_id or request.order_id
        keys = [
            key for key, (held, _) in self._held.items()
            if key[0] == client_id and root in (held.order_id, held.parent_id)
        ]  # fmt: skip
        keys.sort(key=lambda key: (key[1] != root, key[1]))
        return [self._held.pop(key) for key in keys]

    def drop(self, client_id: int, order_id: int) -> HeldOrder | None:
        """Forget an order and return it; `None` where it is not kept."""
        return self._held.pop((client_id, order_id), None)

    def drop_all(self) -> list[tuple[int, HeldOrder]]:
        """Forget every order; return each with its client."""
        dropped = [(client_id, held) for (client_id, _), held in self._held.items()]
        self._held.clear()
        return dropped
