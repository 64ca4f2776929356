"""Option chains for tests: as columns, and as the files of the exchange's site."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from domain.instants import MINUTE, to_datetime
from domain.options.chain_files import expiry_utc_of
from domain.options.chain_gamma import ChainQuotes
from domain.units import Utc

AT = Utc(1_641_586_260 * 1_000_000_000)  # 2022-01-07 15:11 New York, a Friday
TITLES = (
    "Expiration Date,Calls,Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest,Strike,"
    "Puts,Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
)


def chain(rows: Sequence[dict[str, Any]], spot: float = 100.0, minutes: float = 600.0) -> ChainQuotes:
    """Return a chain at `AT`; rows name what is not usual: strike, is_call, oi, volume, iv, bid, ask, minutes."""

    def column(name: str, usual: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([row.get(name, usual) for row in rows], np.float64)

    ends = [AT + round(row.get("minutes", minutes) * MINUTE) for row in rows]
    return ChainQuotes(
        symbol="X", at_utc=AT, spot=spot, strikes=column("strike", 100.0),
        is_call=np.array([row.get("is_call", True) for row in rows], np.bool_), expiry_utc=np.array(ends, np.int64),
        open_interest=column("oi", 10.0), volume=column("volume", 0.0), iv=column("iv", 0.2), bid=column("bid", np.nan),
        ask=column("ask", np.nan),
    )  # fmt: skip


def line(day: str, code: str, strike: float, call: dict[str, Any], put: dict[str, Any]) -> str:
    """Return one line of a Cboe CSV; sides name bid, ask, volume, iv, oi."""
    sides = [
        f"{code}{right}{round(strike * 1000):08d},0,0,{side.get('bid', 1.0)},{side.get('ask', 1.2)},"
        f"{side.get('volume', 0)},{side.get('iv', 0.2)},0.5,0.01,{side.get('oi', 10)}"
        for right, side in (("C", call), ("P", put))
    ]
    return f"{day},{sides[0]},{strike:.2f},{sides[1]}"


def small_csv(stamp: str = "January 7, 2022, 3:11 PM EST") -> str:
    """Return a small Cboe CSV: puts below 4,677, calls above, two expiries and one that has expired."""
    lines = ["", "S&P 500 INDEX,Last: 4677.03,Change: -19.02", f'"Date: {stamp}",Bid: 4671.68,Ask: 4686.03', TITLES]
    for day, code in (
        ("Fri Jan 07 2022", "SPXW220107"),
        ("Fri Jan 21 2022", "SPXW220121"),
        ("Thu Jan 06 2022", "SPXW220106"),
    ):
        for strike in range(4500, 4900, 50):
            call, put = ({"oi": 900}, {"oi": 100}) if strike > 4677 else ({"oi": 100}, {"oi": 900})
            lines.append(line(day, code, strike, call, put))
    return "\n".join(lines) + "\n"


def as_cboe_json(quotes: ChainQuotes, code_day: str, root: str = "SPXW") -> str:
    """Return a chain of one expiry as a Cboe JSON; `code_day` is its yymmdd."""
    options = [
        {
            "option": f"{root}{code_day}{'C' if is_call else 'P'}{round(strike * 1000):08d}", "bid": None, "ask": None,
            "iv": iv, "open_interest": oi, "volume": volume,
        }
        for strike, is_call, iv, oi, volume in zip(
            quotes.strikes.tolist(), quotes.is_call.tolist(), quotes.iv.tolist(), quotes.open_interest.tolist(),
            quotes.volume.tolist(), strict=True,
        )
    ]  # fmt: skip
    stamp = to_datetime(AT).strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps(
        {"timestamp": stamp, "data": {"symbol": "^SPX", "current_price": quotes.spot, "options": options}}
    )


def ends_at(root: str, day: str) -> Utc:
    """Return when contracts of a root end; `day` is an ISO date."""
    from datetime import date  # noqa: PLC0415 - for this one line

    return expiry_utc_of(root, date.fromisoformat(day))
