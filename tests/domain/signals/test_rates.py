"""Win rates with their n, Wilson's bounds, and what a promotion asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.signals.outcome import Outcome, OutcomeState, begun
from domain.signals.rates import promotion_of, rate_of, rates_by_version, wilson
from tests.domain.signals.test_outcome import CLOSE, alert_at

BASE = begun(alert_at(10), CLOSE)
WIN = replace(BASE, state=OutcomeState.RESOLVED, target_ms=60_000, mfe_bps=20.0)
LOSS = replace(BASE, state=OutcomeState.RESOLVED, stop_ms=60_000, mae_bps=10.0)
NEITHER = replace(BASE, state=OutcomeState.RESOLVED)
LOST = replace(BASE, state=OutcomeState.UNRESOLVED, target_ms=60_000)


@pytest.mark.parametrize(("wins", "n", "lower", "upper"), [
    (0, 1, 0.0, 0.7935), (1, 1, 0.2065, 1.0), (0, 37, 0.0, 0.0941), (5, 10, 0.2366, 0.7634), (60, 100, 0.5020, 0.6906),
])  # fmt: skip
def test_wilsons_bounds_are_those_of_the_tables(wins: int, n: int, lower: float, upper: float) -> None:
    assert wilson(wins, n) == pytest.approx((lower, upper), abs=5e-5)


@given(st.integers(1, 10_000), st.data())
def test_bounds_enclose_the_share_and_mirror(n: int, data: st.DataObject) -> None:
    wins = data.draw(st.integers(0, n))
    lower, upper = wilson(wins, n)
    assert 0.0 <= lower <= wins / n <= upper <= 1.0
    assert wilson(n - wins, n) == pytest.approx((1.0 - upper, 1.0 - lower))


@pytest.mark.parametrize(("wins", "n"), [(0, 0), (2, 1), (-1, 5)])
def test_no_share_has_no_bounds(wins: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(wins, n)


def test_gaps_and_what_is_still_followed_count_in_no_rate() -> None:
    found = rate_of([WIN, WIN, LOSS, NEITHER, LOST, BASE])
    assert (found.n, found.wins, found.losses, found.unresolved, found.followed) == (4, 2, 1, 1, 1)
    assert found.rate == 0.5
    lower, upper = wilson(2, 4)
    assert found.lower == pytest.approx(lower)
    assert found.upper == pytest.approx(upper)
    assert found.mean_mfe_stops == pytest.approx(1.0)  # two wins of two stops each, of four
    assert found.mean_mae_stops == pytest.approx(0.25)


def test_without_resolved_outcomes_there_is_no_rate() -> None:
    found = rate_of([LOST, BASE])
    assert (found.n, found.rate, found.lower, found.upper, found.mean_mfe_stops) == (0, None, None, None, None)


def test_versions_and_shadows_stand_side_by_side() -> None:
    def of(version: int, is_shadow: bool, outcome: Outcome) -> Outcome:
        alert = replace(outcome.alert, key=replace(outcome.alert.key, version=version), is_shadow=is_shadow)
        return replace(outcome, alert=alert)

    found = rates_by_version([of(2, True, WIN), of(1, False, LOSS), of(2, True, LOSS), of(1, False, LOST)])
    assert {key: (rate.n, rate.wins) for key, rate in found.items()} == {
        ("advisor", "STRUCTURE_BREAK", 1, False): (1, 0),
        ("advisor", "STRUCTURE_BREAK", 2, True): (2, 1),
    }
    assert list(found) == sorted(found)


def test_a_promotion_needs_enough_outcomes_and_a_lower_bound_above_the_floor() -> None:
    few = promotion_of(rate_of([WIN] * 29), n_min=30, floor=0.4)
    assert few is not None
    assert few.why.startswith("29 resolved outcomes, 30 are asked for")
    weak = promotion_of(rate_of([WIN] * 16 + [LOSS] * 14), n_min=30, floor=0.4)
    assert weak is not None
    assert "0.361 (n = 30)" in weak.why
    assert promotion_of(rate_of([WIN] * 20 + [LOSS] * 10), n_min=30, floor=0.4) is None
    assert promotion_of(rate_of([]), n_min=0, floor=0.0) is not None
