"""The fold of fills into what is held, what it cost and what was realised."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import Side
from domain.position.fills import Fills, new_life, with_fees, with_fill


def fills_of(*totals: tuple[str, Side, int, int], side: Side = Side.BUY) -> Fills:
    fills = Fills(side=side)
    for ref, of_side, qty, cost in totals:
        fills = with_fill(fills, ref, of_side, qty, cost, 1)
    return fills


def test_average_cost_and_result_of_a_part_sold() -> None:
    fills = fills_of(("e", Side.BUY, 3, 1500), ("x1", Side.SELL, 1, 700))
    assert (fills.held, fills.average_ticks) == (2, 500)
    assert (fills.cost_cents(100), fills.realised_cents(100)) == (100_000, 20_000)


def test_settlement_realises_the_whole_rest() -> None:
    fills = fills_of(("e", Side.BUY, 2, 1000), ("x1", Side.SELL, 1, 700))
    assert fills.realised_cents(100, settled_ticks=0) == -30_000


def test_totals_that_go_back_were_overtaken_unless_they_are_a_correction() -> None:
    fills = fills_of(("e", Side.BUY, 3, 1500))
    assert with_fill(fills, "e", Side.BUY, 2, 1000, 1) == fills
    assert with_fill(fills, "e", Side.BUY, 2, 1000, 2).held == 2


def test_fees_are_totals_per_order() -> None:
    fills = with_fees(with_fees(fills_of(("e", Side.BUY, 1, 500)), "e", Side.BUY, 65, 1), "e", Side.BUY, 65, 1)
    assert fills.fees_cents == 65


def test_late_fill_of_an_earlier_life_counts_in_the_present_one() -> None:
    fills = new_life(fills_of(("a-e", Side.BUY, 1, 500), ("a-x1", Side.SELL, 1, 600)), Side.BUY)
    assert (fills.held, fills.realised_cents(100)) == (0, 0)
    late = with_fill(fills, "a-e", Side.BUY, 2, 990, 1)
    assert (late.held, late.average_ticks) == (1, 490)


@given(st.lists(st.tuples(st.sampled_from(["e", "x1", "x2"]), st.integers(1, 3), st.integers(1, 900)), max_size=12))
def test_telling_everything_twice_changes_nothing(executions: list[tuple[str, int, int]]) -> None:
    once = twice = Fills()
    totals: dict[str, tuple[int, int]] = {}
    for ref, qty, price in executions:
        before = totals.get(ref, (0, 0))
        totals[ref] = (before[0] + qty, before[1] + qty * price)
        side = Side.BUY if ref == "e" else Side.SELL
        once = with_fill(once, ref, side, *totals[ref], 1)
        twice = with_fill(with_fill(twice, ref, side, *totals[ref], 1), ref, side, *totals[ref], 1)
        twice = with_fill(twice, ref, side, *before, 1)
    assert once == twice
    assert once.held == sum(q if r == "e" else -q for r, (q, _) in totals.items())


def test_what_is_sold_to_open_gains_when_it_is_bought_back_lower() -> None:
    fills = fills_of(("e", Side.SELL, 2, 1000), ("x1", Side.BUY, 1, 300), side=Side.SELL)
    assert (fills.held, fills.signed_held, fills.average_ticks) == (1, -1, 500)
    assert (fills.cost_cents(100), fills.realised_cents(100)) == (50_000, 20_000)
    assert fills.realised_cents(100, settled_ticks=0) == 70_000
