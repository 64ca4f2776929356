"""What can be set, as types: the tree of all settings, each leaf with what it may hold. `config.settings` loads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from domain.limits import (
    ConnectionRules,
    DayRules,
    EntryLimits,
    ExitRules,
    FeedRules,
    KillRules,
    StrategyRules,
    TickerRules,
)
from domain.ranges import Checked, ClientId, Count, DayMs, EnvName, Form, LongMs, Name, Port, Range, RealMs, Ticker
from domain.signals.alerts import EVALUATORS
from domain.signals.evaluator import AlertRules

PREFIX = "ZEROHOUR_"
RATE_MAX = 600

ConId = Annotated[int, Range(1, 2**31 - 1)]
Symbol = Annotated[str, Form(r"[A-Z][A-Z0-9 .]{0,11}", "a symbol in capitals, or a conId")]
# Order references carry the desk's name and have 32 characters.
Desk = Annotated[
    str,
    Form(r"(?!(ledger|shared)$)[A-Za-z][A-Za-z0-9_]{0,11}", "a name of at most 12 letters, digits and _, not ledger"),
]
Category = Annotated[
    str,
    Form(
        r"(classic|state)_gex_(full|zero|one|\d{8})|state_(delta|gamma|vanna|charm)_(zero|one|\d{8})|orderflow_orderflow",
        "a category of the vendor, such as classic_gex_zero",
    ),
]


_STRICT = {"extra": "forbid"}

if TYPE_CHECKING:
    AlertRulesByKind = dict[str, AlertRules]
else:  # each kind with the rules that its evaluator declares
    AlertRulesByKind = TypedDict("AlertRulesByKind", {kind: made.rules_type for kind, made in EVALUATORS.items()})
    AlertRulesByKind.__pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Gateway:
    """Address of one IB Gateway."""

    __pydantic_config__: ClassVar = _STRICT
    host: Annotated[str, Form(r"[A-Za-z0-9._:-]+", "a host name or an address")]
    port: Port


@dataclass(frozen=True, slots=True)
class ClientIds:
    """IB client ids: one process per id."""

    __pydantic_config__: ClassVar = _STRICT
    orders: ClientId
    quotes: ClientId
    direct: ClientId


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the order and quote sessions dial, and as whom."""

    __pydantic_config__: ClassVar = _STRICT
    gateways: tuple[Gateway, ...]
    paper_port: Port
    live_port: Port
    account_env: EnvName
    client_ids: ClientIds
    foreign_allowed: tuple[ConId | Symbol, ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """Where the hub sessions dial; `hubs` gives each hub its categories."""

    __pydantic_config__: ClassVar = _STRICT
    negotiate_url: Annotated[str, Form(r"https?://\S+", "an address that begins with http:// or https://")]
    key_env: EnvName
    hubs: dict[Name, tuple[Category, ...]]
    rules: FeedRules


@dataclass(frozen=True, slots=True)
class Supervision:
    """Restart budgets, the watchdog and the mailboxes' soft bound."""

    __pydantic_config__: ClassVar = _STRICT
    restarts_max: Count
    restarts_window_ms: LongMs
    watchdog_every_ms: RealMs
    stuck_after_ms: RealMs
    mailbox_soft_bound: Annotated[int, Range(1, 10_000_000)]
    sync_every_ms: RealMs


@dataclass(frozen=True, slots=True)
class Warehouse:
    """How market data is kept."""

    __pydantic_config__: ClassVar = _STRICT
    seal_every_ms: DayMs
    disk_free_min_mb: Annotated[int, Range(1, 100_000_000)]


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo day: which market, how fast, and what goes wrong on the way."""

    __pydantic_config__: ClassVar = _STRICT
    seed: Annotated[int, Range(0, 2**63 - 1)]
    session: date
    rate: Annotated[float, Range(0, RATE_MAX, is_open=True)]
    nav_usd: Annotated[int, Range(1, 1_000_000_000)]
    start_clock: time
    gateway_drop_at: time
    gateway_drop_s: Annotated[float, Range(0, 86_400)]
    hub_drop_at: time
    hub_drop_s: Annotated[float, Range(0, 86_400)]
    hub_dropped: Name
    frame_interval_ms: RealMs
    market_folder: Annotated[Path, Checked("`run --market` reads it")] | None = None


class SettingsTree(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, arbitrary_types_allowed=True
    )
    profile: Literal["demo", "real"]
    trading_mode: Literal["paper", "live"]
    live_armed_env: EnvName
    desk: Desk
    data_dir: Annotated[Path, Checked("any folder; `run` makes it, `doctor` looks at it")]
    tickers: tuple[Ticker, ...]
    spot_only: tuple[Ticker, ...]
    lanes: dict[Name, tuple[Ticker, ...]]
    alerts: dict[Name, tuple[Annotated[str, Checked("a row of EVALUATORS")], ...]]
    promoted: tuple[Annotated[str, Checked("a kind of EVALUATORS and one of its versions")], ...]
    feed: Feed
    broker: Broker
    connection: ConnectionRules
    day: DayRules
    entry: EntryLimits
    exits: ExitRules
    kill: KillRules
    strategies: dict[Name, StrategyRules]
    ticker_rules: dict[Ticker, TickerRules]
    alert_rules: AlertRulesByKind
    supervision: Supervision
    warehouse: Warehouse
    demo: Demo
