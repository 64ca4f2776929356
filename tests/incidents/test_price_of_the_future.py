"""A price with an instant far ahead took the place of the true one that waited, was refused, and none was left."""

from __future__ import annotations

import pytest

from domain.instants import MS, SECOND
from tests.testkit.provider_world import FIRST, World

LONG_MS = 30_000  # a stream that is told silent is dialled anew, and what it was just told may be lost


@pytest.mark.parametrize("ahead_s", [50, 4])
def test_a_price_a_little_ahead_outlasts_no_true_one(ahead_s: int) -> None:
    with World(starts=False, silent_after_ms=LONG_MS) as world:
        world.server.faults.is_silent = world.server.faults.has_no_prices = True
        world.clock.utc = FIRST + 22 * SECOND
        world.start()
        now_ms = world.clock.utc // MS
        ahead = {"ev": "V", "T": "I:SPX", "val": 5_990.0, "t": now_ms + ahead_s * 1_000}
        true = {"ev": "V", "T": "I:SPX", "val": 6_012.34, "t": now_ms}
        world.until(lambda: world.do(world.server.tell("SPX", ahead, true)) > 0)
        sealed = world.bucket()
    assert {row.profile.spot for row in sealed.rows.rows} == {601_234}


def test_a_price_of_the_future_does_not_take_the_place_of_a_true_one_that_waits() -> None:
    with World(starts=False, silent_after_ms=LONG_MS) as world:
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
