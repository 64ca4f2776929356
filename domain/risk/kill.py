"""The kill switch's rules: levels, what may raise and lower them, and the automatic level 1 from what risk sees.

Level 0 runs; 1 allows no entries; 2 cancels, flattens and allows no entries. Every change takes a new epoch, so that
permits given before it are void.

Automatic rules that nothing feeds yet, and which therefore never fire: the median spread against its 20-session norm,
three 201s in five minutes (the broker session's), the clock offset, an uncovered short option, a negative quantity (the
positions').
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from domain.instants import MINUTE, SECOND
from domain.instruments import DataType, Spot
from domain.units import Ticks, Utc


class KillLevel(IntEnum):
    """How far trading is stopped."""

    RUNNING = 0
    NO_ENTRIES = 1
    FLATTEN = 2  # cancel, flatten, no entries


class LoweringRefused(StrEnum):
    """Why a lowering was not carried out."""

    NOT_LOWER = "not_lower"
    EPOCH_CHANGED = "epoch_changed"  # the level is no longer the one that the person saw
    REASON_MISSING = "reason_missing"
    BUSY = "busy"  # another lowering waits for its record
    OVERTAKEN = "overtaken"  # the level was raised before the lowering was in force
    LEDGER_SILENT = "ledger_silent"  # it could not be recorded in time


VIX, VIX_RISE, VIX_WINDOW = "VIX", 0.10, 5 * MINUTE
SPX, SPX_MOVE, SPX_WINDOW = "SPX", 0.005, MINUTE
LOSSES_MAX, LOSSES_WINDOW = 3, 30 * MINUTE
SAMPLE_EVERY = SECOND  # one kept price a second bounds the windows; the newest price is always compared


def raised(level: KillLevel, wanted: KillLevel) -> KillLevel:
    """Return the level after a raise: it never falls."""
    return max(level, wanted)


def lowering_refused(
    level: KillLevel, wanted: KillLevel, epoch: int, expected_epoch: int | None, by: str, reason: str
) -> LoweringRefused | None:
    """Return why a lowering is refused; `None` where it is allowed."""
    if wanted >= level:
        return LoweringRefused.NOT_LOWER
    if expected_epoch is not None and expected_epoch != epoch:
        return LoweringRefused.EPOCH_CHANGED
    return None if by.strip() and reason.strip() else LoweringRefused.REASON_MISSING


class Prices(msgspec.Struct, frozen=True):
    """Samples of one underlying, oldest first: (instant, price)."""

    samples: tuple[tuple[Utc, Ticks], ...] = ()


class KillWatch(msgspec.Struct, frozen=True):
    """What the automatic rules remember."""

    vix: Prices = Prices()
    spx: Prices = Prices()
    losses: tuple[Utc, ...] = ()


def _with(prices: Prices, spot: Spot, window_ns: int) -> Prices:
    kept = tuple(s for s in prices.samples if s[0] >= spot.at_utc - window_ns)
    if kept and spot.at_utc - kept[-1][0] < SAMPLE_EVERY:
        return Prices(kept)
    return Prices((*kept, (spot.at_utc, spot.price_ticks)))


def watch_spots(watch: KillWatch, spots: tuple[Spot, ...]) -> tuple[KillWatch, str | None]:
    """Return what is remembered after new prices, and the reason for level 1, if there is one.

    VIX counts from the lowest price of its window, SPX from whichever price of its window is farthest away.
    """
    reason: str | None = None
    for spot in spots:
        if spot.data_type != DataType.LIVE:
            continue
        if spot.ticker == VIX:
            watch = KillWatch(_with(watch.vix, spot, VIX_WINDOW), watch.spx, watch.losses)
            low = min((p for _, p in watch.vix.samples), default=spot.price_ticks)
            if spot.price_ticks >= low * (1 + VIX_RISE) - 1e-9:
                reason = f"VIX rose from {low / 100:.2f} to {spot.price_ticks / 100:.2f} within 5 min"
        elif spot.ticker == SPX:
            watch = KillWatch(watch.vix, _with(watch.spx, spot, SPX_WINDOW), watch.losses)
            far = max((p for _, p in watch.spx.samples), key=lambda p: abs(spot.price_ticks - p))
            if abs(spot.price_ticks - far) > far * SPX_MOVE + 1e-9:
                reason = f"SPX moved from {far / 100:.2f} to {spot.price_ticks / 100:.2f} within 1 min"
    return watch, reason


def watch_loss(watch: KillWatch, now: Utc) -> tuple[KillWatch, str | None]:
    """Return what is remembered after a lost broker session, and the reason for level 1, if there is one."""
    losses = (*(at for at in watch.losses if at > now - LOSSES_WINDOW), now)
    reason = f"{len(losses)} broker sessions lost within 30 min" if len(losses) >= LOSSES_MAX else None
    return KillWatch(watch.vix, watch.spx, losses), reason
