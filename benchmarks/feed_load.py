"""Five real hub ports that take the frames of a child process, each frame's way timed."""

from __future__ import annotations

import queue
import time
from types import TracebackType
from typing import Any, NamedTuple

from benchmarks.children import Child
from benchmarks.frames_child import AT_UTC
from config.settings import load_settings
from domain.instants import bucket_of
from gateways.bucket_port import PortSetup
from gateways.gexbot.hub_port import HubPort
from gateways.gexbot.negotiate import AddressBook
from messages import market
from messages.base import Message

STRIKES = 125


class TimedHubPort(HubPort):
    """A hub port that notes how long after its writing (and after it was due) each frame was folded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since_written_ns: list[int] = []
        self.since_due_ns: list[int] = []

    def _fold(self, message: dict[str, Any], link: Any) -> bool:
        is_used = super()._fold(message, link)
        now = time.monotonic_ns()
        self.since_written_ns.append(now - message["at"])
        self.since_due_ns.append(now - message["due"])
        return is_used


class Closing(NamedTuple):
    """How a bucket closed at all hubs: its rows, seconds until the last of the tickers that are waited for, of all."""

    rows: int
    first_s: float
    all_s: float


class FeedLoad:
    """The child and the ports; `rate` starts, changes and stops (0) the frames.

    Args:
        tickers: each in every category; those of the defaults where none is named.
        first: tickers that a bucket's close decodes first.
    """

    def __init__(self, tickers: tuple[str, ...] = (), first: tuple[str, ...] = ()) -> None:
        self.child = Child("frames_child", str(STRIKES), *tickers)
        hello = self.child.next()
        self.groups, self.frame_bytes = int(hello["groups"]), float(hello["frame_bytes"])
        self.told: queue.SimpleQueue[Message] = queue.SimpleQueue()
        settings, book = load_settings(), AddressBook()
        book.put(1, {hub: f"ws://127.0.0.1:{hello['port']}/{hub}" for hub in settings.feed.hubs})
        self.ports = [
            TimedHubPort(
                PortSetup(
                    hub, tuple((ticker, category) for ticker in tickers or settings.tickers for category in categories),
                    lambda _, message: self.told.put(message), lambda: AT_UTC, first=first,
                ),
                book=book,
            )
            for hub, categories in settings.feed.hubs.items()
        ]  # fmt: skip
        for port in self.ports:
            port.start()
            port.post(market.DialHub(feed_epoch=1))
        for _ in self.ports:
            up = self.told.get(timeout=120)
            if not isinstance(up, market.HubUp):
                raise RuntimeError(f"a hub did not come up: {up}")

    def rate(self, frames_a_second: float) -> None:
        """Send at another rate from now on, and forget what was timed."""
        self.child.tell(f"rate {frames_a_second}")
        for port in self.ports:
            port.since_written_ns, port.since_due_ns = [], []

    def report(self) -> dict[str, Any]:
        """Ask the child what it sent."""
        self.child.tell("report")
        return self.child.next()

    def timed(self) -> tuple[list[int], list[int]]:
        """Return what was timed since the last `rate`: after writing, after due."""
        written = [ns for port in self.ports for ns in list(port.since_written_ns)]
        return written, [ns for port in self.ports for ns in list(port.since_due_ns)]

    def seal(self) -> Closing:
        """Close the bucket at every hub."""
        began, first_s, rows, left = time.perf_counter(), 0.0, 0, len(self.ports)
        for port in self.ports:
            port.post(market.SealBucket(bucket_utc=bucket_of(AT_UTC)))
        while left:
            match self.told.get(timeout=120):
                case market.TickerSealed():
                    first_s = time.perf_counter() - began
                case market.BucketSealed() as sealed:
                    left -= 1
                    rows += len(sealed.rows.rows)
                case market.HubFlows():
                    pass
                case other:
                    raise RuntimeError(f"a hub answered {other}")
        all_s = time.perf_counter() - began
        return Closing(rows, first_s or all_s, all_s)

    def close(self) -> None:
        """Close the ports, end the child."""
        for port in self.ports:
            port.close()
        self.child.close()

    def __enter__(self) -> FeedLoad:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
