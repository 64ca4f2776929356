"""The demo's outages last as long as the settings say, in market time, whatever the rate of the demo's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from config.settings import load_settings
from domain.instants import SECOND, at_exchange
from simulation.day import _add_outages


class Calls:
    """A runtime and its ports, of which is kept what was asked for."""

    def __init__(self) -> None:
        self.at: dict[int, Callable[[], None]] = {}
        self.dropped: dict[str, int] = {}

    def call_at(self, at_utc: int, call: Callable[[], None]) -> None:
        self.at[at_utc] = call

    def port(self, name: str) -> Any:
        calls = self

        class Port:
            def drop(self, lasting_ns: int) -> None:
                calls.dropped[name] = lasting_ns

        return Port()


@pytest.mark.parametrize("rate", [1.0, 60.0])
def test_an_outage_lasts_what_the_settings_say_at_every_rate(rate: float) -> None:
    settings = load_settings(profile="demo", overrides={"demo": {"rate": rate}})
    demo, calls = settings.demo, Calls()
    runtime: Any = calls
    _add_outages(settings, runtime, {name: calls.port(name) for name in ("ibkr", "quotes", demo.hub_dropped)})
    calls.at[at_exchange(demo.session, demo.gateway_drop_at)]()
    calls.at[at_exchange(demo.session, demo.hub_drop_at)]()
    gateway_ns, hub_ns = round(demo.gateway_drop_s * SECOND), round(demo.hub_drop_s * SECOND)
    assert calls.dropped == {"ibkr": gateway_ns, "quotes": gateway_ns, demo.hub_dropped: hub_ns}
