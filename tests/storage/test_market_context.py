"""What stored minute bars say of a session is told beside the readings, and a correlation that breaks cuts sizes."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.risk import RiskActor
from actors.series import CONTEXT_EVERY_NS, SeriesActor, Timer
from config.settings import load_settings
from domain.instants import MINUTE, SECOND, at_exchange
from domain.market.correlation import Breakdown
from domain.market.derived import Told
from domain.risk.desk_view import broken_now, with_broken
from domain.risk.sizing import size_of
from domain.units import Utc
from messages import lifecycle, market, operator
from messages.envelope import decode, encode
from simulation.day import stepped_day
from storage.derived_told import derived_told
from storage.market_context import StoredContext, context_of
from storage.series import Series, seal
from storage.series_reader import SeriesReader
from storage.views.database import Database
from supervision.effects import Publish, SetTimer
from supervision.turn import Turn
from tests.storage.test_minute_bars import DAY, write_sessions
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import CALL, NOW, SETTINGS, quote, rules, view
from tests.testkit.narrow import known
from tests.testkit.probe import Outbox
from tests.testkit.signal_histories import fired

NOON = at_exchange(DAY, time(12))
BROKEN = (Breakdown(("SPY", "QQQ"), 0.1, 0.9),)


def told(root: Path, session: date = DAY) -> market.ContextRead:
    return context_of(root / "warehouse", root / "series", session, NOON)


def waited_for(context: StoredContext) -> market.ContextRead | str:
    while (found := context.poll()) is None:
        assert context._child is not None
        context._child.wait(120)
    return found


def test_pairs_that_left_their_baseline_are_told_the_furthest_first_with_the_derived_series(tmp_path: Path) -> None:
    write_sessions(tmp_path, 14)
    found = told(tmp_path)
    assert found.broken is not None
    assert {one.pair for one in found.broken} == {("SPY", "QQQ"), ("QQQ", "IWM"), ("QQQ", "VIX")}
    fallen = [abs(one.now - one.usual) for one in found.broken]
    assert fallen == sorted(fallen, reverse=True)
    assert {"gap", "breakout_5d"} <= {name for symbol, name, _ in found.derived if symbol == "SPY"}
    assert decode(encode(found)) == found


def test_without_a_baseline_nothing_is_known_and_without_bars_nothing_is_derived(tmp_path: Path) -> None:
    write_sessions(tmp_path, 5)
    assert told(tmp_path).broken is None
    empty = told(tmp_path / "empty")
    assert (empty.broken, empty.derived) == (None, ())


def test_a_child_process_tells_what_is_told_at_once(tmp_path: Path) -> None:
    write_sessions(tmp_path, 12)
    at_once = StoredContext(tmp_path / "warehouse", tmp_path / "series", in_child=False)
    at_once.start(DAY, NOON)
    beside = StoredContext(tmp_path / "warehouse", tmp_path / "series")
    assert beside.start(DAY, NOON)
    assert beside.start(DAY, NOON)  # one is under way
    found = at_once.poll()
    assert isinstance(found, market.ContextRead)
    assert waited_for(beside) == found
    assert at_once.poll() is None
    beside.close()


def test_with_too_few_sessions_for_a_baseline_nothing_is_begun(tmp_path: Path) -> None:
    write_sessions(tmp_path, 10)
    context = StoredContext(tmp_path / "warehouse", tmp_path / "series", in_child=False)
    assert not context.start(DAY, NOON)
    assert context.poll() is None


def test_a_child_that_fails_is_a_sentence(tmp_path: Path) -> None:
    (first, *_) = write_sessions(tmp_path, 12)
    folder = tmp_path / "warehouse" / f"date={first}"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"schema": 99}')  # of a newer version, which nobody may guess at
    context = StoredContext(tmp_path / "warehouse", tmp_path / "series")
    context.start(DAY, NOON)
    said = waited_for(context)
    assert isinstance(said, str)
    assert said.startswith("What minute bars say together could not be worked out (")
    assert said.endswith("; sizes are not cut for correlations.")


class Scripted:
    """A context that says what the test has put into it."""

    def __init__(self) -> None:
        self.started: list[Utc] = []
        self.found: market.ContextRead | str | None = None

    def start(self, session: date, at_utc: Utc) -> bool:
        assert session == DAY
        self.started.append(at_utc)
        return True

    def poll(self) -> market.ContextRead | str | None:
        return self.found

    def close(self) -> None:
        self.started.clear()


def handled(actor: SeriesActor, message: lifecycle.Started | lifecycle.TimerFired, at_utc: int) -> Outbox:
    turn: Turn[None] = Turn("series", None, Utc(at_utc))
    actor.handle(turn, message)
    return Outbox(turn.effects)


def test_in_hours_it_is_begun_every_quarter_of_an_hour_and_published_once_it_is_there(tmp_path: Path) -> None:
    scripted = Scripted()
    actor = SeriesActor("series", Series(tmp_path, 1), scripted)
    due = fired(Timer.CONTEXT)
    for at_utc in (at_exchange(DAY, time(9)), at_exchange(DAY, time(16)), at_exchange(date(2026, 11, 21), time(12))):
        handled(actor, due, at_utc)
    assert scripted.started == []
    out = handled(actor, due, NOON)
    assert scripted.started == [NOON]
    again = {effect.kind: effect.at_utc for effect in out.effects if isinstance(effect, SetTimer)}
    assert again == {Timer.CONTEXT: NOON + CONTEXT_EVERY_NS, Timer.POLL_CONTEXT: NOON + SECOND}
    assert not handled(actor, fired(Timer.POLL_CONTEXT), NOON + SECOND).published(market.ContextRead)
    scripted.found = market.ContextRead(at_utc=NOON, session=DAY, broken=BROKEN)
    told_utc = Utc(NOON + 2 * SECOND)
    published = Publish(replace(scripted.found, told_utc=told_utc))
    assert handled(actor, fired(Timer.POLL_CONTEXT), told_utc).effects == [published]


def test_what_lanes_are_told_is_stored_with_its_instant_and_queried(tmp_path: Path) -> None:
    scripted = Scripted()
    actor = SeriesActor("series", Series(tmp_path / "series", 1), scripted)
    told = []
    for minutes, gap in ((0, 0.25), (15, -0.5)):
        values = (("QQQ", "gap", gap), ("SPY", "hourly_regime", "quiet"))
        at_utc, told_utc = Utc(NOON + minutes * MINUTE), Utc(NOON + minutes * MINUTE + 3 * SECOND)
        scripted.found = market.ContextRead(at_utc=at_utc, session=DAY, broken=None, derived=values)
        handled(actor, fired(Timer.POLL_CONTEXT), told_utc)
        told.append(Told(told_utc, values))
    handled(actor, fired(Timer.FLUSH), told_utc)
    for is_sealed in (False, True):
        if is_sealed:
            seal(tmp_path / "series", DAY)
        assert derived_told(SeriesReader(tmp_path / "series"), DAY) == tuple(told)
        rows = Database(tmp_path).rows("SELECT symbol, series, value, text FROM derived ORDER BY told_utc, symbol")
        assert [tuple(row.values()) for row in rows] == [
            ("QQQ", "gap", 0.25, None), ("SPY", "hourly_regime", None, "quiet"),
            ("QQQ", "gap", -0.5, None), ("SPY", "hourly_regime", None, "quiet"),
        ]  # fmt: skip


@pytest.mark.parametrize("is_given", [False, True])
def test_what_says_nothing_is_not_published_and_a_fault_is_said(tmp_path: Path, *, is_given: bool) -> None:
    scripted = Scripted()
    actor = SeriesActor("series", Series(tmp_path, 1), scripted if is_given else None)
    started = lifecycle.Started(name="series", incarnation=1, run_n=1, restored=None)
    kinds = [effect.kind for effect in handled(actor, started, NOON).effects if isinstance(effect, SetTimer)]
    assert (Timer.CONTEXT in kinds) is is_given
    scripted.found = market.ContextRead(at_utc=NOON, session=DAY, broken=None)
    assert not handled(actor, fired(Timer.POLL_CONTEXT), NOON).effects
    scripted.found = "It could not be worked out."
    alarms = handled(actor, fired(Timer.POLL_CONTEXT), NOON).published(operator.Alarm)
    assert [alarm.text for alarm in alarms] == ([scripted.found] if is_given else [])


def test_a_broken_correlation_cuts_the_size_for_an_hour_and_not_told_changes_nothing() -> None:
    before = known(size_of(rules(), view(), CALL, quote(), None, NOW)).overlay
    for broken, factor in ((BROKEN, SETTINGS.entry.overlay.breakdown), ((), 1.0), (None, 1.0)):
        seen = with_broken(view(), broken, NOW)
        assert known(size_of(rules(), seen, CALL, quote(), None, NOW)).overlay.factor == before.factor * factor
    assert known(size_of(rules(), with_broken(view(), None, NOW), CALL, quote(), None, NOW)).overlay == before
    old = with_broken(view(), BROKEN, Utc(NOW - 60 * MINUTE))
    assert broken_now(old, NOW) == BROKEN
    assert broken_now(old, Utc(NOW + 1)) is None


@pytest.mark.slow
def test_on_a_stepped_day_risk_and_lanes_hear_how_it_compares_with_the_sessions_before(tmp_path: Path) -> None:
    write_sessions(tmp_path, 14)
    for lines in (tmp_path / "series" / DAY.isoformat()).glob("*"):
        lines.unlink()
    given = {"tickers": ["SPX", "SPY", "QQQ", "IWM"], "demo": {"start_clock": "09:25:00"}}
    day = stepped_day(load_settings(profile="demo", overrides=given), tmp_path, tells_context=True)
    try:
        day.run(at_exchange(DAY, time(9, 57)))
        seen = day.runtime.cells["risk:paper"].state.view
        assert broken_now(seen, day.runtime.clock.now_utc()) is not None
        lanes = [cell.state for name, cell in day.runtime.cells.items() if name.startswith("lane:")]
        assert lanes
        assert all(lane.derived and lane.derived[-1].values for lane in lanes)
    finally:
        day.runtime.close()


def test_risk_keeps_what_it_is_told_of_correlations() -> None:
    talk = DeskTalk().morning()
    talk.feed(market.ContextRead(at_utc=talk.now, session=DAY, broken=BROKEN))
    assert broken_now(talk.state.view, talk.now) == BROKEN
    assert isinstance(talk.actor, RiskActor)
