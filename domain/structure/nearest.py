"""Which exits a held structure has, and how far away each is: for people, never for a decision.

The scale is that of a single position's exits ([nearest.py](../position/nearest.py)): 1 as far as at the entry, 0 now.
"""

from __future__ import annotations

import msgspec

from domain.instants import MS
from domain.instruments import Contract, Right, Spot
from domain.position.cycle import ExitReason
from domain.position.nearest import Distance, at_time, share_left
from domain.structure.rules import SHORT, SpreadRules
from domain.units import Cents, Ticks, Utc


class HeldStructure(msgspec.Struct, frozen=True, kw_only=True):
    """A structure that is held whole.

    `sold` are the contracts of its sold legs. `pnl_cents` is what all legs have come to so far, by their marks and net
    of fees, `None` while a mark is not known. `credit_cents` is that of the terms that it was opened on, `None` where
    they were not kept. `entry_spot_ticks` was the price of the sold legs' underlying then, `None` where not known.
    """

    sold: tuple[Contract, ...]
    pnl_cents: Cents | None
    credit_cents: Cents | None
    entry_spot_ticks: Ticks | None
    opened_utc: Utc


def distances(
    held: HeldStructure, spot: Spot | None, now: Utc, close_utc: Utc | None, flatten_utc: Utc | None,
    rules: SpreadRules,
) -> tuple[Distance, ...]:  # fmt: skip
    """Return the exits whose distance is known, nearest first; what needs a price that is missing is left out.

    Args:
        held: what is held.
        spot: the newest price of the sold legs' underlying.
        now: the instant.
        close_utc: when its market closes today.
        flatten_utc: when everything is closed today.
        rules: the spread's rules.
    """
    found = [*_by_result(held, rules), *_by_assignment(held, spot, now, close_utc, rules)]
    is_of_index = held.sold[0].ticker != SHORT
    if is_of_index and close_utc is not None and rules.leave_before_close_ms:
        leave_utc = Utc(close_utc - rules.leave_before_close_ms * MS)
        found.append(at_time(ExitReason.MAX_HOLD, held.opened_utc, leave_utc, now))
    if flatten_utc is not None:
        found.append(at_time(ExitReason.EOD, held.opened_utc, flatten_utc, now))
    return tuple(sorted(found, key=lambda distance: distance.left))


def _by_result(held: HeldStructure, rules: SpreadRules) -> list[Distance]:
    if held.pnl_cents is None:
        return []
    pnl, limit = held.pnl_cents, rules.exit_loss_cents
    found = [Distance(ExitReason.POSITION_LOSS, share_left(pnl + limit, limit), pnl_cents=Cents(-limit))]
    is_of_index = held.sold[0].ticker != SHORT
    if is_of_index and rules.profit_share > 0 and held.credit_cents is not None and held.credit_cents > 0:
        target = Cents(round(rules.profit_share * held.credit_cents))
        found.append(Distance(ExitReason.TAKE_PROFIT, share_left(target - pnl, target), pnl_cents=target))
    return found


def _by_assignment(
    held: HeldStructure, spot: Spot | None, now: Utc, close_utc: Utc | None, rules: SpreadRules
) -> list[Distance]:
    if spot is None:
        return []
    if held.sold[0].ticker == SHORT:
        level = held.sold[0].strike_ticks + rules.threshold_ticks
        from_ticks = held.sold[0].strike_ticks if held.entry_spot_ticks is None else held.entry_spot_ticks
        left = _share_left(level - spot.price_ticks, level - from_ticks)
        return [Distance(ExitReason.ASSIGNMENT_RISK, left, level)]
    if close_utc is None or not rules.in_money_before_close_ms:
        return []
    # Both must be so, the hour and the price: what is farther away decides.
    from_utc = Utc(close_utc - rules.in_money_before_close_ms * MS)
    by_hour = at_time(ExitReason.ASSIGNMENT_RISK, held.opened_utc, from_utc, now).left
    entry_ticks = spot.price_ticks if held.entry_spot_ticks is None else held.entry_spot_ticks
    found = [
        Distance(
            ExitReason.ASSIGNMENT_RISK,
            max(by_hour, _share_left(_outside(contract, spot.price_ticks), _outside(contract, entry_ticks))),
            contract.strike_ticks,
        )
        for contract in held.sold
    ]  # fmt: skip
    return [min(found, key=lambda distance: distance.left)]


def _share_left(left: int, at_entry: int) -> float:
    """Return what is left of the way to a price, all of it where it is no nearer than at the entry."""
    return share_left(left, max(left, at_entry))


def _outside(contract: Contract, price_ticks: Ticks) -> int:
    """Return how far a price stands on the side of the strike on which the contract is worth nothing."""
    sign = 1 if contract.right is Right.CALL else -1
    return sign * (contract.strike_ticks - price_ticks)
