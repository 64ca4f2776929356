"""What the control ports of the simulated brokers share: HTTP on loopback, by any program or by hand."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar

from simulation.hubs import http

_LOCAL_HOSTS = ("127.0.0.1", "localhost")


class ControlPort(ABC):
    """Listens on loopback only; it is no part of the broker and knows no password."""

    HOW: ClassVar[str]  # which requests there are

    def __init__(self) -> None:
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
        if request.headers.get("host", "127.0.0.1").rsplit(":", 1)[0] not in _LOCAL_HOSTS:
            return http.Answer(403, {"error": "Address this port as 127.0.0.1."})
        try:
            answer = self.carry_out(request)
        except ValueError as trouble:  # of msgspec too
            return http.Answer(400, {"error": f"{trouble}; correct the record. Nothing was done."})
        if answer is None:
            what = f"{request.method} {request.path}"
            return http.Answer(404, {"error": f"{what} is not known here; use {self.HOW}."})
        return answer

    @abstractmethod
    def carry_out(self, request: http.Request) -> http.Answer | None:
        """Carry out one request and answer it; `None`: there is no such request.

        Raises:
            ValueError: its record cannot be understood; nothing was done.
        """
