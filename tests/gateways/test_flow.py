"""What `status` says of a hub is what came in the last minute, and when the last frame did."""

from __future__ import annotations

from domain.instants import SECOND
from domain.units import Utc
from gateways.flow import Flow

NOON = Utc(1_795_190_400 * SECOND)


def test_a_hub_that_never_delivered_has_no_last_frame() -> None:
    found = Flow().status("classic", NOON)
    assert (found.frames, found.rate_per_s, found.last_utc, found.lag_ms) == (0, 0.0, None, None)


def test_the_rate_is_that_of_the_last_minute_and_the_lag_that_of_the_last_frame() -> None:
    flow = Flow()
    for n in range(240):  # two a second for two minutes
        at_utc = Utc(NOON + n * SECOND // 2)
        flow.note(at_utc, Utc(at_utc - 35_000_000))
    last_utc = Utc(NOON + 239 * SECOND // 2)
    found = flow.status("classic", last_utc)
    assert (found.frames, found.rate_per_s, found.last_utc, found.lag_ms) == (240, 2.0, last_utc, 35)
    assert flow.status("classic", Utc(last_utc + 30 * SECOND)).rate_per_s == 1.0
    assert flow.status("classic", Utc(last_utc + 61 * SECOND)).rate_per_s == 0.0
