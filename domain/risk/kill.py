"""The kill switch's rules: levels, what may raise and lower them, and the automatic level 1 from what risk sees.

Level 0 runs; 1 allows no entries; 2 cancels, flattens and allows no entries. Every change takes a new epoch, so that
permits given before it are void.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from domain.instants import MINUTE, MS
from domain.instruments import DataType, Spot
from domain.limits import KillRules
from domain.risk.measured import is_over, is_under
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


NEW_DESK = "a new desk: look at its settings and start it (main.py resume --reason ...)"  # why it begins at level 1
VIX, SPX = "VIX", "SPX"
_EPSILON = 1e-9  # what a share of a price computed in floats may lose


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


class Extreme(msgspec.Struct, frozen=True):
    """The least (or greatest) price of a sliding window, without its other prices.

    `steps` are (instant, price), oldest first: each is the extreme of everything from its instant on, so prices rise
    (or fall) along them and the first is the window's.
    """

    steps: tuple[tuple[Utc, Ticks], ...] = ()

    @property
    def price(self) -> Ticks | None:
        """The extreme; `None` of an empty window."""
        return self.steps[0][1] if self.steps else None


def slid(extreme: Extreme, at_utc: Utc, price: Ticks, window_ns: int, is_least: bool) -> Extreme:
    """Return the extreme once a price has come and those older than the window have gone."""
    steps = extreme.steps
    first, last = 0, len(steps)
    while last and (steps[last - 1][1] >= price if is_least else steps[last - 1][1] <= price):
        last -= 1
    while first < last and steps[first][0] < at_utc - window_ns:
        first += 1
    return Extreme((*steps[first:last], (at_utc, price)))


class KillWatch(msgspec.Struct, frozen=True):
    """What the automatic rules that risk watches remember."""

    vix_low: Extreme = Extreme()
    spx_low: Extreme = Extreme()
    spx_high: Extreme = Extreme()
    losses: tuple[Utc, ...] = ()


def watch_spots(watch: KillWatch, spots: tuple[Spot, ...], rules: KillRules) -> tuple[KillWatch, str | None]:
    """Return what is remembered after new prices, and the reason for level 1, if there is one.

    VIX counts from the lowest price of its window, SPX from the lowest and the highest.
    """
    reason: str | None = None
    for spot in spots:
        if spot.data_type is not DataType.LIVE:
            continue
        if spot.ticker == VIX:
            watch, found = _watch_vix(watch, spot, rules)
        elif spot.ticker == SPX:
            watch, found = _watch_spx(watch, spot, rules)
        else:
            continue
        reason = found or reason
    return watch, reason


def _watch_vix(watch: KillWatch, spot: Spot, rules: KillRules) -> tuple[KillWatch, str | None]:
    low = slid(watch.vix_low, spot.at_utc, spot.price_ticks, rules.vix_window_ms * MS, is_least=True)
    watch = msgspec.structs.replace(watch, vix_low=low)
    start = low.steps[0][1]
    if is_under(spot.price_ticks, start * (1 + rules.vix_rise) - _EPSILON):
        return watch, None
    minutes = rules.vix_window_ms * MS / MINUTE
    return watch, f"VIX rose from {start / 100:.2f} to {spot.price_ticks / 100:.2f} within {minutes:g} min"


def _watch_spx(watch: KillWatch, spot: Spot, rules: KillRules) -> tuple[KillWatch, str | None]:
    window_ns, price = rules.spx_window_ms * MS, spot.price_ticks
    low = slid(watch.spx_low, spot.at_utc, price, window_ns, is_least=True)
    high = slid(watch.spx_high, spot.at_utc, price, window_ns, is_least=False)
    watch = msgspec.structs.replace(watch, spx_low=low, spx_high=high)
    for start in (low.steps[0][1], high.steps[0][1]):
        if is_over(abs(price - start), start * rules.spx_move + _EPSILON):
            minutes = window_ns / MINUTE
            return watch, f"SPX moved from {start / 100:.2f} to {price / 100:.2f} within {minutes:g} min"
    return watch, None


def watch_loss(watch: KillWatch, rules: KillRules, now: Utc) -> tuple[KillWatch, str | None]:
    """Return what is remembered after a lost broker session, and the reason for level 1, if there is one."""
    window_ns = rules.disconnects_window_ms * MS
    losses = (*(at for at in watch.losses if at > now - window_ns), now)
    watch = msgspec.structs.replace(watch, losses=losses)
    if len(losses) < rules.disconnects_max:
        return watch, None
    return watch, f"{len(losses)} broker sessions lost within {window_ns / MINUTE:g} min"
