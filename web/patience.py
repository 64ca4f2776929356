"""The end of connections that only take a place: whoever says too little or takes nothing is not waited for.

Every connection costs this process one of its files, and both listeners share them: a thousand that say nothing would
keep everybody else from the page on which Stop stands.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

LOOK_EVERY_S = 10.0
STUCK_LOOKS = 6  # at which an answer stands that nobody takes


class Patient(H11Protocol):
    """A connection that is looked at every ten seconds; there are fewer than `limit_concurrency` at once."""

    _looks: asyncio.TimerHandle | None = None
    _seen: RequestResponseCycle | None = None  # the exchange at the last look, and what was waited for then
    _waits_n = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base
        """Take a place, where there is one."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            transport.abort()
            return
        self._looks = self.loop.call_later(LOOK_EVERY_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give it back."""
        if self._looks is not None:
            self._looks.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """End what waits for the rest of a request since the last look, or has taken nothing of an answer for long."""
        cycle = self.cycle
        is_asking = cycle is None or cycle.response_complete or cycle.more_body
        is_waiting = is_asking or self.flow.write_paused
        self._waits_n = self._waits_n + 1 if is_waiting and cycle is self._seen else 0
        self._seen = cycle
        if self._waits_n >= (1 if is_asking else STUCK_LOOKS):
            self.transport.abort()  # a close would wait until what stands is taken
            return
        self._looks = self.loop.call_later(LOOK_EVERY_S, self._look)
