"""The brokers that orders can go to, by their names in the settings: the port that each makes, and its direct flatten.

What another broker needs is one row of one table, `BROKERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from config.secrets import secret
from config.settings import Settings
from config.tree import Gateway
from domain.orders.capabilities import IB, TASTYTRADE
from domain.orders.references import DIRECT
from domain.ports import Clock
from domain.session.modes import AccountClass
from gateways.contract_book import ContractBook
from gateways.direct import DirectError, Way
from gateways.ib.direct import ib_way
from gateways.ib.orders_port import OrdersPort
from gateways.port_thread import Tell
from gateways.tastytrade.orders_port import TastytradeOrdersPort
from gateways.tastytrade.session import Secrets, account_class_of
from messages.broker import BrokerPort

REST_TRIES: Final = 3  # a single request is refused or lost now and then
REST_LOOK_S: Final = 1.0  # each reading is three requests, and the vendor counts them


@runtime_checkable
class OrderPort(BrokerPort, Protocol):
    """A broker's order port in a live process, where a latch of the whole process refuses entries, too."""

    def refuse_entries(self, why: str) -> None:
        """Refuse every entry until the process ends; any thread may call."""


class OrderPortSetup(NamedTuple):
    """What a port is made of.

    `settings` are those of the desk alone, `gateways` its IB Gateways, `account` the IB account that they name;
    `contracts` is where the quote session's contracts are noted, `account_key` of the ledger's account (or empty).
    """

    name: str
    settings: Settings
    gateways: tuple[Gateway, ...]
    clock: Clock
    tell: Tell
    account: str | None
    contracts: ContractBook
    account_key: str = ""


class DirectSetup(NamedTuple):
    """What the way of a direct flatten is made of.

    `settings` are those of the desk alone, `gateways` its IB Gateways, `account` the IB account that they name;
    `contracts` is where the contracts of our ledgers are noted, before a flatten at the latest; `account_key` is of the
    account that they are of (empty: unknown).
    """

    settings: Settings
    gateways: tuple[Gateway, ...]
    clock: Clock
    account: str | None
    contracts: ContractBook
    account_key: str = ""


class BrokerSetupError(Exception):
    """A broker's port cannot be made; one sentence with the remedy."""


def _no_login(_: Settings) -> Mapping[str, str]:
    return {}


def _not_by_address(_: Settings) -> AccountClass | None:
    return None


class BrokerRow(NamedTuple):
    """What a process must know of a broker that takes orders.

    Args:
        port: makes the order port.
        directly: makes the way of `flatten --direct` and of the hard stop: to a port of their own, which needs as
            little of the broker as possible. There is no default: who takes orders can be closed without an actor.
        login: the variables of the environment that it cannot do without, and what each holds.
        account_class: whose money its address in the settings stands for; `None` where only the broker says.
    """

    port: Callable[[OrderPortSetup], OrderPort]
    directly: Callable[[DirectSetup], Way]
    login: Callable[[Settings], Mapping[str, str]] = _no_login
    account_class: Callable[[Settings], AccountClass | None] = _not_by_address


def _ib(setup: OrderPortSetup) -> OrdersPort:
    return OrdersPort(
        setup.name, gateways=setup.gateways, client_id=setup.settings.broker.client_ids.orders,
        rules=setup.settings.connection, clock=setup.clock, tell=setup.tell, account=setup.account,
        account_key=setup.account_key,
    )  # fmt: skip


def _tastytrade(setup: OrderPortSetup) -> TastytradeOrdersPort:
    return _tastytrade_port(setup, _login_of(setup.settings), setup.settings.broker.tastytrade.stream_url)


class _Login(NamedTuple):
    secrets: Secrets
    account: str | None


def _login_of(settings: Settings) -> _Login:
    names = tuple(_tastytrade_login(settings))
    found = [secret(name) for name in names]
    if None in found:
        missing = " and ".join(name for name, value in zip(names, found, strict=True) if value is None)
        raise BrokerSetupError(
            f"broker.orders is tastytrade, but the environment does not carry its login: set {missing} (or name a file"
            " in the same name with _FILE), then start again."
        )
    client_secret, refresh_token = (str(value) for value in found)
    return _Login(Secrets(client_secret, refresh_token), secret(settings.broker.tastytrade.account_env))


def _tastytrade_login(settings: Settings) -> Mapping[str, str]:
    own = settings.broker.tastytrade
    return {own.client_secret_env: "broker's secret", own.refresh_token_env: "broker's token"}


def _tastytrade_class(settings: Settings) -> AccountClass:
    return account_class_of(urlsplit(settings.broker.tastytrade.rest_url).hostname or "")


def _tastytrade_port(setup: OrderPortSetup, login: _Login, stream_url: str | None) -> TastytradeOrdersPort:
    broker = setup.settings.broker
    try:
        return TastytradeOrdersPort(
            setup.name, rest_url=broker.tastytrade.rest_url, stream_url=stream_url, secrets=login.secrets,
            rules=setup.settings.connection, clock=setup.clock, tell=setup.tell, contracts=setup.contracts,
            account=login.account,
            ports={AccountClass.PAPER: broker.paper_port, AccountClass.LIVE: broker.live_port},
        )  # fmt: skip
    except ValueError as error:
        raise BrokerSetupError(f"broker.tastytrade: {error}.") from None


def _ib_directly(setup: DirectSetup) -> Way:
    settings = setup.settings
    return ib_way(
        setup.gateways, settings.broker.client_ids.direct, setup.account, rules=settings.connection, clock=setup.clock,
        account_key=setup.account_key,
    )  # fmt: skip


def _tastytrade_directly(setup: DirectSetup) -> Way:
    login = _login_of(setup.settings)  # now: minutes before the close no file may fail

    def make(tell: Tell) -> TastytradeOrdersPort:
        port = OrderPortSetup(f"port:{DIRECT}", setup.settings, (), setup.clock, tell, None, setup.contracts)
        try:
            return _tastytrade_port(port, login, None)  # an account stream that is down must not hinder it
        except BrokerSetupError as error:
            raise DirectError(str(error).removesuffix(".")) from None

    return Way(
        make, setup.settings.connection, REST_TRIES, tries=REST_TRIES, look_s=REST_LOOK_S, contracts=setup.contracts,
        whom="broker", remedy="try it again",
    )  # fmt: skip


BROKERS: Final[Mapping[str, BrokerRow]] = MappingProxyType({
    IB: BrokerRow(_ib, _ib_directly),
    TASTYTRADE: BrokerRow(_tastytrade, _tastytrade_directly, _tastytrade_login, _tastytrade_class),
})  # fmt: skip


def row_of(settings: Settings) -> BrokerRow:
    """Return what is known of the broker that the settings name.

    Raises:
        BrokerSetupError: nothing is.
    """
    name = settings.broker.orders
    if name not in BROKERS:
        raise BrokerSetupError(
            f"broker.orders is {name}, which takes no orders yet: give it a row in BROKERS of gateways/brokers.py"
            " (docs/guides/add-a-broker.md)."
        )
    return BROKERS[name]


def order_port(setup: OrderPortSetup) -> OrderPort:
    """Return the order port of the broker that the settings name; not yet started.

    Raises:
        BrokerSetupError: a secret is missing, its address is no good, or nobody knows the broker.
    """
    return row_of(setup.settings).port(setup)


def direct_way(setup: DirectSetup) -> Way:
    """Return how a direct flatten speaks to the broker that the settings name; its secrets are read now.

    Raises:
        BrokerSetupError: a secret is missing, or nobody knows the broker.
    """
    return row_of(setup.settings).directly(setup)
