"""What the account values of the broker add up to: a reading, or why there is none.

Values come one by one, in the account's own currency, and a session may begin with zeros that mean "not yet known".
We calculate in USD: an account without a net liquidation in USD above 0 has no reading.
"""

from __future__ import annotations

from typing import Final

from domain.units import Utc
from gateways.ib.translate import cents_of
from gateways.ib.wire import number_of
from messages.broker import AccountRead, AccountUnreadable

CURRENCY: Final = "USD"
NAV, AVAILABLE, BUYING_POWER, DAY_TRADES = "NetLiquidation", "AvailableFunds", "BuyingPower", "DayTradesRemaining"
CASH: Final = "TotalCashValue"
_TAGS: Final = frozenset({NAV, AVAILABLE, BUYING_POWER, DAY_TRADES, CASH})
_PENDING: Final = "0.00 (not yet known)"


class AccountValues:
    """The values that have come; `is_whole`: each has come at least once; `is_overdue`: real ones should have, too."""

    def __init__(self) -> None:
        self.is_whole = False
        self.is_overdue = False
        self._values: dict[str, float | None] = {}
        self._foreign: dict[str, str] = {}  # by tag: a currency other than ours in which it came
        self._told_why = ""

    def take(self, tag: str, value: str, currency: str) -> bool:
        """Keep a value; False where it is none that we need. A later one replaces an earlier one."""
        if tag not in _TAGS:
            return False
        if currency in (CURRENCY, ""):
            self._values[tag] = number_of(value)
        else:
            self._foreign[tag] = currency
        return True

    def fact(self, session_epoch: int, now: Utc) -> AccountRead | AccountUnreadable | None:
        """Return the reading, or (once for each reason) why there is none; `None` while values are on their way."""
        nav, available = self._values.get(NAV), self._values.get(AVAILABLE)
        if nav is not None and nav > 0 and available is not None:
            self._told_why = ""
            buying_power = self._values.get(BUYING_POWER)
            day_trades, cash = self._values.get(DAY_TRADES), self._values.get(CASH)
            return AccountRead(
                session_epoch=session_epoch,
                nav_cents=cents_of(nav),
                available_cents=cents_of(available),
                buying_power_cents=cents_of(available if buying_power is None else buying_power),
                day_trades_remaining=None if day_trades is None else round(day_trades),
                read_utc=now,
                cash_cents=None if cash is None else cents_of(cash),
            )
        why = self._why()
        is_pending = nav == 0 or not self.is_whole
        if (is_pending and not self.is_overdue) or why == self._told_why:
            return None
        self._told_why = why
        return AccountUnreadable(session_epoch=session_epoch, why=why, read_utc=now)

    def _why(self) -> str:
        """Say what came and what is wanted."""
        came = []
        for tag in (NAV, AVAILABLE):
            if self._values.get(tag) is not None:
                value = self._values[tag]
                came.append(f"{tag} {_PENDING if value == 0 else f'{value:.2f} {CURRENCY}'}")
            elif tag in self._values:
                came.append(f"{tag} that cannot be read")
            elif tag in self._foreign:
                came.append(f"{tag} in {self._foreign[tag]} only")
            else:
                came.append(f"no {tag}")
        return f"the account tells {' and '.join(came)}; wanted are both in {CURRENCY}, the first above 0"
