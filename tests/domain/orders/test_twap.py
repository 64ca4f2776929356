"""Slices of an entry: sizes that add up, instants that are equally far apart, a machine that only ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import load_settings
from domain.fsm import IllegalTransition
from domain.instants import MS
from domain.orders.references import entry_ref, is_slice_ref, parse_order_ref, position_id, slice_ref
from domain.orders.twap import TWAP, Twap, TwapEvent, TwapPlan, TwapStage, begun, plan_of
from domain.units import Qty, Ticks, Utc

LIMITS = load_settings(profile="real").entry
PLANS = st.builds(
    TwapPlan, total_qty=st.integers(2, 1_000).map(Qty), slices=st.integers(2, 50), gap_ms=st.integers(1, 10**6)
)


def test_without_a_least_size_no_entry_is_sliced() -> None:
    assert LIMITS.twap_min_qty is None
    assert plan_of(LIMITS, Qty(1_000)) is None


def test_from_the_least_size_up_an_entry_is_sliced() -> None:
    limits = replace(LIMITS, twap_min_qty=Qty(5), twap_slices=4, twap_duration_ms=100_000)
    assert plan_of(limits, Qty(4)) is None
    assert plan_of(limits, Qty(5)) == TwapPlan(total_qty=Qty(5), slices=4, gap_ms=25_000)


def test_no_entry_has_more_slices_than_contracts() -> None:
    assert plan_of(replace(LIMITS, twap_min_qty=Qty(2), twap_slices=4), Qty(3)) is None


@given(PLANS.filter(lambda plan: plan.total_qty >= plan.slices))
def test_slices_add_up_to_the_whole_and_none_is_empty(plan: TwapPlan) -> None:
    until = [plan.qty_until(n) for n in range(plan.slices + 1)]
    sizes = [after - before for before, after in pairwise(until)]
    assert sum(sizes) == plan.total_qty
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@given(
    PLANS.filter(lambda plan: plan.total_qty >= plan.slices),
    st.lists(st.tuples(st.sampled_from(TwapEvent), st.integers(0, 99))),
)
def test_whatever_happens_no_more_is_ordered_than_the_whole(plan: TwapPlan, told: list[tuple[TwapEvent, int]]) -> None:
    twap, filled = begun(plan, Ticks(500), Utc(0)), 0
    for event, share in told:
        if twap.stage is TwapStage.WORKING and event is TwapEvent.SLICE_ENDED:
            filled += twap.qty * share // 99
        if (twap.stage, event) not in TWAP.transitions:
            continue
        if event is TwapEvent.DUE:
            if twap.is_last:
                return
            twap = twap.asking(Qty(filled))
            assert filled + twap.qty == plan.qty_until(twap.n) <= plan.total_qty
            assert twap.qty >= 1
        else:
            twap = twap.after(event)
    assert filled <= plan.total_qty


def test_each_slice_is_due_one_gap_after_the_one_before() -> None:
    plan = TwapPlan(total_qty=Qty(10), slices=4, gap_ms=30_000)
    first = begun(plan, Ticks(500), Utc(7))
    assert (first.qty, first.due_utc) == (2, 7 + 30_000 * MS)
    second = first.after(TwapEvent.SLICE_ENDED).asking(Qty(2))
    assert (second.n, second.qty, second.due_utc, second.is_last) == (2, 3, 7 + 60_000 * MS, False)
    allowed = second.allowed(Ticks(510))
    assert (allowed.stage, allowed.limit_ticks) == (TwapStage.RECORDING, 510)


def test_the_slice_that_the_plan_ends_with_is_the_last() -> None:
    twap = begun(TwapPlan(total_qty=Qty(4), slices=2, gap_ms=1), Ticks(1), Utc(0))
    second = twap.after(TwapEvent.SLICE_ENDED).asking(twap.qty)
    assert (twap.is_last, second.is_last) == (False, True)


@pytest.mark.parametrize("event", TwapEvent)
def test_what_has_ended_stays_ended(event: TwapEvent) -> None:
    over = begun(TwapPlan(total_qty=Qty(4), slices=4, gap_ms=1), Ticks(1), Utc(0)).after(TwapEvent.STOPPED)
    assert over.after(event) == over
    assert not over.is_on


def test_a_slice_is_neither_sent_before_it_is_recorded_nor_recorded_before_it_is_allowed() -> None:
    waiting: Twap = begun(TwapPlan(total_qty=Qty(4), slices=4, gap_ms=1), Ticks(1), Utc(0)).after(TwapEvent.SLICE_ENDED)
    for event in (TwapEvent.ALLOWED, TwapEvent.RECORDED):
        with pytest.raises(IllegalTransition):
            waiting.after(event)
    with pytest.raises(IllegalTransition):
        waiting.asking(Qty(1)).after(TwapEvent.RECORDED)


def test_references_of_slices_are_those_of_their_position() -> None:
    stem = position_id("paper", "some/intent/0")
    assert slice_ref(stem, 1) == entry_ref(stem)
    second = slice_ref(stem, 2)
    assert second == f"{stem}-e2"
    name = parse_order_ref(second)
    assert name is not None
    assert (name.desk, name.exit_n) == ("paper", None)
    assert [is_slice_ref(ref) for ref in (second, entry_ref(stem), f"{stem}-x2", "e2", "")] == [
        True, False, False, True, False,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="slices count from 1"):
        slice_ref(stem, 0)
