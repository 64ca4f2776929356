"""A child process: hubs that send pre-encoded frames at a rate.

`python -m benchmarks.frames_child STRIKES [TICKER ...]`; commands on stdin: `rate N` (frames a second over all hubs, 0
stops), `stop` (likewise, and goes on counting), `report` (answers with the frames sent and the CPU used since the last
`rate`). Each message carries the instant at which it was due (`due`) and at which it was written (`at`), monotonic ns.
One set of groups per hub: its categories of each ticker, those of the defaults where none is named.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from benchmarks.gateway_child import say
from config.settings import load_settings
from domain.instants import SECOND
from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Shape, shape_of
from domain.units import Ticks, Utc
from gateways.gexbot import codec
from gateways.gexbot.hub_port import SUBPROTOCOL

# 10:30 in New York, after the opening; every frame carries this instant, so that all of them count.
AT_UTC = Utc(1_795_188_600 * SECOND)
AT_ONCE = 16


def profile_of(ticker: str, category: str, strikes_n: int, source: np.random.Generator) -> Profile:
    """Return a profile of so many strikes with values of the usual size."""
    shape = shape_of(category)
    n = 0 if shape is Shape.ORDERFLOW else strikes_n
    values = (source.normal(size=(n, len(VALUE_COLUMNS[shape]))) * 50_000).astype(np.int32)
    if shape is Shape.GREEK:
        values = np.abs(values)
    return Profile(
        ticker, category, AT_UTC, Ticks(600_000), tuple(range(1, len(SCALARS[shape]) + 1)),
        (500_000 + 500 * np.arange(n)).astype(np.int32), values,
        (source.normal(size=(n, PRIORS[shape])) * 50_000).astype(np.int32),
    )  # fmt: skip


class Pump:
    """Sends each hub's frames round robin over all hubs, at the rate that was set last."""

    def __init__(self, strikes_n: int, tickers: tuple[str, ...] = ()) -> None:
        settings = load_settings()
        source = np.random.default_rng(1)
        self.frames: list[tuple[str, str, str]] = [
            (hub, f"{ticker}_{category}", codec.encode_frame(profile_of(ticker, category, strikes_n, source)))
            for hub, categories in settings.feed.hubs.items()
            for ticker in tickers or settings.tickers
            for category in categories
        ]
        random.Random(1).shuffle(self.frames)
        self.frame_bytes = sum(len(data) for _, _, data in self.frames) / len(self.frames)
        self.rate = 0.0
        self._sockets: dict[str, ServerConnection] = {}
        self._sequence: dict[str, int] = {}
        self._sent = 0
        self._from_s = self._cpu_s = 0.0

    async def take(self, socket: ServerConnection) -> None:
        """Take a hub's client and read its acknowledgements until it goes."""
        hub = (socket.request.path if socket.request else "").rpartition("/")[2]
        self._sockets[hub], self._sequence[hub] = socket, 0
        await socket.send('{"type":"system","event":"connected","connectionId":"c","reconnectionToken":"t"}')
        async for _ in socket:
            pass
        self._sockets.pop(hub, None)

    def set_rate(self, rate: float) -> None:
        """Begin anew at a rate."""
        self.rate, self._sent = rate, 0
        self._from_s, self._cpu_s = time.monotonic(), time.process_time()

    def report(self) -> dict[str, float]:
        """Count since the last rate."""
        took_s = time.monotonic() - self._from_s
        return {"sent": self._sent, "seconds": took_s, "cores": (time.process_time() - self._cpu_s) / took_s}

    async def run(self) -> None:
        """Send for ever."""
        n = 0
        while True:
            due = int((time.monotonic() - self._from_s) * self.rate)
            if self._sent >= due:
                wait_s = 0.02 if not self.rate else (self._sent + 1) / self.rate - (time.monotonic() - self._from_s)
                await asyncio.sleep(min(0.02, max(0.0005, wait_s)))
                continue
            for _ in range(min(AT_ONCE, due - self._sent)):
                hub, group, data = self.frames[n % len(self.frames)]
                n += 1
                self._sent += 1
                socket = self._sockets.get(hub)
                if socket is not None:
                    self._sequence[hub] += 1
                    due_ns = round((self._from_s + self._sent / self.rate) * SECOND)
                    await socket.send(
                        f'{{"sequenceId":{self._sequence[hub]},"type":"message","from":"group","group":"{group}",'
                        f'"due":{due_ns},"at":{time.monotonic_ns()},"dataType":"protobuf","data":"{data}"}}'
                    )
            await asyncio.sleep(0)


async def main(strikes_n: int, tickers: tuple[str, ...]) -> None:
    """Serve until stdin ends."""
    pump = Pump(strikes_n, tickers)
    protocols = [Subprotocol(SUBPROTOCOL)]
    async with serve(
        pump.take, "127.0.0.1", 0, subprotocols=protocols, compression=None, write_limit=1 << 20
    ) as server:
        say(port=next(iter(server.sockets)).getsockname()[1], groups=len(pump.frames), frame_bytes=pump.frame_bytes)
        running = asyncio.create_task(pump.run())
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            answer(line, pump, say)
        running.cancel()


def answer(line: str, pump: Pump, reply: Callable[..., object]) -> None:
    """Carry out one line of the parent."""
    what, _, value = line.strip().partition(" ")
    if what == "rate":
        pump.set_rate(float(value))
    elif what == "stop":
        pump.rate = 0.0
    elif what == "report":
        reply(**pump.report())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), tuple(sys.argv[2:])))
