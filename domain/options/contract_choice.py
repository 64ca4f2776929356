"""Which contracts are streamed and which are offered: the window around the money, the line budget, the delta band."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from domain.instants import MINUTE, MS
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.limits import EntryLimits
from domain.options import black_scholes
from domain.units import Ticks, Utc


def strikes_of(chain: Iterable[Contract]) -> tuple[Ticks, ...]:
    """Return the strikes of a chain, each once, ascending."""
    return tuple(sorted({contract.strike_ticks for contract in chain}))


def nearest(strikes: tuple[Ticks, ...], price_ticks: Ticks) -> int:
    """Return the index of the strike nearest to a price (the lower one of two equally near)."""
    return min(range(len(strikes)), key=lambda i: (abs(strikes[i] - price_ticks), strikes[i]))


def centre(strikes: tuple[Ticks, ...], price_ticks: Ticks, old_ticks: Ticks | None, around: int) -> Ticks:
    """Return the strike that the window is centred on; it moves when the money has left its middle third."""
    at = nearest(strikes, price_ticks)
    if old_ticks in strikes and abs(at - strikes.index(old_ticks)) < max(1, around // 3):
        return old_ticks
    return strikes[at]


def window(chain: tuple[Contract, ...], centre_ticks: Ticks, around: int) -> tuple[Contract, ...]:
    """Return the contracts of `around` strikes each side of the centre, nearest first."""
    strikes = strikes_of(chain)
    at = nearest(strikes, centre_ticks)
    inside = set(strikes[max(0, at - around) : at + around + 1])
    chosen = (contract for contract in chain if contract.strike_ticks in inside)
    return tuple(sorted(chosen, key=lambda c: (abs(c.strike_ticks - centre_ticks), c.con_id)))


def line_plan(held: Iterable[Contract], windows: Iterable[Iterable[Contract]], lines: int) -> dict[int, Contract]:
    """Return what is streamed: held contracts always, then the windows in their order as far as the lines reach."""
    plan = {contract.con_id: contract for contract in held}
    for chosen in windows:
        for contract in chosen:
            if len(plan) >= lines:
                return plan
            plan.setdefault(contract.con_id, contract)
    return plan


def greeks_of(
    contract: Contract, quote: Quote, spot: Spot | None, close_utc: Utc | None, now: Utc, age_max_ms: int
) -> Greeks | None:
    """Return the model's greeks while they are fresh, else our own from the mid's volatility; `None` without either."""
    if quote.greeks is not None and now - quote.greeks.at_utc <= age_max_ms * MS:
        return quote.greeks
    if quote.mid_x2 is None or spot is None or close_utc is None:
        return None
    years = float(black_scholes.years_of((close_utc - now) / MINUTE))
    price, strike = quote.mid_x2 / 200, contract.strike_ticks / 100
    is_call = contract.right is Right.CALL
    iv = black_scholes.implied_vol(price, spot.price_ticks / 100, strike, years, is_call)
    if iv is None:
        return None
    own = black_scholes.values(spot.price_ticks / 100, strike, years, iv, is_call)
    return Greeks(
        iv,
        float(own.delta),
        float(own.gamma),
        float(own.theta) / black_scholes.DAYS_PER_YEAR,
        float(own.vega) / 100,
        spot.price_ticks,
        now,
        "own",
    )


def candidates(
    chain: Iterable[Contract],
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
    for contract in chain:
        quote = quotes.get(contract.con_id)
        if contract.right is not right or quote is None:
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
    if quote.mid_x2 is None or quote.ask_ticks is None or quote.bid_ticks is None:
        return float("inf")
    return 2 * (quote.ask_ticks - quote.bid_ticks) / quote.mid_x2
