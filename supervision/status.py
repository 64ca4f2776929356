"""The status dump: what every actor and the process are doing at this moment, for `status` and the dashboard."""

from __future__ import annotations

import time

import msgspec
import psutil

from domain.units import Utc
from supervision.cell import Cell
from supervision.host import Host


class ActorStatus(msgspec.Struct, frozen=True):
    """One actor: times in real units; percentiles are of the last 512 handlings (`None` before the first).

    `oldest_ms` is the age of the next waiting message in market time, `in_hand_ms` how long one is in hand; `None` for
    none.
    """

    name: str
    incarnation: int
    is_up: bool
    depth: int
    conflated: int
    oldest_ms: int | None
    handled: int
    crashes: int
    restarts: int
    p50_us: int | None
    p99_us: int | None
    last_tag: str | None
    in_hand_ms: int | None


class ProcessStatus(msgspec.Struct, frozen=True):
    """The process: `latched` and `ended` say why, or are `None`; `trace_failed` likewise; instants are market time."""

    run_n: int
    at_utc: Utc
    latched: str | None
    ended: str | None
    dead_letters: int
    trace_bytes: int
    trace_failed: str | None
    uptime_s: int
    rss_mb: int
    threads: int


class Status(msgspec.Struct, frozen=True):
    """Everything `status --json` prints (`msgspec.to_builtins` makes it orjson's)."""

    process: ProcessStatus
    actors: tuple[ActorStatus, ...]


def snapshot(host: Host) -> list[ActorStatus]:
    """Return how every actor does that is not asleep, by name; from any thread, without stopping anybody."""
    now_utc, now_ns = host.clock.now_utc(), time.perf_counter_ns()
    return [_actor(cell, now_utc, now_ns) for _, cell in sorted(host.cells.items())]


def process_status(host: Host) -> ProcessStatus:
    """Return how the process does."""
    process = psutil.Process()
    return ProcessStatus(
        run_n=host.run_n,
        at_utc=host.clock.now_utc(),
        latched=host.latched,
        ended=host.ended,
        dead_letters=host.dead_letters,
        trace_bytes=getattr(host.trace, "bytes_written", 0),
        trace_failed=host.trace.failed,
        uptime_s=round(time.time() - process.create_time()),
        rss_mb=process.memory_info().rss // 1_000_000,
        threads=process.num_threads(),
    )


def status(host: Host) -> Status:
    """Return how the process and every actor do."""
    return Status(process_status(host), tuple(snapshot(host)))


def _actor(cell: Cell, now_utc: Utc, now_ns: int) -> ActorStatus:
    mail, since_ns = cell.in_hand, cell.busy_since_ns
    oldest_utc = cell.mailbox.oldest_utc()
    durations = sorted(cell.durations_ns.copy())
    return ActorStatus(
        name=cell.name,
        incarnation=cell.incarnation,
        is_up=cell.is_up,
        depth=cell.mailbox.depth(),
        conflated=cell.mailbox.conflated,
        oldest_ms=None if oldest_utc is None else max(0, round((now_utc - oldest_utc) / 1e6)),
        handled=cell.handled,
        crashes=cell.crashes,
        restarts=max(0, cell.incarnation - 1),
        p50_us=_percentile_us(durations, 0.50),
        p99_us=_percentile_us(durations, 0.99),
        last_tag=None if cell.last_type is None else str(cell.last_type.__struct_config__.tag),
        in_hand_ms=None if mail is None else max(0, (now_ns - since_ns) // 1_000_000),
    )


def _percentile_us(ascending_ns: list[int], share: float) -> int | None:
    """Return the nearest-rank percentile in microseconds; `None` of nothing."""
    if not ascending_ns:
        return None
    return ascending_ns[min(len(ascending_ns) - 1, int(share * len(ascending_ns)))] // 1000
