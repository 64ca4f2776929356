"""The control port of a gateway: faults set, seen and ended over HTTP while it runs, by any program or by hand.

`GET /faults` lists them, `POST /faults` sets one or a list (a record as in a script), `DELETE /faults` ends them all.
`POST /callbacks` sends recorded callbacks to the clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from simulation.gateway.faults import Fault
from simulation.gateway.replay import Callback
from simulation.hubs import http

LOCAL_HOSTS = ("127.0.0.1", "localhost")
HOW = "GET, POST or DELETE /faults, or POST /callbacks"


class Faulty(Protocol):
    """What the control port needs of a gateway."""

    def inject(self, fault: Fault) -> None:
        """Set a fault."""

    def faults(self) -> dict[str, list[Fault]]:
        """Return the faults that last and those that wait."""

    def replay(self, callbacks: Sequence[Callback]) -> int:
        """Send recorded callbacks; return to how many clients."""

    def end_faults(self) -> None:
        """End every fault that lasts and forget those that wait."""


class FaultControl:
    """Listens on loopback only; it is no part of the broker and knows no password."""

    def __init__(self, gateway: Faulty) -> None:
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> int:
        """Listen and return the port; 0 takes a free one.

        Raises:
            OSError: the port is in use.
        """
        self._server = await http.serve("127.0.0.1", port, self.answer)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def answer(self, request: http.Request) -> http.Answer:
        """Return the answer to one request; one that cannot be understood changes nothing."""
        # A page in somebody's browser may reach loopback by a name of its own.
        if request.headers.get("host", "127.0.0.1").rsplit(":", 1)[0] not in LOCAL_HOSTS:
            return http.Answer(403, {"error": "Address this port as 127.0.0.1."})
        try:
            match request.method, request.path:
                case "GET", "/faults":
                    pass
                case "DELETE", "/faults":
                    self._gateway.end_faults()
                case "POST", "/faults":
                    given = msgspec.json.decode(request.body, type=Fault | list[Fault])
                    for fault in given if isinstance(given, list) else [given]:
                        self._gateway.inject(fault)
                case "POST", "/callbacks":
                    callbacks = msgspec.json.decode(request.body, type=list[Callback])
                    return http.Answer(200, {"clients": self._gateway.replay(callbacks)})
                case _:
                    what = f"{request.method} {request.path}"
                    return http.Answer(404, {"error": f"{what} is not known here; use {HOW}."})
        except ValueError as trouble:  # of msgspec too
            return http.Answer(400, {"error": f"{trouble}; correct the record. Nothing was done."})
        return http.Answer(200, msgspec.json.encode(self._gateway.faults()))
