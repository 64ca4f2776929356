"""`main.py gamma FILE`: net gamma, walls and zero gamma of an option chain, without a vendor."""

from __future__ import annotations

import gzip
import zlib
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from commands.cli import CommandError
from domain.instants import NEW_YORK, at_exchange, from_datetime, to_datetime
from domain.options.chain_files import NoChain, chain_in
from domain.options.chain_gamma import (
    CONVENTION,
    ChainGamma,
    ChainQuotes,
    gamma_of,
    grid_of,
    net_gamma,
    usable,
)
from domain.options.gamma import ChainRefusal
from domain.session import calendar
from domain.units import Utc

FILE_BYTES_MAX: Final = 512 * 1024 * 1024
EXPIRIES_SHOWN: Final = 8
BARS, BAR_WIDTH = 21, 26
CURVE_ROWS, CURVE_WIDTH = 13, 60
PLOT_REACH: Final = 0.1  # the curve is drawn this far from spot, or as far as the nearest zero gamma asks

_REFUSED: Final = {
    ChainRefusal.EMPTY: "names no contracts.",
    ChainRefusal.NOT_FINITE: "has no spot above 0; give it with --spot.",
    ChainRefusal.NO_TIME_LEFT: "has only contracts that have expired; give the instant of the quotes with --at.",
    ChainRefusal.ALL_ZERO: (
        "has no gamma: no row has open interest or volume together with a volatility, so nothing is to be traded on"
        " it; download the chain again while the exchange publishes it."
    ),
}


def act(arguments: Namespace) -> int:
    """Show the gamma of a chain file; 1 where the chain is refused."""
    quotes = read_chain(arguments.file)
    spot = arguments.spot if arguments.spot is not None else quotes.spot
    at_utc = instant_in(arguments.at) if arguments.at is not None else quotes.at_utc
    if spot is None or not (np.isfinite(spot) and spot > 0.0):
        raise CommandError(f"{arguments.file.name} {_REFUSED[ChainRefusal.NOT_FINITE]}")
    if at_utc is None:
        raise CommandError(f"{arguments.file.name} does not say when it was taken; give the instant with --at.")
    found = gamma_of(quotes, spot, at_utc)
    if isinstance(found, ChainRefusal):
        raise CommandError(f"{arguments.file.name} {_REFUSED[found]}", 1)
    if arguments.json:
        print(orjson.dumps(as_json(found), option=orjson.OPT_INDENT_2).decode())
        return 0
    print("\n".join(as_text(found)))
    if arguments.plot:
        print("\n".join(["", *bars_of(found), "", *curve_of(quotes, found)]))
    return 0


def read_chain(file: Path) -> ChainQuotes:
    """Return the chain of a file, plain or gzip.

    Raises:
        CommandError: it cannot be read, or is no chain.
    """
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise CommandError(f"{file} is larger than any chain ({FILE_BYTES_MAX >> 20} MB); it is not read.")
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            with gzip.open(file) as unpacked:
                data = unpacked.read(FILE_BYTES_MAX + 1)
            if len(data) > FILE_BYTES_MAX:
                raise CommandError(f"{file} unpacks to more than any chain; it is not read.")
    except OSError as error:
        raise CommandError(f"{file} cannot be read ({error.strerror or error}).") from None
    except (EOFError, zlib.error) as error:
        raise CommandError(f"{file} is a damaged gzip file ({error}); download it again.") from None
    found = chain_in(data)
    if isinstance(found, NoChain):
        raise CommandError(f"{file.name}: {found.why}")
    return found


def instant_in(text: str) -> Utc:
    """Return the instant that a person wrote, without an offset as New York's wall clock.

    Raises:
        CommandError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is no instant; write it as 2026-11-20T10:30 (New York) or with an offset."
        ) from None
    if len(text) == len("2026-11-20"):
        return at_exchange(moment.date(), calendar.OPEN)
    return from_datetime(moment if moment.tzinfo is not None else moment.replace(tzinfo=NEW_YORK))


# -- for machines -------------------------------------------------------------------------------


def as_json(found: ChainGamma) -> dict[str, Any]:
    """Return the result as JSON values; prices USD, gamma USD per 1 % move, instants ISO 8601."""
    return {
        "symbol": found.symbol,
        "at": to_datetime(found.at_utc).isoformat(),
        "spot": found.spot,
        "net_gamma_usd_per_1pct": found.net,
        "call_gamma_usd_per_1pct": float(found.by_call.sum()),
        "put_gamma_usd_per_1pct": float(found.by_put.sum()),
        "net_gamma_by_volume_usd_per_1pct": float(found.by_volume.sum()),
        "zero_gamma": found.zero_gamma,
        "zero_gammas": [{"price": c.price, "positive": "above" if c.is_up else "below"} for c in found.crossings],
        "call_wall": found.call_wall,
        "put_wall": found.put_wall,
        "vanna_usd_per_vol_point": found.vanna,
        "charm_usd_per_hour": found.charm,
        "contracts": found.contracts,
        "volatility_of_the_pair": found.borrowed_n,
        "expiries": [
            {
                "expiry": to_datetime(e.expiry_utc).astimezone(NEW_YORK).date().isoformat(),
                "ends": to_datetime(e.expiry_utc).isoformat(),
                "minutes": e.minutes,
                "contracts": e.contracts,
                "open_interest": e.open_interest,
                "net_gamma_usd_per_1pct": e.net_gamma,
            }
            for e in found.expiries
        ],
        "strikes": [
            {"strike": strike, "net_gamma_usd_per_1pct": net, "call": call, "put": put, "net_by_volume": volume}
            for strike, net, call, put, volume in zip(
                found.levels.tolist(), found.by_strike.tolist(), found.by_call.tolist(), found.by_put.tolist(),
                found.by_volume.tolist(), strict=True,
            )
        ],
        "refused": {reason.value: n for reason, n in found.refused.items()},
        "convention": CONVENTION,
    }  # fmt: skip


# -- for people: every line fits 80 columns ------------------------------------------------------


def as_text(found: ChainGamma) -> list[str]:
    """Return the result as lines."""
    at = to_datetime(found.at_utc).astimezone(NEW_YORK)
    lines = [
        f"{found.symbol or 'Chain'} at {found.spot:,.2f}, {at:%Y-%m-%d %H:%M} New York, {found.contracts:,} contracts",
        "",
        f"  net gamma      {usd(found.net):>12} per 1 % move"
        f"   (calls {usd(float(found.by_call.sum()))}, puts {usd(float(found.by_put.sum()))})",
        f"  by volume      {usd(float(found.by_volume.sum())):>12} per 1 % move",
        f"  zero gamma     {_level(found.zero_gamma, found.spot)}",
        *(f"     {'also' if n else 'all:':>9}   {_crossing(c, found.spot)}" for n, c in enumerate(_others(found))),
        f"  call wall      {_level(found.call_wall, found.spot)}",
        f"  put wall       {_level(found.put_wall, found.spot)}",
        f"  vanna          {usd(found.vanna):>12} per volatility point",
        f"  charm          {usd(found.charm):>12} per hour",
        "",
        f"  {'expiry':<12}{'left':>10}{'contracts':>11}{'open interest':>15}{'net gamma':>13}",
    ]
    for expiry in found.expiries[:EXPIRIES_SHOWN]:
        day = to_datetime(expiry.expiry_utc).astimezone(NEW_YORK)
        lines.append(
            f"  {day:%Y-%m-%d}  {_left(expiry.minutes):>10}{expiry.contracts:>11,}"
            f"{expiry.open_interest:>15,.0f}{usd(expiry.net_gamma):>13}"
        )
    rest = found.expiries[EXPIRIES_SHOWN:]
    if rest:
        lines.append(
            f"  {f'{len(rest)} later':<12}{'':>10}{sum(e.contracts for e in rest):>11,}"
            f"{sum(e.open_interest for e in rest):>15,.0f}{usd(sum(e.net_gamma for e in rest)):>13}"
        )
    lines.append("")
    if found.refused:
        lines.append(f"  {sum(found.refused.values()):,} rows left out:")
        lines += [f"    {n:>7,}  {reason.value.replace('_', ' ')}" for reason, n in found.refused.items()]
    else:
        lines.append("  no row left out")
    if found.borrowed_n:
        lines.append(f"  {found.borrowed_n:,} rows priced with the volatility of the other right at their strike")
    lines += [
        "",
        "  Convention: dealers are long the calls and short the puts that are open;",
        "  gamma x open interest x 100 x spot^2 x 0.01, in USD per 1 % move; time in",
        "  minutes / 525,600; without rates; volatilities stay at their strikes.",
    ]
    return lines


def usd(value: float) -> str:
    """Return an amount in three or four digits with its size, as `-1.52 bn`."""
    for size, name in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:+,.2f} {name}"
    return f"{value:+,.2f}"


def _level(price: float | None, spot: float) -> str:
    return f"{'none':>12}" if price is None else f"{price:>12,.2f}   ({(price / spot - 1.0) * 100:+.2f} % from spot)"


def _others(found: ChainGamma) -> list[Any]:
    """Return all crossings where there are several, the nearest ones, in the order of price."""
    if len(found.crossings) < 2:
        return []
    near = sorted(found.crossings, key=lambda crossing: abs(crossing.price - found.spot))[:6]
    return sorted(near)


def _crossing(crossing: Any, spot: float) -> str:
    return f"{_level(crossing.price, spot)} positive {'above' if crossing.is_up else 'below'}"


def _left(minutes: float) -> str:
    hours = minutes / 60.0
    return f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def bars_of(found: ChainGamma) -> list[str]:
    """Return the strikes around spot as bars, puts to the left, calls to the right."""
    at = int(np.argmin(np.abs(found.levels - found.spot)))
    begin = max(0, min(at - BARS // 2, len(found.levels) - BARS))
    rows = range(begin, min(begin + BARS, len(found.levels)))
    scale = max(float(np.abs(found.by_call[rows]).max()), float(np.abs(found.by_put[rows]).max())) or 1.0
    lines = [f"  {'strike':>10}  {'puts':>{BAR_WIDTH}}|{'calls':<{BAR_WIDTH}}  net"]
    for row in reversed(rows):
        put = "#" * round(-float(found.by_put[row]) / scale * BAR_WIDTH)
        call = "#" * round(float(found.by_call[row]) / scale * BAR_WIDTH)
        mark = ">" if row == at else " "
        net = usd(float(found.by_strike[row]))
        lines.append(f" {mark}{found.levels[row]:>10,.2f}  {put:>{BAR_WIDTH}}|{call:<{BAR_WIDTH}} {net:>11}")
    return lines


def curve_of(quotes: ChainQuotes, found: ChainGamma) -> list[str]:
    """Return net gamma over the spot as a curve; `|` stands at spot, `o` at each zero gamma."""
    chain = usable(quotes, found.spot, found.at_utc).chain
    grid = grid_of(chain, chain.open_interest)
    nearest = found.zero_gamma or found.spot
    reach = max(PLOT_REACH, 1.2 * abs(nearest / found.spot - 1.0))
    low, high = max(float(grid[0]), found.spot * (1 - reach)), min(float(grid[-1]), found.spot * (1 + reach))
    spots = np.linspace(low, high, CURVE_WIDTH)
    values = net_gamma(chain, chain.open_interest, spots)
    top, bottom = max(float(values.max()), 0.0), min(float(values.min()), 0.0)
    span = (top - bottom) or 1.0
    rows = np.rint((top - values) / span * (CURVE_ROWS - 1)).astype(int)
    zero_row = round(top / span * (CURVE_ROWS - 1))
    canvas = [[" "] * CURVE_WIDTH for _ in range(CURVE_ROWS)]
    canvas[zero_row] = ["-"] * CURVE_WIDTH
    at = int(np.argmin(np.abs(spots - found.spot)))
    for line in canvas:
        line[at] = "|"
    for column, row in enumerate(rows):
        canvas[row][column] = "*"
    for crossing in found.crossings:
        if low <= crossing.price <= high:
            canvas[zero_row][int(np.argmin(np.abs(spots - crossing.price)))] = "o"
    titles = {0: usd(top), zero_row: "0", CURVE_ROWS - 1: usd(bottom)}
    lines = ["  net gamma if the underlying stood elsewhere (spot |, zero gamma o)"]
    lines += [f"  {titles.get(n, ''):>12} {''.join(line)}".rstrip() for n, line in enumerate(canvas)]
    lines.append(f"  {'':>12} {f'{low:,.0f}':<{CURVE_WIDTH // 2}}{f'{high:,.0f}':>{CURVE_WIDTH // 2}}")
    return lines
