"""Which exit a held position wants, from what is known at one instant (risk-and-execution.md §5).

`observe` folds quotes into what must be remembered between looks; `pick_hard` (every quote) and `pick_slow` (every
few seconds) say which exit is wanted now. Neither knows orders. Severity, not arrival, decides between exits.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from domain.instants import MS, SECOND
from domain.instruments import DataType, Quote, Spot
from domain.limits import ExitRules, TickerRules
from domain.orders.tiers import Tier, is_crossed
from domain.position.cycle import ExitKind, ExitReason
from domain.units import Qty, Ticks, Utc

_EPSILON = 1e-9  # a threshold met exactly counts as met, whatever the binary fraction of a share says
_BPS = 1e-4
_OVERTAKEN_MAX = SECOND  # a quote older than the one known by more than this was not overtaken: the clocks stepped

SEVERITY: dict[ExitReason, int] = {
    ExitReason.KILL: 6,
    ExitReason.EOD: 5,
    ExitReason.OPERATOR: 5,
    ExitReason.PREMIUM_STOP: 4,
    ExitReason.UNDERLYING_STOP: 4,
    ExitReason.BLIND: 4,
    ExitReason.DISASTER: 4,
    ExitReason.ASSIGNMENT_RISK: 4,
    ExitReason.POSITION_LOSS: 4,
    ExitReason.UNWIND: 4,
    ExitReason.IV_CRUSH: 3,
    ExitReason.MAX_HOLD: 3,
    ExitReason.REVERSAL: 3,
    ExitReason.NO_PROGRESS: 2,
    ExitReason.TAKE_PROFIT: 1,
}


class WantedExit(msgspec.Struct, frozen=True):
    """The exit that is wanted; `floor` is the lowest tier at which it may stand."""

    reason: ExitReason
    kind: ExitKind = ExitKind.FULL
    floor: Tier = Tier.NONE


class HeldPosition(msgspec.Struct, frozen=True):
    """What is held. `direction` is +1 for a bet on rising prices; `None` means not known at the entry fill.

    `average_ticks` is 0 where nobody knows what it cost.
    """

    qty: Qty
    average_ticks: float
    direction: int
    entry_spot_ticks: Ticks | None
    entry_iv: float | None
    opened_utc: Utc
    took_part: bool


class MarketWatch(msgspec.Struct, frozen=True):
    """What must be remembered between looks.

    `seen_utc` is the instant of the last quote that could be traded on (of the watch's start before there was one);
    `good_*` is its mid; the breaches are the quotes that began an unbroken run below a stop. `quote` is the newest,
    whatever it is worth; `spot` the newest that was live.
    """

    seen_utc: Utc
    quote: Quote | None = None
    spot: Spot | None = None
    good_mid_x2: int | None = None
    good_utc: Utc | None = None
    last_bid_ticks: Ticks | None = None
    mid_breach_utc: Utc | None = None
    bid_breach_utc: Utc | None = None
    mid_confirmed: bool = False
    bid_confirmed: bool = False
    checkpoint_ticks: Ticks = Ticks(0)
    checkpoint_utc: Utc | None = None


def stop_share(held: HeldPosition, rules: ExitRules) -> float:
    """Return the premium stop as a share of the average fill; after a part was taken the rest's stop is the entry."""
    return 0.0 if held.took_part else rules.premium_stop


def size_ticks(ticks: int | None, bps: float | None, entry_spot_ticks: Ticks) -> float | None:
    """Return a ticker's size in ticks: its own, or a share of the underlying at entry; `None` when it has neither."""
    if ticks is not None:
        return float(ticks)
    return None if bps is None else entry_spot_ticks * bps * _BPS


def tradable_quote(watch: MarketWatch, now: Utc, rules: ExitRules) -> Quote | None:
    """Return the newest quote where it may be traded on; a stale, delayed, one-sided or crossed one is no quote."""
    quote = watch.quote
    if quote is None or not _is_live(quote, now, rules) or quote.mid_x2 is None or is_crossed(quote):
        return None
    return quote


def nobody_bids(watch: MarketWatch, now: Utc, rules: ExitRules) -> bool:
    """Return whether a fresh, live quote says that there is no bid."""
    quote = watch.quote
    return quote is not None and _is_live(quote, now, rules) and not quote.bid_ticks


def _is_live(quote: Quote, now: Utc, rules: ExitRules) -> bool:
    return quote.data_type == DataType.LIVE and now - quote.at_utc <= rules.blind_resubscribe_ms * MS


def favourable_ticks(held: HeldPosition, spot: Spot | None) -> Ticks | None:
    """Return the underlying's move since the entry fill in the position's direction; `None` when not known."""
    if spot is None or held.entry_spot_ticks is None:
        return None
    return Ticks((spot.price_ticks - held.entry_spot_ticks) * held.direction)


# -- remembering ---------------------------------------------------------------------------------


def with_market(watch: MarketWatch, quote: Quote | None, spot: Spot | None, now: Utc, rules: ExitRules) -> MarketWatch:
    """Return the watch with the newest quote and spot; what was overtaken on its way changes nothing."""
    known = watch.spot
    is_live = spot is not None and spot.data_type == DataType.LIVE
    if spot is not None and is_live and (known is None or not _is_overtaken(spot.at_utc, known.at_utc, now)):
        watch = replace(watch, spot=spot)
    if quote is None or (watch.quote is not None and _is_overtaken(quote.at_utc, watch.quote.at_utc, now)):
        return watch
    watch = replace(watch, quote=quote)
    tradable = tradable_quote(watch, now, rules)
    if tradable is None:
        return watch
    seen_utc = min(tradable.at_utc, now)
    return replace(
        watch,
        seen_utc=seen_utc if watch.seen_utc > now else max(watch.seen_utc, seen_utc),
        good_mid_x2=tradable.mid_x2,
        good_utc=seen_utc,
        last_bid_ticks=tradable.bid_ticks,
    )


def _is_overtaken(at_utc: Utc, known_utc: Utc, now: Utc) -> bool:
    """Return whether what is known is the newer one; after a backward step of a clock it is only called so."""
    return at_utc < known_utc <= now and known_utc - at_utc <= _OVERTAKEN_MAX


def observe(watch: MarketWatch, held: HeldPosition, now: Utc, rules: ExitRules, ticker: TickerRules) -> MarketWatch:
    """Return the watch after a look at the newest quote: runs below the stops, and the checkpoint of progress."""
    watch = _checkpoint(watch, held, now, ticker)
    quote = tradable_quote(watch, now, rules)
    if quote is None or quote.mid_x2 is None or quote.bid_ticks is None or held.average_ticks <= 0:
        return watch
    stop = held.average_ticks * (1 - stop_share(held, rules)) + _EPSILON
    backstop = held.average_ticks * (1 - rules.premium_backstop) + _EPSILON
    gap_ns = rules.confirm_gap_ms * MS
    mid_utc, mid_confirmed = _run(watch.mid_breach_utc, quote.mid_x2 / 2 <= stop, quote.at_utc, gap_ns)
    bid_utc, bid_confirmed = _run(watch.bid_breach_utc, quote.bid_ticks <= backstop, quote.at_utc, gap_ns)
    return replace(
        watch, mid_breach_utc=mid_utc, mid_confirmed=mid_confirmed, bid_breach_utc=bid_utc, bid_confirmed=bid_confirmed
    )


def without_breaches(watch: MarketWatch) -> MarketWatch:
    """Return the watch without its runs below the stops (the stop has moved)."""
    return replace(watch, mid_breach_utc=None, bid_breach_utc=None, mid_confirmed=False, bid_confirmed=False)


def _run(since_utc: Utc | None, is_breach: bool, at_utc: Utc, gap_ns: int) -> tuple[Utc | None, bool]:
    if not is_breach:
        return None, False
    if since_utc is None or at_utc < since_utc:
        return at_utc, False
    return since_utc, at_utc - since_utc >= gap_ns


def _checkpoint(watch: MarketWatch, held: HeldPosition, now: Utc, ticker: TickerRules) -> MarketWatch:
    if watch.checkpoint_utc is None:
        watch = replace(watch, checkpoint_utc=held.opened_utc)
    moved = favourable_ticks(held, watch.spot)
    if moved is None or held.entry_spot_ticks is None:
        return watch
    size = size_ticks(ticker.progress_ticks, ticker.progress_bps, held.entry_spot_ticks)
    if size is not None and moved >= watch.checkpoint_ticks + size - _EPSILON:
        return replace(watch, checkpoint_ticks=moved, checkpoint_utc=now)
    return watch


# -- deciding ------------------------------------------------------------------------------------


def pick_hard(
    watch: MarketWatch, held: HeldPosition, now: Utc, rules: ExitRules, ticker: TickerRules
) -> WantedExit | None:
    """Return the exit that premium or underlying demand, looked at on every quote.

    What was adopted at a cost that nobody knows has no stop that could guard it: it is closed.
    """
    if held.average_ticks <= 0:
        return WantedExit(ExitReason.BLIND)
    if watch.mid_confirmed or watch.bid_confirmed:
        return WantedExit(ExitReason.PREMIUM_STOP)
    moved = favourable_ticks(held, watch.spot)
    if moved is not None and held.entry_spot_ticks is not None and not is_spot_stale(watch, now, rules):
        size = size_ticks(ticker.underlying_stop_ticks, ticker.underlying_stop_bps, held.entry_spot_ticks)
        if size is not None and -moved >= size - _EPSILON:
            return WantedExit(ExitReason.UNDERLYING_STOP)
    return _take_profit(watch, held, now, rules)


def pick_slow(
    watch: MarketWatch, held: HeldPosition, now: Utc, rules: ExitRules, ticker: TickerRules
) -> WantedExit | None:
    """Return the exit that blindness, IV, time or lack of progress demand, looked at every few seconds."""
    blind = pick_blind(watch, now, rules)
    if blind is not None:
        return blind
    if _is_crushed(watch, held, now, rules, ticker):
        return WantedExit(ExitReason.IV_CRUSH)
    if now - held.opened_utc >= ticker.max_hold_ms * MS:
        return WantedExit(ExitReason.MAX_HOLD)
    since = watch.checkpoint_utc if watch.checkpoint_utc is not None else held.opened_utc
    if not held.took_part and now - since >= rules.no_progress_ms * MS:
        return WantedExit(ExitReason.NO_PROGRESS)
    return None


def pick_blind(watch: MarketWatch, now: Utc, rules: ExitRules) -> WantedExit | None:
    """Return the exit of a position whose quote is stale: a limit from the last bid, the market where all is dark."""
    age = now - watch.seen_utc
    if age <= rules.blind_exit_ms * MS:
        return None
    is_dark = age > rules.blind_market_ms * MS or is_spot_stale(watch, now, rules)
    return WantedExit(ExitReason.BLIND, floor=Tier.MARKET if is_dark else Tier.BID)


def is_resubscribe_due(watch: MarketWatch, now: Utc, rules: ExitRules) -> bool:
    """Return whether the quote is stale enough to be asked for anew."""
    return now - watch.seen_utc > rules.blind_resubscribe_ms * MS


def is_more(new: WantedExit, old: WantedExit | None) -> bool:
    """Return whether an exit outranks the one wanted so far: a higher severity, or the same reason at a higher tier."""
    if old is None or SEVERITY[new.reason] > SEVERITY[old.reason]:
        return True
    return new.reason is old.reason and new.floor > old.floor


def raised(new: WantedExit, old: WantedExit | None) -> WantedExit:
    """Return the stronger exit; a tier once reached is never given back."""
    return new if old is None else replace(new, floor=max(new.floor, old.floor))


def at_least(wanted: WantedExit, tier: Tier) -> WantedExit:
    """Return the exit at this tier or a higher one."""
    return replace(wanted, floor=max(wanted.floor, tier))


def is_spot_stale(watch: MarketWatch, now: Utc, rules: ExitRules) -> bool:
    """Return whether the underlying is not seen either: no live price of it, or none lately."""
    return watch.spot is None or now - watch.spot.at_utc > rules.blind_underlying_ms * MS


def _take_profit(watch: MarketWatch, held: HeldPosition, now: Utc, rules: ExitRules) -> WantedExit | None:
    quote = tradable_quote(watch, now, rules)
    if quote is None or quote.mid_x2 is None:
        return None
    gain = quote.mid_x2 / 2 / held.average_ticks - 1 + _EPSILON
    if held.took_part:
        return WantedExit(ExitReason.TAKE_PROFIT) if gain >= rules.take_rest else None
    if held.qty == 1:
        return WantedExit(ExitReason.TAKE_PROFIT) if gain >= rules.take_single else None
    return WantedExit(ExitReason.TAKE_PROFIT, ExitKind.TAKE_PART) if gain >= rules.take_first else None


def _is_crushed(watch: MarketWatch, held: HeldPosition, now: Utc, rules: ExitRules, ticker: TickerRules) -> bool:
    quote = tradable_quote(watch, now, rules)
    moved = favourable_ticks(held, watch.spot)
    if quote is None or quote.mid_x2 is None or moved is None or held.entry_spot_ticks is None:
        return False
    if now - held.opened_utc < rules.iv_crush_arm_ms * MS:
        return False
    size = size_ticks(ticker.iv_size_ticks, ticker.iv_size_bps, held.entry_spot_ticks)
    if size is None or abs(moved) >= size or is_spot_stale(watch, now, rules):
        return False
    if held.entry_iv is not None and quote.greeks is not None:
        iv_down = 1 - quote.greeks.iv / held.entry_iv + _EPSILON
        if iv_down < rules.iv_crush_share:
            return False
    return quote.mid_x2 / 2 <= held.average_ticks * (1 - rules.iv_crush_premium) + _EPSILON


# -- what would wake it --------------------------------------------------------------------------


class Wakes(msgspec.Struct, frozen=True):
    """Outside of these bounds, or from `at_utc` on, a decision may change; inside and before, a quote changes none.

    Prices in ticks, `None` where there is no such bound; `at_utc` `None` where only mail can wake.
    """

    mid_at_most: float | None = None
    mid_at_least: float | None = None
    bid_at_most: float | None = None
    spot_at_most: float | None = None
    spot_at_least: float | None = None
    at_utc: Utc | None = None


def wakes_of(
    watch: MarketWatch, held: HeldPosition, rules: ExitRules, ticker: TickerRules, due_utc: Utc | None
) -> Wakes | None:
    """Return the bounds of a held position without a running exit, for tradable quotes that keep coming.

    `due_utc` is what the day does next. `None`: any quote may change something (a run below a stop must be confirmed
    or broken, the spot of the entry or the cost is not known).

    IV crush holds its instant only: once armed, the bound on the mid is the crush's where that is the higher one.
    """
    average, spot = held.average_ticks, held.entry_spot_ticks
    is_breached = watch.mid_breach_utc is not None or watch.bid_breach_utc is not None
    if spot is None or average <= 0 or is_breached:
        return None
    take = rules.take_rest if held.took_part else rules.take_single if held.qty == 1 else rules.take_first
    mid_low = average * (1 - min(stop_share(held, rules), rules.iv_crush_premium))
    instants = [held.opened_utc + ticker.max_hold_ms * MS]
    if due_utc is not None:
        instants.append(due_utc)
    if not held.took_part:
        since = watch.checkpoint_utc if watch.checkpoint_utc is not None else held.opened_utc
        instants.append(since + rules.no_progress_ms * MS)
    stop = size_ticks(ticker.underlying_stop_ticks, ticker.underlying_stop_bps, spot)
    progress = size_ticks(ticker.progress_ticks, ticker.progress_bps, spot)
    adverse = None if stop is None else spot - held.direction * stop
    better = None if progress is None else spot + held.direction * (watch.checkpoint_ticks + progress)
    low, high = (adverse, better) if held.direction > 0 else (better, adverse)
    return Wakes(
        mid_at_most=mid_low,
        mid_at_least=average * (1 + take),
        bid_at_most=average * (1 - rules.premium_backstop),
        spot_at_most=low,
        spot_at_least=high,
        at_utc=min(instants),
    )
