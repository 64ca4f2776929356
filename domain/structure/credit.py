"""What a credit spread brings in, what it can lose, and whether it may be opened: pure arithmetic over two quotes.

Bought is one call of the index at its ask, sold are calls of the fund at their bid, both at the money; or, as a
vertical, a call of the index at the money is sold and one above it bought; as an iron condor or butterfly a put and one
below it, too, as a further pair. Prices are ticks per unit of the underlying, money is cents, all of one spread with
the contracts that the rules name. Source of the formulas and conditions: risk-and-execution.md §6.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from domain.instants import MS
from domain.instruments import Quote
from domain.options.fees import round_trip_cents
from domain.session import calendar
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
_CLOSURE_DAYS_MAX: Final = 4  # from a Friday without a session to the nearest session


StrikeQuote = tuple[Ticks, Quote]


class PairTerms(msgspec.Struct, frozen=True, kw_only=True):
    """One bought leg and the sold one that it covers, at a quote of each."""

    cover_strike_ticks: Ticks
    short_strike_ticks: Ticks
    cover_bid_ticks: Ticks
    cover_ask_ticks: Ticks
    short_bid_ticks: Ticks
    short_ask_ticks: Ticks

    @property
    def is_crossed(self) -> bool:
        """Whether an ask is below its bid."""
        return self.cover_ask_ticks < self.cover_bid_ticks or self.short_ask_ticks < self.short_bid_ticks


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One spread at the quotes of its legs; the strikes and prices here are those of its calls.

    `credit_cents` is net of `fees_cents`, the round trip of all legs. `gap_cents` is what the distance of the strikes
    costs where both legs of a pair end in the money, of several pairs the dearest: the index ends on one side only.
    `edge_cents` is the credit less the gap, and `worst_cents` its negative: the most that is lost at expiry while the
    ratio stands. `further` are the puts of an iron condor or butterfly.
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
    further: tuple[PairTerms, ...] = ()

    @property
    def pairs(self) -> tuple[PairTerms, ...]:
        """Every bought leg with the sold one that it covers."""
        first = PairTerms(
            cover_strike_ticks=self.cover_strike_ticks, short_strike_ticks=self.short_strike_ticks,
            cover_bid_ticks=self.cover_bid_ticks, cover_ask_ticks=self.cover_ask_ticks,
            short_bid_ticks=self.short_bid_ticks, short_ask_ticks=self.short_ask_ticks,
        )  # fmt: skip
        return (first, *self.further)

    @property
    def strikes_ticks(self) -> tuple[Ticks, ...]:
        """The strikes of all legs, each cover before its short."""
        return tuple(
            strike for pair in self.pairs for strike in (pair.cover_strike_ticks, pair.short_strike_ticks)
        )  # fmt: skip

    @property
    def covers_ask_ticks(self) -> Ticks:
        """What one of each bought leg costs."""
        return Ticks(sum(pair.cover_ask_ticks for pair in self.pairs))

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
        """Ask less bid of one of each leg together."""
        widths = (
            pair.cover_ask_ticks - pair.cover_bid_ticks + pair.short_ask_ticks - pair.short_bid_ticks
            for pair in self.pairs
        )
        return Ticks(sum(widths))

    @property
    def net_mid_ticks(self) -> float:
        """What one of each cover costs more than one of each short brings, at mid; below zero where opening pays."""
        doubled = (
            pair.cover_bid_ticks + pair.cover_ask_ticks - pair.short_bid_ticks - pair.short_ask_ticks
            for pair in self.pairs
        )
        return sum(doubled) / 2


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


_MEASURED: Final = re.compile(
    rf"({'|'.join(Condition)}): ([-+.e\d]+) against ([-+.e\d]+) ([^(]*) \((.*)\)"
)  # `Unmet.text` with a measure


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


def unmet_of(text: str) -> Unmet | None:
    """Return the condition that a clause for people tells with what was measured; `None` of any other."""
    found = _MEASURED.fullmatch(text)
    if found is None:
        return None
    condition, measured, limit, unit, looked_at = found.groups()
    return Unmet(Condition(condition), float(measured), float(limit), unit, looked_at)


def strikes_at(cover_spot_ticks: Ticks, short_spot_ticks: Ticks) -> tuple[Ticks, Ticks]:
    """Return the strikes at the money: of the index to the nearest 5.00, of the fund to the nearest 1.00, half up."""
    return _nearest(cover_spot_ticks, COVER_STEP_TICKS), _nearest(short_spot_ticks, SHORT_STEP_TICKS)


def strikes_of(cover_spot_ticks: Ticks, short_spot_ticks: Ticks, rules: SpreadRules) -> tuple[Ticks, ...]:
    """Return the strikes of all legs, each cover before its short, the calls before the puts.

    Both are at the money; of a vertical the cover's is its width above the short's. A combination sells a call above
    and a put below the index and buys each its width further out. `short_spot_ticks` is the price of the sold legs'
    underlying.
    """
    if not rules.is_of_index:
        return strikes_at(cover_spot_ticks, short_spot_ticks)
    call = _nearest(short_spot_ticks + rules.distance_ticks, COVER_STEP_TICKS)
    calls = Ticks(call + rules.width_ticks), call
    if rules.combination is None:
        return calls
    put = _nearest(short_spot_ticks - rules.distance_ticks, COVER_STEP_TICKS)
    return (*calls, Ticks(put - rules.width_ticks), put)


def _nearest(price_ticks: int, step: int) -> Ticks:
    return Ticks((2 * price_ticks + step) // (2 * step) * step)


def ratio_of(cover_spot_ticks: Ticks, short_spot_ticks: Ticks) -> float | None:
    """Return the index over the fund; `None` without a price of the fund."""
    return cover_spot_ticks / short_spot_ticks if short_spot_ticks > 0 else None


def terms_of(
    session: date, ratio: float, cover: StrikeQuote, short: StrikeQuote, rules: SpreadRules, *further: StrikeQuote
) -> Terms | None:
    """Return the terms of a spread in the (strike, quote) of its legs, `further` the puts', the cover before its short.

    `None` where a side of a quote is missing or nobody bids.
    """
    calls, puts = _pair(cover, short), [_pair(*pair) for pair in zip(further[::2], further[1::2], strict=True)]
    if calls is None or None in puts:
        return None
    pairs = (calls, *(pair for pair in puts if pair is not None))
    covers, shorts = rules.spx_contracts_per_spread, rules.short_contracts
    short_class = COVER_CLASS if rules.is_of_index else SHORT_CLASS
    fees, gross, gap = 0, 0, 0.0
    for n, pair in enumerate(pairs):
        fees += round_trip_cents(session, COVER_CLASS, covers, pair.cover_ask_ticks)
        fees += round_trip_cents(session, short_class, shorts, pair.short_bid_ticks)
        gross += (shorts * pair.short_bid_ticks - covers * pair.cover_ask_ticks) * MULTIPLIER
        apart = (pair.cover_strike_ticks - ratio * pair.short_strike_ticks) * (1 if n == 0 else -1)
        gap = max(gap, covers * apart * MULTIPLIER)
    return Terms(
        ratio=ratio, cover_strike_ticks=calls.cover_strike_ticks, short_strike_ticks=calls.short_strike_ticks,
        cover_bid_ticks=calls.cover_bid_ticks, cover_ask_ticks=calls.cover_ask_ticks,
        short_bid_ticks=calls.short_bid_ticks, short_ask_ticks=calls.short_ask_ticks, fees_cents=Cents(fees),
        credit_cents=Cents(gross - fees), gap_cents=Cents(round(gap)), further=pairs[1:],
    )  # fmt: skip


def _pair(cover: StrikeQuote, short: StrikeQuote) -> PairTerms | None:
    (cover_strike, bought), (short_strike, sold) = cover, short
    if not (bought.bid_ticks and bought.ask_ticks and sold.bid_ticks and sold.ask_ticks):
        return None
    return PairTerms(
        cover_strike_ticks=cover_strike, short_strike_ticks=short_strike, cover_bid_ticks=bought.bid_ticks,
        cover_ask_ticks=bought.ask_ticks, short_bid_ticks=sold.bid_ticks, short_ask_ticks=sold.ask_ticks,
    )  # fmt: skip


def is_ex_dividend(day: date, rules: SpreadRules) -> bool:
    """Return whether the fund trades without its dividend from this day on: its quarterly third Friday, or a set date.

    Where the exchange is closed on that Friday, the session before it and the one after it count: the fund's sponsor
    names one of them. A short call in the money is exercised for the dividend the evening before.
    """
    friday = _quarterly(day)
    if day in rules.ex_dividend_dates or day == friday:
        return True
    if friday is None or abs((day - friday).days) > _CLOSURE_DAYS_MAX or calendar.day(friday) is not None:
        return False
    first, last = min(day, friday), max(day, friday)
    between = (first + timedelta(days=n) for n in range(1, (last - first).days))
    return all(calendar.day(one) is None for one in between)


def _quarterly(day: date) -> date | None:
    if day.month not in _DIVIDEND_MONTHS:
        return None
    first = day.replace(day=1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def unmet_before_quotes(
    session: date, open_utc: Utc, now: Utc, ratio: float | None, rules: SpreadRules, close_utc: Utc | None = None
) -> Unmet | None:
    """Return the first condition that fails before anything is quoted: window, ex-dividend date, ratio.

    What is left some time before the close is not opened after that either; `None`: nobody has told the close.
    The last two are the fund's: what is of the index alone has none of it.
    """
    since_ms, first_ms, last_ms = (now - open_utc) // MS, rules.entry_after_open_ms, rules.entry_until_ms
    if not first_ms <= since_ms < last_ms:
        near_ms = first_ms if since_ms < first_ms else last_ms
        return Unmet(Condition.WINDOW, since_ms / 1_000, near_ms / 1_000, "s after the open", "the spread's window")
    left_ms, early_ms = None if close_utc is None else (close_utc - now) // MS, rules.early_ms
    if left_ms is not None and early_ms and left_ms <= early_ms:
        looked_at = "a new one would be left at once"
        return Unmet(Condition.WINDOW, left_ms / 1_000, early_ms / 1_000, "s before the close", looked_at)
    if rules.is_of_index:
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
    """Return the first condition that fails on the quotes: all sides there, the index's spread, credit, worst case."""
    if terms is None:
        return Unmet(Condition.QUOTES, None, None, "", "a side of a quote is missing")
    width = max(pair.cover_ask_ticks - pair.cover_bid_ticks for pair in terms.pairs)
    if any(pair.is_crossed for pair in terms.pairs):
        return Unmet(Condition.QUOTES, None, None, "", "a quote is crossed")
    if width > rules.spx_spread_max_ticks:
        looked_at = "ask less bid of the SPX call" if not terms.further else "ask less bid of a bought leg"
        return Unmet(Condition.SPX_SPREAD, width, rules.spx_spread_max_ticks, "ticks", looked_at)
    net_most = NET_WIDTH_SHARE * max(abs(terms.net_mid_ticks), NET_MID_MIN_TICKS)
    if rules.is_of_index and terms.net_width_ticks > net_most:
        looked_at = "ask less bid of both legs" if not terms.further else "ask less bid of all legs"
        return Unmet(Condition.NET_SPREAD, terms.net_width_ticks, net_most, "ticks", looked_at)
    if terms.credit_cents < rules.min_entry_credit_cents:
        looked_at = f"net credit after fees of {terms.fees_cents / 100:.2f} USD"
        return Unmet(Condition.CREDIT, terms.credit_cents, rules.min_entry_credit_cents, "cents", looked_at)
    if terms.worst_cents > rules.max_position_loss_cents:
        looked_at = f"gap of the strikes {terms.gap_cents / 100:.2f} USD less the credit"
        return Unmet(Condition.WORST_CASE, terms.worst_cents, rules.max_position_loss_cents, "cents", looked_at)
    return None
