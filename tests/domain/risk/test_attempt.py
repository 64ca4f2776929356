"""One attempt at an entry: what it counts as beside others, what it looks at, and when it is too late."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.instants import MS, SECOND
from domain.risk import attempt as attempts
from domain.risk import desk_view
from domain.risk.attempt import Attempt, Choice
from domain.risk.desk_view import Decision
from domain.risk.entry_stages import EntryEvent, EntryStage
from domain.risk.gates.types import Sizing
from domain.risk.overlay import row_at
from domain.risk.reject import RejectCode
from domain.risk.sizing import size_of
from domain.session.phases import Phase
from domain.units import Qty, Utc
from tests.testkit.desk_world import (
    ALERT,
    CALL,
    CLOSE,
    DAY,
    FULL_SIZE,
    HOURS,
    NAV,
    NOW,
    OPEN,
    SETTINGS,
    SPOT,
    intent,
    quote,
    rules,
    snapshot,
    view,
)

ATTEMPT = Attempt(intent=intent(), deadline_utc=Utc(NOW + SECOND))


def size(qty: int) -> Sizing:
    return Sizing(Qty(qty), 2.0, 2.0, Qty(2), 1.0, FULL_SIZE)


def chosen(ask: int | None) -> Choice:
    return Choice(CALL, quote(ask=ask), Qty(2), NOW)


@pytest.mark.parametrize(("choice", "cents"), [(None, 0), (chosen(None), 0), (chosen(1_030), 2 * 1_030 * 100)])
def test_an_attempt_counts_for_others_at_its_size_times_the_ask(choice: Choice | None, cents: int) -> None:
    assert replace(ATTEMPT, choice=choice).pending.cost_cents == cents


@pytest.mark.parametrize("stage", EntryStage)
def test_an_attempt_is_being_sent_while_its_reservation_is_asked_for(stage: EntryStage) -> None:
    assert replace(ATTEMPT, stage=stage).pending.is_sending is (stage is EntryStage.AWAITS_RESERVATION)


def test_an_attempt_begins_before_the_first_stage_and_waits_for_quotes_until_one_is_enough() -> None:
    assert ATTEMPT.stage_n == 0
    waits = replace(ATTEMPT, stage=EntryStage.AWAITS_QUOTE)
    next_candidate = waits.waiting(EntryEvent.QUOTE_NEEDED, 3, "r")
    assert next_candidate.stage is EntryStage.AWAITS_QUOTE


def test_the_price_told_last_of_an_instant_counts_and_an_older_one_does_not() -> None:
    first, later, older = SPOT, replace(SPOT, price_ticks=1), replace(SPOT, price_ticks=2, at_utc=Utc(NOW - 1))
    assert ATTEMPT.seeing(first).seeing(later).spot == later
    assert ATTEMPT.seeing(first).seeing(older).seeing(None).spot == first


@pytest.mark.parametrize(
    ("more", "ask", "qty", "is_charged"),
    [({}, 1_030, 2, True), ({}, None, 2, False), ({}, 1_030, 0, False), ({"session": None}, 1_030, 2, False)],
)
def test_fees_are_counted_of_a_size_at_an_ask_in_a_session(
    more: dict[str, Any], ask: int | None, qty: int, is_charged: bool
) -> None:
    base = snapshot(view=view(**more))
    found = attempts.candidate_snapshot(base, ATTEMPT, CALL, quote(ask=ask), size(qty))
    assert (found.fees_cents == 0) is not is_charged
    assert found.fees_cents is not None


def test_what_was_decided_on_has_no_bid_where_nobody_bids() -> None:
    assert attempts.decision_prices(quote(bid=None), None).bid_ticks == 0
    assert attempts.decision_prices(quote(bid=990), SPOT).bid_ticks == 990


@pytest.mark.parametrize("late_ms", [0, 7])
def test_lateness_counts_from_the_signals_arrival(late_ms: int) -> None:
    found = attempts.too_late(SETTINGS.entry, NOW, Utc(NOW + late_ms * MS), EntryStage.AWAITS_QUOTE)
    assert (found.measured, found.limit) == (
        SETTINGS.entry.intent_deadline_ms + late_ms,
        SETTINGS.entry.intent_deadline_ms,
    )


# -- the read model of a day ------------------------------------------------------------------------


def test_what_was_told_before_the_first_phase_is_of_its_session_and_a_new_session_forgets_it() -> None:
    before = view(session=None, start_nav_cents=NAV, hours={"SPX": HOURS})
    today = desk_view.in_phase(before, DAY, Phase.OPEN, OPEN, CLOSE)
    assert (today.session, today.start_nav_cents, today.hours) == (DAY, NAV, {"SPX": HOURS})
    tomorrow = desk_view.in_phase(today, DAY.replace(day=23), Phase.PRE, OPEN, CLOSE)
    assert (tomorrow.start_nav_cents, tomorrow.hours) == (None, {})


def test_the_decision_told_last_of_a_bucket_is_the_newest() -> None:
    rows = [Decision(ALERT, "gexwatch", code, NOW) for code in (RejectCode.COOLDOWN, RejectCode.STALE_SIGNAL)]
    assert list(desk_view.decisions_of(rows).newest.values()) == rows[1:]


def test_the_smallest_ask_has_a_size_and_a_level_below_every_row_is_of_the_first() -> None:
    assert size_of(rules(), view(), CALL, quote(bid=None, ask=1), None, NOW) is not None
    assert size_of(rules(), view(), CALL, quote(bid=None, ask=0), None, NOW) is None
    assert row_at(SETTINGS.entry.overlay.vix, -1.0) == 0
