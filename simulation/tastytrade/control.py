"""The control port of the simulated REST broker: its switches set, seen and ended over HTTP while it runs.

`GET /faults` shows them, `POST /faults` sets those that a record names, `DELETE /faults` sets all as they were,
`POST /drop` ends the streams, `POST /expire` ends the tokens.
"""

from __future__ import annotations

import asyncio

import msgspec

from simulation.gateway.control import LOCAL_HOSTS
from simulation.hubs import http
from simulation.tastytrade.faults import TastytradeFaults
from simulation.tastytrade.server import TastytradeServer

HOW = "GET, POST or DELETE /faults, POST /drop or POST /expire"


class TastytradeControl:
    """Listens on loopback only; it is no part of the broker and knows no password."""

    def __init__(self, server: TastytradeServer) -> None:
        self._broker = server
        self._server: asyncio.Server | None = None
        self._dropping: set[asyncio.Task[None]] = set()
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
        faults = self._broker.faults
        try:
            match request.method, request.path:
                case "GET", "/faults":
                    pass
                case "DELETE", "/faults":
                    _set(faults, TastytradeFaults())
                case "POST", "/faults":
                    given = msgspec.json.decode(request.body, type=dict[str, object])
                    _set(faults, msgspec.convert(_fields(faults) | given, TastytradeFaults))
                case "POST", "/drop":
                    task = asyncio.get_running_loop().create_task(self._broker.drop_streams())
                    self._dropping.add(task)
                    task.add_done_callback(self._dropping.discard)
                case "POST", "/expire":
                    self._broker.expire_tokens()
                case _:
                    what = f"{request.method} {request.path}"
                    return http.Answer(404, {"error": f"{what} is not known here; use {HOW}."})
        except ValueError as trouble:  # of msgspec too
            return http.Answer(400, {"error": f"{trouble}; correct the record. Nothing was done."})
        return http.Answer(200, msgspec.json.encode(faults))


def _fields(faults: TastytradeFaults) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(faults)
    return found


def _set(faults: TastytradeFaults, wanted: TastytradeFaults) -> None:
    for name in wanted.__struct_fields__:
        setattr(faults, name, getattr(wanted, name))
