"""A price with an instant far ahead took the place of the true one that waited, was refused, and none was left."""

from __future__ import annotations

from domain.instants import MS, SECOND
from tests.testkit.provider_world import FIRST, World


def test_a_price_of_the_future_does_not_take_the_place_of_a_true_one_that_waits() -> None:
    with World(starts=False) as world:
        world.server.faults.is_silent = world.server.faults.has_no_prices = True
        world.clock.utc = FIRST + 22 * SECOND
        world.start()
        now_ms = world.clock.utc // MS
        true = {"ev": "V", "T": "I:SPX", "val": 6_012.34, "t": now_ms}
        ahead = {"ev": "V", "T": "I:SPX", "val": 5_000.0, "t": now_ms + 600_000}
        world.until(lambda: world.do(world.server.tell("SPX", true, ahead)) > 0)
        sealed = world.bucket()
    assert {row.profile.spot for row in sealed.rows.rows} == {601_234}
    assert dict(sealed.counts.refused)["time_ahead"] >= 1
