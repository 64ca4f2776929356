"""The event-driven quotes of a simulated day: when all is told as the plain port tells it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.position.exits import Wakes
from domain.units import Cents
from simulation.days.coverage import Coverage
from simulation.days.exchange import DayExchange
from simulation.days.faults import Fault
from simulation.days.one_day import day_settings
from simulation.days.plan import PlannedFault, plan_day
from simulation.days.quotes import _NEVER, LEAVES_SOON_S, DayQuotes, dense_seconds, strikes_around
from simulation.days.runtime import DayRuntime
from simulation.days.scene import Scene
from simulation.days.tape import market_for
from supervision.spec import Tree
from supervision.stepped import VirtualClock

LASTING_S = 30


@pytest.mark.parametrize(
    ("kind", "is_dense"),
    [
        (Fault.QUOTES_JUMP, True),
        (Fault.QUOTES_WIDE, True),
        (Fault.SPOT_JUMP, True),
        (Fault.QUOTES_SILENT, False),
        (Fault.QUOTES_DELAYED, False),
    ],
)
def test_each_second_is_told_while_prices_are_not_those_of_the_tape(kind: Fault, is_dense: bool) -> None:
    """Seed 1000: told every five seconds, a jumped price took its profit two seconds later than it should."""
    settings = day_settings()
    plan = plan_day(0, settings)
    fault = PlannedFault(kind, plan.day.open_utc + 90 * MINUTE, LASTING_S * SECOND, "SPX", 1_500)
    plan = replace(plan, signals=(), faults=(fault,))
    market = market_for(plan.market_seed, plan.day.session, settings.tickers)
    exchange = DayExchange(market, plan, Coverage(), Cents(0), 1)
    dense = dense_seconds(Scene(plan, market, exchange, Coverage(), False))
    first = market.second_of(fault.at_utc)
    assert dense[first : first + LASTING_S + 1].all() == is_dense


def test_bounds_are_left_at_the_second_that_a_look_at_each_finds_however_far_away_it_is() -> None:
    settings = day_settings()
    plan = replace(plan_day(0, settings), faults=())
    market = market_for(plan.market_seed, plan.day.session, settings.tickers)
    market.rewind()
    scene = Scene(plan, market, DayExchange(market, plan, Coverage(), Cents(0), 1), Coverage(), False)
    runtime = DayRuntime(Tree((), (), lambda _sender, _role: (), {}, lambda _why: ()), VirtualClock(plan.day.open_utc))
    quotes = DayQuotes("quotes:paper", runtime, scene, strikes_around(settings.connection))
    begin, spot = market.second_of(plan.day.open_utc), market.spot_column("SPY")
    chain = [contract for contract in market.contracts("SPY") if contract.expiry == plan.day.session]
    held = min(chain, key=lambda contract: abs(contract.strike_ticks - int(spot[begin])))
    bid = market.column(held.con_id).bid
    waits = set()
    for away in (2, 20, 60, 120, 10_000):
        wakes = Wakes(spot_at_most=int(spot[begin]) - away, spot_at_least=int(spot[begin]) + away)
        seconds = range(begin, len(bid))
        plain = next((s for s in seconds if not bid[s] or abs(int(spot[s]) - int(spot[begin])) >= away), None)
        assert quotes._leaving(held.con_id, wakes, begin) == (_NEVER if plain is None else plain)
        waits.add(plain is not None and plain - begin > LEAVES_SOON_S)
    assert waits == {False, True}  # some of them before the cut of the search, some after
