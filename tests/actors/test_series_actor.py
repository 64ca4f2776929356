"""The series' actor: what passes is written together, faults are said once, and a restart gets its readings back."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from actors.series import SeriesActor, Timer
from domain.alarm import Severity
from domain.instants import BUCKET_NS, SECOND
from domain.session.phases import Phase
from domain.units import Utc
from messages import lifecycle, operator, session, signals
from messages.base import Message
from messages.restored import ReadingRestored
from storage.series import Series
from supervision.effects import SetTimer
from supervision.turn import Turn
from tests.storage.test_series import DAY, OPEN, reading
from tests.testkit.probe import Outbox
from tests.testkit.signal_histories import fired

NOON = Utc(OPEN + 300 * BUCKET_NS)


class Kept:
    """The actor over a folder."""

    def __init__(self, root: Path) -> None:
        self.store = Series(root, 1)
        self.actor = SeriesActor("series", self.store)

    def feed(self, message: Message, at: Utc = NOON) -> Outbox:
        turn: Turn[None] = Turn("series", None, at)
        self.actor.handle(turn, message)
        return Outbox(turn.effects)

    def alarms(self, message: Message) -> list[tuple[Severity, str]]:
        return [(alarm.severity, alarm.text) for alarm in self.feed(message).published(operator.Alarm)]


def armed(out: Outbox) -> list[str]:
    return [effect.kind for effect in out.effects if isinstance(effect, SetTimer)]


def test_what_comes_together_is_written_together(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert armed(kept.feed(reading(0))) == [Timer.FLUSH]
    assert armed(kept.feed(reading(1))) == []
    assert not list(tmp_path.rglob("*.jsonl"))
    kept.feed(fired(Timer.FLUSH))
    (path,) = tmp_path.rglob("*.jsonl")
    assert len(path.read_text().splitlines()) == 2


def test_a_reading_that_restarts_gets_its_window_and_a_lane_its_readings(tmp_path: Path) -> None:
    first = Kept(tmp_path)
    for n in range(3):
        first.feed(reading(n))
    first.actor.close()

    kept = Kept(tmp_path)
    asked = lifecycle.RequestState(name="reading:SPX", reply_to="supervisor", session=DAY, read_n=4)
    (answer,) = kept.feed(asked).told(lifecycle.StateRead, "supervisor")
    assert (answer.name, answer.read_n) == ("reading:SPX", 4)
    assert isinstance(answer.restored, ReadingRestored)
    assert [s.bucket_utc for s in answer.restored.window] == [OPEN + n * BUCKET_NS for n in range(3)]
    wanted = signals.RequestReadings(reply_to="lane:gexwatch:SPX", ticker="SPX")
    (read,) = kept.feed(wanted).told(signals.ReadingsRead, "lane:gexwatch:SPX")
    assert len(read.readings) == 3
    unknown = lifecycle.RequestState(name="reading:NDX", reply_to="supervisor", session=DAY)
    (nothing,) = kept.feed(unknown).told(lifecycle.StateRead)
    assert nothing.restored is None


def test_a_full_disk_is_said_once_and_so_is_its_end(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    (tmp_path / DAY.isoformat()).write_text("in the way")
    kept.feed(reading(0))
    ((severity, text),) = kept.alarms(fired(Timer.FLUSH))
    assert severity is Severity.HIGH and "cannot be stored" in text
    out = kept.feed(fired(Timer.FLUSH))
    assert (armed(out), out.published(operator.Alarm)) == ([Timer.FLUSH], [])
    (tmp_path / DAY.isoformat()).unlink()
    assert [severity for severity, _ in kept.alarms(fired(Timer.FLUSH))] == [Severity.INFO]
    assert kept.alarms(fired(Timer.FLUSH)) == []


def test_a_day_is_sealed_when_it_is_over_and_never_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.feed(reading(0))
    assert armed(kept.feed(fired(Timer.SEAL))) == []
    closed = session.PhaseChanged(phase=Phase.CLOSED, session=DAY, open_utc=OPEN, close_utc=NOON, at_utc=NOON)
    assert armed(kept.feed(closed)) == [Timer.SEAL]
    assert armed(kept.feed(fired(Timer.SEAL), Utc(NOON + SECOND))) == [Timer.POLL_SEAL]
    child = kept.store._child
    assert child is not None
    child._process.wait(300)
    out = kept.feed(fired(Timer.POLL_SEAL))
    assert (armed(out), out.published(operator.Alarm)) == ([Timer.SEAL], [])
    assert [path.name for path in tmp_path.rglob("*.*")] == ["readings.parquet"]


def test_an_earlier_day_is_sealed_at_the_next_start(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.feed(reading(0))
    kept.actor.close()
    started = lifecycle.Started(name="series", incarnation=1, run_n=2)
    tomorrow = Utc(NOON + 86_400 * SECOND)
    assert armed(Kept(tmp_path).feed(started, tomorrow)) == [Timer.SEAL]
    next_run = Kept(tmp_path)
    assert armed(next_run.feed(fired(Timer.SEAL), tomorrow)) == [Timer.POLL_SEAL]
    next_run.actor.close()
    assert date.fromisoformat(next(tmp_path.iterdir()).name) == DAY
