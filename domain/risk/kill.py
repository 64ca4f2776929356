"""The kill switch's rules: levels, what may raise and lower them, and the automatic level 1 from what risk sees.

Level 0 runs; 1 allows no entries; 2 cancels, flattens and allows no entries. Every change takes a new epoch, so that
permits given before it are void.

Automatic rules that nothing feeds yet, and which therefore never fire: the median spread against its 20-session norm,
three 201s in five minutes (the broker session's), ledger and disk faults (the ledger's and the warehouse's), the clock
offset, an uncovered short option, a negative quantity (the positions').
"""

from __future__ import annotations

import msgspec

from domain.instants import MINUTE, SECOND
from domain.instruments import Spot

RUNNING, NO_ENTRIES, FLATTEN = 0, 1, 2
LEVELS = (RUNNING, NO_ENTRIES, FLATTEN)

VIX, VIX_RISE, VIX_WINDOW = "VIX", 0.10, 5 * MINUTE
SPX, SPX_MOVE, SPX_WINDOW = "SPX", 0.005, MINUTE
LIVE_DATA = 1
LOSSES_MAX, LOSSES_WINDOW = 3, 30 * MINUTE
SAMPLE_EVERY = SECOND  # one kept price a second bounds the windows; the newest price is always compared


def raised(level: int, wanted: int) -> int:
    """Give the level after a raise: it never falls, and there is none above 2."""
    return max(level, min(wanted, FLATTEN))


def lowering_refusal(level: int, wanted: int, epoch: int, expected_epoch: int | None, by: str, reason: str) -> str:
    """Say why a lowering is refused: `not_lower`, `epoch_changed`, `reason_missing`, or nothing where it is allowed."""
    if wanted not in LEVELS or wanted >= level:
        return "not_lower"
    if expected_epoch is not None and expected_epoch != epoch:
        return "epoch_changed"
    return "" if by.strip() and reason.strip() else "reason_missing"


class Prices(msgspec.Struct, frozen=True):
    """Samples of one underlying, oldest first: (instant, price in ticks)."""

    samples: tuple[tuple[int, int], ...] = ()


class Watch(msgspec.Struct, frozen=True):
    """What the automatic rules remember."""

    vix: Prices = Prices()
    spx: Prices = Prices()
    losses: tuple[int, ...] = ()


def _with(prices: Prices, spot: Spot, window: int) -> Prices:
    kept = tuple(s for s in prices.samples if s[0] >= spot.at_utc - window)
    if kept and spot.at_utc - kept[-1][0] < SAMPLE_EVERY:
        return Prices(kept)
    return Prices((*kept, (spot.at_utc, spot.price_ticks)))


def watch_spots(watch: Watch, spots: tuple[Spot, ...]) -> tuple[Watch, str | None]:
    """Take new prices into account; give the reason for level 1, if there is one.

    VIX counts from the lowest price of its window, SPX from whichever price of its window is farthest away.
    """
    reason: str | None = None
    for spot in spots:
        if spot.data_type != LIVE_DATA:
            continue
        if spot.ticker == VIX:
            watch = msgspec.structs.replace(watch, vix=_with(watch.vix, spot, VIX_WINDOW))
            low = min((p for _, p in watch.vix.samples), default=spot.price_ticks)
            if spot.price_ticks >= low * (1 + VIX_RISE) - 1e-9:
                reason = f"VIX rose from {low / 100:.2f} to {spot.price_ticks / 100:.2f} within 5 min"
        elif spot.ticker == SPX:
            watch = msgspec.structs.replace(watch, spx=_with(watch.spx, spot, SPX_WINDOW))
            far = max((p for _, p in watch.spx.samples), key=lambda p: abs(spot.price_ticks - p))
            if abs(spot.price_ticks - far) > far * SPX_MOVE + 1e-9:
                reason = f"SPX moved from {far / 100:.2f} to {spot.price_ticks / 100:.2f} within 1 min"
    return watch, reason


def watch_loss(watch: Watch, now: int) -> tuple[Watch, str | None]:
    """Take a lost broker session into account; give the reason for level 1, if there is one."""
    losses = (*(at for at in watch.losses if at > now - LOSSES_WINDOW), now)
    watch = msgspec.structs.replace(watch, losses=losses)
    return watch, f"{len(losses)} broker sessions lost within 30 min" if len(losses) >= LOSSES_MAX else None
