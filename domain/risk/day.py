"""The day's money: P&L, streak of losses, and the latched stops. Money in cents, net of fees unless said."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from domain.instants import MS
from domain.limits import EntryLimits
from domain.units import Cents, Utc

RECORD_STEP_NAV = 0.0005  # of start NAV: best P&L and drawdown are recorded in steps, so that not every mark is a row


class LockReason(StrEnum):
    """Why a day takes no more entries."""

    DAILY_LOSS = "daily_loss"
    END_OF_DAY = "eod"


class Closed(msgspec.Struct, frozen=True):
    """One position closed today; `realised_cents` net of `fees_cents`.

    Positions of one `structure_id` are legs that count as one; `None`: it is of none.
    """

    position_id: str
    strategy: str
    realised_cents: Cents
    fees_cents: Cents
    closed_utc: Utc
    structure_id: str | None = None

    @property
    def unit(self) -> str:
        """What counts as one: the structure, where it is a leg of one."""
        return self.position_id if self.structure_id is None else self.structure_id


class DayStops(msgspec.Struct, frozen=True):
    """What the evaluations of the day's P&L have left behind; both stops stay set for the session.

    `breach_utc` is the instant of the first of the breaching evaluations that run on now, `None` while there is none.
    `drawdown_cents` is the greatest fall from the day's best P&L (which starts at 0), as a positive number.
    """

    breach_utc: Utc | None = None
    is_hard: bool = False
    is_soft: bool = False
    peak_cents: Cents = Cents(0)
    drawdown_cents: Cents = Cents(0)


class DaySummary(msgspec.Struct, frozen=True):
    """The figures of the day's row; a structure that closed at exactly 0 is neither a win nor a loss."""

    trades: int
    wins: int
    losses: int
    realised_cents: Cents
    fees_cents: Cents
    drawdown_cents: Cents


def hard_limit_cents(start_nav_cents: Cents, limits: EntryLimits) -> float:
    """Return the P&L (negative) at which the day is locked: the nearer of NAV share and amount, if one is set."""
    share = limits.daily_loss_nav * start_nav_cents
    return -share if limits.daily_loss_max_cents is None else -min(share, limits.daily_loss_max_cents)


def is_at_or_below(pnl_cents: float, limit_cents: float) -> bool:
    """Return whether money is at a limit that came from a share, forgiving what floats lose (1e-6 of a cent).

    It is where the two cannot be compared.
    """
    return not pnl_cents > limit_cents + 1e-6


def evaluate(
    stops: DayStops, pnl_cents: Cents, start_nav_cents: Cents, limits: EntryLimits, now: Utc, is_marked: bool = True
) -> DayStops:
    """Return the stops after one evaluation of the day's P&L.

    The hard stop latches when a breach is seen again at least the confirmation time after the first breach, with no
    evaluation above the limit between; the soft stop latches at once. Best and drawdown are of P&L that is marked, not
    of a worst case.
    """
    peak = max(stops.peak_cents, pnl_cents) if is_marked else stops.peak_cents
    breached = is_at_or_below(pnl_cents, hard_limit_cents(start_nav_cents, limits))
    first = (stops.breach_utc if stops.breach_utc is not None else now) if breached else None
    confirmed = first is not None and now - first >= limits.daily_loss_confirm_ms * MS
    return DayStops(
        breach_utc=first,
        is_hard=stops.is_hard or confirmed,
        is_soft=stops.is_soft or is_at_or_below(pnl_cents, -limits.soft_stop_nav * start_nav_cents),
        peak_cents=peak,
        drawdown_cents=max(stops.drawdown_cents, peak - pnl_cents) if is_marked else stops.drawdown_cents,
    )


def is_worth_a_record(recorded: DayStops, stops: DayStops, start_nav_cents: Cents) -> bool:
    """Return whether stops differ from those on record by a latch, a breach, or a step of best or drawdown."""
    if (recorded.is_hard, recorded.is_soft, recorded.breach_utc) != (stops.is_hard, stops.is_soft, stops.breach_utc):
        return True
    step = RECORD_STEP_NAV * start_nav_cents
    return stops.peak_cents - recorded.peak_cents >= step or stops.drawdown_cents - recorded.drawdown_cents >= step


def loss_streak(closed: tuple[Closed, ...]) -> int:
    """Return how many losing structures in a row end the day so far, by close time; one that did not lose ends it."""
    closed = by_unit(closed)
    ended_utc = max([c.closed_utc for c in closed if c.realised_cents >= 0], default=None)
    if ended_utc is None:
        return len(closed)
    since = [c for c in closed if c.closed_utc >= ended_utc]  # a few of a day's many
    ended = max((c.closed_utc, c.position_id) for c in since if c.realised_cents >= 0)
    return sum((c.closed_utc, c.position_id) > ended for c in since)


def by_unit(closed: tuple[Closed, ...]) -> tuple[Closed, ...]:
    """Return what was closed with the legs of a structure as one: their results together, at the last one's close."""
    if not [one for one in closed if one.structure_id is not None]:
        return closed
    units: dict[str, Closed] = {}
    for one in closed:
        known = units.get(one.unit)
        units[one.unit] = one if known is None else _together(known, one)
    return tuple(units.values())


def _together(one: Closed, other: Closed) -> Closed:
    return replace(
        one,
        realised_cents=Cents(one.realised_cents + other.realised_cents),
        fees_cents=Cents(one.fees_cents + other.fees_cents),
        closed_utc=max(one.closed_utc, other.closed_utc),
    )


def summarise(closed: tuple[Closed, ...], stops: DayStops) -> DaySummary:
    """Return the figures of the day's row."""
    closed = by_unit(closed)
    return DaySummary(
        trades=len(closed),
        wins=sum(c.realised_cents > 0 for c in closed),
        losses=sum(c.realised_cents < 0 for c in closed),
        realised_cents=Cents(sum(c.realised_cents for c in closed)),
        fees_cents=Cents(sum(c.fees_cents for c in closed)),
        drawdown_cents=stops.drawdown_cents,
    )
