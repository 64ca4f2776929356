"""One lane that crashes, hangs or starts again changes nothing for the others: by trace, and while it hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from actors.lane import LaneActor
from domain.instants import BUCKET_NS, SECOND
from domain.session.phases import Phase
from domain.units import Utc
from messages import session, signals
from messages.base import Message
from messages.envelope import decode
from supervision.actor import Actor, AnyActor
from supervision.spec import ChildSpec
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.trace import MemoryTrace
from supervision.turn import Turn
from tests.actors.test_lane_actor import BOTH_KINDS, phase, seen
from tests.testkit import toys
from tests.testkit.live import Start, eventually, starter
from tests.testkit.signal_histories import OPEN
from tests.testkit.toys import ToyState

LANES: Final = ("lane:gexwatch:SPX", "lane:gexwatch:QQQ", "lane:advisor:QQQ")
VICTIM: Final = LANES[0]
SETTINGS: Final = BOTH_KINDS.model_copy(
    update={"alerts": {"gexwatch": ("GAMMA_FLIP",), "advisor": ("GAMMA_FLIP", "STRUCTURE_BREAK")}}
)
PATH: Final = ([-10.0] * 4 + [10.0] * 14) * 3
Records = list[signals.RecordAlert]


class Ledger(Actor[ToyState, Any]):
    """Records every alert at once."""

    def __init__(self, name: str, kept: Records) -> None:
        super().__init__(name)
        self._kept = kept

    def initial(self) -> ToyState:
        return ToyState()

    def decide(self, turn: Turn[ToyState], message: Message) -> None:
        if isinstance(message, signals.RecordAlert):
            self._kept.append(message)
            alert_id = message.alert.key.alert_id
            turn.report(message.reply_to, signals.AlertRecorded(alert_id=alert_id, is_new=True))


class Quiet(Actor[ToyState, Any]):
    """Hears whatever it is told, and says which phase it is when it is asked."""

    def initial(self) -> ToyState:
        return ToyState()

    def decide(self, turn: Turn[ToyState], message: Message) -> None:
        if isinstance(message, session.RequestPhase):
            turn.tell(message.reply_to, phase(Phase.ENTRY))


def tree_of(kept: Records, lane: Callable[[str], AnyActor]) -> toys.ToyTree:
    children = [ChildSpec("ledger", lambda: Ledger("ledger", kept))]
    children += [toys.spec(name, Quiet) for name in ("session", "series", "risk", "positions", "outcomes")]
    children += [toys.spec(name, lane) for name in LANES]
    subscribers: Any = {signals.SignalRaised: ("risk",), signals.ReversalRaised: ("positions",)}
    subscribers |= {signals.AlertRaised: ("outcomes",), signals.NotEvaluated: ()}
    return toys.toy_tree(*children, log=[], subscribers=subscribers)


@pytest.fixture(autouse=True)
def roles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ledger", "session", "series", "risk", "positions", "outcomes"):
        monkeypatch.setitem(toys.ROLES, name, (name,))
    for name in LANES:
        monkeypatch.setitem(toys.ROLES, name, (name,))


def told(n: int, bps: float) -> Iterator[tuple[str, Message]]:
    around = {"loc_major_pos_vol_bps": bps - 8.0, "loc_major_neg_vol_bps": 80.0, "above_pos_age": 1.0}
    reading = seen(n, bps, alignment=0.5, price_return_30m_bps=4.0, flow_dex_5m_z=2.0, **around)
    for lane in LANES:
        yield lane, msgspec.structs.replace(reading, ticker=lane.rpartition(":")[2])


class Once:
    """Raises in place of one decision, then lets go."""

    def __init__(self, cell: Any) -> None:
        self._cell, self._decide = cell, cell.decide
        cell.decide = self

    def __call__(self, *_: Any) -> Any:
        self._cell.decide = self._decide
        raise RuntimeError("this lane crashes")


def played(*, kills_at: tuple[int, ...] = ()) -> tuple[list[bytes], Records, SteppedRuntime]:
    """Play a session; return the trace, the alerts, and the runtime: the first lane dies at these readings."""
    kept: Records = []
    clock = VirtualClock(OPEN)
    runtime = SteppedRuntime(
        tree_of(kept, lambda name: LaneActor(name, SETTINGS)).tree, clock, trace=MemoryTrace(clock)
    )
    runtime.start_tree()
    for n, bps in enumerate(PATH):
        runtime.run_until(Utc(OPEN + (n + 1) * BUCKET_NS + 2 * SECOND))
        if n in kills_at:
            Once(runtime.cells[VICTIM])
        for lane, reading in told(n, bps):
            runtime.post(lane, reading, "edge:t")
    runtime.run_until(Utc(OPEN + (len(PATH) + 4) * BUCKET_NS))
    return toys.trace_lines(runtime), kept, runtime


def of_others(lines: list[bytes]) -> list[tuple[str, int, Message]]:
    """Return what the other lanes were told or told themselves, with its instant, as the trace has it."""
    envelopes, _ = toys.records(lines)
    others = LANES[1:]
    return [
        (f"{e.sender}>{e.to}", e.at_utc, decode(e.message)) for e in envelopes if e.sender in others or e.to in others
    ]


def test_killing_a_lane_leaves_every_other_lanes_trace_as_it_was_to_the_instant() -> None:
    plain, alerts, _ = played()
    killed, others_alerts, runtime = played(kills_at=(3, 4, 20, 21, 40))
    assert runtime.cells[VICTIM].crashes == 5
    assert of_others(killed) == of_others(plain)
    assert [one for one in others_alerts if one.reply_to != VICTIM] == [one for one in alerts if one.reply_to != VICTIM]
    by_lane = {lane: [one for one in alerts if one.reply_to == lane] for lane in LANES}
    assert all(len(found) >= 3 for found in by_lane.values())
    assert len({one.alert.key.alert_id for one in alerts}) == len(alerts)
    victims = [one for one in others_alerts if one.reply_to == VICTIM]
    assert 0 < len(victims) < len(by_lane[VICTIM])  # it lost some, and went on


class Holding(LaneActor):
    """A lane that hangs in every reading until it is let go."""

    def __init__(self, name: str, held: threading.Event, go: threading.Event) -> None:
        super().__init__(name, SETTINGS)
        self._held, self._go = held, go

    def decide(self, turn: Any, message: Any) -> None:
        if isinstance(message, signals.FeaturesComputed):
            self._held.set()
            assert self._go.wait(30)
        super().decide(turn, message)


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as begin:
        yield begin


def test_while_a_lane_hangs_the_others_raise_all_their_alerts(start: Start) -> None:
    kept: Records = []
    held, go = threading.Event(), threading.Event()

    def make(name: str) -> AnyActor:
        return Holding(name, held, go) if name == VICTIM else LaneActor(name, SETTINGS)

    runtime = start(tree_of(kept, make))
    try:
        assert eventually(lambda: all(runtime.cells[lane].state.phase is Phase.ENTRY for lane in LANES))
        for n, bps in enumerate(PATH):
            for lane, reading in told(n, bps):
                runtime.post(lane, reading, "edge:t")
        assert held.wait(60)
        _, wanted, _ = played()
        others = [one.alert.key for one in wanted if one.reply_to != VICTIM]
        assert eventually(lambda: len(kept) == len(others))
        assert sorted(one.alert.key for one in kept) == sorted(others)
    finally:
        go.set()
    assert eventually(lambda: len(kept) == len(wanted))
