"""The accounts that one login sees: an exchange each, over the same market."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from domain.units import Ticks, Utc
from simulation.broker.events import Commission, ExchangeEvent, Execution
from simulation.broker.exchange import Exchange
from simulation.broker.orders import OrderState

ACCOUNTS_MAX = 5  # as many as have permanent ids of their own


class Login:
    """Finds the account that a request is about, and puts together what is told of all of them.

    Accounts do not see each other: an order takes only its own account's money, and of what a quote displays each has
    all. One client's order ids are its own over all of them.

    Raises:
        ValueError: no account, more than five, or one twice.
    """

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self.exchanges = tuple(exchanges)
        if not 0 < len(exchanges) <= ACCOUNTS_MAX or len(set(self.accounts)) < len(exchanges):
            raise ValueError(f"a login has 1 to {ACCOUNTS_MAX} accounts, each once")

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts' names."""
        return tuple(exchange.account for exchange in self.exchanges)

    @property
    def first(self) -> Exchange:
        """The first account's exchange."""
        return self.exchanges[0]

    def of(self, account: str) -> Exchange | None:
        """Return an account's exchange; no name means the only account. `None`: unknown, or one must be named."""
        if not account:
            return self.first if len(self.exchanges) == 1 else None
        return next((exchange for exchange in self.exchanges if exchange.account == account), None)

    def of_order(self, client_id: int, order_id: int) -> Exchange | None:
        """Return where a client's order is; `None` where it never arrived."""
        return next((e for e in self.exchanges if e.state(client_id, order_id) is not None), None)

    def next_order_id(self, client_id: int) -> int:
        """Return the lowest order id that a client has not used yet in any account, at least 1."""
        return max(exchange.next_order_id(client_id) for exchange in self.exchanges)

    def open_orders(self) -> list[OrderState]:
        """Return the orders that are still alive, account by account, oldest first."""
        return [state for exchange in self.exchanges for state in exchange.open_orders()]

    def completed(self) -> list[OrderState]:
        """Return the orders that are filled, cancelled or rejected, account by account, oldest first."""
        return [state for exchange in self.exchanges for state in exchange.completed()]

    def executions(self) -> list[tuple[Execution, Commission]]:
        """Return every execution with its commission, account by account, oldest first."""
        return [row for exchange in self.exchanges for row in exchange.executions()]

    def cancel_all(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Cancel every live order of every account."""
        return self._each(lambda exchange: exchange.cancel_all(now_utc))

    def correct(self, exec_id: str, shift_ticks: Ticks, now_utc: Utc) -> list[ExchangeEvent]:
        """Correct the price of an execution, whichever account has it."""
        return self._each(lambda exchange: exchange.correct(exec_id, shift_ticks, now_utc))

    def step(self, now_utc: Utc) -> list[ExchangeEvent]:
        """Match, expire and settle in every account."""
        return self._each(lambda exchange: exchange.step(now_utc))

    def _each(self, act: Callable[[Exchange], list[ExchangeEvent]]) -> list[ExchangeEvent]:
        return [event for exchange in self.exchanges for event in act(exchange)]
