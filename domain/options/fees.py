"""What an option order costs in fees: a dated table, used for estimates until the commission report replaces them.

Sources: Interactive Brokers' published tiered option commissions and their worked cases, the CBOE customer fees that it
passes on for index options, and the regulatory and clearing rates on the same page, as collected in the project's
reference data (`rules_and_tax_cases.json`). The stored pages are undated: the day from which the newer row holds is
this project's assumption. Amounts inside are millionths of a USD, results whole cents rounded up.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache

import msgspec

from domain.indices import SPX_CLASSES
from domain.units import Cents, Qty

MICRO_PER_CENT = 10_000
MIN_PER_ORDER_CENTS = Cents(100)
INDEX_BOUNDARY_TICKS = 100  # the exchange's index fee changes at a premium of 1.00 USD


class Tier(msgspec.Struct, frozen=True):
    """Commission per contract up to a monthly volume (`None` = no bound); bands are (premium below, millionths)."""

    volume_max: int | None
    bands: tuple[tuple[float | None, int], ...]


class FeeSchedule(msgspec.Struct, frozen=True):
    """Everything that is charged from the day `since` on; rates in millionths of a USD per contract unless said."""

    since: date
    tiers: tuple[Tier, ...]
    index_below: int
    index_from: int
    regulatory: int
    clearing: int
    clearing_flat_from: int
    clearing_flat: int
    activity_sold: int
    sec_per_usd_sold: int


_LATER_TIERS = (
    Tier(50_000, ((5.0, 250_000), (None, 500_000))),
    Tier(100_000, ((None, 250_000),)),
    Tier(None, ((None, 150_000),)),
)
_OLDER = FeeSchedule(
    since=date.min,
    tiers=(Tier(10_000, ((5.0, 250_000), (10.0, 500_000), (None, 700_000))), *_LATER_TIERS),
    index_below=360_000,
    index_from=450_000,
    regulatory=26_850,
    clearing=20_000,
    clearing_flat_from=2_751,
    clearing_flat=55_000_000,
    activity_sold=2_790,
    sec_per_usd_sold=8,
)
_NEWER = msgspec.structs.replace(
    _OLDER,
    since=date(2020, 1, 1),
    tiers=(Tier(10_000, ((5.0, 250_000), (10.0, 500_000), (None, 650_000))), *_LATER_TIERS),
)
SCHEDULES = (_OLDER, _NEWER)


@lru_cache(maxsize=16)
def schedule_on(session: date) -> FeeSchedule:
    """Return the schedule in force on a session."""
    return max((s for s in SCHEDULES if s.since <= session), key=lambda s: s.since)


def _cents_up(micro: float) -> Cents:
    return Cents(-int(-micro // MICRO_PER_CENT))


def commission_cents(session: date, qty: Qty, premium_ticks: float, volume_month: int = 0) -> Cents:
    """Return the broker's own commission of one order, before third-party fees, in cents.

    `premium_ticks` is the price per unit; `volume_month` the contracts traded this month before it.
    """
    tiers = schedule_on(session).tiers
    tier = next(t for t in tiers if t.volume_max is None or volume_month <= t.volume_max)
    rate = next(micro for below, micro in tier.bands if below is None or premium_ticks < below)
    return max(MIN_PER_ORDER_CENTS, _cents_up(rate * qty))


def order_fee_cents(
    session: date, trading_class: str, qty: Qty, premium_ticks: float, *, is_sale: bool, volume_month: int = 0
) -> Cents:
    """Return the estimated fees of one order at `premium_ticks`, in cents, rounded up; 0 where `qty` is 0."""
    return _order_fee_cents(session, trading_class, qty, premium_ticks, is_sale, volume_month)


@lru_cache(maxsize=4_096)  # the day's P&L asks for every holding again whenever one of them is marked
def _order_fee_cents(
    session: date, trading_class: str, qty: Qty, premium_ticks: float, is_sale: bool, volume_month: int
) -> Cents:
    if qty < 1:
        return Cents(0)
    s = schedule_on(session)
    micro = s.regulatory * qty
    micro += s.clearing_flat if qty >= s.clearing_flat_from else s.clearing * qty
    if trading_class in SPX_CLASSES:
        micro += (s.index_below if premium_ticks < INDEX_BOUNDARY_TICKS else s.index_from) * qty
    if is_sale:
        micro += s.activity_sold * qty + int(s.sec_per_usd_sold * premium_ticks * qty)
    return commission_cents(session, qty, premium_ticks, volume_month) + _cents_up(micro)


def round_trip_cents(session: date, trading_class: str, qty: Qty, premium_ticks: float) -> Cents:
    """Return the estimated fees of opening and later closing at the same premium, in cents."""
    return Cents(
        sum(order_fee_cents(session, trading_class, qty, premium_ticks, is_sale=sale) for sale in (False, True))
    )
