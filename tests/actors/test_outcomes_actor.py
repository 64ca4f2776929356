"""The outcomes' actor: what is followed, what a restart gives back, what a gap is, and when a word is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from actors.outcomes import OVERDUE_NS, OutcomesActor, OutcomesState
from domain.instants import BUCKET_NS, SECOND
from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import First, Outcome, OutcomeState, begun, followed
from domain.units import Ticks, Utc
from messages import signals
from messages.restored import OutcomesRestored
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import CLOSE, OPEN, SESSION, SETTINGS, clock

ENTRY = Ticks(600_000)
READINGS = 10  # of the horizon


def alert(n: int = 0, ticker: str = "SPX", kind: str = "GAMMA_FLIP", horizon: int = READINGS) -> Alert:
    return Alert(
        key=AlertKey("gexwatch", ticker, kind, 1, Utc(OPEN + n * BUCKET_NS)), direction=1, entry_ticks=ENTRY,
        target_ticks=Ticks(600_900), stop_ticks=Ticks(599_400), horizon_ms=horizon * 30_000, is_shadow=True,
        raised_utc=Utc(OPEN + (n + 1) * BUCKET_NS + 2 * SECOND),
    )  # fmt: skip


def actor(*known: Alert, at_utc: Utc = OPEN) -> tuple[Probe[OutcomesState], Outbox]:
    probe = Probe(OutcomesActor("outcomes", SETTINGS), at_utc)
    return probe, probe.start(OutcomesRestored(alerts=known))


def at(n: int) -> Utc:
    """Return when the n-th reading is told."""
    return Utc(OPEN + (n + 1) * BUCKET_NS + 2 * SECOND)


def spot(n: int, ticks: int | None, ticker: str = "SPX") -> signals.SpotRead:
    return signals.SpotRead(
        ticker=ticker, bucket_utc=Utc(OPEN + n * BUCKET_NS), spot=None if ticks is None else Ticks(ticks)
    )


def stored(spots: Sequence[tuple[int, int | None]], ticker: str = "SPX") -> signals.SpotsRead:
    told = tuple((Utc(OPEN + n * BUCKET_NS), None if ticks is None else Ticks(ticks)) for n, ticks in spots)
    return signals.SpotsRead(ticker=ticker, session=SESSION, spots=told)


def raised(probe: Probe[OutcomesState], one: Alert) -> Outbox:
    return probe.feed(signals.AlertRaised(alert=one), one.raised_utc)


def hear(probe: Probe[OutcomesState], path: Sequence[int | None], first: int = 1) -> list[Outcome]:
    effects = []
    for n, ticks in enumerate(path, first):
        effects += probe.feed(spot(n, ticks), at(n)).effects
    return outcomes(Outbox(effects))


def outcomes(out: Outbox) -> list[Outcome]:
    return [told.outcome for told in out.told(signals.RecordOutcome, "ledger")]


def test_an_alert_is_followed_to_its_horizon_and_recorded_once() -> None:
    probe, _ = actor()
    raised(probe, alert())
    path = [600_100, 599_900, 600_900, 601_200, 599_300, *[600_000] * 5]
    (outcome,) = hear(probe, path)
    assert (outcome.state, outcome.first) == (OutcomeState.RESOLVED, First.TARGET)
    assert (outcome.target_ms, outcome.stop_ms) == (90_000, 150_000)
    assert (outcome.mfe_bps, round(outcome.mae_bps, 9)) == (20.0, round(700 / 60, 9))
    assert outcome.path_bps[:2] == ((599_900 - 600_000) / 600_000 * 1e4, 0.0)
    assert probe.state.under_way == ()
    assert probe.timers == {}
    assert hear(probe, [600_000], 11) == []


def test_alerts_of_other_tickers_and_kinds_are_followed_beside_it() -> None:
    probe, _ = actor()
    for one in (alert(), alert(kind="VANNA_UNWIND"), alert(ticker="QQQ")):
        raised(probe, one)
    found = hear(probe, [600_000] * READINGS)
    assert [outcome.alert.key.kind for outcome in found] == ["GAMMA_FLIP", "VANNA_UNWIND"]
    assert [outcome.alert.key.ticker for outcome in probe.state.under_way] == ["QQQ"]


def test_an_alert_that_is_raised_twice_is_followed_once() -> None:
    probe, _ = actor()
    raised(probe, alert())
    assert raised(probe, alert()).effects == []
    assert len(hear(probe, [600_000] * READINGS)) == 1


def test_two_silent_readings_make_it_unresolved_and_one_does_not() -> None:
    probe, _ = actor()
    raised(probe, alert())
    (outcome,) = hear(probe, [600_900, None, 600_000, None, None])
    assert (outcome.state, outcome.first) == (OutcomeState.UNRESOLVED, First.TARGET)


def test_readings_that_never_come_end_it_a_while_after_its_horizon() -> None:
    probe, _ = actor()
    raised(probe, alert())
    assert hear(probe, [600_000] * 4) == []
    ((kind, subject), due_utc) = next(iter(probe.timers.items()))
    assert due_utc == OPEN + (1 + READINGS) * BUCKET_NS + OVERDUE_NS
    (outcome,) = outcomes(probe.fire(kind, subject))
    assert outcome.state is OutcomeState.UNRESOLVED


def test_a_restart_goes_on_with_the_stored_readings_and_those_heard_meanwhile() -> None:
    path = [600_100, 599_900, 600_900, 601_200, 599_300, *[600_000] * 5]
    whole, _ = actor()
    raised(whole, alert())
    (wanted,) = hear(whole, path)

    probe, out = actor(alert(), at_utc=at(5))
    assert out.told(signals.RequestSpots, "series") == [
        signals.RequestSpots(reply_to="outcomes", ticker="SPX", session=SESSION)
    ]
    assert hear(probe, path[5:7], 6) == []  # the stored ones are on their way: no gap yet
    assert outcomes(probe.feed(stored(list(enumerate(path[:5], 1))), at(7))) == []
    assert probe.state.heard == ()
    assert hear(probe, path[7:], 8) == [wanted]


def test_an_alert_that_was_recorded_late_catches_up() -> None:
    probe, _ = actor()
    out = probe.feed(signals.AlertRaised(alert=alert()), at(3))
    assert out.told(signals.RequestSpots, "series")
    probe.feed(stored([(n, 600_000) for n in range(4)]), at(3))
    (outcome,) = hear(probe, [600_000] * (READINGS - 3), 4)
    assert outcome.state is OutcomeState.RESOLVED


def test_an_alert_of_an_earlier_session_is_measured_from_what_is_stored() -> None:
    tomorrow = Utc(OPEN + 3 * 86_400 * SECOND)
    probe, out = actor(alert(), alert(20), at_utc=tomorrow)
    assert len(out.told(signals.RequestSpots, "series")) == 1
    known = probe.feed(stored([(n, 600_000) for n in range(16)]), tomorrow)
    assert [(one.alert.key.bucket_utc, one.state) for one in outcomes(known)] == [(OPEN, OutcomeState.RESOLVED)]
    ((kind, subject), _) = next(iter(probe.timers.items()))
    (left,) = outcomes(probe.fire(kind, subject))
    assert left.state is OutcomeState.UNRESOLVED


def test_a_spot_of_another_session_touches_no_outcome_of_this_one() -> None:
    probe, _ = actor(alert(), at_utc=at(5))
    later = Utc(OPEN + 3 * 86_400 * SECOND)
    before = probe.state.under_way
    other = signals.SpotsRead(ticker="SPX", session=SESSION + timedelta(days=3), spots=((later, ENTRY),))
    assert outcomes(probe.feed(other, later)) == []
    assert probe.state.under_way == before


def test_the_horizon_ends_at_the_close_and_an_alert_at_the_close_is_no_outcome() -> None:
    probe, _ = actor()
    late = alert(775, horizon=60)
    raised(probe, late)
    assert probe.state.under_way[0].end_utc == CLOSE
    raised(probe, alert(779))
    assert len(probe.state.under_way) == 1
    assert clock(16) == CLOSE


PATHS = st.lists(st.one_of(st.none(), st.integers(598_000, 602_000)), min_size=READINGS, max_size=READINGS)


@given(PATHS, st.integers(0, READINGS), st.integers(0, 3))
def test_a_restart_at_any_reading_changes_no_outcome(path: list[int | None], cut: int, meanwhile: int) -> None:
    wanted = begun(alert(), CLOSE)
    for n, ticks in enumerate(path, 1):
        wanted = followed(wanted, Utc(OPEN + n * BUCKET_NS), None if ticks is None else Ticks(ticks))
    probe, out = actor(alert(), at_utc=at(cut))
    found = []
    later = min(cut + meanwhile, READINGS)
    if out.told(signals.RequestSpots):
        found += hear(probe, path[cut:later], cut + 1)
        found += outcomes(probe.feed(stored(list(enumerate(path[:cut], 1))), at(later)))
    else:
        later = 0
    found += hear(probe, path[later:], later + 1)
    assert found == ([wanted] if wanted.state is not OutcomeState.FOLLOWED else [])
