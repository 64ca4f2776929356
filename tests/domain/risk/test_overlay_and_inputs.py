"""The risk overlay by its table, and which inputs of the rules are unknown from when on."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.instruments import DataType, Side, Spot
from domain.limits import OverlayRow
from domain.risk.inputs import first_unknown_utc, inputs_of
from domain.risk.overlay import MINUTES_A_YEAR, Minutes, overlay_of, realised, with_price
from domain.session.phases import Phase
from domain.units import Ticks
from tests.testkit.desk_world import CALM, CLOSE, NOW, SETTINGS, SPOT, holding, view

RULES = SETTINGS.entry.overlay
FLAT = CALM["SPX"]


def vix(level: float, at: int = NOW, kind: DataType = DataType.LIVE) -> Spot:
    return Spot("VIX", round(level * 100), at, kind)


def told(*prices: tuple[int, float]) -> Minutes:
    """Return the minutes of prices, each so many minutes before now."""
    minutes = Minutes()
    for before, price in prices:
        minutes = with_price(minutes, Spot("SPX", Ticks(round(price)), NOW - before * MINUTE), RULES)
    return minutes


def moving(share: float, minutes: int = 10, step: int = 1) -> Minutes:
    """Return minutes of a price that goes up and down by a share."""
    return told(*((n * step, 1_000_000 * (1 + share * (n % 2))) for n in range(minutes, -1, -1)))


@pytest.mark.parametrize(
    ("level", "factor"), [(15, 1.0), (19.99, 1.0), (20, 0.75), (29.99, 0.75), (30, 0.5), (44.99, 0.5), (45, 0), (90, 0)]
)
def test_vix_cuts_by_the_row_that_it_has_reached(level: float, factor: float) -> None:
    assert overlay_of(RULES, vix(level), FLAT, None, NOW).factor == factor


@pytest.mark.parametrize(
    ("spot", "factor"),
    [
        (None, 0.75),  # never known: the row after the calmest
        (vix(15, NOW - 60 * SECOND), 1.0),
        (vix(15, NOW - 60 * SECOND - 1), 0.75),  # the row after the last one known
        (vix(25, NOW - 61 * SECOND), 0.5),
        (vix(35, NOW - 61 * SECOND), 0),
        (vix(60, NOW - 61 * SECOND), 0),
        (vix(15, kind=DataType.DELAYED), 0.75),
    ],
)
def test_a_vix_that_is_not_known_costs_a_row(spot: Spot | None, factor: float) -> None:
    assert overlay_of(RULES, spot, FLAT, None, NOW).factor == factor


def test_the_smaller_of_the_two_volatilities_counts_and_the_confidence_multiplies_it() -> None:
    wild = moving(0.004)
    year = realised(wild, NOW)
    assert year == pytest.approx(math.log(1.004) * math.sqrt(MINUTES_A_YEAR))
    assert overlay_of(RULES, vix(15), wild, None, NOW).factor == 0.5  # 125 %
    assert overlay_of(RULES, vix(25), wild, None, NOW).factor == 0.5
    assert overlay_of(RULES, vix(31), FLAT, 0.4, NOW).factor == 0.5 * 0.75
    said = overlay_of(RULES, vix(15), wild, 0.9, NOW).why
    assert said == "VIX 15 1, realised 1.25 0.5, correlations not told 1, confidence 0.9 1"


@pytest.mark.parametrize(
    ("confidence", "factor"), [(None, 1.0), (0.0, 0.5), (0.29, 0.5), (0.3, 0.75), (0.5, 1.0), (float("nan"), 0.5)]
)
def test_confidence_that_is_not_told_cuts_nothing_and_one_that_is_no_number_most(
    confidence: float | None, factor: float
) -> None:
    assert overlay_of(RULES, vix(15), FLAT, confidence, NOW).factor == factor


def test_realised_volatility_is_of_enough_young_minutes_or_not_known() -> None:
    assert realised(moving(0.0, 4), NOW) == 0
    assert realised(moving(0.0, 3), NOW) is None
    assert realised(moving(0.0), NOW + 5 * MINUTE) == 0
    assert realised(moving(0.0), NOW + 6 * MINUTE) is None
    assert overlay_of(RULES, vix(15), Minutes(), None, NOW).factor == 0.75


def test_a_gap_of_minutes_is_no_move_of_one() -> None:
    gappy, dense = moving(0.001, 5, step=5).year, moving(0.001, 5).year
    assert gappy is not None
    assert dense is not None
    assert gappy == pytest.approx(dense / math.sqrt(5))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 10_000)), max_size=60))
def test_minutes_hold_the_first_price_of_each_and_none_older_than_the_window(ticks: list[tuple[int, int]]) -> None:
    minutes, at = Minutes(), NOW
    first: dict[int, int] = {}
    for later_s, price in ticks:
        at += later_s * SECOND
        first.setdefault(at // MINUTE, price)
        minutes = with_price(minutes, Spot("SPX", price, at), RULES)
    newest = max(first, default=0)
    assert minutes.prices == tuple((m, p) for m, p in first.items() if m >= newest - 30)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 10_000)), max_size=60))
def test_the_volatility_is_that_of_the_minutes_whether_their_returns_were_kept_or_not(
    ticks: list[tuple[int, int]],
) -> None:
    kept, at = Minutes(), NOW
    for later_min, price in ticks:
        at += later_min * MINUTE
        spot = Spot("SPX", price, at)
        afresh = with_price(Minutes(kept.prices), spot, RULES)
        kept = with_price(kept, spot, RULES)
        assert kept == afresh


def test_prices_that_are_not_live_or_none_are_no_minutes() -> None:
    for spot in (replace(SPOT, data_type=DataType.FROZEN), replace(SPOT, price_ticks=0)):
        assert with_price(Minutes(), spot, RULES) == Minutes()


def test_an_overlay_is_never_above_one_by_its_ranges() -> None:
    rows = (OverlayRow(0, 1.0),)
    rules = dataclasses.replace(RULES, vix=rows, realised=rows, confidence=rows)
    assert overlay_of(rules, None, Minutes(), None, NOW).factor == 1.0


# -- inputs -------------------------------------------------------------------------------------

AGE = 60 * SECOND


def test_each_input_counts_from_its_last_word_or_from_when_something_is_held() -> None:
    seen = view(holdings=(holding(marked_utc=NOW - 5),), spots={"SPX": SPOT})
    assert {i.name: i.unknown_from_utc - AGE for i in inputs_of(seen, NOW - 9, AGE, NOW)} == {
        "the mark of SPXW 20261120 6005C": NOW - 5,
        "a live price of VIX": NOW - 9,
        "a live price of SPX": NOW,
    }
    delayed = view(start_nav_cents=None, spots={"SPX": replace(SPOT, data_type=DataType.DELAYED)})
    assert [i.unknown_from_utc - AGE for i in inputs_of(delayed, NOW - 9, AGE, NOW)] == [NOW - 9] * 3


def test_a_pending_entry_needs_a_mark_only_where_nobody_has_spoken_of_it() -> None:
    told, untold = holding("a", is_pending=True), holding("b", is_pending=True, unrealised_cents=None)
    names = [i.name for i in inputs_of(view(holdings=(told, untold)), NOW, AGE, NOW)]
    assert sum(name.startswith("the mark") for name in names) == 1


def test_the_price_of_what_was_sold_calls_of_is_an_input_while_they_are_held() -> None:
    of_fund = replace(holding("s").ref, side=Side.SELL, contract=replace(holding("s").ref.contract, ticker="SPY"))
    sold = replace(holding("s"), ref=of_fund)
    spy = replace(SPOT, ticker="SPY", at_utc=NOW - 7)
    for spots, since in (({"SPY": spy}, NOW - 7), ({"SPY": replace(spy, data_type=DataType.DELAYED)}, NOW - 9)):
        found = {
            i.name: i.unknown_from_utc - AGE for i in inputs_of(view(holdings=(sold,), spots=spots), NOW - 9, AGE, NOW)
        }
        assert found["a live price of SPY"] == since
    of_index = replace(holding("v"), ref=replace(holding("v").ref, side=Side.SELL))
    names = [i.name for i in inputs_of(view(holdings=(of_index, holding("c"))), NOW, AGE, NOW)]
    assert names.count("a live price of SPX") == 1
    assert not [name for name in names if "SPY" in name]


def test_nothing_is_missed_outside_of_regular_hours() -> None:
    held = (holding(),)
    assert inputs_of(view(phase=Phase.CLOSED, holdings=held), NOW, AGE, NOW) == ()
    assert inputs_of(view(phase=Phase.FLATTEN, holdings=held), NOW, AGE, CLOSE) == ()
    assert len(inputs_of(view(phase=None, holdings=held), NOW, AGE, NOW)) == 3


@given(
    marks=st.lists(st.tuples(st.integers(-70, 70), st.booleans(), st.booleans()), max_size=5),
    has_nav=st.booleans(), is_priced=st.booleans(), phase=st.sampled_from((None, Phase.OPEN, Phase.CLOSED)),
)  # fmt: skip
def test_the_first_input_that_is_not_known_any_more_is_the_first_of_all(
    marks: list[tuple[int, bool, bool]], has_nav: bool, is_priced: bool, phase: Phase | None
) -> None:
    held = tuple(
        holding(f"p{n}", marked_utc=NOW + s * SECOND, is_pending=is_pending, unrealised_cents=0 if is_known else None)
        for n, (s, is_pending, is_known) in enumerate(marks)
    )
    seen = view(
        holdings=held, phase=phase, start_nav_cents=1 if has_nav else None, spots={"SPX": SPOT} if is_priced else {}
    )
    each = [one.unknown_from_utc for one in inputs_of(seen, NOW - 9, AGE, NOW)]
    assert first_unknown_utc(seen, NOW - 9, AGE, NOW) == min(each, default=None)
