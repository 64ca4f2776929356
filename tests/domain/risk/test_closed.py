"""The sums over the day's closed positions, kept with each end, are those over all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.risk.closed import ClosedToday, closed_today
from domain.risk.day import Closed, loss_streak
from domain.risk.desk_view import DeskView, trades_today, with_closed
from domain.units import Cents, Utc
from tests.testkit.desk_world import NOW, holding, lost, view

STRATEGIES = ("gexwatch", "advisor")


@st.composite
def ends(draw: st.DrawFn) -> list[Closed]:
    legs = st.sampled_from((None, None, "s"))
    told = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(-2, 1), legs), max_size=9))
    return [
        Closed(f"p{n}", STRATEGIES[n % 2], Cents(cents), Cents(10), Utc(NOW + at), leg and f"{leg}{n // 2}")
        for n, (at, cents, leg) in enumerate(told)
    ]


@given(ends())
def test_the_sums_are_those_over_all_that_closed(rows: list[Closed]) -> None:
    closed = closed_today(rows)
    assert tuple(closed) == tuple(rows)
    assert len(closed) == len(rows)
    assert closed.realised_cents == sum(one.realised_cents for one in rows)
    assert closed.streak == loss_streak(tuple(rows))
    for strategy in STRATEGIES:
        held = {"p0", "p3", "s1", "another"}
        expected = held.union(one.unit for one in rows if one.strategy == strategy)
        assert closed.trades_with(held, strategy) == len(expected)


@pytest.mark.parametrize(
    ("told", "streak"),
    [
        ([(10, 0), (20, -1)], 1), ([(20, 5), (10, -5)], 0), ([(10, 5), (15, -5), (20, 5)], 0),
        ([(10, -5), (30, -5), (20, 5)], 1), ([(20, 5), (40, -5), (10, 5), (15, -5)], 1),
    ],
)  # fmt: skip
def test_losses_in_a_row_are_counted_by_the_time_of_their_ends_in_whatever_order_they_are_told(
    told: list[tuple[int, int]], streak: int
) -> None:
    rows = [Closed(f"p{n}", "a", Cents(cents), Cents(0), Utc(NOW + at)) for n, (at, cents) in enumerate(told)]
    assert closed_today(rows).streak == loss_streak(tuple(rows)) == streak


@given(ends(), st.integers(0, 8))
def test_without_one_they_are_what_they_are_where_it_never_came(rows: list[Closed], n: int) -> None:
    closed = closed_today(rows)
    without = closed.without(f"p{n}")
    assert without == closed_today(one for one in rows if one.position_id != f"p{n}")
    assert (without is closed) is (n >= len(rows))


def test_a_correction_takes_the_place_of_a_result_and_a_repeat_does_not() -> None:
    seen: DeskView = view(closed=(lost(1), lost(2)))
    assert tuple(with_closed(seen, lost(1, 50), is_correction=False).closed) == (lost(1), lost(2))
    corrected = with_closed(seen, lost(1, 50), is_correction=True).closed
    assert corrected == closed_today((lost(2), lost(1, 50)))
    assert (corrected.realised_cents, corrected.streak) == (-50, 1)


def test_what_is_held_and_what_closed_count_once_each() -> None:
    other = replace(lost(1), strategy="gexwatch")
    seen = view(closed=(other,), holdings=(holding("a", strategy="gexwatch"),))
    assert trades_today(seen, "gexwatch") == 2
    assert ClosedToday().streak == 0
