"""What settings must hold beyond their types: each leaf its range, pairs of leaves their order, names something known.

Each check returns what it found; a finding is one clause with the setting's path, what was given and what may stand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from datetime import time
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from typing_extensions import is_typeddict

from config.desks import desk_names, is_simulated, of_desk, spread_at, traded_at
from config.tree import DeskBeside, SettingsTree
from domain.limits import EntryLimits
from domain.orders.capabilities import IB, TASTYTRADE, BrokerCapability, can
from domain.ranges import Form, Range
from domain.signals.feed_rules import TODAY
from domain.signals.spread import OF_COMBINATION, PROMOTIONS, SOURCE
from domain.signals.strategies import PLANS
from domain.structure.credit import COVER_STEP_TICKS
from domain.structure.rules import COVER, COVER_RATIO, Combination

SESSION_MS: Final = 23_400_000  # 09:30 to 16:00


class Found(NamedTuple):
    """What is wrong with the setting at `path`."""

    path: str
    what: str

    def __str__(self) -> str:
        """Return it as a clause."""
        return f"{self.path}: {self.what}"


class Leaf(NamedTuple):
    """One value of the tree; `arms` are the types that it may have, each with its marks."""

    path: str
    value: Any
    arms: tuple[tuple[Any, tuple[Any, ...]], ...]


def leaves(hint: Any, value: Any, path: str = "") -> list[Leaf]:
    """Walk a tree (of dataclasses, or as read from a file) along its types; what is not of their shape is left out."""
    found: list[Leaf] = []
    _gather(_shape(hint), value, path, found)
    return found


class _Shape(NamedTuple):
    """The arms of a type, and the one that has leaves below it (`None`: none has, or it is open which)."""

    arms: tuple[tuple[Any, tuple[Any, ...]], ...]
    branch: Any


@cache
def _shape(hint: Any) -> _Shape:
    arms = tuple(_arms(hint))
    branches = [kind for kind, _ in arms if _is_branch(kind)]
    return _Shape(arms, branches[0] if len(branches) == 1 else None)


def _arms(hint: Any, marks: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    if get_origin(hint) is Annotated:
        yield from _arms(get_args(hint)[0], (*marks, *get_args(hint)[1:]))
    elif get_origin(hint) in (UnionType, Union):
        for part in get_args(hint):
            yield from _arms(part, marks)
    else:
        yield hint, marks


def _is_branch(kind: Any) -> bool:
    return get_origin(kind) in (dict, tuple) or dataclasses.is_dataclass(kind) or is_typeddict(kind)


def _gather(shape: _Shape, value: Any, path: str, found: list[Leaf]) -> None:
    """Add the leaves of a value to those found, in the order of the types."""
    kind = shape.branch
    if kind is None or value is None:
        found.append(Leaf(path, value, shape.arms))
    elif get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            of_item = _shape(get_args(kind)[0])
            for n, item in enumerate(value):
                _gather(of_item, item, f"{path}.{n}", found)
    elif get_origin(kind) is dict:
        if isinstance(value, Mapping):
            of_key, of_item = map(_shape, get_args(kind))
            for key, item in value.items():
                below = _joined(path, key)
                found.append(Leaf(below, key, of_key.arms))
                _gather(of_item, item, below, found)
    elif isinstance(value, Mapping):
        for name, of_field in _fields(kind):
            if name in value:
                _gather(of_field, value[name], _joined(path, name), found)
    elif dataclasses.is_dataclass(value):
        for name, of_field in _fields(kind):
            _gather(of_field, getattr(value, name), _joined(path, name), found)


@cache
def _fields(kind: Any) -> tuple[tuple[str, _Shape], ...]:
    """Return the names and shapes of a section's own leaves (`ClassVar`s are none)."""
    hints = get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        names: Iterable[str] = [field.name for field in dataclasses.fields(kind)]
    else:
        names = kind.model_fields if issubclass(kind, SettingsTree) else hints
    return tuple((name, _shape(hints[name])) for name in names)


def _joined(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def all_leaves(kind: type[SettingsTree], values: Any) -> list[Leaf]:
    """Walk all settings: a tree, or the layers that it is made from."""
    found: list[Leaf] = []
    is_layers = isinstance(values, Mapping)
    for name, of_field in _fields(kind):
        if not is_layers:
            _gather(of_field, getattr(values, name), name, found)
        elif name in values:
            _gather(of_field, values[name], name, found)
    return found


def wrong_switches(kind: type[SettingsTree], layers: Any) -> tuple[Found, ...]:
    """Find `true` and `false` where no switch is: they would count as 1 and 0."""
    return tuple(
        Found(leaf.path, f"must not be true or false (given: {str(leaf.value).lower()})")
        for leaf in all_leaves(kind, layers)
        if isinstance(leaf.value, bool) and all(kind is not bool for kind, _ in leaf.arms)
    )


def wrong_leaves(settings: SettingsTree) -> tuple[Found, ...]:
    """Find values out of their range or form."""
    return tuple(
        Found(leaf.path, f"{_wanted(leaf)} (given: {str(leaf.value)[:40]!r})")
        for leaf in all_leaves(type(settings), settings)
        if not _fits(leaf)
    )


def _fits(leaf: Leaf) -> bool:
    if leaf.value is None:
        return any(kind is NoneType for kind, _ in leaf.arms)
    if isinstance(leaf.value, time):
        return leaf.value.tzinfo is None
    marks = [
        [mark for mark in marks if isinstance(mark, Range | Form)] for kind, marks in leaf.arms if kind != NoneType
    ]
    return any(all(mark.holds(leaf.value) for mark in of_arm) for of_arm in marks)


def _wanted(leaf: Leaf) -> str:
    if isinstance(leaf.value, time):
        return "must be New York time without an offset"
    said = [str(mark) for _, marks in leaf.arms for mark in marks if isinstance(mark, Range | Form)]
    return f"must be {' or '.join(dict.fromkeys(said))}"


# (a, b): a must be below b.
BELOW: Final = (
    ("day.preopen_report_ms", "day.preopen_check_ms"),
    ("day.panic_ms", "day.entry_stop_ms"),
    ("day.flatten_ms", "day.panic_ms"),
    ("day.verify_flat_ms", "day.flatten_ms"),
    ("day.verify_flat_again_ms", "day.verify_flat_ms"),
    ("entry.soft_stop_nav", "entry.daily_loss_nav"),
    ("entry.daily_loss_nav", "entry.auto_flatten_nav"),
    ("entry.delta_min", "entry.delta_wanted"),
    ("entry.delta_wanted", "entry.delta_max"),
    ("entry.quote_wait_ms", "entry.intent_deadline_ms"),
    ("entry.fresh_quote_wait_ms", "entry.intent_deadline_ms"),
    ("entry.reservation_wait_ms", "entry.intent_deadline_ms"),
    ("exits.iv_crush_premium", "exits.premium_stop"),
    ("exits.premium_stop", "exits.premium_backstop"),
    ("exits.premium_backstop", "exits.disaster_stop_premium"),
    ("exits.take_first", "exits.take_rest"),
    ("exits.blind_resubscribe_ms", "exits.blind_exit_ms"),
    ("exits.blind_exit_ms", "exits.blind_market_ms"),
    ("exits.blind_resubscribe_ms", "exits.blind_underlying_ms"),
    ("connection.heartbeat_every_ms", "connection.heartbeat_max_ms"),
    ("connection.retry_fast_ms", "connection.retry_slow_ms"),
    ("connection.retry_fast_ms", "connection.retry_fast_for_ms"),
    ("feed.rules.retry_min_ms", "feed.rules.retry_max_ms"),
    ("spread.ratio_min", "spread.ratio_max"),
    ("spread.entry_after_open_ms", "spread.entry_until_ms"),
    ("supervision.watchdog_every_ms", "supervision.stuck_after_ms"),
)
# What holds for every strategy: its profile says so and cannot say otherwise.
ALWAYS: Final = (
    ("no_naked_short", "no desk sells to open what nothing covers"),
    ("force_cancel_all_before_eod_flatten", "an order that still works could fill after the position is closed"),
)
# (a, b): a must not be above b.
AT_MOST: Final = (
    ("entry.positions_per_ticker_max", "entry.positions_max"),
    ("entry.notional_nav", "entry.premium_nav_per_underlying"),
    ("entry.premium_nav_per_underlying", "entry.premium_nav_total"),
    ("entry.quote_age_max_ms", "exits.blind_resubscribe_ms"),
    ("exits.stop_tier_quote_ms", "exits.tier_quote_ms"),
    ("exits.blind_underlying_ms", "exits.blind_market_ms"),
    ("connection.held_batch_ms", "connection.quote_batch_ms"),
    ("connection.strikes_around", "connection.strikes_around_index"),
)


def together(settings: SettingsTree) -> tuple[Found, ...]:
    """Find settings that contradict each other, and names that nothing bears."""
    checks = (
        _order, _sums, _broker, _market, _lanes, _own_kinds, _promoted, _trials, _outside, _tickers, _strategies,
        _spread, _chain, _provider, _demo, _desks, _traded_at,
    )  # fmt: skip
    return tuple(found for check in checks for found in check(settings))


def _order(settings: SettingsTree) -> Iterator[Found]:
    for lesser, greater in BELOW:
        if (a := value_at(settings, lesser)) >= (b := value_at(settings, greater)):
            yield Found(lesser, f"must be below {greater} (given: {a} and {b})")
    for lesser, greater in AT_MOST:
        if (a := value_at(settings, lesser)) > (b := value_at(settings, greater)):
            yield Found(lesser, f"must not be above {greater} (given: {a} and {b})")
    rows = [row.after_open_ms for row in settings.entry.spread_share_by_time]
    if sorted(set(rows)) != rows:
        yield Found("entry.spread_share_by_time", f"must be in the order of after_open_ms, each once (given: {rows})")
    tables = [f"entry.overlay.{name}" for name in ("vix", "realised", "confidence")]
    for path in (*tables, "exits.adaptive.realised", "exits.adaptive.left"):
        levels = [row.at_least for row in value_at(settings, path)]
        if not levels or levels[0] != 0 or sorted(set(levels)) != levels:
            yield Found(path, f"must begin at 0 and rise, each level once (given: {levels})")
    if settings.exits.learned is not None and settings.exits.adaptive.is_on:
        yield Found("exits.learned", "must be null while exits.adaptive.is_on: one profile at a time follows positions")


def value_at(settings: SettingsTree, path: str) -> Any:
    """Return the leaf or section at a path such as `day.panic_ms`."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _sums(settings: SettingsTree) -> Iterator[Found]:
    exits, day = settings.exits, settings.day
    if (steps := exits.entry_mid_ms + exits.entry_step_ms) > exits.entry_total_ms:
        what = f"must not be below entry_mid_ms + entry_step_ms (given: {exits.entry_total_ms} and {steps})"
        yield Found("exits.entry_total_ms", what)
    if settings.entry.twap_min_qty is not None:
        yield from _slices(settings.entry, exits.entry_total_ms)
    if day.entry_after_open_ms + day.entry_stop_ms >= SESSION_MS:
        given = f"(given: {day.entry_after_open_ms} and {day.entry_stop_ms})"
        yield Found("day.entry_stop_ms", f"leaves no time for entries after day.entry_after_open_ms {given}")


def _slices(entry: EntryLimits, order_ms: int) -> Iterator[Found]:
    """Find slices that would be empty, or come before the one before them is over."""
    if entry.twap_min_qty is not None and entry.twap_min_qty < entry.twap_slices:
        what = f"must not be below entry.twap_slices (given: {entry.twap_min_qty} and {entry.twap_slices})"
        yield Found("entry.twap_min_qty", what)
    if (gap_ms := entry.twap_duration_ms // entry.twap_slices) < order_ms:
        what = f"leaves {gap_ms} ms for each of entry.twap_slices, which may take exits.entry_total_ms, {order_ms}"
        yield Found("entry.twap_duration_ms", f"{what} (given: {entry.twap_duration_ms})")


def _broker(settings: SettingsTree) -> Iterator[Found]:
    broker = settings.broker
    clients = broker.client_ids
    chains = (clients.chains,) if settings.feed.chain.origin == "broker" else ()
    ids = (clients.orders, clients.quotes, *chains, clients.direct)
    if len(set(ids)) < len(ids):
        yield Found("broker.client_ids", f"must be different ids, one process each (given: {_listed(ids)})")
    if broker.paper_port == broker.live_port:
        yield Found("broker.live_port", f"must not be broker.paper_port (given: {broker.live_port})")
    if not broker.gateways:
        yield Found("broker.gateways", "must name at least one gateway (given: none)")
    yield from _twice("broker.gateways", (f"{gateway.host}:{gateway.port}" for gateway in broker.gateways))
    yield from _twice("broker.foreign_allowed", broker.foreign_allowed)


def _market(settings: SettingsTree) -> Iterator[Found]:
    hubs = settings.feed.hubs
    yield from _twice("feed.hubs", (category for categories in hubs.values() for category in categories))
    dated = [c for wanted in hubs.values() for c in wanted if c.endswith(TODAY)]
    if dated and settings.feed.source in ("rest", "file"):
        yield Found("feed.hubs", f"must not name what feed.source hubs alone delivers (given: {_listed(dated)})")
    if not settings.feed.keys:
        yield Found("feed.keys", "must name at least one environment variable (given: none)")
    yield from _twice("feed.keys", settings.feed.keys)
    yield from _twice("tickers", settings.tickers)
    yield from _twice("spot_only", settings.spot_only)
    for ticker in settings.spot_only:
        if ticker in settings.tickers:
            yield Found("spot_only", f"must not name what tickers names (given: {ticker})")
    yield from _twice("day.closed_dates", settings.day.closed_dates)
    if not settings.kill.spread_norm:
        yield Found("kill.spread_norm", "must have at least one row (given: none)")


def _lanes(settings: SettingsTree) -> Iterator[Found]:
    for source, watched in settings.lanes.items():
        for section, rows in (("alerts", settings.alerts), ("strategies", settings.strategies)):
            if source not in rows:
                yield Found(f"lanes.{source}", f"has no row in {section}; add {section}.{source}")
        yield from _twice(f"lanes.{source}", watched)
        for ticker in watched:
            if ticker not in settings.tickers:
                yield Found(f"lanes.{source}", f"watches {ticker}, which tickers does not name; add it there")
            if ticker not in settings.ticker_rules:
                yield Found(f"lanes.{source}", f"watches {ticker}, which has no rules; add ticker_rules.{ticker}")
    for source, kinds in settings.alerts.items():
        yield from _unknown(f"alerts.{source}", kinds, settings.kinds)
        yield from _twice(f"alerts.{source}", kinds)


def _own_kinds(settings: SettingsTree) -> Iterator[Found]:
    for kind in settings.own_kinds:
        of_kind = {f"alert_rules.{kind}": settings.alert_rules[kind]}
        of_kind |= {f"alert_trials.{kind}.{n}": one for n, one in enumerate(settings.alert_trials.get(kind, ()))}
        for place, rules in of_kind.items():
            for leaf in leaves(type(rules), rules, place):
                if not _fits(leaf):
                    yield Found(leaf.path, f"{_wanted(leaf)} (given: {str(leaf.value)[:40]!r})")


def _promoted(settings: SettingsTree) -> Iterator[Found]:
    rules: Mapping[str, Any] = settings.alert_rules
    for name in settings.promoted:
        if name in PROMOTIONS:
            continue
        kind, _, version = name.rpartition("-")
        if kind not in settings.kinds:
            known = ", ".join(sorted(settings.kinds))
            yield Found("promoted", f"must be <kind>-<version> of a known kind: {known} (given: {name!r})")
        elif not version.isdecimal() or not (
            1 <= int(version) <= rules[kind].version or int(version) in _tried(settings, kind)
        ):
            least = f"a version from 1 to that of alert_rules.{kind}, which is {rules[kind].version}, or of a trial"
            yield Found("promoted", f"must name {least} (given: {name!r})")
    yield from _twice("promoted", settings.promoted)


def _tried(settings: SettingsTree, kind: str) -> list[int]:
    return [rules.version for rules in settings.alert_trials.get(kind, ())]


def _trials(settings: SettingsTree) -> Iterator[Found]:
    for kind in settings.alert_trials:
        versions = [settings.alert_rules[kind].version, *_tried(settings, kind)]
        for version in dict.fromkeys(v for v in versions if versions.count(v) > 1):
            yield Found(f"alert_trials.{kind}", f"has version {version} twice; count it up")


def _outside(settings: SettingsTree) -> Iterator[Found]:
    for kind in settings.outside.kinds:
        if kind in settings.kinds:
            yield Found(f"outside.kinds.{kind}", "bears the name of a kind of alert_rules; give it a name of its own")


def _tickers(settings: SettingsTree) -> Iterator[Found]:
    for ticker, rules in settings.ticker_rules.items():
        path = f"ticker_rules.{ticker}"
        for size in ("underlying_stop", "progress", "iv_size"):
            ticks, bps = getattr(rules, f"{size}_ticks"), getattr(rules, f"{size}_bps")
            if (ticks is None) == (bps is None):
                yield Found(f"{path}.{size}_ticks", f"must be set, or {size}_bps, not both (given: {ticks} and {bps})")
        if rules.premium_min_ticks >= rules.premium_max_ticks:
            given = f"(given: {rules.premium_min_ticks} and {rules.premium_max_ticks})"
            yield Found(f"{path}.premium_min_ticks", f"must be below premium_max_ticks {given}")


def _strategies(settings: SettingsTree) -> Iterator[Found]:
    for source, rules in settings.strategies.items():
        yield from _unknown(f"strategies.{source}.plan", (rules.plan,), PLANS)
        if rules.signal_age_max_ms <= settings.entry.intent_deadline_ms:
            given = f"(given: {rules.signal_age_max_ms} and {settings.entry.intent_deadline_ms})"
            yield Found(f"strategies.{source}.signal_age_max_ms", f"must be above entry.intent_deadline_ms {given}")
        for name, why in ALWAYS:
            if not getattr(rules, name):
                yield Found(f"strategies.{source}.{name}", f"must be true: {why} (given: false)")


def _spread(settings: SettingsTree) -> Iterator[Found]:
    rules = settings.spread
    if (desk := spread_at(settings)) not in desk_names(settings):
        yield from _unknown("spread.desk", (desk,), desk_names(settings))
        return
    if (most := COVER_RATIO * rules.spx_contracts_per_spread) < rules.spy_contracts_per_spread:
        what = f"must not be above {COVER_RATIO} times spx_contracts_per_spread, which covers no more"
        yield Found("spread.spy_contracts_per_spread", f"{what} (given: {rules.spy_contracts_per_spread} and {most})")
    if rules.signal_age_max_ms <= settings.entry.intent_deadline_ms:
        given = f"(given: {rules.signal_age_max_ms} and {settings.entry.intent_deadline_ms})"
        yield Found("spread.signal_age_max_ms", f"must be above entry.intent_deadline_ms {given}")
    if SOURCE in settings.lanes or SOURCE in settings.strategies:
        yield Found("spread.is_on", f"is the switch of the spread; take {SOURCE} out of lanes and strategies")
    if round(rules.vertical_width * 100) % COVER_STEP_TICKS:
        what = f"must be 0, or a multiple of {COVER_STEP_TICKS / 100:g} as the strikes are"
        yield Found("spread.vertical_width", f"{what} (given: {rules.vertical_width})")
    if rules.combination is not None:
        yield from _combination(settings)
    if not rules.is_on:
        return
    if of_desk(settings, spread_at(settings)).trading_mode == "live" and not rules.is_live_allowed:
        what = "sells calls that another underlying covers; set spread.is_live_allowed for trading_mode live"
        yield Found("spread.is_on", what)
    for ticker in dict.fromkeys((COVER, rules.short_ticker)):
        if ticker not in settings.tickers:
            yield Found("spread.is_on", f"needs {ticker}, which tickers does not name; add it there")
        if ticker not in settings.ticker_rules:
            yield Found("spread.is_on", f"needs {ticker}, which has no rules; add ticker_rules.{ticker}")


def _combination(settings: SettingsTree) -> Iterator[Found]:
    rules, desk = settings.spread, spread_at(settings)
    broker = of_desk(settings, desk).broker.orders
    if rules.combination is Combination.CALENDAR:
        what = f"must be {' or '.join(OF_COMBINATION)}, or null: every leg expires today, and one of a calendar later"
        yield Found("spread.combination", f"{what} (given: {rules.combination})")
    if rules.vertical_width > 0:
        what = "and vertical_width exclude each other; set one to null or 0"
        yield Found("spread.combination", f"{what} (given: {rules.combination} and {rules.vertical_width:g})")
    if not can(broker, BrokerCapability.COMBOS):
        whose = "broker.orders" if desk == settings.desk else f"desks.{desk}.broker"
        what = f"is one order, which this broker does not take; set {whose} to one that does, or this to null"
        yield Found("spread.combination", f"{what} (given: {rules.combination} at {broker})")
    step = COVER_STEP_TICKS / 100
    for name, usd, least in (("wing_width", rules.wing_width, step), ("short_distance", rules.short_distance, 0.0)):
        if usd < least or round(usd * 100) % COVER_STEP_TICKS:
            what = f"must be a multiple of {step:g} as the strikes are, and not below {least:g}"
            yield Found(f"spread.{name}", f"{what} (given: {usd})")


def _chain(settings: SettingsTree) -> Iterator[Found]:
    chain, is_source = settings.feed.chain, settings.feed.source == "chain"
    if is_source and chain.origin == "files" and settings.profile == "real" and chain.folder is None:
        yield Found("feed.chain.folder", "must name the folder of the chains where feed.source is chain")
    if chain.origin == "broker" and chain.lines <= len(settings.tickers):
        given = f"(given: {chain.lines} for {len(settings.tickers)} tickers)"
        yield Found("feed.chain.lines", f"must be above the number of tickers, each of which takes one {given}")


_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def _provider(settings: SettingsTree) -> Iterator[Found]:
    provider = settings.feed.provider
    yield from _twice("feed.provider.events", provider.events)
    yield from _twice("feed.provider.first", provider.first)
    for name, url, secured in (
        ("rest_url", provider.rest_url, "https"), ("stream_url", provider.stream_url, "wss"),
    ):  # fmt: skip
        parts = urlsplit(url)
        if parts.scheme != secured and parts.hostname not in _LOOPBACK:
            yield Found(
                f"feed.provider.{name}", f"must begin with {secured}:// beyond this machine: the key goes there"
            )


def _demo(settings: SettingsTree) -> Iterator[Found]:
    yield from _unknown("demo.hub_dropped", (settings.demo.hub_dropped,), settings.feed.hubs)


def _desks(settings: SettingsTree) -> Iterator[Found]:
    """Find desks that could meet: at a gateway, in one account, in one ledger."""
    sessions: dict[tuple[str, int, int], str] = {}
    logins: dict[tuple[str, int], str] = {}
    accounts: dict[str, str] = {}
    for name in desk_names(settings):
        path, beside = f"desks.{name}", settings.desks.get(name)
        if beside is not None and name == settings.desk:
            yield Found(path, "is the desk of `desk` already; give it another name")
            return
        if beside is not None:
            yield from _desk_alone(settings, path, beside)
        if beside is not None and beside.kind == "sim" and not _has_quotes(settings, beside):
            continue
        broker = of_desk(settings, name).broker
        ids, is_sim = broker.client_ids, is_simulated(settings, name)
        for gateway in broker.gateways:
            host = _machine(gateway.host)
            if not is_sim and broker.orders == IB:
                other = logins.setdefault((host, gateway.port), name)
                if other != name:
                    what = f"must not be those of desk {other}: an emergency cancels all orders of a gateway's login"
                    yield Found(f"{path}.gateways", f"{what} (given: {gateway.host}:{gateway.port})")
            for client_id in (
                (ids.quotes,) if is_sim else dict.fromkeys((ids.orders, ids.quotes, ids.chains, ids.direct))
            ):
                other = sessions.setdefault((host, gateway.port, client_id), name)
                if other != name:
                    where = f"{gateway.host}:{gateway.port}"
                    what = f"must not be those of desk {other} at {where}, one process each (given: {client_id})"
                    yield Found(f"{path}.sim.quotes_client_id" if is_sim else f"{path}.client_ids", what)
                    break
        if is_sim:
            continue
        other = accounts.setdefault(broker.account_env, name)
        if other != name:
            what = f"must not be that of desk {other}: an account has one desk (given: {broker.account_env})"
            yield Found(f"{path}.account_env", what)


def _machine(host: str) -> str:
    """Return one name for a host, however it is written: this machine has several."""
    name = host.lower().rstrip(".")
    return "localhost" if name in _LOOPBACK or name.startswith("127.") else name


def _has_quotes(settings: SettingsTree, beside: DeskBeside) -> bool:
    """Return whether a simulated desk names a desk that has a quote session."""
    source = beside.quotes_of or settings.desk
    return source in desk_names(settings) and not is_simulated(settings, source)


def _desk_alone(settings: SettingsTree, path: str, beside: DeskBeside) -> Iterator[Found]:
    """Find what a desk lacks, or has and cannot use."""
    if beside.kind == "sim":
        for given in ("gateways", "port", "account_env", "armed_env", "client_ids"):
            if getattr(beside, given):
                yield Found(f"{path}.{given}", "is nothing of a sim desk, whose orders are filled here; take it out")
        if not _has_quotes(settings, beside):
            yield Found(f"{path}.quotes_of", f"must name a desk with a gateway (given: {beside.quotes_of!r})")
        return
    if settings.profile == "demo":
        yield Found(f"{path}.kind", f"must be sim in profile demo, which knows one gateway (given: {beside.kind!r})")
    for wanted in ("gateways", "account_env", "client_ids"):
        if not getattr(beside, wanted):
            yield Found(f"{path}.{wanted}", f"must be set: a {beside.kind} desk has {wanted} of its own")
    if beside.quotes_of is not None:
        yield Found(f"{path}.quotes_of", "is for sim desks; this one has a quote session of its own")
    others = [settings.broker.orders, *(other.broker for other in settings.desks.values() if other is not beside)]
    if beside.broker == TASTYTRADE and TASTYTRADE in others:
        yield Found(f"{path}.broker", "is another desk's already: broker.tastytrade names one account")
    if beside.kind == "live" and beside.armed_env is None:
        yield Found(f"{path}.armed_env", 'must name the variable that arms this live desk with "yes"')
    if beside.kind == "paper" and beside.armed_env is not None:
        yield Found(f"{path}.armed_env", "is for live desks; take it out")
    taken = [other.armed_env for other in settings.desks.values() if other is not beside]
    if beside.armed_env is not None and beside.armed_env in (settings.live_armed_env, *taken):
        yield Found(f"{path}.armed_env", f"must arm this desk alone (given: {beside.armed_env})")


def _traded_at(settings: SettingsTree) -> Iterator[Found]:
    known = desk_names(settings)
    for source, rules in settings.strategies.items():
        yield from _unknown(f"strategies.{source}.desks", rules.desks, known)
        yield from _unknown(f"strategies.{source}.switch_to", rules.switch_to, known)
        yield from _twice(f"strategies.{source}.desks", rules.desks)
        for name in rules.switch_to:
            if name in traded_at(settings)[source]:
                yield Found(f"strategies.{source}.switch_to", f"names {name}, which trades it from the start")


def _unknown(path: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Found]:
    for name in names:
        if name not in known:
            yield Found(path, f"names {name!r}; there are: {', '.join(sorted(known))}")


def _twice(path: str, items: Iterable[object]) -> Iterator[Found]:
    given = tuple(items)
    for item in dict.fromkeys(item for item in given if given.count(item) > 1):
        yield Found(path, f"names {item} twice")


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
