"""The session actor: phases at their instants, 780 buckets a day, and starts at any time."""

from __future__ import annotations

from datetime import date, time

import pytest

from actors.session import TOLD, SessionActor
from domain.instants import BUCKET_NS, MS, SECOND, at_exchange
from domain.session.phases import Phase
from messages import lifecycle, market, positions, session
from supervision.effects import CancelTimer, SetTimer
from tests.testkit.signal_histories import CLOSE, OPEN, SETTINGS, History, clock, started, told

GRACE = SETTINGS.day.bucket_grace_ms * MS


def run_until(history: History, until_utc: int) -> list[tuple[int, object]]:
    """Fire the actor's timers in their order until an instant; give (instant, message) of everything told."""
    timers: dict[str, int] = {}
    out: list[tuple[int, object]] = []

    def keep(effects: list[object]) -> None:
        for effect in effects:
            if isinstance(effect, SetTimer):
                timers[effect.key] = effect.at_utc
            elif isinstance(effect, CancelTimer):
                timers.pop(effect.key, None)
            else:
                out.append((history.now, effect))

    keep(history.hear(started("session")))
    while timers and min(timers.values()) <= until_utc:
        key = min(timers, key=lambda k: timers[k])
        keep(history.fire(key, timers.pop(key)))
    return out


def buckets(told_all: list[tuple[int, object]], to: str = "readings") -> list[market.BucketDue]:
    return [e.message for _, e in told_all if e.to == to and isinstance(e.message, market.BucketDue)]  # type: ignore[attr-defined]


def phases(told_all: list[tuple[int, object]], to: str = "risk") -> list[tuple[int, Phase]]:
    changes = [(at, e.message) for at, e in told_all if e.to == to]  # type: ignore[attr-defined]
    return [(at, m.phase) for at, m in changes if isinstance(m, session.PhaseChanged)]


def test_a_full_day_has_780_buckets_from_open_to_close() -> None:
    day = run_until(History(SessionActor("session", SETTINGS), clock(9, 0)), clock(17, 0))
    due = buckets(day)
    assert [b.bucket_utc for b in due] == list(range(OPEN, CLOSE, BUCKET_NS))
    assert len(due) == 780
    assert buckets(day, "hubs") == due


def test_a_half_day_has_420_buckets() -> None:
    start = at_exchange(date(2026, 11, 27), time(9, 0))
    day = run_until(History(SessionActor("session", SETTINGS), start), start + 10 * 3600 * SECOND)
    assert len(buckets(day)) == 420


def test_a_bucket_is_due_a_grace_after_its_end_and_to_be_closed_after_that() -> None:
    day = run_until(History(SessionActor("session", SETTINGS), clock(9, 29)), clock(9, 31))
    at, effect = next((at, e) for at, e in day if isinstance(e.message, market.BucketDue))  # type: ignore[attr-defined]
    assert at == OPEN + BUCKET_NS + GRACE
    assert effect.message.close_by_utc == at + GRACE  # type: ignore[attr-defined]


def test_a_start_in_mid_day_tells_only_the_buckets_that_were_not_due_yet() -> None:
    start = clock(12, 0, 1)  # the bucket before 12:00:00 is due at 12:00:02
    day = run_until(History(SessionActor("session", SETTINGS), start), clock(17, 0))
    due = buckets(day)
    assert due[0].bucket_utc == clock(11, 59, 30)
    assert len(due) == 480 + 1
    later = run_until(History(SessionActor("session", SETTINGS), clock(12, 0, 3)), clock(17, 0))
    assert buckets(later)[0].bucket_utc == clock(12, 0)


def test_buckets_told_before_and_after_a_restart_make_each_exactly_once() -> None:
    before = buckets(run_until(History(SessionActor("session", SETTINGS), clock(9, 0)), clock(13, 7, 12)))
    after = buckets(run_until(History(SessionActor("session", SETTINGS), clock(13, 7, 12)), clock(17, 0)))
    assert [b.bucket_utc for b in before + after] == list(range(OPEN, CLOSE, BUCKET_NS))


def test_phases_come_at_their_instants_to_everybody() -> None:
    day = run_until(History(SessionActor("session", SETTINGS), clock(9, 0)), clock(23, 0))
    expected = [
        (clock(9, 0), Phase.PRE), (OPEN, Phase.OPEN), (clock(9, 35), Phase.ENTRY), (clock(15, 15), Phase.LATE),
        (clock(15, 35), Phase.PANIC), (clock(15, 45), Phase.FLATTEN), (CLOSE, Phase.CLOSED),
    ]  # fmt: skip
    for role in TOLD:
        assert phases(day, role) == expected


def test_positions_are_flattened_once_at_the_flatten_time() -> None:
    day = run_until(History(SessionActor("session", SETTINGS), clock(9, 0)), clock(23, 0))
    flattened = [at for at, e in day if isinstance(e.message, positions.FlattenPosition)]  # type: ignore[attr-defined]
    assert flattened == [clock(15, 45)]


@pytest.mark.parametrize(("minute", "flattens"), [(44, False), (46, True)])
def test_a_start_after_the_flatten_time_flattens_first(minute: int, flattens: bool) -> None:
    effects = History(SessionActor("session", SETTINGS), clock(15, minute)).hear(started("session"))
    assert bool(told(effects, positions.FlattenPosition, "positions")) is flattens


def test_the_next_day_opens_by_itself_over_a_weekend() -> None:
    monday = at_exchange(date(2026, 11, 23), time(9, 30))
    day = run_until(History(SessionActor("session", SETTINGS), clock(15, 50)), monday + 3600 * SECOND)
    names = [phase for _, phase in phases(day)]
    assert names == [
        Phase.FLATTEN, Phase.CLOSED, Phase.CLOSED_DAY, Phase.CLOSED_DAY, Phase.PRE, Phase.OPEN, Phase.ENTRY,
    ]  # fmt: skip
    assert buckets(day)[21].bucket_utc == monday  # after the 21 left of Friday


def test_a_day_without_trading_has_no_buckets() -> None:
    holiday = at_exchange(date(2026, 11, 26), time(0, 5))
    day = run_until(History(SessionActor("session", SETTINGS), holiday), holiday + 23 * 3600 * SECOND)
    assert [phase for _, phase in phases(day)] == [Phase.CLOSED_DAY]
    assert not buckets(day)


def test_buckets_that_piled_up_behind_a_late_timer_are_all_told() -> None:
    history = History(SessionActor("session", SETTINGS), clock(10, 0))
    history.hear(started("session"))
    effects = history.fire("bucket", clock(10, 10, 2))
    due = told(effects, market.BucketDue, "readings")
    assert [b.bucket_utc for b in due] == list(range(clock(9, 59, 30), clock(10, 10), BUCKET_NS))
    assert all(b.close_by_utc > clock(10, 10, 2) for b in due)


def test_a_newcomer_is_told_the_phase_in_force() -> None:
    history = History(SessionActor("session", SETTINGS), clock(11, 0))
    history.hear(started("session"))
    effects = history.hear(session.PhaseWanted(reply_to="lane:gexwatch:SPX"), clock(11, 30))
    (answer,) = told(effects, to="lane:gexwatch:SPX")
    assert (answer.phase, answer.open_utc, answer.close_utc) == (Phase.ENTRY, OPEN, CLOSE)


def test_a_position_that_starts_after_the_flatten_time_is_told_to_flatten() -> None:
    history = History(SessionActor("session", SETTINGS), clock(15, 50))
    history.hear(started("session"))
    effects = history.hear(session.PhaseWanted(reply_to="position:paper:7"))
    assert [type(m) for m in told(effects, to="position:paper:7")] == [session.PhaseChanged, positions.FlattenPosition]


def test_an_unknown_message_is_a_bug() -> None:
    with pytest.raises(TypeError):
        History(SessionActor("session", SETTINGS)).hear(lifecycle.ActorNeeded(name="x"))
