"""The direct flatten's way to IB: a client id of its own, at the desk's gateways in their order."""

from __future__ import annotations

from config.tree import Gateway
from domain.limits import ConnectionRules
from domain.orders.references import DIRECT
from domain.ports import Clock
from gateways.direct import Way
from gateways.ib.orders_port import OrdersPort
from gateways.port_thread import Tell


def ib_way(
    gateways: tuple[Gateway, ...], client_id: int, account: str | None, *, rules: ConnectionRules, clock: Clock,
    account_key: str = "",
) -> Way:  # fmt: skip
    """Return the way to IB.

    Args:
        gateways: addresses, tried in their order.
        client_id: one that neither the order session nor the quotes use. Orders of other client ids can only be ended
            by the broker's global cancel, which ends foreign orders too.
        account: the configured account; `None` takes that of the ledger, else the login's first paper account.
        rules: of the connection.
        clock: the market's clock.
        account_key: of the ledger's account; empty where the ledger knows none.
    """

    def make(tell: Tell) -> OrdersPort:
        return OrdersPort(
            f"port:{DIRECT}", gateways=gateways, client_id=client_id, rules=rules, clock=clock, tell=tell,
            account=account, account_key=account_key,
        )  # fmt: skip

    return Way(make, rules, len(gateways))
