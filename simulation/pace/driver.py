"""The thread that leads a simulated market's clock: it observes a live runtime and publishes what the pacer says.

It stands outside the replay line: no actor knows of it, and nothing that an actor decides depends on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from domain.units import Utc
from messages.base import Message
from simulation.pace.pacer import OBSERVED, Pace, Pacer
from simulation.pace.record import PaceRecord
from supervision.clock import FOREVER, LEASE_NS, LedClock, real_ns
from supervision.host import Host
from supervision.post import sentence

LOOK_S: Final = 0.003
RENEW_NS: Final = LEASE_NS // 10
SAVE_NS: Final = 2_000_000_000


class PaceDriver:
    """Leads `clock` from `start` to `close`, by what `host` does.

    Args:
        clock: that of the simulated market; this process leads it.
        host: whose messages are observed; its tree need not have started.
        pacer: what decides.
        chain: the actors that a bucket passes, each after those that it hears from.
        desk: returns the actors that wait for each other for fractions of a second, who asks before who answers.
        record: where the sums of the day are kept; a resumed day adds to them.
    """

    def __init__(
        self, clock: LedClock, host: Host, pacer: Pacer, chain: tuple[str, ...], desk: Callable[[], Iterable[str]],
        record: Path,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._host = host
        self._pacer = pacer
        self._chain = chain
        self._desk = desk
        self._path = record
        self._record = PaceRecord.load(record)
        self._pace: Pace | None = None
        self._renewed_ns = self._saved_ns = 0
        self._seen_ns, self._seen_utc = real_ns(), clock.now_utc()
        self._lock = threading.Lock()
        self._stop_wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pace", daemon=True)
        host.observers.update(dict.fromkeys(OBSERVED, self._hear))

    def start(self) -> None:
        """Begin to lead: the clock runs from now on."""
        self._seen_ns, self._seen_utc = real_ns(), self._clock.now_utc()
        self._pacer.begin_date(self._seen_utc)
        self._thread.start()

    def close(self) -> None:
        """Stop; market time stands where it is until the day is resumed, or the lease is over."""
        self._host.observers.clear()
        self._stop_wanted.set()
        if self._thread.is_alive():
            self._thread.join()
        self._count(self._clock.now_utc(), real_ns())
        self._record.save(self._path)

    def note_whole(self, hub: str, bucket_utc: Utc) -> None:
        """Take note that a hub has delivered each of its categories for a bucket (from any thread)."""
        with self._lock:
            self._pacer.buckets.note_whole(hub, bucket_utc)

    def _hear(self, message: Message, to: str, sender: str) -> None:
        with self._lock:
            self._pacer.hear(message, to or sender, self._clock.now_utc())
            if self._thread.is_alive():
                self._lead(is_chain_idle=False)

    def _run(self) -> None:
        try:
            while not self._stop_wanted.wait(LOOK_S):
                is_read = self._pacer.buckets.is_read
                # In the chain's order: who is idle has delivered what was heard of it, the next has it, or is done too.
                are_idle = is_read and all(self._host.is_idle(name) for name in self._chain)
                looked_utc = self._clock.now_utc()  # before the look: what begins during it is younger
                is_desk_idle = all(map(self._is_idle_or_down, self._desk()))
                with self._lock:
                    if is_desk_idle:
                        self._pacer.note_desk_idle(looked_utc, real_ns())
                    self._lead(is_chain_idle=are_idle)
        except BaseException as error:
            self._clock.follow(1.0, FOREVER)
            self._host.fail(f"the market's clock failed: {sentence(error)}")

    def _is_idle_or_down(self, name: str) -> bool:
        cell = self._host.cells.get(name)
        return cell is None or not cell.is_up or self._host.is_idle(name)

    def _lead(self, *, is_chain_idle: bool) -> None:
        """Ask the pacer and publish what is new (lock held)."""
        now, real = self._clock.now_utc(), real_ns()
        self._count(now, real)
        are_all_up = all(cell.is_up for cell in self._host.cells.values())
        pace = self._pacer.pace(now, real, is_chain_idle=is_chain_idle, are_all_up=are_all_up)
        if pace == self._pace and real - self._renewed_ns < RENEW_NS:
            return
        self._pace, self._renewed_ns = pace, real
        self._clock.follow(pace.rate, pace.horizon_utc, real + LEASE_NS)

    def _count(self, now: Utc, real: int) -> None:
        """Add what has passed since the last look to the sums of the pace that was in force."""
        if self._pace is not None:
            real_s, market_s = (real - self._seen_ns) / 1e9, (now - self._seen_utc) / 1e9
            stood = self._pace.waits_for if now == self._seen_utc >= self._pace.horizon_utc else ""
            self._record.add(self._pace.stake.value, real_s, market_s, stood)
        self._seen_ns, self._seen_utc = real, now
        if real - self._saved_ns > SAVE_NS:
            self._saved_ns = real
            self._record.save(self._path)
