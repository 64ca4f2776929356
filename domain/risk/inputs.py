"""What risk's own rules live on, and which of it has not been known for too long while something is held.

The stops of the day need marks and the start NAV, the automatic kill level the prices of VIX and SPX, and the exit of
what was sold, before it may be exercised, that of its underlying. A rule that does not know its input is no rule:
level 1 and an alarm, never a pass (the project's risk specification, section 3).
"""

from __future__ import annotations

from typing import Final

import msgspec

from domain.instruments import Contract, DataType, Side
from domain.risk.desk_view import DeskView, Holding, does_age, spot_of
from domain.risk.kill import SPX, VIX
from domain.units import Utc

_START_NAV: Final = "the account's net liquidation at the start of the day"


class Input(msgspec.Struct, frozen=True):
    """One input, a contract where it is the mark of one, and from when on not knowing it counts."""

    of: Contract | str
    unknown_from_utc: Utc

    @property
    def name(self) -> str:
        """What people call it."""
        return self.of if isinstance(self.of, str) else f"the mark of {self.of.label}"


def inputs_of(view: DeskView, held_since_utc: Utc, age_max_ns: int, now: Utc) -> tuple[Input, ...]:
    """Return the inputs that will be, or are, unknown unless somebody speaks; none outside of regular hours."""
    if not does_age(view, now):
        return ()
    marked = [h for h in view.holdings if h.needs_mark]
    marks: list[tuple[Contract | str, Utc]] = [(h.ref.contract, h.marked_utc) for h in marked]
    prices = [(f"a live price of {ticker}", last) for ticker, last in _prices(view, marked, held_since_utc)]
    nav = [(_START_NAV, held_since_utc)] if view.start_nav_cents is None else []
    return tuple([Input(of, Utc(last + age_max_ns)) for of, last in (*marks, *nav, *prices)])


def first_unknown_utc(view: DeskView, held_since_utc: Utc, age_max_ns: int, now: Utc) -> Utc | None:
    """Return from when on the first of them is not known; `None` outside of regular hours."""
    if not does_age(view, now):
        return None
    marked = [h for h in view.holdings if h.needs_mark]
    first = min([last for _, last in _prices(view, marked, held_since_utc)])
    if view.start_nav_cents is None:
        first = min(first, held_since_utc)
    return Utc(min([first, *[h.marked_utc for h in marked]]) + age_max_ns)


def _prices(view: DeskView, marked: list[Holding], held_since_utc: Utc) -> list[tuple[str, Utc]]:
    """Return the underlyings whose prices are inputs, and when each was last heard of; `marked` need a mark."""
    heard: list[tuple[str, Utc]] = []
    sell = Side.SELL  # a member is looked up anew each time it is named
    sold = [h.ref.contract.ticker for h in marked if h.ref.side is sell]
    for ticker in dict.fromkeys((VIX, SPX, *sold)):
        spot = spot_of(view, ticker)
        is_live = spot is not None and spot.data_type is DataType.LIVE
        last = spot.at_utc if spot is not None and is_live else Utc(0)
        heard.append((ticker, max(last, held_since_utc)))
    return heard
