"""Days at the REST broker: the real port on virtual time, played whole, and broken where a guard is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from domain.orders.capabilities import IB, TASTYTRADE
from simulation.days.faults import AT_REST, OF_REST, ORDER_FAULTS, Fault
from simulation.days.one_day import DayResult, Days, day_settings
from simulation.days.plan import REST_SHARE, plan_day

SETTINGS: Final = day_settings(has_rest=True)
WITH_DESKS: Final = day_settings(has_rest=True, has_desks=True)
PLAIN: Final = day_settings()
BUSY: Final = 5  # some twenty executions over the REST broker, half of the requests of an order at fault


def run(folder: Path, seed: int) -> DayResult:
    """Play a day whose orders may go to the REST broker."""
    return Days(SETTINGS, folder, parity_every=0).run(seed)


# -- the plan -------------------------------------------------------------------------------------------


def test_without_the_option_every_order_goes_to_ib_and_with_it_those_of_a_share_of_days_do_not() -> None:
    seeds = range(300)
    assert {plan_day(seed, PLAIN).broker for seed in seeds} == {IB}
    found = [seed for seed in seeds if plan_day(seed, SETTINGS).broker == TASTYTRADE]
    assert REST_SHARE * 0.8 < len(found) / len(seeds) < REST_SHARE * 1.2


def test_the_rest_of_a_day_stays_as_it_is_at_ib() -> None:
    for seed in range(60):
        wide, plain = plan_day(seed, SETTINGS), plan_day(seed, PLAIN)
        assert (wide.signals, wide.faults, wide.order_faults) == (plain.signals, plain.faults, plain.order_faults)


def test_of_a_day_with_two_desks_at_most_one_is_at_the_rest_broker() -> None:
    plans = [plan_day(seed, WITH_DESKS) for seed in range(200)]
    brokers = {(plan.of_desk(0).broker, plan.of_desk(1).broker) for plan in plans if plan.beside is not None}
    assert brokers == {(IB, IB), (IB, TASTYTRADE)}


def test_what_goes_wrong_with_a_link_is_something_at_the_rest_broker_too() -> None:
    of_orders = {fault for faults in ORDER_FAULTS[TASTYTRADE].values() for fault in faults}
    assert set(AT_REST.values()) <= OF_REST
    assert OF_REST - set(AT_REST.values()) < of_orders
    assert not OF_REST & {fault for faults in ORDER_FAULTS[IB].values() for fault in faults}
    assert all(fault.name.startswith(("REST_", "STREAM_")) for fault in OF_REST)
    assert {fault for fault in Fault if fault.name.startswith(("REST_", "STREAM_"))} == OF_REST
