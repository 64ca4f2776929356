"""The warehouse's actor over a store in memory: batches, seals, and what is lost."""

from __future__ import annotations

from collections import deque
from datetime import date
from typing import Any

from actors.warehouse import LAST_ROWS_NS, Timer, WarehouseActor
from domain.instants import MINUTE, SECOND
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.units import Utc
from messages import lifecycle, market, operator, risk, session
from messages.base import Message
from supervision.effects import Publish, SetTimer
from supervision.turn import Turn
from tests.testkit import bucket_rows as make
from tests.testkit.probe import Outbox
from tests.testkit.signal_histories import fired

START = Utc(0)
STARTED = lifecycle.Started(name="warehouse", incarnation=1, run_n=1)


class FakeWarehouse:
    """Stores in memory; fails when told so; a seal takes as many looks as `looks` has entries."""

    def __init__(self) -> None:
        self.taken: list[market.StoreBucket] = []
        self.is_full = False
        self.fault: str | None = None
        self.has_work = True
        self.found: tuple[str, ...] = ()
        self.seals: list[date | None] = []
        self.ended: list[date] = []
        self.shows_n = 0
        self.tidied_n = 0
        self.looks: deque[str | None] = deque()

    def open(self) -> None:
        """Nothing to acquire."""

    def close(self) -> None:
        """Nothing to release."""

    def take_findings(self) -> tuple[str, ...]:
        said, self.found = self.found, ()
        return said

    @property
    def in_hand(self) -> int:
        return len(self.taken)

    def take(self, message: market.StoreBucket) -> None:
        self.taken.append(message)

    def disk_fault(self) -> str | None:
        return self.fault

    def tidy(self) -> None:
        self.tidied_n += 1

    def end_day(self, session: date) -> None:
        assert not self.taken, "after what is in hand"
        self.ended.append(session)

    def flush(self) -> tuple[Any, ...]:
        taken, self.taken = self.taken, []
        if self.is_full:
            return tuple(market.BucketNotStored(hub=m.hub, bucket_utc=m.bucket_utc, why="full") for m in taken)
        return tuple(
            market.BucketStored(hub=m.hub, bucket_utc=m.bucket_utc, content_hash=m.rows.content_hash) for m in taken
        )

    def show(self) -> None:
        self.shows_n += 1

    def start_seal(self, session: date | None = None) -> bool:
        if self.has_work:
            self.seals.append(session)
        return self.has_work

    def poll_seal(self) -> str | None:
        return self.looks.popleft() if self.looks else ""


def handle(actor: WarehouseActor, message: Message, now: Utc = START) -> Outbox:
    turn: Turn[None] = Turn(actor.name, None, now)
    actor.handle(turn, message)
    return Outbox(turn.effects)


def test_buckets_in_the_mailbox_are_stored_together() -> None:
    actor = WarehouseActor("warehouse", FakeWarehouse())
    assert handle(actor, make.bucket(0, "classic"), Utc(7)).effects == [SetTimer(Timer.FLUSH, "", Utc(7))]
    assert handle(actor, make.bucket(0, "state_gex"), Utc(8)).effects == [], "one timer for the whole batch"
    stored = handle(actor, fired(Timer.FLUSH), Utc(9)).published(market.BucketStored)
    assert [outcome.hub for outcome in stored] == ["classic", "state_gex"]
    assert handle(actor, make.bucket(1), Utc(10)).effects == [SetTimer(Timer.FLUSH, "", Utc(10))]


def test_what_an_incarnation_left_in_hand_is_stored_by_the_next() -> None:
    store = FakeWarehouse()
    store.take(make.bucket())
    assert handle(WarehouseActor("warehouse", store), STARTED, Utc(5)).effects == [
        SetTimer(Timer.SEAL, "", Utc(5) + 30 * MINUTE),
        SetTimer(Timer.FLUSH, "", Utc(5)),
    ]


def test_what_the_start_found_in_the_folders_is_one_alarm() -> None:
    store = FakeWarehouse()
    store.found = ("A file is damaged.", "A stray file is left alone.")
    actor = WarehouseActor("warehouse", store)
    (alarm,) = handle(actor, STARTED).published(operator.Alarm)
    assert (alarm.key, alarm.text) == ("folders", "A file is damaged. A stray file is left alone.")
    assert not handle(actor, STARTED).published(operator.Alarm)


def test_rows_that_cannot_be_kept_are_published_one_by_one() -> None:
    store = FakeWarehouse()
    store.is_full = True
    actor = WarehouseActor("warehouse", store)
    handle(actor, make.bucket(0, "classic"))
    handle(actor, make.bucket(0, "state_gex"))
    out = handle(actor, fired(Timer.FLUSH))
    assert [lost.hub for lost in out.published(market.BucketNotStored)] == ["classic", "state_gex"]
    assert not out.told(risk.RaiseKill), "the kill level hears the event itself"


def test_a_seal_is_looked_after_and_the_next_one_planned() -> None:
    store = FakeWarehouse()
    actor = WarehouseActor("warehouse", store)
    poll, seal = SetTimer(Timer.POLL_SEAL, "", Utc(SECOND)), SetTimer(Timer.SEAL, "", Utc(30 * MINUTE))
    assert handle(actor, fired(Timer.SEAL)).effects == [poll]
    store.looks.extend([None, "", "it failed"])
    assert handle(actor, fired(Timer.POLL_SEAL)).effects == [poll]
    assert handle(actor, fired(Timer.POLL_SEAL)).effects == [seal]
    alarm, again = handle(actor, fired(Timer.POLL_SEAL)).effects
    assert isinstance(alarm, Publish)
    assert isinstance(alarm.event, operator.Alarm)
    assert alarm.event.text == "it failed"
    assert again == seal
    store.has_work = False
    assert handle(actor, fired(Timer.SEAL)).effects == [seal]
    assert store.tidied_n == 2, "what the seal before has left is tidied up"


def test_a_closed_day_is_sealed_whole_after_a_seal_under_way() -> None:
    store = FakeWarehouse()
    actor = WarehouseActor("warehouse", store)
    whole = SetTimer(Timer.SEAL_WHOLE, "", Utc(SECOND))
    after_the_last_rows = SetTimer(Timer.SEAL_WHOLE, "", LAST_ROWS_NS)
    for phase, effects in ((Phase.LATE, []), (Phase.CLOSED, [after_the_last_rows])):
        changed = session.PhaseChanged(phase=phase, session=make.DAY, open_utc=Utc(0), close_utc=Utc(1), at_utc=Utc(2))
        assert handle(actor, changed).effects == effects
    store.looks.extend([None])
    assert handle(actor, fired(Timer.SEAL_WHOLE)).effects == [whole]
    handle(actor, make.bucket(1))
    out = handle(actor, fired(Timer.SEAL_WHOLE))
    assert len(out.published(market.BucketStored)) == 1, "what is in hand comes first"
    assert out.effects[-1] == SetTimer(Timer.POLL_SEAL, "", Utc(SECOND))
    assert store.seals == store.ended == [make.DAY]


def test_a_disk_that_fills_up_halts_entries_once_until_there_is_room_again() -> None:
    store = FakeWarehouse()
    actor = WarehouseActor("warehouse", store, flush_after_ns=3)
    assert handle(actor, make.bucket(1), Utc(7)).effects == [SetTimer(Timer.FLUSH, "", Utc(10))]
    store.fault = "only 3 MB of disk are free"
    halt = risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=store.fault, by="warehouse")
    assert handle(actor, fired(Timer.FLUSH), Utc(10)).told(risk.RaiseKill, "kill") == [halt]
    assert not handle(actor, fired(Timer.FLUSH), Utc(10)).told(risk.RaiseKill)
    store.fault = None
    handle(actor, fired(Timer.FLUSH), Utc(11))
    store.fault = "only 3 MB of disk are free"
    assert handle(actor, fired(Timer.FLUSH), Utc(12)).told(risk.RaiseKill, "kill") == [halt]
