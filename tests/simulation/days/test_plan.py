"""What a seed means: the same plan each time, and every kind of fault sooner or later."""

from __future__ import annotations

from simulation.days.faults import BY_MESSAGE, CANCEL_FAULTS, CHANGE_FAULTS, NEW_FAULTS, TIMED_FAULTS, Fault
from simulation.days.one_day import day_settings
from simulation.days.plan import market_seed_of, plan_day

SETTINGS = day_settings()


def test_a_seed_is_one_plan_and_another_seed_another() -> None:
    assert plan_day(11, SETTINGS) == plan_day(11, SETTINGS)
    assert plan_day(11, SETTINGS) != plan_day(12, SETTINGS)


def test_every_timed_fault_is_drawn_and_within_its_day() -> None:
    plans = [plan_day(seed, SETTINGS) for seed in range(400)]
    drawn = {fault.kind for plan in plans for fault in plan.faults}
    assert set(TIMED_FAULTS) <= drawn
    for plan in plans:
        assert all(fault.at_utc > plan.starts_utc for fault in plan.faults)
        assert all(signal.at_utc > signal.bucket_utc for signal in plan.signals)


def test_faults_of_orders_depend_on_their_reference_alone() -> None:
    plan = next(p for seed in range(50) if (p := plan_day(seed, SETTINGS)).order_faults > 0.2)
    refs = [f"ZH-paper-{n:012d}-e" for n in range(500)]
    first = [plan.fault_of("new", ref) for ref in refs]
    assert first == [plan.fault_of("new", ref) for ref in reversed(refs)][::-1]
    assert set(NEW_FAULTS) <= set(first)
    assert set(CHANGE_FAULTS) <= {plan.fault_of("change", ref, 1) for ref in refs}
    assert set(CANCEL_FAULTS) <= {plan.fault_of("cancel", ref, 1) for ref in refs}


def test_a_comparable_plan_leaves_out_what_counts_messages() -> None:
    for seed in range(100):
        plan = plan_day(seed, SETTINGS, is_comparable=True)
        assert not {fault.kind for fault in plan.faults} & BY_MESSAGE
        assert plan.shuffle_seed is None
        assert plan.next_day is None


def test_days_of_one_market_are_neighbours() -> None:
    assert market_seed_of(0) == market_seed_of(49)
    assert market_seed_of(49) != market_seed_of(50)


def test_each_fault_has_words_of_its_own() -> None:
    assert len({fault.value for fault in Fault}) == len(Fault)
