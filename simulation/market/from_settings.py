"""The market that the settings ask for."""

from __future__ import annotations

from config.settings import Settings
from simulation.market.market import Market
from simulation.market.minute_bars import load_recorded_day
from simulation.market.style import Kind, Nature

# A bucket holds whole snapshots, so what its last frame says does not depend on the second at which it was published.
SNAPSHOT_S = 10


def market_of(settings: Settings, *, rolls: bool = False) -> Market:
    """Return the market that servers and in-process exchange share by seed (or by a recorded day).

    One that `rolls` goes on with the exchange's next session after the night; a recorded day never does.

    Raises:
        RecordedError: the folder of the recorded day does not hold one.
    """
    demo = settings.demo
    if demo.market_folder is not None:
        return Market.from_recorded(load_recorded_day(demo.market_folder), demo.seed, snapshot_s=SNAPSHOT_S)
    return Market(
        demo.seed, demo.session, snapshot_s=SNAPSHOT_S, rolls=rolls, closed_dates=settings.day.closed_dates,
        nature=nature_of(settings),
    )  # fmt: skip


def nature_of(settings: Settings) -> Nature:
    """Return the kind of market that the settings ask for, of whatever simulated day."""
    return Nature(Kind(settings.market.kind), settings.market.feedback)
