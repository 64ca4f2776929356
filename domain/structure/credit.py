"""What a credit spread brings in, what it can lose, and whether it may be opened: pure arithmetic over two quotes.

Bought is one call of the index at its ask, sold are calls of the fund at their bid, both at the money; or, as a
vertical, a call of the index at the money is sold and one above it bought. Prices are ticks per unit of the underlying,
money is cents, all of one spread with the contracts that the rules name. Source of the formulas and conditions:
risk-and-execution.md §6.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from domain.instants import MS
from domain.instruments import Quote
from domain.options.fees import round_trip_cents
from domain.structure.rules import SpreadRules
from domain.units import Cents, Ticks, Utc

MULTIPLIER: Final = 100
COVER_STEP_TICKS: Final = 500  # the index's strikes are chosen on a grid of 5.00
SHORT_STEP_TICKS: Final = 100
COVER_CLASS: Final = "SPXW"
SHORT_CLASS: Final = "SPY"
NET_WIDTH_SHARE: Final = 0.3  # of the net mid of a combination, the most that its net spread may be
NET_MID_MIN_TICKS: Final = 50  # a smaller net mid counts as this much
_DIVIDEND_MONTHS: Final = (3, 6, 9, 12)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """One spread at two quotes.

    `credit_cents` is net of `fees_cents`, the round trip of both legs. `gap_cents` is what the distance of the strikes
    costs where both legs end in the money; `edge_cents` is the credit less the gap, and `worst_cents` its negative: the
    most that is lost at expiry while the ratio stands.
    """

    ratio: float
    cover_strike_ticks: Ticks
    short_strike_ticks: Ticks
    cover_bid_ticks: Ticks
    cover_ask_ticks: Ticks
    short_bid_ticks: Ticks
    short_ask_ticks: Ticks
    fees_cents: Cents
    credit_cents: Cents
    gap_cents: Cents

    @property
    def edge_cents(self) -> Cents:
        """The credit less the gap of the strikes."""
        return Cents(self.credit_cents - self.gap_cents)

    @property
    def worst_cents(self) -> Cents:
        """What is lost at worst, as a positive number."""
        return Cents(-self.edge_cents)

    @property
    def net_width_ticks(self) -> Ticks:
        """Ask less bid of one cover and one short together."""
        return Ticks(
            self.cover_ask_ticks - self.cover_bid_ticks + self.short_ask_ticks - self.short_bid_ticks
        )  # fmt: skip

    @property
    def net_mid_ticks(self) -> float:
        """What one cover costs more than one short brings, both at mid; below zero where opening pays."""
        cover, short = self.cover_bid_ticks + self.cover_ask_ticks, self.short_bid_ticks + self.short_ask_ticks
        return (cover - short) / 2


class Condition(StrEnum):
    """What must hold for a spread to be opened, in the order in which it is asked."""

    WINDOW = "window"
    EX_DIVIDEND = "ex_dividend"
    RATIO = "ratio"
    QUOTES = "quotes"
    SPX_SPREAD = "spx_spread"
    NET_SPREAD = "net_spread"
    CREDIT = "credit"
    WORST_CASE = "worst_case"


class Unmet(msgspec.Struct, frozen=True):
    """The first condition that does not hold: what was measured against which limit."""

    condition: Condition
    measured: float | None
    limit: float | None
    unit: str
    looked_at: str

    @property
    def text(self) -> str:
        """It as a clause for people."""
        if self.measured is None:
            return f"{self.condition.value}: {self.looked_at}"
        return f"{self.condition.value}: {self.measured:g} against {self.limit:g} {self.unit} ({self.looked_at})"


def strikes_at(cover_spot_ticks: Ticks, short_spot_ticks: Ticks) -> tuple[Ticks, Ticks]:
    """Return the strikes at the money: of the index to the nearest 5.00, of the fund to the nearest 1.00, half up."""
    return _nearest(cover_spot_ticks, COVER_STEP_TICKS), _nearest(short_spot_ticks, SHORT_STEP_TICKS)


def strikes_of(cover_spot_ticks: Ticks, short_spot_ticks: Ticks, rules: SpreadRules) -> tuple[Ticks, Ticks]:
    """Return the strikes of cover and short: both at the money, of a vertical the cover's its width above the short's.

    `short_spot_ticks` is the price of the sold leg's underlying.
    """
    if not rules.is_vertical:
        return strikes_at(cover_spot_ticks, short_spot_ticks)
    short = _nearest(short_spot_ticks, COVER_STEP_TICKS)
    return Ticks(short + rules.width_ticks), short


def _nearest(price_ticks: int, step: int) -> Ticks:
    return Ticks((2 * price_ticks + step) // (2 * step) * step)


def ratio_of(cover_spot_ticks: Ticks, short_spot_ticks: Ticks) -> float | None:
    """Return the index over the fund; `None` without a price of the fund."""
    return cover_spot_ticks / short_spot_ticks if short_spot_ticks > 0 else None


def terms_of(
    session: date, ratio: float, cover: tuple[Ticks, Quote], short: tuple[Ticks, Quote], rules: SpreadRules
) -> Terms | None:
    """Return the terms of a spread in two (strike, quote); `None` where a side of a quote is missing or nobody bids."""
    (cover_strike, bought), (short_strike, sold) = cover, short
    if not (bought.bid_ticks and bought.ask_ticks and sold.bid_ticks and sold.ask_ticks):
        return None
    covers, shorts = rules.spx_contracts_per_spread, rules.short_contracts
    short_class = COVER_CLASS if rules.is_vertical else SHORT_CLASS
    fees = round_trip_cents(session, COVER_CLASS, covers, bought.ask_ticks)
    fees = Cents(fees + round_trip_cents(session, short_class, shorts, sold.bid_ticks))
    gross = (shorts * sold.bid_ticks - covers * bought.ask_ticks) * MULTIPLIER
    gap = covers * max(0.0, cover_strike - ratio * short_strike) * MULTIPLIER
    return Terms(
        ratio=ratio, cover_strike_ticks=cover_strike, short_strike_ticks=short_strike,
        cover_bid_ticks=bought.bid_ticks, cover_ask_ticks=bought.ask_ticks, short_bid_ticks=sold.bid_ticks,
        short_ask_ticks=sold.ask_ticks, fees_cents=fees, credit_cents=Cents(gross - fees), gap_cents=Cents(round(gap)),
    )  # fmt: skip


def is_ex_dividend(day: date, rules: SpreadRules) -> bool:
    """Return whether the fund trades without its dividend from this day on: its quarterly third Friday, or a set date.

    A short call in the money is exercised for the dividend the evening before.
    """
    return day in rules.ex_dividend_dates or day == _quarterly(day)


def _quarterly(day: date) -> date | None:
    if day.month not in _DIVIDEND_MONTHS:
        return None
    first = day.replace(day=1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def unmet_before_quotes(
    session: date, open_utc: Utc, now: Utc, ratio: float | None, rules: SpreadRules
) -> Unmet | None:
    """Return the first condition that fails before anything is quoted: window, ex-dividend date, ratio.

    The last two are the fund's: a vertical has none of it.
    """
    since_ms, first_ms, last_ms = (now - open_utc) // MS, rules.entry_after_open_ms, rules.entry_until_ms
    if not first_ms <= since_ms < last_ms:
        near_ms = first_ms if since_ms < first_ms else last_ms
        return Unmet(Condition.WINDOW, since_ms / 1_000, near_ms / 1_000, "s after the open", "the spread's window")
    if rules.is_vertical:
        return None if ratio is not None else Unmet(Condition.RATIO, None, None, "", "no price of SPX")
    if is_ex_dividend(session, rules):
        return Unmet(Condition.EX_DIVIDEND, None, None, "", f"SPY is ex-dividend on {session}")
    if ratio is None:
        return Unmet(Condition.RATIO, None, None, "", "no price of SPX or of SPY")
    if not rules.ratio_min <= ratio <= rules.ratio_max:
        limit = rules.ratio_min if ratio < rules.ratio_min else rules.ratio_max
        return Unmet(Condition.RATIO, round(ratio, 6), limit, "SPX over SPY", "ratio")
    return None


def unmet_on_quotes(terms: Terms | None, rules: SpreadRules) -> Unmet | None:
    """Return the first condition that fails on the quotes: both sides there, the index's spread, credit, worst case."""
    if terms is None:
        return Unmet(Condition.QUOTES, None, None, "", "a side of a quote is missing")
    width = terms.cover_ask_ticks - terms.cover_bid_ticks
    if width < 0 or terms.short_ask_ticks < terms.short_bid_ticks:
        return Unmet(Condition.QUOTES, None, None, "", "a quote is crossed")
    if width > rules.spx_spread_max_ticks:
        return Unmet(Condition.SPX_SPREAD, width, rules.spx_spread_max_ticks, "ticks", "ask less bid of the SPX call")
    net_most = NET_WIDTH_SHARE * max(abs(terms.net_mid_ticks), NET_MID_MIN_TICKS)
    if rules.is_vertical and terms.net_width_ticks > net_most:
        return Unmet(Condition.NET_SPREAD, terms.net_width_ticks, net_most, "ticks", "ask less bid of both legs")
    if terms.credit_cents < rules.min_entry_credit_cents:
        looked_at = f"net credit after fees of {terms.fees_cents / 100:.2f} USD"
        return Unmet(Condition.CREDIT, terms.credit_cents, rules.min_entry_credit_cents, "cents", looked_at)
    if terms.worst_cents > rules.max_position_loss_cents:
        looked_at = f"gap of the strikes {terms.gap_cents / 100:.2f} USD less the credit"
        return Unmet(Condition.WORST_CASE, terms.worst_cents, rules.max_position_loss_cents, "cents", looked_at)
    return None
