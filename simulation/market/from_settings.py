"""The market that the settings ask for."""

from __future__ import annotations

from config.settings import Settings
from simulation.market.market import Market
from simulation.market.minute_bars import load_recorded_day


def market_of(settings: Settings) -> Market:
    """Return the market that servers and in-process exchange share by seed (or by a recorded day).

    Raises:
        RecordedError: the folder of the recorded day does not hold one.
    """
    demo = settings.demo
    cadence_s = max(1, round(demo.rate * demo.frame_interval_ms / 1000))
    if demo.market_folder is not None:
        return Market.from_recorded(load_recorded_day(demo.market_folder), demo.seed, snapshot_s=cadence_s)
    return Market(demo.seed, demo.session, snapshot_s=cadence_s)
