"""A child process: the simulated gateway, which reports at which instant the bytes of an order reached its socket.

`python -m benchmarks.gateway_child CLOCK REJECTS [SESSION SEED]`; commands on stdin: `drop SECONDS`; the end of stdin
ends it. The instant is taken first thing in `data_received`, before anything is decoded.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import date

import msgspec
import orjson

from domain.units import Cents
from simulation.broker.exchange import Exchange
from simulation.gateway.connection import ApiClient
from simulation.gateway.faults import Fault, FaultKind
from simulation.gateway.server import GatewayServer
from simulation.market.market import Market
from supervision.clock import MarketClock, Segment

PLACE_ORDER = b"3\0"
CASH_CENTS = Cents(30_000_000)


def say(**what: object) -> None:
    """Write one line for the parent."""
    sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
    sys.stdout.buffer.flush()


class StampedConnection(ApiClient):
    """A client's connection whose orders are stamped on arrival."""

    def data_received(self, data: bytes) -> None:
        """Stamp, and report it after the request is handled."""
        at_ns = time.time_ns()
        super().data_received(data)
        if data[4:6] == PLACE_ORDER:
            say(order_at_ns=at_ns)


async def serve(clock: MarketClock, rejects: int, session: date, seed: int) -> None:
    """Serve until stdin ends."""
    world = Market(seed, session)
    exchange = Exchange(world, cash_cents=CASH_CENTS, latency_ms=0)
    server = GatewayServer(world, exchange, clock, period_s=0.25, make_connection=StampedConnection)
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
            MarketClock(msgspec.json.decode(given[0], type=Segment)), int(given[1]),
            date.fromisoformat(given[2]), int(given[3]),
        )
    )  # fmt: skip
