"""What can be set, as types: the tree of all settings, each leaf with what it may hold. `config.settings` loads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, assert_never

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from config.alert_tree import AlertTree
from domain.alarm import Severity
from domain.limits import (
    ConnectionRules,
    DayRules,
    EntryLimits,
    ExitRules,
    FeedRules,
    KillRules,
    RestRules,
    StrategyRules,
    TickerRules,
)
from domain.ranges import (
    BriefMs,
    Checked,
    ClientId,
    Count,
    DayMs,
    DeskName,
    EnvName,
    Form,
    LongMs,
    Name,
    PauseMs,
    Port,
    Range,
    RealMs,
    Ticker,
)
from domain.readiness import ReadinessRules
from domain.structure.rules import SpreadRules
from domain.tax.rules import TaxRules

PREFIX = "ZEROHOUR_"
RATE_MAX = 600
CHAIN_CATEGORIES: Final = ("classic_gex_full", "classic_gex_zero", "classic_gex_one")  # what a chain tells

ConId = Annotated[int, Range(1, 2**31 - 1)]
Days = Annotated[int, Range(1, 36_500)]
Address = Annotated[str, Form(r"\S*", "a folder or an address without spaces, or empty")]
Network = Annotated[str, Form(r"[0-9a-fA-F.:]+(/\d{1,3})?", "an address or a network, as 192.168.1.0/24")]
Symbol = Annotated[str, Form(r"[A-Z][A-Z0-9 .]{0,11}", "a symbol in capitals, or a conId")]
Category = Annotated[
    str,
    Form(
        r"(classic|state)_gex_(full|zero|one|today|\d{8})|state_(delta|gamma|vanna|charm)_(zero|one|today|\d{8})|orderflow_orderflow",
        "a category of the vendor, such as classic_gex_zero",
    ),
]


Topic = Literal["entry", "exit", "reject", "kill", "mode", "feed", "alarm", "day", "phase"]

_STRICT = {"extra": "forbid"}


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
    chains: ClientId
    direct: ClientId


BrokerName = Literal["ib", "tastytrade"]  # whom orders can go to


@dataclass(frozen=True, slots=True)
class Tastytrade:
    """The account at Tastytrade for `broker.orders: tastytrade`: where it is, and which variables carry its secrets."""

    __pydantic_config__: ClassVar = _STRICT
    rest_url: Annotated[
        str, Form(r"https?://\S+", "an address that begins with https:// (http:// on this machine)")
    ] = "https://api.cert.tastyworks.com"
    stream_url: Annotated[str, Form(r"wss?://\S+", "an address that begins with wss:// (ws:// on this machine)")] = (
        "wss://streamer.cert.tastyworks.com"
    )
    client_secret_env: EnvName = "ZEROHOUR_TASTYTRADE_SECRET"
    refresh_token_env: EnvName = "ZEROHOUR_TASTYTRADE_TOKEN"
    account_env: EnvName = "ZEROHOUR_TASTYTRADE_ACCOUNT"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the order and quote sessions dial, and as whom; `orders` says which broker the orders go to."""

    __pydantic_config__: ClassVar = _STRICT
    gateways: tuple[Gateway, ...]
    paper_port: Port
    live_port: Port
    account_env: EnvName
    client_ids: ClientIds
    foreign_allowed: tuple[ConId | Symbol, ...]
    orders: BrokerName = "ib"
    tastytrade: Tastytrade = Tastytrade()


@dataclass(frozen=True, slots=True)
class SimDesk:
    """The account and the fills of a desk whose orders meet another desk's quotes in this process.

    An order is looked at `latency_ms` after it came; it takes `size_share` of the size that is quoted on the other
    side, and pays `cross_share` of the spread from the mid (1: the quoted price, more: worse than it). Its quotes come
    over a session of `quotes_client_id` at the other desk's gateways.
    """

    __pydantic_config__: ClassVar = _STRICT
    nav_usd: Annotated[int, Range(1, 1_000_000_000)] = 300_000
    latency_ms: BriefMs = 150
    cross_share: Annotated[float, Range(0.5, 3)] = 1.0
    size_share: Annotated[float, Range(0, 1, is_open=True)] = 0.5
    quotes_client_id: ClientId = 41


@dataclass(frozen=True, slots=True)
class DeskBeside:
    """A desk beside that of `desk`: whose money, at which gateways, and as whom its sessions log in there.

    `broker` is whom its orders go to; quotes are the gateways'. `port` is the only one that it trades on (`None`: that
    of `broker` for its kind). `armed_env` must be "yes" for a live one. A `sim` desk has no gateway: its orders are
    filled in this process, from the quotes of `quotes_of` (`None`: the desk of `desk`).
    """

    __pydantic_config__: ClassVar = _STRICT
    kind: Literal["live", "paper", "sim"]
    broker: BrokerName = "ib"
    gateways: tuple[Gateway, ...] = ()
    port: Port | None = None
    account_env: EnvName | None = None
    armed_env: EnvName | None = None
    client_ids: ClientIds | None = None
    foreign_allowed: tuple[ConId | Symbol, ...] = ()
    quotes_of: DeskName | None = None
    sim: SimDesk = SimDesk()


@dataclass(frozen=True, slots=True)
class ChainFiles:
    """Where option chains come from for `source: chain` (files or the broker), and how old one may be."""

    __pydantic_config__: ClassVar = _STRICT
    origin: Literal["files", "broker"]
    age_max_ms: LongMs
    lines: Annotated[int, Range(1, 100)]
    strikes_around: Annotated[int, Range(1, 500)]
    expiries: Annotated[int, Range(1, 8)]
    folder: Annotated[Path, Checked("`run` reads it")] | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider of chains, prices and bars for `source: provider`: where it is, and how much it is asked."""

    __pydantic_config__: ClassVar = _STRICT
    rest_url: Annotated[str, Form(r"https?://\S+", "an address that begins with http:// or https://")]
    stream_url: Annotated[str, Form(r"wss?://\S+", "an address that begins with ws:// or wss://")]
    key_env: EnvName
    events: tuple[Literal["T", "Q", "A", "AM"], ...]
    first: tuple[Ticker, ...]
    chain_every_ms: LongMs
    chain_days: Annotated[int, Range(1, 90)]
    chain_age_max_ms: LongMs
    spot_age_max_ms: LongMs
    silent_after_ms: RealMs
    concurrency: Annotated[int, Range(1, 64)]


@dataclass(frozen=True, slots=True)
class Feed:
    """Which source market data comes from, and where the hub sessions dial; `hubs` gives each hub its categories."""

    __pydantic_config__: ClassVar = _STRICT
    source: Literal["hubs", "rest", "chain", "file", "provider"]
    protocol: Literal["v2", "legacy"]
    negotiate_url: Annotated[str, Form(r"https?://\S+", "an address that begins with http:// or https://")]
    keys: tuple[EnvName, ...]
    hubs: dict[Name, tuple[Category, ...]]
    rest: RestRules
    chain: ChainFiles
    folder: Annotated[Path, Checked("`run` reads it where feed.source is file")] | None
    rules: FeedRules
    provider: Provider

    @property
    def by_hub(self) -> dict[str, tuple[str, ...]]:
        """The hubs of the source in use, each with the categories that it delivers; a source without hubs is one."""
        match self.source:
            case "hubs":
                return dict(self.hubs)
            case "chain" | "provider":
                return {self.source: CHAIN_CATEGORIES}
            case "rest" | "file":
                return {self.source: tuple(category for wanted in self.hubs.values() for category in wanted)}
            case _:
                assert_never(self.source)


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
class Retention:
    """How many days things stay on this disk before they are archived and leave it."""

    __pydantic_config__: ClassVar = _STRICT
    ticks_days: Days
    buckets_days: Days


@dataclass(frozen=True, slots=True)
class Backup:
    """Where copies go, and from when on a missing one is an alarm."""

    __pydantic_config__: ClassVar = _STRICT
    copy_to: Address
    targets: tuple[Address, ...]
    at: time
    overdue_ms: Annotated[int, Range(3_600_000, 604_800_000)]


@dataclass(frozen=True, slots=True)
class Warehouse:
    """How market data is kept."""

    __pydantic_config__: ClassVar = _STRICT
    seal_every_ms: DayMs
    disk_free_min_mb: Annotated[int, Range(1, 100_000_000)]
    quotes_every_ms: DayMs
    chain_every_ms: DayMs
    archive_to: Address
    retention: Retention


@dataclass(frozen=True, slots=True)
class PublicWeb:
    """The listener that anybody may read: alerts, trades, fills, shadows and weeks, without any action."""

    __pydantic_config__: ClassVar = _STRICT
    is_on: bool
    host: Annotated[str, Form(r"[A-Za-z0-9._:-]+", "a host name or an address")]
    port: Port
    delay_ms: PauseMs
    allowed_from: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate that both listeners show beyond loopback; `None`: they have none."""

    __pydantic_config__: ClassVar = _STRICT
    certificate: Annotated[str, Form(r"\S+", "a file, without spaces")] | None
    key: Annotated[str, Form(r"\S+", "a file, without spaces")] | None


@dataclass(frozen=True, slots=True)
class Web:
    """The dashboard: whether it is served, where, and what it needs beyond loopback."""

    __pydantic_config__: ClassVar = _STRICT
    is_on: bool
    host: Annotated[str, Form(r"[A-Za-z0-9._:-]+", "a host name or an address")]
    port: Port
    token_env: EnvName
    allows_actions: bool
    rate_per_s: Annotated[float, Range(0, 10_000, is_open=True)]
    clients_max: Annotated[int, Range(1, 10_000)]
    public: PublicWeb
    allowed_from: tuple[Network, ...]
    tls: Tls
    allows_plain_http: bool


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """One place where lines for people go: the variable with its address, which topics, from which severity on."""

    __pydantic_config__: ClassVar = _STRICT
    url_env: EnvName
    topics: tuple[Topic, ...]
    severity_min: Severity


@dataclass(frozen=True, slots=True)
class Notify:
    """Lines for people beyond the console, and the sign of life that a watchman outside waits for."""

    __pydantic_config__: ClassVar = _STRICT
    targets: dict[Name, NotifyTarget]
    batch_ms: RealMs
    lines_max: Count
    queue_max: Annotated[int, Range(10, 100_000)]
    send_timeout_ms: RealMs
    retry_min_ms: RealMs
    retry_max_ms: LongMs
    give_up_ms: DayMs
    heartbeat_env: EnvName
    heartbeat_every_ms: RealMs


@dataclass(frozen=True, slots=True)
class Outside:
    """Signals that programs of one's own offer (POST /api/signals) to the lanes of the source `outside`."""

    __pydantic_config__: ClassVar = _STRICT
    token_env: EnvName
    kinds: dict[Name, Annotated[int, Range(1, 1_000_000)]]


@dataclass(frozen=True, slots=True)
class PromotionRules:
    """What a promotion asks for: resolved outcomes, and what the lower bound of the win rate must be above."""

    __pydantic_config__: ClassVar = _STRICT
    outcomes_min: Annotated[int, Range(1, 100_000)]
    rate_floor: Annotated[float, Range(0, 1)]


@dataclass(frozen=True, slots=True)
class Ask:
    """Plain language: the model that may choose what is looked up and put it into words, where one is named."""

    __pydantic_config__: ClassVar = _STRICT
    shape: Literal["none", "openai", "anthropic"]
    url: Annotated[str, Form(r"(https?://\S+)?", "an address that begins with https:// or http://, or empty")]
    model: Annotated[str, Form(r"[\w.:/@+-]*", "a model's name without spaces, or empty")]
    key_env: EnvName
    rounds_max: Annotated[int, Range(1, 20)]
    timeout_ms: RealMs


@dataclass(frozen=True, slots=True)
class Mcp:
    """The MCP server of `main.py mcp`: limits of a query, and whether a client may raise the kill level."""

    __pydantic_config__: ClassVar = _STRICT
    allows_kill: bool
    rows_max: Annotated[int, Range(1, 10_000)]
    timeout_ms: RealMs


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


@dataclass(frozen=True, slots=True)
class MarketDrawn:
    """The kind of market that is simulated, and how strongly dealers' hedging acts on an honest one's prices."""

    __pydantic_config__: ClassVar = _STRICT
    kind: Literal["anchored", "honest"]
    feedback: Annotated[float, Range(0, 3)]


class SettingsTree(AlertTree):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, arbitrary_types_allowed=True
    )
    profile: Literal["demo", "real"]
    trading_mode: Literal["paper", "live"]
    live_armed_env: EnvName
    desk: DeskName
    data_dir: Annotated[Path, Checked("any folder; `run` makes it, `doctor` looks at it")]
    tickers: tuple[Ticker, ...]
    spot_only: tuple[Ticker, ...]
    lanes: dict[Name, tuple[Ticker, ...]]
    alerts: dict[Name, tuple[Annotated[str, Checked("a row of EVALUATORS")], ...]]
    promoted: tuple[Annotated[str, Checked("a kind of EVALUATORS and one of its versions")], ...]
    feed: Feed
    broker: Broker
    desks: dict[DeskName, DeskBeside] = Field(default_factory=dict)
    connection: ConnectionRules
    day: DayRules
    entry: EntryLimits
    exits: ExitRules
    kill: KillRules
    strategies: dict[Name, StrategyRules]
    spread: SpreadRules
    ticker_rules: dict[Ticker, TickerRules]
    promotion: PromotionRules
    supervision: Supervision
    warehouse: Warehouse
    backup: Backup
    web: Web
    notify: Notify
    tax: TaxRules
    outside: Outside
    ask: Ask
    mcp: Mcp
    readiness: ReadinessRules
    demo: Demo
    market: MarketDrawn
