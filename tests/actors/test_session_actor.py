"""The session actor: phases at their instants, 780 buckets a day, and starts at any time."""

from __future__ import annotations

from datetime import date, time

import pytest

from actors.session import SessionActor, SessionState, Timer
from domain.instants import BUCKET_NS, MS, SECOND, at_exchange
from domain.session.phases import Phase
from domain.units import Utc
from messages import lifecycle, market, positions, session
from supervision.effects import Publish, Tell
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import CLOSE, OPEN, SETTINGS, clock

GRACE = SETTINGS.day.bucket_grace_ms * MS


def begun(now: Utc) -> Probe[SessionState]:
    probe = Probe(SessionActor("session", SETTINGS), now)
    probe.start()
    return probe


def ran(start: Utc, until: Utc) -> Outbox:
    """Start at an instant and let every timer fire until another one; return everything that was sent."""
    probe = begun(start)
    probe.advance(until)
    return probe.sent


def buckets(out: Outbox) -> list[market.BucketDue]:
    return out.published(market.BucketDue)


def phases(out: Outbox) -> list[tuple[Utc, Phase]]:
    return [(changed.at_utc, changed.phase) for changed in out.published(session.PhaseChanged)]


def test_a_full_day_has_780_buckets_from_open_to_close() -> None:
    due = buckets(ran(clock(9, 0), clock(17, 0)))
    assert [b.bucket_utc for b in due] == list(range(OPEN, CLOSE, BUCKET_NS))
    assert len(due) == 780


def test_a_half_day_has_420_buckets() -> None:
    start = at_exchange(date(2026, 11, 27), time(9, 0))
    assert len(buckets(ran(start, start + 10 * 3600 * SECOND))) == 420


def test_a_bucket_is_due_a_grace_after_its_end_and_to_be_closed_after_that() -> None:
    probe = begun(clock(9, 29))
    assert not buckets(probe.advance(OPEN + BUCKET_NS + GRACE - 1))
    (due,) = buckets(probe.advance(OPEN + BUCKET_NS + GRACE))
    assert due.close_by_utc == OPEN + BUCKET_NS + 2 * GRACE


@pytest.mark.parametrize("second", [0, 1, 3, 29])
def test_a_start_in_mid_session_counts_from_the_bucket_in_progress(second: int) -> None:
    due = buckets(ran(clock(12, 0, second), clock(17, 0)))  # the bucket before is due at 12:00:02, and is nobody's
    assert due[0].bucket_utc == clock(12, 0)
    assert len(due) == 480


def test_a_restarted_actor_tells_what_was_not_due_when_it_crashed() -> None:
    for second, first in ((1, clock(11, 59, 30)), (3, clock(12, 0))):
        probe = Probe(SessionActor("session", SETTINGS), clock(12, 0, second))
        probe.start(incarnation=2)
        probe.advance(clock(12, 1))
        assert buckets(probe.sent)[0].bucket_utc == first


def test_buckets_told_before_and_after_a_restart_make_each_exactly_once() -> None:
    before = buckets(ran(clock(9, 0), clock(13, 7, 12)))
    after = buckets(ran(clock(13, 7, 12), clock(17, 0)))
    assert [b.bucket_utc for b in before + after] == list(range(OPEN, CLOSE, BUCKET_NS))


def test_phases_come_at_their_instants() -> None:
    assert phases(ran(clock(9, 0), clock(23, 0))) == [
        (clock(9, 0), Phase.PRE), (OPEN, Phase.OPEN), (clock(9, 35), Phase.ENTRY), (clock(15, 15), Phase.LATE),
        (clock(15, 35), Phase.PANIC), (clock(15, 45), Phase.FLATTEN), (CLOSE, Phase.CLOSED),
    ]  # fmt: skip


def test_positions_are_flattened_once_at_the_flatten_time_behind_the_phase() -> None:
    probe = begun(clock(15, 44))
    changed, flatten = (e for e in probe.advance(clock(23, 0)).effects if _is_flattening(e))
    assert isinstance(changed, Publish)
    assert isinstance(flatten, Tell)
    assert flatten.to == "positions"


def _is_flattening(effect: object) -> bool:
    match effect:
        case Publish(event=session.PhaseChanged(phase=Phase.FLATTEN)):
            return True
        case Tell(message=positions.FlattenPosition()):
            return True
    return False


@pytest.mark.parametrize(("minute", "flattens"), [(44, False), (46, True)])
def test_a_start_after_the_flatten_time_flattens_first(minute: int, flattens: bool) -> None:
    assert bool(begun(clock(15, minute)).sent.told(positions.FlattenPosition, "positions")) is flattens


def test_the_next_day_opens_by_itself_over_a_weekend() -> None:
    monday = at_exchange(date(2026, 11, 23), time(9, 30))
    out = ran(clock(15, 50), monday + 3600 * SECOND)
    assert [phase for _, phase in phases(out)] == [
        Phase.FLATTEN, Phase.CLOSED, Phase.CLOSED_DAY, Phase.CLOSED_DAY, Phase.PRE, Phase.OPEN, Phase.ENTRY,
    ]  # fmt: skip
    assert buckets(out)[20].bucket_utc == monday  # after the 20 left of Friday


def test_a_day_without_trading_has_no_buckets() -> None:
    holiday = at_exchange(date(2026, 11, 26), time(0, 5))
    out = ran(holiday, holiday + 23 * 3600 * SECOND)
    assert [phase for _, phase in phases(out)] == [Phase.CLOSED_DAY]
    assert not buckets(out)


def test_buckets_that_piled_up_behind_a_late_timer_are_all_told() -> None:
    probe = begun(clock(10, 0))
    late = clock(10, 10, 2)
    due = buckets(probe.feed(lifecycle.TimerFired(kind=Timer.BUCKET, subject="", due_utc=late), late))
    assert [b.bucket_utc for b in due] == list(range(clock(10, 0), clock(10, 10), BUCKET_NS))
    assert all(b.close_by_utc > late for b in due)


def test_a_newcomer_is_told_the_phase_in_force() -> None:
    probe = begun(clock(11, 0))
    out = probe.feed(session.RequestPhase(reply_to="lane:gexwatch:SPX"), clock(11, 30))
    (answer,) = out.told(session.PhaseChanged, "lane:gexwatch:SPX")
    assert (answer.phase, answer.open_utc, answer.close_utc) == (Phase.ENTRY, OPEN, CLOSE)


def test_a_position_that_starts_after_the_flatten_time_is_told_to_flatten() -> None:
    out = begun(clock(15, 50)).feed(session.RequestPhase(reply_to="position:paper:7"))
    assert [type(m) for m in out.messages] == [session.PhaseChanged, positions.FlattenPosition]
    assert out.recipients(positions.FlattenPosition) == ["position:paper:7"]


def test_nothing_is_answered_before_the_start() -> None:
    probe = Probe(SessionActor("session", SETTINGS), clock(11, 0))
    with pytest.raises(TypeError, match="before it was started"):
        probe.feed(session.RequestPhase(reply_to="lane:gexwatch:SPX"))
