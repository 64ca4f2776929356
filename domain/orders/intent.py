"""What a strategy wants to do about an alert, and what it became: one plan of legs, one intent, one position a leg."""

from __future__ import annotations

import msgspec

from domain.instruments import Contract, Right, Side
from domain.signals.alert import AlertKey
from domain.units import Qty, Ticks, Utc


class PlannedLeg(msgspec.Struct, frozen=True):
    """One leg that a strategy wants; `ratio` is its contracts per unit of size.

    `ticker` and `strike_ticks` are those of a leg that is named by its strategy; `None`: the alert's ticker, and a
    contract chosen by its delta.
    """

    right: Right
    side: Side
    ratio: int = 1
    ticker: str | None = None
    strike_ticks: Ticks | None = None


def leg_direction(direction: int, side: Side, right: Right) -> int:
    """Return the direction of a leg of a structure: of a bought call and a sold put the structure's own.

    A sold call and a bought put gain on the other side.
    """
    return direction * side.sign * (1 if right is Right.CALL else -1)


class EntryPlan(msgspec.Struct, frozen=True):
    """The legs of an entry, in the order in which their contracts are chosen.

    `cover_ratio` is how many sold contracts a bought one covers; above 1 where they are of another underlying.
    """

    legs: tuple[PlannedLeg, ...]
    cover_ratio: int = 1

    @property
    def is_long_only(self) -> bool:
        """Whether nothing is sold to open."""
        return all(leg.side is Side.BUY for leg in self.legs)

    @property
    def is_covered(self) -> bool:
        """Whether every sold contract has a bought one of the same right that covers it."""
        for right in Right:
            legs = [leg for leg in self.legs if leg.right is right]
            bought = sum(leg.ratio for leg in legs if leg.side is Side.BUY)
            if sum(leg.ratio for leg in legs if leg.side is Side.SELL) > self.cover_ratio * bought:
                return False
        return True


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy wants to do about one alert; its age counts from the bucket's end.

    `confidence` is the alert's own, in [0, 1]; `None`: its kind tells none, as no kind of today does, and no size is
    cut for it.
    """

    intent_id: str
    key: AlertKey
    strategy: str
    direction: int
    plan: EntryPlan
    is_shadow: bool
    raised_utc: Utc
    expires_utc: Utc
    confidence: float | None = None

    @property
    def ticker(self) -> str:
        """The underlying."""
        return self.key.ticker

    @property
    def source(self) -> str:
        """The lane's source."""
        return self.key.source

    @property
    def alert_id(self) -> str:
        """The alert's id."""
        return self.key.alert_id


class PositionRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which position: the stem of its order references, what it came from, and the contract; `side` opened it.

    `structure_id` names the structure that it is a leg of, which alone says when it opens and closes; `None`: of none.
    """

    position_id: str
    intent_id: str
    key: AlertKey
    strategy: str
    direction: int
    contract: Contract
    side: Side = Side.BUY
    structure_id: str | None = None

    @property
    def is_leg(self) -> bool:
        """Whether it is a leg of a structure."""
        return self.structure_id is not None

    @property
    def unit(self) -> str:
        """What counts as one position: the structure, where it is a leg of one."""
        return self.position_id if self.structure_id is None else self.structure_id


class DecisionPrices(msgspec.Struct, frozen=True):
    """What the gates saw when they decided; slippage is measured against its mid."""

    bid_ticks: Ticks
    ask_ticks: Ticks
    spot_ticks: Ticks | None = None


class Permit(msgspec.Struct, frozen=True):
    """Leave to send or raise one entry: dies with a newer kill epoch, another session epoch, or at `expires_utc`."""

    kill_epoch: int
    session_epoch: int
    expires_utc: Utc


class OrderLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of an intent, chosen and sized; `decision` is `None` where nobody recorded what the gates saw."""

    contract: Contract
    side: Side
    qty: Qty
    limit_ticks: Ticks
    order_ref: str
    decision: DecisionPrices | None = None
