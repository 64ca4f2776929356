"""Which contracts are streamed and which are offered: the window around the money, the line budget, the delta band."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate

import msgspec

from domain.instants import MINUTE, MS
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.limits import EntryLimits
from domain.options import black_scholes
from domain.units import Ticks, Utc


class Chain(msgspec.Struct, frozen=True):
    """A listed chain, with what is looked up in it again and again; made by `chain_of`.

    `in_order` are the contracts by strike; `begins` says where those of each strike begin there, and where all end.
    """

    contracts: tuple[Contract, ...]
    strikes: tuple[Ticks, ...]
    by_strike: Mapping[Ticks, tuple[Contract, ...]]
    by_con_id: Mapping[int, Contract]
    in_order: tuple[Contract, ...]
    begins: tuple[int, ...]


def chain_of(contracts: Iterable[Contract]) -> Chain:
    """Return a chain of these contracts."""
    listed = tuple(contracts)
    by_strike: dict[Ticks, tuple[Contract, ...]] = {}
    for contract in listed:
        by_strike[contract.strike_ticks] = (*by_strike.get(contract.strike_ticks, ()), contract)
    strikes = strikes_of(listed)
    groups = [by_strike[strike] for strike in strikes]
    begins = (0, *accumulate(len(group) for group in groups))
    by_con_id = {contract.con_id: contract for contract in listed}
    return Chain(
        listed, strikes, by_strike, by_con_id, tuple(contract for group in groups for contract in group), begins
    )


def strikes_of(chain: Iterable[Contract]) -> tuple[Ticks, ...]:
    """Return the strikes of a chain, each once, ascending."""
    return tuple(sorted({contract.strike_ticks for contract in chain}))


def nearest(strikes: tuple[Ticks, ...], price_ticks: Ticks) -> int:
    """Return the index of the strike nearest to a price (the lower one of two equally near)."""
    at = bisect_left(strikes, price_ticks)
    if at == 0:
        return 0
    is_lower = at == len(strikes) or price_ticks - strikes[at - 1] <= strikes[at] - price_ticks
    return at - 1 if is_lower else at


def centre(strikes: tuple[Ticks, ...], price_ticks: Ticks, old_ticks: Ticks | None, around: int) -> Ticks:
    """Return the strike that the window is centred on; it moves when the money has left its middle third."""
    at = nearest(strikes, price_ticks)
    if old_ticks is not None:
        old = bisect_left(strikes, old_ticks)
        if old < len(strikes) and strikes[old] == old_ticks and abs(at - old) < _reach(around):
            return old_ticks
    return strikes[at]


def _reach(around: int) -> int:
    """Return how many strikes the money must have moved: at least 2, so that one strike to and fro moves nothing."""
    return max(1, min(around - 1, max(2, around // 3)))


def calm_range(strikes: tuple[Ticks, ...], centre_ticks: Ticks, around: int) -> tuple[int, int]:
    """Return between which doubled prices `centre` stays where it is: above the first, up to the second."""
    at, reach = bisect_left(strikes, centre_ticks), _reach(around)
    low = strikes[at - reach] + strikes[at - reach + 1] if at >= reach else 0
    last = at + reach
    return low, strikes[last - 1] + strikes[last] if last < len(strikes) else sys.maxsize


def window(chain: Chain, centre_ticks: Ticks, around: int) -> tuple[Contract, ...]:
    """Return the contracts of `around` strikes each side of the centre, nearest first."""
    chosen = near(chain, centre_ticks, around)
    return tuple(sorted(chosen, key=lambda c: (abs(c.strike_ticks - centre_ticks), c.con_id)))


def near(chain: Chain, centre_ticks: Ticks, around: int) -> tuple[Contract, ...]:
    """Return the contracts of `around` strikes each side of the centre, by strike."""
    at, count = nearest(chain.strikes, centre_ticks), len(chain.strikes)
    return chain.in_order[chain.begins[max(0, at - around)] : chain.begins[min(count, at + around + 1)]]


def line_plan(
    held: Iterable[Contract], windows: Mapping[str, Iterable[Contract]], lines: int
) -> tuple[dict[int, Contract], tuple[str, ...]]:
    """Return what is streamed, and the tickers whose window has no room.

    Held contracts are streamed always; then the windows in their order, each whole or not at all: of half a window the
    wrong half may be there.
    """
    plan, without = {contract.con_id: contract for contract in held}, []
    whole = plan | {contract.con_id: contract for chosen in windows.values() for contract in chosen}
    if len(whole) <= lines:  # by far the most frequent: there is room for all of them
        return whole, ()
    for ticker, chosen in windows.items():
        more = {contract.con_id: contract for contract in chosen}
        if len(plan) + sum([con_id not in plan for con_id in more]) <= max(lines, len(plan)):
            plan |= more
        else:
            without.append(ticker)
    return plan, tuple(without)


def median_spread(quotes: Iterable[Quote], at_least: int) -> tuple[float | None, int]:
    """Return the median relative spread of what is quoted on both sides, and how many are; `None` for too few."""
    spreads = sorted([spread for quote in quotes if 0 <= (spread := _relative_spread(quote)) < math.inf])
    count = len(spreads)
    if count < max(1, at_least):
        return None, count
    middle = count // 2
    return spreads[middle] if count % 2 else (spreads[middle - 1] + spreads[middle]) / 2, count


def greeks_of(
    contract: Contract, quote: Quote, spot: Spot | None, close_utc: Utc | None, now: Utc, age_max_ms: int
) -> Greeks | None:
    """Return the model's greeks while they are fresh, else our own from the mid's volatility; `None` without either."""
    if quote.greeks is not None and now - quote.greeks.at_utc <= age_max_ms * MS:
        return quote.greeks
    if quote.mid_x2 is None or spot is None or close_utc is None:
        return None
    years = max(close_utc - now, 0) / MINUTE / black_scholes.MINUTES_PER_YEAR
    price, strike, underlying = quote.mid_x2 / 200, contract.strike_ticks / 100, spot.price_ticks / 100
    is_call = contract.right is Right.CALL
    iv = black_scholes.implied_vol(price, underlying, strike, years, is_call)
    if iv is None:
        return None
    own = black_scholes.value(underlying, strike, years, iv, is_call)
    theta, vega = own.theta / black_scholes.DAYS_PER_YEAR, own.vega / 100
    return Greeks(iv, own.delta, own.gamma, theta, vega, spot.price_ticks, now, "own")


def candidates(
    chain: Chain,
    quotes: Mapping[int, Quote],
    right: Right,
    spot: Spot | None,
    close_utc: Utc | None,
    now: Utc,
    limits: EntryLimits,
) -> tuple[tuple[Contract, Quote], ...]:
    """Return the contracts in the delta band with their quotes, best first.

    Ordered by the distance of |delta| from the wanted one, then relative spread, then volume; at most `candidates_max`.
    """
    found: list[tuple[tuple[float, float, int, int], Contract, Quote]] = []
    for con_id, quote in quotes.items():
        contract = chain.by_con_id.get(con_id)
        if contract is None or contract.right is not right:
            continue
        greeks = greeks_of(contract, quote, spot, close_utc, now, limits.greeks_age_max_ms)
        if greeks is None or not limits.delta_min <= abs(greeks.delta) <= limits.delta_max:
            continue
        off = round(abs(abs(greeks.delta) - limits.delta_wanted), 12)
        rank = (off, _relative_spread(quote), -(quote.volume or 0), contract.con_id)
        found.append((rank, contract, msgspec.structs.replace(quote, greeks=greeks)))
    found.sort(key=lambda row: row[0])
    return tuple((contract, quote) for _, contract, quote in found[: limits.candidates_max])


def _relative_spread(quote: Quote) -> float:
    bid, ask = quote.bid_ticks, quote.ask_ticks
    return 2 * (ask - bid) / (bid + ask) if bid and ask is not None else math.inf  # the latter is twice the mid
