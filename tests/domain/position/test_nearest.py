"""Which exit is nearest, on a scale that stops, targets and times share."""

from __future__ import annotations

from msgspec.structs import replace

from config.settings import load_settings
from domain.instants import MINUTE, SECOND
from domain.instruments import Quote, Spot
from domain.position.cycle import ExitReason
from domain.position.exits import HeldPosition
from domain.position.nearest import Distance, distances
from domain.units import Qty, Ticks, Utc

SETTINGS = load_settings(profile="demo")
RULES, SPX = SETTINGS.exits, SETTINGS.ticker_rules["SPX"]
OPENED = Utc(1_795_186_800 * SECOND)
HELD = HeldPosition(
    qty=Qty(1), average_ticks=1_000.0, direction=1, entry_spot_ticks=Ticks(600_000), entry_iv=0.2, opened_utc=OPENED,
    took_part=False,
)  # fmt: skip
SPOT = Spot("SPX", Ticks(600_000), OPENED)


def quote(mid_ticks: int) -> Quote:
    return Quote(1, Ticks(mid_ticks - 10), Ticks(mid_ticks + 10), Qty(1), Qty(1), OPENED)


def found(held: HeldPosition, mid_ticks: int, spot: Spot | None = SPOT, now: Utc = OPENED) -> dict[str, Distance]:
    told = distances(held, quote(mid_ticks), spot, now, Utc(OPENED + 300 * MINUTE), RULES, SPX)
    assert [d.left for d in told] == sorted(d.left for d in told)
    return {distance.reason.value: distance for distance in told}


def test_at_the_entry_every_exit_is_as_far_as_it_can_be() -> None:
    assert {distance.left for distance in found(HELD, 1_000).values()} == {1.0}


def test_halfway_to_the_stop_half_is_left_and_at_the_stop_nothing() -> None:
    stop = 1_000 * (1 - RULES.premium_stop)
    at_half = found(HELD, round((1_000 + stop) / 2))["premium_stop"]
    assert (at_half.left, at_half.level_ticks) == (0.5, stop)
    assert found(HELD, round(stop))["premium_stop"].left == 0.0
    assert found(HELD, round(stop) - 100)["premium_stop"].left == 0.0


def test_a_gain_brings_the_target_nearer_and_not_the_stop() -> None:
    told = found(HELD, 1_300)
    assert told["take_profit"].left == 1 - 0.3 / RULES.take_single
    assert told["premium_stop"].left == 1.0


def test_after_a_part_was_taken_the_entry_is_the_stop() -> None:
    rest = replace(HELD, took_part=True)
    told = found(rest, 1_000)
    assert told["premium_stop"].left == 0.0
    assert told["premium_stop"].level_ticks == 1_000
    assert told["take_profit"].level_ticks == 1_000 * (1 + RULES.take_rest)


def test_the_underlying_counts_against_the_positions_direction() -> None:
    size = SPX.underlying_stop_ticks
    assert size is not None
    moved = replace(SPOT, price_ticks=Ticks(600_000 - size // 2))
    assert found(HELD, 1_000, moved)["underlying_stop"].left == 0.5
    put = replace(HELD, direction=-1)
    assert found(put, 1_000, moved)["underlying_stop"].left == 1.0
    assert found(put, 1_000, moved)["underlying_stop"].level_ticks == 600_000 + size


def test_time_runs_out_whatever_the_prices_do() -> None:
    half = Utc(OPENED + SPX.max_hold_ms * 1_000_000 // 2)
    told = found(HELD, 1_000, now=half)
    assert told["max_hold"].left == 0.5
    assert told["eod"].at_utc == OPENED + 300 * MINUTE
    assert next(iter(told)) == "max_hold"


def test_what_needs_a_missing_price_is_left_out() -> None:
    told = distances(HELD, None, None, OPENED, None, RULES, SPX)
    assert [distance.reason for distance in told] == [ExitReason.MAX_HOLD]
