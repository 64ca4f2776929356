"""Lateness: how late each lane decides on a reading, with and without a gateway that is gone for six seconds.

Rounds with and without the outage alternate on one running tree (real order and quote ports, both dropped). Beside it
the same readings and lanes in one loop that also keeps the gateway's connection, as a program without actors would.
"""

from __future__ import annotations

import socket
import threading
import time
from copy import copy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from actors.lane import LaneActor
from actors.reading import ReadingActor
from benchmarks.feed_load import FeedLoad
from benchmarks.figures import SPREAD, Report, percentile, spread, work_folder
from benchmarks.rig import Rig
from config.settings import Settings
from domain.instants import BUCKET_NS
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Utc
from messages import lifecycle, market, session, signals
from supervision.actor import Actor
from supervision.effects import Effect, Publish
from supervision.turn import Turn

S = TypeVar("S", bound=msgspec.Struct)
M = TypeVar("M")
PERIOD_S = 0.3  # a bucket of every ticker
ROUND_BUCKETS = 38
OUTAGE_S = 6.0
OUTAGE_FROM_S = 1.5
ROUNDS = 4
FRAMES_A_SECOND = 500
RETRY_S = 0.5
BACK_S = 120.0


@dataclass
class Lateness:
    """What one kind of round brought: per decision its lateness (ns), and how many decisions were due."""

    due: int = 0
    since_end_ns: list[int] = field(default_factory=list)
    since_features_ns: list[int] = field(default_factory=list)
    late: int = 0
    p99s_ns: list[float] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """Readings that were never decided on, or only after the next bucket had ended."""
        return self.due - len(self.since_end_ns) + self.late

    def add(self, since_end_ns: int, since_features_ns: int) -> None:
        """Take one decision."""
        self.since_end_ns.append(since_end_ns)
        self.since_features_ns.append(since_features_ns)
        self.late += since_end_ns > PERIOD_S * 1e9


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens the number of rounds."""
    report = Report("lateness", "Evaluation lateness with a gateway outage", "python -m benchmarks lateness")
    rounds = max(1, round(ROUNDS * scale))
    with work_folder() as folder, FeedLoad() as load:
        rig = Rig(folder, rejects=0, has_quotes_port=True)
        try:
            load.rate(FRAMES_A_SECOND)
            calm, outage = Lateness(), Lateness()
            for n in range(rounds):
                kinds = [(calm, False), (outage, True)]
                for into, has_outage in kinds if n % 2 == 0 else reversed(kinds):
                    _round(rig, into, has_outage=has_outage)
            loop_calm, loop_outage = Lateness(), Lateness()
            for has_outage, into in ((False, loop_calm), (True, loop_outage)):
                SingleLoop(rig).run(into, has_outage=has_outage)
        finally:
            rig.close()
    _write(report, {"calm": calm, "outage": outage, "loop": loop_calm, "loop outage": loop_outage}, rounds)
    return report


def _round(rig: Rig, into: Lateness, *, has_outage: bool) -> None:
    rig.decided.clear()
    tickers = rig.settings.tickers
    began_s = time.monotonic()
    drop = threading.Timer(OUTAGE_FROM_S, rig.gateway.tell, (f"drop {OUTAGE_S}",))
    if has_outage:
        drop.start()
    ends: dict[int, int] = {}
    lost = False
    for n in range(ROUND_BUCKETS):
        rows = {ticker: rig.rows(ticker, -1) for ticker in tickers}
        (bucket_utc,) = {rig.take_bucket(ticker) for ticker in tickers}
        time.sleep(max(0.0, began_s + n * PERIOD_S - time.monotonic()))
        ends[bucket_utc] = time.time_ns()
        for hub in rows[tickers[0]]:
            for ticker in tickers:
                rig.hand_over(hub, ticker, bucket_utc, rows[ticker][hub])
        lost = lost or rig.view().mode is not Mode.FULLY_LIVE
    lanes = sum(name.startswith("lane:") for name in rig.runtime.cells)
    into.due += ROUND_BUCKETS * lanes
    time.sleep(PERIOD_S)
    to_real, before_n = time.time_ns() - rig.clock.now_utc(), len(into.since_end_ns)
    for decided in list(rig.decided):
        end_ns = ends.get(decided.bucket_utc)
        if end_ns is not None:
            into.add(decided.decided_ns - end_ns, decided.decided_ns - (decided.dequeued_utc + to_real))
    into.p99s_ns.append(percentile(into.since_end_ns[before_n:], 99))
    if has_outage:
        if not lost:
            raise RuntimeError("the outage did not reach the desk")
        rig.wait(lambda: rig.view().mode is Mode.FULLY_LIVE, BACK_S)


class Called(Generic[S, M]):
    """An actor that is called like a function, with the state that it would have in a runtime."""

    def __init__(self, actor: Actor[S, M]) -> None:
        self._actor = actor
        self._state = actor.initial()

    def handle(self, message: M, now: Utc) -> list[Effect]:
        """Return the effects of one message."""
        turn = Turn(self._actor.name, copy(self._state), now)
        self._actor.decide(turn, message)
        self._state = turn.state
        return turn.effects


class SingleLoop:
    """The single-loop version: the same decisions, called one after the other by whoever also holds the connection."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        settings: Settings = rig.settings
        self._readings = {t: Called(ReadingActor(f"reading:{t}", settings)) for t in settings.tickers}
        self._lanes = {
            ticker: [Called(LaneActor(f"lane:{source}:{ticker}", settings)) for source in settings.lanes]
            for ticker in settings.tickers
        }
        for ticker in settings.tickers:
            started = lifecycle.Started(name=ticker, incarnation=1, run_n=1)
            self._readings[ticker].handle(started, Utc(0))
            for lane in self._lanes[ticker]:
                lane.handle(started, Utc(0))
        self._port = settings.broker.paper_port
        self._socket: socket.socket | None = None

    def run(self, into: Lateness, *, has_outage: bool) -> None:
        """Evaluate a round of buckets; when the connection is gone, dial until it is back, as such programs do."""
        rig, tickers = self._rig, self._rig.settings.tickers
        phase = next(cell.state.phase for name, cell in rig.runtime.cells.items() if name.startswith("lane:"))
        self._enter_phase(phase)
        self._dial()
        drop = threading.Timer(OUTAGE_FROM_S, rig.gateway.tell, (f"drop {OUTAGE_S}",))
        if has_outage:
            drop.start()
        began_s, began_ns = time.monotonic(), time.time_ns()
        first_utc = rig.world.open_utc if not has_outage else max(rig.next_bucket_utc.values())
        into.due += ROUND_BUCKETS * sum(len(lanes) for lanes in self._lanes.values())
        for n in range(ROUND_BUCKETS):
            time.sleep(max(0.0, began_s + n * PERIOD_S - time.monotonic()))
            self._look_after_connection()
            end_ns = began_ns + round(n * PERIOD_S * 1e9)
            bucket_utc = first_utc + n * BUCKET_NS
            for ticker in tickers:
                for seen, at_ns in self._read(ticker, bucket_utc):
                    for lane in self._lanes[ticker]:
                        lane.handle(seen, bucket_utc)
                        into.add(time.time_ns() - end_ns, time.time_ns() - at_ns)
        if self._socket is not None:
            self._socket.close()

    def _enter_phase(self, phase: Phase) -> None:
        world = self._rig.world
        changed = session.PhaseChanged(
            phase=phase, session=world.session, open_utc=world.open_utc, close_utc=world.close_utc, at_utc=Utc(0),
        )  # fmt: skip
        for lanes in self._lanes.values():
            for lane in lanes:
                lane.handle(changed, Utc(0))

    def _read(self, ticker: str, bucket_utc: Utc) -> list[tuple[signals.FeaturesComputed, int]]:
        """Return the features of a bucket with the instants at which they were there (real ns)."""
        reading, found = self._readings[ticker], list[tuple[signals.FeaturesComputed, int]]()
        for hub, rows in self._rig.rows(ticker, -1).items():
            for message in (
                market.RowsArrived(hub=hub, ticker=ticker, bucket_utc=bucket_utc, rows=rows),
                market.HubClosed(hub=hub, bucket_utc=bucket_utc, absent=()),
            ):
                found += [
                    (effect.event, time.time_ns())
                    for effect in reading.handle(message, bucket_utc)
                    if isinstance(effect, Publish) and isinstance(effect.event, signals.FeaturesComputed)
                ]
        return found

    def _look_after_connection(self) -> None:
        assert self._socket is not None
        self._socket.setblocking(False)
        try:
            is_gone = self._socket.recv(65536, socket.MSG_PEEK) == b""
        except BlockingIOError:
            is_gone = False
        except OSError:
            is_gone = True
        if is_gone:
            self._dial()

    def _dial(self) -> None:
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=2)
                return
            except OSError:
                time.sleep(RETRY_S)


def _write(report: Report, found: dict[str, Lateness], rounds: int) -> None:
    calm, outage, loop = found["calm"], found["outage"], found["loop outage"]
    calm_ms = percentile(calm.since_end_ns, 99) / 1e6
    outage_ms = percentile(outage.since_end_ns, 99) / 1e6
    limit_ms = max(1.2 * calm_ms, calm_ms + 2)
    report.aim("readings missed by lanes during outages", "0", f"{outage.missed} of {outage.due:,}", outage.missed == 0)
    report.aim(
        "p99 from bucket end to decision, outage against calm", f"≤ max(1.2 ×, + 2 ms) = {limit_ms:.2f} ms",
        f"{outage_ms:.2f} ms ({outage_ms / calm_ms:.2f} × {calm_ms:.2f} ms)", outage_ms <= limit_ms,
    )  # fmt: skip
    report.aim(
        "the single loop misses readings in the same outage", "> 0", f"{loop.missed} of {loop.due:,}", loop.missed > 0
    )
    names = {
        "calm": "actors, calm", "outage": f"actors, {OUTAGE_S:g} s outage", "loop": "single loop, calm",
        "loop outage": f"single loop, {OUTAGE_S:g} s outage",
    }  # fmt: skip
    report.table(
        f"From the bucket's end to each lane's decision: 16 lanes of 8 tickers, a bucket every {PERIOD_S:g} s, all "
        f"tickers at once, {FRAMES_A_SECOND} frames/s beside it; {rounds} rounds of {ROUND_BUCKETS} buckets each kind, "
        "in turns (the single loop: one of each). Missed: never decided, or after the next bucket's end.",
        ["version", "due", "missed", *SPREAD],
        [[names[k], f"{v.due:,}", v.missed, *spread(v.since_end_ns)] for k, v in found.items()],
    )
    report.table(
        "From the dequeue of `FeaturesComputed` to the lane's decision.",
        ["version", *SPREAD],
        [[names[k], *spread(v.since_features_ns)] for k, v in found.items()],
    )
    for kind in ("calm", "outage"):
        shown = ", ".join(f"{ns / 1e6:.1f}" for ns in found[kind].p99s_ns)
        report.note(f"p99 of each round, ms, {names[kind]}: {shown}.")
    report.note(
        "The outage closes the gateway's listener and resets both connections; order and quote sessions dial, read "
        "back and list chains again while the rounds go on."
    )
