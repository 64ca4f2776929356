"""What kind of market a simulated day is: the words and numbers that chain, order flow and quotes differ by.

There are two. The *anchored* market leads its prices across the level around which open interest was built, so that
what looks for such crossings is always right: it exercises the machinery and says nothing about profit. The *honest*
market's prices go nowhere in particular; its figures stand in `docs/reference/simulated-market.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domain.options.gamma import GRID_REACH


class Kind(StrEnum):
    """Which market is simulated."""

    ANCHORED = "anchored"
    HONEST = "honest"


@dataclass(frozen=True, slots=True)
class Feedback:
    """How strongly dealers' hedging acts on prices, each at an overall factor of 1 and multiplied by it.

    `amplify` and `damp` are the shares of a move that hedging adds to it where dealers are wholly short gamma, and
    takes back where they are wholly long; `hedge_s` is the mean time until a hedge is traded. `pin_per_min` is the
    share of the way to the strike with the most gamma that a minute closes, at the close, where dealers are wholly
    long. `vanna` is the log return for each unit by which the logarithm of the VIX falls of its own. `premium` is what
    makers add to the volatility that they expect: it is nobody's hedging, and goes with the factor so that at 0 nothing
    pays.
    """

    amplify: float = 0.25
    damp: float = 0.20
    hedge_s: float = 90.0
    pin_per_min: float = 0.06
    vanna: float = 0.02
    premium: float = 0.155


@dataclass(frozen=True, slots=True)
class Style:
    """The numbers of one kind of market.

    `session_vol` is the index's volatility at the money of one whole session, at a VIX of 16; `smile` are the factors
    of x, x² and x³ at x deviations from spot, known to `wing` deviations. `index_volume` multiplies the index's
    contracts a day, `opens` is the share of trades that open positions. `holds_s` are the seconds for which a size
    shown stands, and what was taken of it does not come back. `flip_reach` is the share of spot within which the vendor
    names a zero gamma. `is_honest` has open interest without a clear middle, a strike's call and put quoted at one
    instant, spreads from the table of premiums, and other tickers' volatility implied as their paths have it.
    """

    session_vol: float
    smile: tuple[float, float, float]
    wing: float
    index_volume: float = 1.0
    opens: float = 0.0
    holds_s: int = 1
    flip_reach: float = GRID_REACH
    is_honest: bool = False


@dataclass(frozen=True, slots=True)
class Nature:
    """The market that is asked for: its kind, and the overall factor of `Feedback` (an honest market's only)."""

    kind: Kind = Kind.ANCHORED
    feedback: float = 1.0

    def __str__(self) -> str:
        return f"{self.kind} market" + (f", feedback {self.feedback:g}" if self.kind is Kind.HONEST else "")


ANCHORED: Final = Nature()
FEEDBACK: Final = Feedback()
FAIR_SESSION_VOL: Final = 0.0047
ANCHORED_STYLE: Final = Style(session_vol=0.0085, smile=(-0.08, 0.03, 0.0), wing=4.0)


def honest_style(factor: float) -> Style:
    """Return the honest market's numbers at an overall factor of feedback."""
    return Style(
        session_vol=FAIR_SESSION_VOL * (1.0 + factor * FEEDBACK.premium),
        smile=(-0.0848, 0.0476, 0.0060),
        wing=3.5,
        index_volume=1.62,
        opens=0.3,
        holds_s=20,
        flip_reach=0.10,
        is_honest=True,
    )
