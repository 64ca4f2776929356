"""The vendor's profiles as rows: one per ticker, category and 30 s bucket, in the wire's own fixed-point integers.

Scales are those of the wire: prices, strikes and exposures in 1/100, sums and volatilities in 1/1000.
A category is a group's name without its ticker: `classic_gex_zero`, `state_charm_one`, `orderflow_orderflow`.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.units import Ticks, Utc

Ints = NDArray[np.int32]


class Shape(StrEnum):
    """What a row's category carries."""

    GEX = "gex"
    GREEK = "greek"
    ORDERFLOW = "orderflow"


class IngestMode(StrEnum):
    """How a row came: by a hub's stream, polled, from files, from a simulated market, from an option chain; or by
    redelivery after its bucket was closed."""

    LIVE = "live"
    REST = "rest"
    IMPORT = "import"
    SIMULATED = "simulated"
    CHAIN = "chain"
    LATE = "late"


GEX_SCALARS = (
    "zero_gamma", "major_pos_vol", "major_pos_oi", "major_neg_vol", "major_neg_oi",
    "sum_gex_vol", "sum_gex_oi", "delta_risk_reversal",
    "max_strike_0", "max_change_0", "max_strike_1", "max_change_1", "max_strike_5", "max_change_5",
    "max_strike_10", "max_change_10", "max_strike_15", "max_change_15", "max_strike_30", "max_change_30",
)  # fmt: skip
GREEK_SCALARS = ("major_call_gamma", "major_put_gamma", "major_long_gamma", "major_short_gamma")
ORDERFLOW_SCALARS = (
    "z_mlgamma", "z_msgamma", "o_mlgamma", "o_msgamma", "zero_mcall", "zero_mput", "one_mcall", "one_mput",
    "zcvr", "ocvr", "zgr", "ogr", "zvanna", "ovanna", "zcharm", "ocharm",
    "agg_dex", "one_agg_dex", "agg_call_dex", "one_agg_call_dex", "agg_put_dex", "one_agg_put_dex",
    "net_dex", "one_net_dex", "net_call_dex", "one_net_call_dex", "net_put_dex", "one_net_put_dex",
    "dexoflow", "gexoflow", "cvroflow", "one_dexoflow", "one_gexoflow", "one_cvroflow",
)  # fmt: skip
SCALARS: dict[Shape, tuple[str, ...]] = {
    Shape.GEX: GEX_SCALARS,
    Shape.GREEK: GREEK_SCALARS,
    Shape.ORDERFLOW: ORDERFLOW_SCALARS,
}
SCALAR_AT = {name: n for names in SCALARS.values() for n, name in enumerate(names)}  # no name is in two shapes
VALUE_COLUMNS: dict[Shape, tuple[str, ...]] = {
    Shape.GEX: ("gex_vol", "gex_oi"),
    Shape.GREEK: ("call_ivol", "put_ivol", "exposure"),
    Shape.ORDERFLOW: (),
}
# Wire integers of a thousandth; all others are hundredths.
THOUSANDTHS = frozenset(("sum_gex_vol", "sum_gex_oi", "delta_risk_reversal", "call_ivol", "put_ivol")) | {
    f"max_change_{minutes}" for minutes in (0, 1, 5, 10, 15, 30)
}
CLIPPED = 2_147_483_647  # where thousandths saturate, on both sides of 0: "at least this much", no reading
PRIORS: dict[Shape, int] = {Shape.GEX: 5, Shape.GREEK: 3, Shape.ORDERFLOW: 0}


@lru_cache(maxsize=1_024)
def shape_of(category: str) -> Shape:
    """Return what a category carries.

    Raises:
        ValueError: no known category.
    """
    if category.startswith("orderflow"):
        return Shape.ORDERFLOW
    if "_gex_" in category:
        return Shape.GEX
    if category.startswith(("state_delta", "state_gamma", "state_vanna", "state_charm")):
        return Shape.GREEK
    raise ValueError(f"unknown category {category!r}")


class Profile:
    """One decoded frame: scalars by name and per-strike columns, immutable.

    Args:
        ticker: the vendor's ticker (`SPX`, `ES_SPX`).
        category: the group without its ticker.
        source_utc: the frame's own timestamp.
        spot: price of the underlying (0 where the vendor sent none).
        scalars: wire integers in the order of `SCALARS[shape]`.
        strikes: (n,) strikes in 1/100, ascending.
        values: (n, len(VALUE_COLUMNS[shape])) wire integers.
        priors: (n, PRIORS[shape]) wire integers.
    """

    __slots__ = ("_digest", "category", "priors", "scalars", "source_utc", "spot", "strikes", "ticker", "values")

    def __init__(
        self,
        ticker: str,
        category: str,
        source_utc: Utc,
        spot: Ticks,
        scalars: tuple[int, ...],
        strikes: Ints,
        values: Ints,
        priors: Ints,
    ) -> None:
        self.ticker = ticker
        self.category = category
        self.source_utc = source_utc
        self.spot = spot
        self.scalars = scalars
        self.strikes = strikes
        self.values = values
        self.priors = priors
        self._digest = b""
        for array in (strikes, values, priors):
            array.setflags(write=False)

    @property
    def shape(self) -> Shape:
        """What the category carries."""
        return shape_of(self.category)

    def scalar(self, name: str) -> int:
        """Return one scalar by name, a wire integer.

        Raises:
            ValueError: the shape has no scalar of that name.
        """
        return self.scalars[SCALARS[self.shape].index(name)]

    def column(self, name: str) -> Ints:
        """Return one per-strike column by name, wire integers."""
        column: Ints = self.values[:, VALUE_COLUMNS[self.shape].index(name)]
        return column

    def digest(self) -> bytes:
        """Return a hash of everything that the profile says (blake2b, 16 bytes).

        It is computed once: a bucket is hashed whole for the store, and ticker by ticker for those who read it.
        """
        if not self._digest:
            h = hashlib.blake2b(digest_size=16)
            h.update(f"{self.ticker}|{self.category}|{self.source_utc}|{self.spot}|{self.scalars}".encode())
            for array in (self.strikes, self.values, self.priors):
                h.update(np.ascontiguousarray(array).tobytes())
            self._digest = h.digest()
        return self._digest


class Row(msgspec.Struct, frozen=True):
    """What one bucket holds of one group: the last profile, how many frames, the instants of the first and last."""

    profile: Profile
    hub: str
    frames: int
    first_utc: Utc
    last_utc: Utc
    mode: str = IngestMode.LIVE
    latency_ms: int = 0
    sequence: int = 0


class Rows:
    """The rows of one hub and bucket (or one ticker of it): values in memory, a reference and a hash in the trace."""

    __slots__ = ("content_hash", "ref", "rows")

    def __init__(self, ref: str, rows: tuple[Row, ...], content_hash: str | None = None) -> None:
        self.ref = ref
        self.rows = rows
        self.content_hash = content_hash or content_hash_of(rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and (self.ref, self.content_hash) == (other.ref, other.content_hash)

    def __hash__(self) -> int:
        return hash((self.ref, self.content_hash))

    def __repr__(self) -> str:
        return f"Rows({self.ref}, n={len(self.rows)}, {self.content_hash[:8]})"

    def of(self, ticker: str) -> Rows:
        """Return the rows of one ticker."""
        return Rows(f"{self.ref}/{ticker}", tuple(r for r in self.rows if r.profile.ticker == ticker))

    def to_reference(self) -> dict[str, Any]:
        """Return what the trace writes in place of the values."""
        return {"ref": self.ref, "n": len(self.rows), "hash": self.content_hash}


def content_hash_of(rows: tuple[Row, ...]) -> str:
    """Return a hash of the rows' profiles in order (blake2b, hexadecimal)."""
    h = hashlib.blake2b(digest_size=16)
    for row in rows:
        h.update(row.profile.digest())
    return h.hexdigest()
