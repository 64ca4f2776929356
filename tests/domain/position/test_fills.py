"""The fold of fills into what is held, what it cost and what was realised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import Side
from domain.position.fills import Fills, FillTotals, new_life, with_fees, with_fill
from tests.testkit.narrow import known


def fills_of(*totals: tuple[str, Side, int, int], side: Side = Side.BUY) -> Fills:
    fills = Fills(side=side)
    for ref, of_side, qty, cost in totals:
        fills = with_fill(fills, FillTotals(ref, of_side, qty, cost))
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
    assert with_fill(fills, FillTotals("e", Side.BUY, 2, 1000, 1)) == fills
    assert with_fill(fills, FillTotals("e", Side.BUY, 2, 1000, 2)).held == 2


def test_fees_are_totals_per_order() -> None:
    fills = with_fees(with_fees(fills_of(("a-e", Side.BUY, 1, 500)), "a-e", Side.BUY, 65, 1), "a-e", Side.BUY, 65, 1)
    assert fills.fees_cents("a") == 65


def test_late_fill_of_an_earlier_life_counts_in_the_present_one() -> None:
    fills = new_life(fills_of(("a-e", Side.BUY, 1, 500), ("a-x1", Side.SELL, 1, 600)), Side.BUY)
    assert (fills.held, fills.realised_cents(100)) == (0, 0)
    late = with_fill(fills, FillTotals("a-e", Side.BUY, 2, 990))
    assert (late.held, late.average_ticks) == (1, 490)


@given(st.lists(st.tuples(st.sampled_from(["e", "x1", "x2"]), st.integers(1, 3), st.integers(1, 900)), max_size=12))
def test_telling_everything_twice_changes_nothing(executions: list[tuple[str, int, int]]) -> None:
    once = twice = Fills()
    totals: dict[str, tuple[int, int]] = {}
    for ref, qty, price in executions:
        before = totals.get(ref, (0, 0))
        totals[ref] = (before[0] + qty, before[1] + qty * price)
        side = Side.BUY if ref == "e" else Side.SELL
        once = with_fill(once, FillTotals(ref, side, *totals[ref]))
        told = FillTotals(ref, side, *totals[ref])
        twice = with_fill(with_fill(twice, told), told)
        twice = with_fill(twice, FillTotals(ref, side, *before))
    assert once == twice
    assert once.held == sum(q if r == "e" else -q for r, (q, _) in totals.items())


def test_what_is_sold_to_open_gains_when_it_is_bought_back_lower() -> None:
    fills = fills_of(("e", Side.SELL, 2, 1000), ("x1", Side.BUY, 1, 300), side=Side.SELL)
    assert (fills.held, fills.signed_held, fills.average_ticks) == (1, -1, 500)
    assert (fills.cost_cents(100), fills.realised_cents(100)) == (50_000, 20_000)
    assert fills.realised_cents(100, settled_ticks=0) == 70_000


def durable(ref: str, qty: int, cost: int, revision: int = 1, side: Side = Side.BUY) -> FillTotals:
    return FillTotals(ref, side, qty, cost, revision)


def heard(ref: str, qty: int, cost: int, revision: int = 1) -> FillTotals:
    """What the broker session told while the ledger was silent."""
    return FillTotals(ref, Side.BUY, qty, cost, revision, is_durable=False)


def adopted(ref: str, qty: int, cost: int, *, is_durable: bool = True) -> FillTotals:
    return FillTotals(ref, Side.BUY, qty, cost, is_durable=is_durable, is_price_known=False)


@pytest.mark.parametrize(
    ("told", "held", "cost"),
    [
        ((durable("e", 2, 1000), heard("e", 3, 1500)), 3, 1500),  # the ledger is late
        ((durable("e", 2, 1000), heard("e", 2, 990)), 2, 1000),  # the ledger's word stands
        ((durable("e", 2, 1000), heard("e", 1, 500)), 2, 1000),
        ((heard("e", 3, 1500), durable("e", 2, 1000)), 3, 1500),  # it has not caught up
        ((heard("e", 3, 1500), durable("e", 2, 1000), durable("e", 3, 1497)), 3, 1497),
        ((heard("e", 2, 1000), durable("e", 2, 998)), 2, 998),
        ((durable("e", 3, 1500), durable("e", 2, 1000)), 3, 1500),  # overtaken
        ((durable("e", 3, 1500), durable("e", 3, 1497)), 3, 1497),
        ((durable("e", 3, 1500), durable("e", 2, 1000, revision=2)), 2, 1000),  # a correction
        ((durable("e", 3, 1500), heard("e", 2, 1000, revision=2)), 2, 1000),
        ((adopted("e", 3, 1530), durable("e", 2, 1000)), 2, 1000),  # the execution that explains what was adopted
        ((adopted("e", 3, 1530), heard("e", 2, 1000)), 2, 1000),
        ((adopted("e", 3, 1530, is_durable=False), durable("e", 2, 1000)), 2, 1000),
        ((adopted("e", 3, 1530), durable("e", 3, 1500), durable("e", 2, 1000)), 3, 1500),  # explained: it falls no more
        ((adopted("e", 3, 1530), durable("e", 3, 1500), heard("e", 2, 1000)), 3, 1500),
    ],
)
def test_of_two_that_tell_a_fill_the_higher_total_counts_until_the_ledger_has_caught_up(
    told: tuple[FillTotals, ...], held: int, cost: int
) -> None:
    fills = Fills()
    for each in told:
        fills = with_fill(fills, each)
    assert (fills.held, fills.opened_cost_ticks) == (held, cost)
    assert fills.average_ticks == cost / held


def test_what_the_ledger_told_is_remembered_below_what_was_heard_past_it() -> None:
    fills = with_fill(with_fill(Fills(), heard("e", 3, 1500)), durable("e", 2, 1000))
    row = known(fills.row("e"))
    assert (row.qty, row.recorded_qty, row.recorded_cost_ticks) == (3, 2, 1000)
    assert with_fill(fills, durable("e", 1, 500)) == fills  # older still


def test_nothing_filled_has_no_average_no_cost_and_no_result() -> None:
    assert (Fills().average_ticks, Fills().cost_cents(100), Fills().realised_cents(100)) == (None, 0, 0)
    assert Fills().filled("e") == 0
    over = fills_of(("e", Side.BUY, 1, 500), ("x1", Side.SELL, 2, 1200))
    assert (over.held, over.cost_cents(100)) == (-1, 0)


def test_a_fee_that_comes_first_waits_for_its_fill() -> None:
    fills = with_fees(Fills(), "a-e", Side.BUY, 65, 1)
    assert (fills.held, fills.fees_cents("a"), known(fills.row("a-e")).charged_qty) == (0, 65, 1)
    assert with_fill(fills, durable("a-e", 1, 500)).fees_cents("a") == 65


def test_fees_are_of_the_positions_orders_and_of_those_that_closed_this_life_for_somebody() -> None:
    fills = with_fees(fills_of(("broker:1", Side.SELL, 1, 500)), "broker:1", Side.SELL, 11, 1)
    fills = with_fees(with_fees(fills, "a-e", Side.BUY, 65, 1), "b-e", Side.BUY, 70, 1)
    assert fills.fees_cents("a") == 76
    next_life = new_life(fills, Side.BUY)
    assert next_life.fees_cents("a") == 65
    later = with_fees(next_life, "broker:2", Side.SELL, 13, 1)
    assert later.fees_cents("a") == 78


@pytest.mark.parametrize(
    ("closing", "is_by_others"),
    [
        ((), False),
        ((("broker:1", 1),), True),
        ((("broker:1", 1), ("broker:2", 1)), True),
        ((("broker:1", 1), ("a-x1", 1)), False),
        ((("a-x1", 1),), False),
        ((("broker:1", 1), ("a-x1", 0)), True),  # an exit that filled nothing closed nothing
    ],
)
def test_a_life_was_closed_by_others_where_no_order_of_ours_closed_any_of_it(
    closing: tuple[tuple[str, int], ...], is_by_others: bool
) -> None:
    fills = fills_of(("a-e", Side.BUY, 2, 1000))
    for ref, qty in closing:
        fills = with_fees(fills, ref, Side.SELL, 1, qty)
        fills = with_fill(fills, FillTotals(ref, Side.SELL, qty, 500 * qty))
    assert fills.is_closed_by_others is is_by_others
    assert not new_life(fills, Side.BUY).is_closed_by_others


def test_a_report_of_nothing_leaves_no_trace() -> None:
    assert with_fill(Fills(), durable("e", 0, 0)) == Fills()
