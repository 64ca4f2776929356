"""Days at the REST broker: the real port on virtual time, played whole, and broken where a guard is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from domain.orders.capabilities import IB, TASTYTRADE
from gateways.tastytrade.orders_port import TastytradeOrdersPort
from simulation.days.faults import AT_REST, OF_REST, ORDER_FAULTS, Fault
from simulation.days.one_day import DayResult, Days, day_settings
from simulation.days.plan import REST_SHARE, plan_day
from simulation.days.world import executions_hash

SETTINGS: Final = day_settings(has_rest=True)
WITH_DESKS: Final = day_settings(has_rest=True, has_desks=True)
PLAIN: Final = day_settings()
BUSY: Final = 5  # some twenty executions over the REST broker
FEW: Final = 1
SLOW_PORT: Final = 79  # takes entries after their time


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


def test_a_desk_knows_whose_capabilities_it_has(tmp_path: Path) -> None:
    days = Days(SETTINGS, tmp_path)
    plans = [plan_day(seed, SETTINGS) for seed in range(20)]
    brokers = {(plan.broker, days.settings_of(plan).broker.orders) for plan in plans}
    assert brokers == {(IB, IB), (TASTYTRADE, TASTYTRADE)}


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


# -- whole days -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_day_at_the_rest_broker_is_the_same_each_time_and_stepped_every_second(tmp_path: Path) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    first, again = days.run(BUSY), days.run(BUSY)
    assert first.broken == ()
    assert (first.digest, first.messages, first.executions) == (again.digest, again.messages, again.executions)
    assert first.executions > 0
    assert days.is_same(BUSY)


@pytest.mark.slow
def test_a_day_on_which_nearly_every_request_about_an_order_meets_a_fault_breaks_nothing(tmp_path: Path) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    world, broken = days.played(replace(plan_day(BUSY, SETTINGS), order_faults=0.9), is_dense=False)
    assert broken == ()
    assert world.executions > 0
    taken_unanswered = {"REST_TAKEN", "REST_CUT_TAKEN", "REST_CANCEL_CROSSED", "REST_CHANGE_CROSSED"}
    assert taken_unanswered <= world.coverage.faults.keys()


@pytest.mark.slow
def test_what_a_request_has_brought_about_is_matched_in_time_though_its_answer_is_late(tmp_path: Path) -> None:
    days = Days(SETTINGS, tmp_path, parity_every=0)
    plan = replace(days.comparable(FEW), order_faults=0.9)
    worlds = [days.played(plan, is_dense=is_dense)[0] for is_dense in (False, True)]
    assert executions_hash(worlds[0].scene.exchange) == executions_hash(worlds[1].scene.exchange)
    assert worlds[0].executions > 0


@pytest.mark.slow
def test_a_port_without_its_last_check_breaks_an_invariant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TastytradeOrdersPort, "_check", lambda _port, _session, _command: None)
    broken = run(tmp_path, SLOW_PORT).broken
    assert any("was sent" in text for text in broken), broken
