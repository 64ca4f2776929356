"""The event-driven quotes of a simulated day: when all is told as the plain port tells it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.units import Cents
from simulation.days.coverage import Coverage
from simulation.days.exchange import DayExchange
from simulation.days.faults import Fault
from simulation.days.one_day import day_settings
from simulation.days.plan import PlannedFault, plan_day
from simulation.days.quotes import dense_seconds
from simulation.days.scene import Scene
from simulation.days.tape import market_for

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
