"""A child process: a simulated gateway whose stops are crossed on command, beside as many ticks as are asked for.

`python -m benchmarks.exits_child CLOCK SESSION SEED`. Commands on stdin: `ticks RATE`; `cross TICKER TICKS` moves an
underlying and answers at which instants its tick was written and the bytes of the next order came; `still` moves all
underlyings back; `orders N` leaves N working orders of a run before at the broker; `drop SECONDS`. The end of
stdin ends it.

The market stands still, so no stop is crossed by itself, and bid and ask are the same, so limits at the middle fill.
Ticks go to option lines that are not held (as fast as asked for); underlyings print four times a second and what is
held ten times, which is all that IB samples.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import date
from itertools import count

import msgspec

from benchmarks.gateway_child import PLACE_ORDER, say
from benchmarks.rig import at_the_money, model_quotes
from domain.instruments import OrderType, Quote, Side, Spot
from domain.orders import references
from domain.units import Cents, Qty, Ticks, Utc
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order
from simulation.gateway.connection import ApiClient, Gateway
from simulation.gateway.faults import Fault, FaultKind
from simulation.gateway.server import GatewayServer
from simulation.gateway.subscription import Subscription
from simulation.market.market import Market
from supervision.clock import MarketClock, Segment

CASH_CENTS = Cents(30_000_000)
ORDERS_CLIENT_ID = 11
WRITE_EVERY_S = 0.004
SAMPLED_HZ = {True: 10, False: 4}  # by whether it is an option
FILL_S = 0.005
DESK = "paper"
LEFT_TICKS = Ticks(5)  # far below the market


class StillMarket(Market):
    """A market whose prices change on command only; every option's bid is its ask."""

    def __init__(self, seed: int, session: date, clock: MarketClock) -> None:
        super().__init__(seed, session)
        self._clock = clock
        self._prices: dict[str, Ticks] = {}
        self.step(clock.now_utc())
        self._prices = {ticker: at_the_money(self, ticker) for ticker in self.tickers}
        self.moves: dict[str, int] = {}
        self._quotes: dict[int, Quote] = {}
        for ticker in self.tickers:
            today = tuple(c for c in self.contracts(ticker) if c.expiry == session)
            quotes = model_quotes(today, self._prices[ticker], self.close_utc, clock.now_utc())
            for quote in quotes:
                bid = Ticks(max(5, quote.bid_ticks or 0))
                self._quotes[quote.con_id] = msgspec.structs.replace(quote, bid_ticks=bid, ask_ticks=bid, greeks=None)

    def spot(self, ticker: str) -> Spot:
        """Return the price of an underlying as it was moved."""
        if ticker not in self._prices:
            return super().spot(ticker)
        return Spot(ticker, Ticks(self._prices[ticker] + self.moves.get(ticker, 0)), self._clock.now_utc())

    def quote(self, con_id: int) -> Quote:
        """Return the quote of an option of today, else the market's."""
        quote = self._quotes.get(con_id)
        return super().quote(con_id) if quote is None else msgspec.structs.replace(quote, at_utc=self._clock.now_utc())


class Stops:
    """The connections, and the stop that is crossed now."""

    def __init__(self) -> None:
        self.connections: list[CrossedConnection] = []
        self.crossed_ns: int | None = None

    def make(self, gateway: Gateway) -> CrossedConnection:
        """Return the server's end of a new connection."""
        made = CrossedConnection(gateway, self)
        self.connections.append(made)
        return made

    def lines(self) -> Iterator[tuple[ApiClient, Subscription]]:
        """Return each line with the connection that it is told on."""
        self.connections = [connection for connection in self.connections if not connection.is_closed]
        return ((client, line) for client in self.connections for line in client.subscriptions.values())


class CrossedConnection(ApiClient):
    """A client's connection whose first order after a crossing is stamped on arrival."""

    def __init__(self, gateway: Gateway, stops: Stops) -> None:
        super().__init__(gateway)
        self._stops = stops

    def data_received(self, data: bytes) -> None:
        """Stamp, and report it after the request is handled."""
        at_ns = time.time_ns()
        super().data_received(data)
        crossed_ns = self._stops.crossed_ns
        if data[4:6] != PLACE_ORDER:
            return
        if crossed_ns is None:
            say(order_at_ns=at_ns)
        else:
            self._stops.crossed_ns = None
            say(crossed_at_ns=crossed_ns, exit_at_ns=at_ns)


async def serve(clock: MarketClock, session: date, seed: int) -> None:
    """Serve until stdin ends."""
    world = StillMarket(seed, session, clock)
    exchange = Exchange(world, cash_cents=CASH_CENTS, latency_ms=0)
    stops = Stops()
    server = GatewayServer(world, exchange, clock, latency_s=FILL_S, period_s=0.25, make_connection=stops.make)
    flood = Flood(stops, exchange, world)
    say(port=await server.start())
    loop = asyncio.get_running_loop()
    ticking = asyncio.create_task(flood.run())
    order_ids = count(1_000_000)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, *values = line.split()
        match what:
            case "ticks":
                flood.rate = float(values[0])
            case "cross":
                _cross(world, stops, values[0], int(values[1]))
            case "still":
                world.moves.clear()
            case "orders":
                _leave_orders(world, exchange, clock.now_utc(), int(values[0]), order_ids)
                say(open=len(exchange.open_orders()))
            case "drop":
                server.inject(Fault(FaultKind.DROP_REFUSE, duration_s=float(values[0])))
            case _:
                raise ValueError(line)
    ticking.cancel()
    await server.stop()


def _cross(world: StillMarket, stops: Stops, ticker: str, by_ticks: int) -> None:
    """Move an underlying and write its tick at once."""
    world.moves[ticker] = by_ticks
    spot = world.spot(ticker)
    for client, line in stops.lines():
        if not line.is_option and line.instrument.ticker == ticker:
            frames = line.changes(None, spot)
            stops.crossed_ns = time.time_ns()
            client.send(*frames)


def _leave_orders(world: StillMarket, exchange: Exchange, now: Utc, n: int, order_ids: Iterator[int]) -> None:
    """Cancel what works and leave new orders, of a run that nobody remembers, far from the market."""
    exchange.cancel_all(now)
    contracts = [c for ticker in world.tickers for c in world.contracts(ticker) if c.expiry == world.session]
    for contract in contracts[:n]:
        order_id = next(order_ids)
        ref = f"{references.position_id(DESK, f'left {order_id}')}-e"
        left = Order(
            contract.con_id, Side.BUY, Qty(1), OrderType.LIMIT, ORDERS_CLIENT_ID, order_id, LEFT_TICKS, order_ref=ref
        )
        exchange.place(left, now)


class Flood:
    """Ticks of the lines that are not held at a rate; of the others as often as the broker samples them."""

    def __init__(self, stops: Stops, exchange: Exchange, market: StillMarket) -> None:
        self.rate = 0.0
        self._stops, self._exchange, self._market = stops, exchange, market
        self._n = 0
        self._sampled_s: dict[int, float] = {}

    async def run(self) -> None:
        """Tick until it is cancelled."""
        due_s, owed = time.monotonic(), 0.0
        while True:
            due_s = max(due_s + WRITE_EVERY_S, time.monotonic() - 10 * WRITE_EVERY_S)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            owed += self.rate * WRITE_EVERY_S
            if self.rate:
                self._tick(int(owed))
                owed -= int(owed)

    def _tick(self, n: int) -> None:
        held = {position.con_id for position in self._exchange.positions()}
        market = self._market
        free: list[tuple[ApiClient, Subscription]] = []
        out: dict[ApiClient, list[bytes]] = {}
        for client, line in self._stops.lines():
            if line.is_option and line.con_id not in held:
                free.append((client, line))
            elif self._is_sampled(line):
                price = market.quote(line.con_id).bid_ticks if line.is_option else None
                spot = None if line.is_option else market.spot(line.instrument.ticker)
                frames = line.changes(None, spot) if spot is not None else [self._bid(line, price)]
                out.setdefault(client, []).extend(frames)
        for _ in range(n if free else 0):
            client, line = free[self._n % len(free)]
            out.setdefault(client, []).append(self._bid(line, market.quote(line.con_id).bid_ticks))
        for client, frames in out.items():
            client.send(*frames)

    def _is_sampled(self, line: Subscription) -> bool:
        now_s = time.monotonic()
        if now_s < self._sampled_s.get(line.con_id, 0.0):
            return False
        self._sampled_s[line.con_id] = now_s + 1 / SAMPLED_HZ[line.is_option]
        return True

    def _bid(self, line: Subscription, price: Ticks | None) -> bytes:
        """Return tickPrice of the bid at the same price, with another size."""
        self._n += 1
        payload = f"1\x006\0{line.request_id}\x001\0{(price or 0) / 100}\0{20 + self._n % 30}\x000\0".encode()
        return len(payload).to_bytes(4, "big") + payload


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(
        serve(
            MarketClock(msgspec.json.decode(given[0], type=Segment)), date.fromisoformat(given[1]), int(given[2])
        )
    )  # fmt: skip
