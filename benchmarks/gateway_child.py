"""A child process: the simulated gateway, which says at which instant the bytes of an order reached its socket.

`python -m benchmarks.gateway_child CLOCK REJECTS [SESSION SEED]`; commands on stdin: `drop SECONDS`; the end of stdin
ends it. The instant is taken first thing in `data_received`, before anything is decoded.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import date
from typing import Any

import msgspec
import orjson

from simulation.broker.exchange import Exchange
from simulation.gateway.faults import Fault, FaultKind
from simulation.gateway.server import GatewayServer
from simulation.gateway.session import Session
from simulation.market.market import Market
from supervision.clock import MarketClock

PLACE_ORDER = b"3\0"


def say(**what: Any) -> None:
    """Write one line for the parent."""
    sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
    sys.stdout.buffer.flush()


class StampedSession(Session):
    """A client's connection whose orders are stamped on arrival."""

    def data_received(self, data: bytes) -> None:
        """Stamp, say it after the request is handled."""
        at_ns = time.time_ns()
        super().data_received(data)
        if data[4:6] == PLACE_ORDER:
            say(order_at_ns=at_ns)


class StampedGateway(GatewayServer):
    """The simulated gateway with stamped connections."""

    async def _listen(self) -> None:
        host, port = self._address
        self._listener = await asyncio.get_running_loop().create_server(lambda: StampedSession(self), host, port)
        self._address = (host, self._listener.sockets[0].getsockname()[1])


async def serve(clock: MarketClock, rejects: int, session: date, seed: int) -> None:
    """Serve until stdin ends."""
    world = Market(seed, session)
    server = StampedGateway(world, Exchange(world, cash_cents=30_000_000, latency_ms=0), clock, period_s=0.25)
    for _ in range(rejects):
        server.inject(Fault(FaultKind.ORDER_REJECTED))
    say(port=await server.start())
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, _, value = line.strip().partition(" ")
        if what == "drop":
            server.inject(Fault(FaultKind.DROP_REFUSE, duration_s=float(value)))
    await server.stop()


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(
        serve(
            msgspec.json.decode(given[0], type=MarketClock), int(given[1]),
            date.fromisoformat(given[2]), int(given[3]),
        )
    )  # fmt: skip
