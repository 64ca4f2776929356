"""The settings tree: defaults from `defaults.yaml`, then a profile, then the user's file, then the environment.

Environment names are `ZEROHOUR_` plus the path with `__` between levels (`ZEROHOUR_BROKER__GATEWAYS`). Secrets come
from the environment alone and never enter this tree: it holds the names of the variables that carry them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import orjson
import yaml
from pydantic import AfterValidator, ConfigDict, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from domain.limits import ConnectionRules, DayRules, EntryLimits, ExitRules, FeedRules, StrategyRules, TickerRules
from domain.signals.alerts import EVALUATORS
from domain.signals.evaluator import AlertRules
from domain.signals.strategies import PLANS

HERE = Path(__file__).parent
RATE_MAX = 600.0


class SettingsError(Exception):
    """The settings cannot be used; the text is one sentence with the remedy.

    `findings` holds what is wrong with which setting, by its path (`demo.rate`), where that is known.
    """

    def __init__(self, text: str, findings: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.findings = dict(findings or {})


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
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ClientIds:
    """IB client ids: one process per id."""

    __pydantic_config__: ClassVar = _STRICT
    orders: int
    quotes: int
    direct: int


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the order and quote sessions dial, and as whom."""

    __pydantic_config__: ClassVar = _STRICT
    gateways: tuple[Gateway, ...]
    paper_port: int
    live_port: int
    account_env: str
    client_ids: ClientIds


@dataclass(frozen=True, slots=True)
class Feed:
    """Where the hub sessions dial; `hubs` gives each hub its categories."""

    __pydantic_config__: ClassVar = _STRICT
    negotiate_url: str
    key_env: str
    hubs: dict[str, tuple[str, ...]]
    rules: FeedRules


@dataclass(frozen=True, slots=True)
class Supervision:
    """Restart budgets, the watchdog and the mailboxes' soft bound."""

    __pydantic_config__: ClassVar = _STRICT
    restarts_max: int
    restarts_window_ms: int
    watchdog_every_ms: int
    stuck_after_ms: int
    mailbox_soft_bound: int
    sync_every_ms: int


@dataclass(frozen=True, slots=True)
class Warehouse:
    """How market data is kept."""

    __pydantic_config__: ClassVar = _STRICT
    seal_every_ms: int
    disk_free_min_mb: int


def _playable(rate: float) -> float:
    """Refuse a rate that no clock can run at."""
    if not (math.isfinite(rate) and 0 < rate <= RATE_MAX):
        raise ValueError(f"must be above 0 and at most {RATE_MAX:g} market seconds a second")
    return rate


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo day: which market, how fast, and what goes wrong on the way."""

    __pydantic_config__: ClassVar = _STRICT
    seed: int
    session: date
    rate: Annotated[float, AfterValidator(_playable)]
    nav_usd: int
    start_clock: time
    gateway_drop_at: time
    gateway_drop_s: float
    hub_drop_at: time
    hub_drop_s: float
    hub_dropped: str
    frame_interval_ms: int
    market_folder: Path | None = None


class Settings(BaseSettings):
    """Everything that can be set; the loader has scaled transport durations by `rate` already."""

    model_config = SettingsConfigDict(
        env_prefix="ZEROHOUR_", env_nested_delimiter="__", extra="forbid", frozen=True, arbitrary_types_allowed=True
    )
    profile: Literal["demo", "real"]
    trading_mode: Literal["paper", "live"]
    live_armed_env: str
    desk: str
    data_dir: Path
    tickers: tuple[str, ...]
    spot_only: tuple[str, ...]
    lanes: dict[str, tuple[str, ...]]
    alerts: dict[str, tuple[str, ...]]
    promoted: tuple[str, ...]
    feed: Feed
    broker: Broker
    connection: ConnectionRules
    day: DayRules
    entry: EntryLimits
    exits: ExitRules
    strategies: dict[str, StrategyRules]
    ticker_rules: dict[str, TickerRules]
    alert_rules: AlertRulesByKind
    supervision: Supervision
    warehouse: Warehouse
    demo: Demo
    rate: float = 1.0

    @model_validator(mode="before")
    @classmethod
    def _fold_case(cls, layers: Any) -> Any:
        """Let a name from the environment, which comes in lower case, meet the one of the files (`spx`, `SPX`)."""
        return _case_folded(layers)

    @model_validator(mode="after")
    def _names_are_known(self) -> Settings:
        """Refuse a lane that nothing is said of, and kinds and plans that nobody has written."""
        for source in self.lanes:
            for section, rows in (("alerts", self.alerts), ("strategies", self.strategies)):
                if source not in rows:
                    raise ValueError(f"lanes.{source} has no row in {section}; add {section}.{source}")
        for source, kinds in self.alerts.items():
            _check_known(f"alerts.{source}", kinds, EVALUATORS)
            if len(set(kinds)) < len(kinds):
                raise ValueError(f"alerts.{source} names a kind twice")
        for source, rules in self.strategies.items():
            _check_known(f"strategies.{source}.plan", (rules.plan,), PLANS)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the files (which come in as init values)."""
        return env_settings, init_settings

    def digest(self) -> str:
        """Hash the whole tree (blake2b, hexadecimal), for the trace's header."""
        return hashlib.blake2b(self.to_json(), digest_size=12).hexdigest()

    def to_json(self) -> bytes:
        """Write the tree as JSON in its own order (the tree of actors follows it), durations as scaled."""
        return orjson.dumps(self.model_dump(mode="json"))


def _check_known(where: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{where} names {name!r}; there are: {', '.join(sorted(known))}")


def load_settings(
    path: Path | None = None, profile: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Load the settings: defaults, `profiles/<profile>.yaml`, the user's file, overrides, the environment.

    Raises:
        SettingsError: unknown setting, wrong type or unreadable file, as one sentence with the remedy.
    """
    layers = _read_yaml(HERE / "defaults.yaml")
    user = _read_yaml(path) if path is not None else {}
    chosen = profile or user.get("profile") or layers["profile"]
    profile_file = HERE / "profiles" / f"{chosen}.yaml"
    if not profile_file.exists():
        known = ", ".join(sorted(p.stem for p in profile_file.parent.glob("*.yaml")))
        raise SettingsError(f"There is no profile {chosen!r}; choose one of: {known}.")
    for layer in (_read_yaml(profile_file), user, dict(overrides or {})):
        layers = merged(layers, layer)
    layers["profile"] = chosen
    layers["data_dir"] = str(HERE.parent / str(layers["data_dir"]))  # wherever the command is called from
    try:
        settings = Settings(**layers)
    except ValidationError as error:
        raise _refusal(error, path) from None
    return scaled(settings, settings.demo.rate if settings.profile == "demo" else settings.rate)


def from_json(raw: bytes) -> Settings:
    """Read back what `Settings.to_json` wrote (durations are scaled already; the environment is not looked at).

    Raises:
        SettingsError: not a settings tree of this version.
    """
    try:
        return _without_environment(orjson.loads(raw))
    except (ValidationError, orjson.JSONDecodeError) as error:
        raise SettingsError(f"The recorded settings cannot be read with this version: {error}.") from None


def overlaid(recorded: bytes, path: Path) -> Settings:
    """Lay a user's file over a recorded tree (durations in the file are taken as scaled).

    Raises:
        SettingsError: unknown setting, wrong type or unreadable file, as one sentence with the remedy.
    """
    try:
        return _without_environment(merged(orjson.loads(recorded), _read_yaml(path)))
    except ValidationError as error:
        raise _refusal(error, path) from None


def _without_environment(layers: dict[str, Any]) -> Settings:
    class Recorded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings,)

    return Recorded(**layers)


def scaled(settings: Settings, rate: float) -> Settings:
    """Multiply every transport duration by the market clock's rate, so that rules know one clock."""
    if rate == 1.0:
        return settings
    changed: dict[str, Any] = {
        name: _scaled(getattr(settings, name), rate) for name in type(settings).model_fields if name != "demo"
    }
    return settings.model_copy(update=changed | {"rate": rate})


def _scaled(value: Any, rate: float) -> Any:
    if isinstance(value, dict):
        return {key: _scaled(item, rate) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    hints = get_type_hints(type(value), include_extras=True)
    update: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        hint = hints[field.name]
        if get_origin(hint) is Annotated and "transport" in get_args(hint)[1:]:
            update[field.name] = round(item * rate)
        elif dataclasses.is_dataclass(item):
            update[field.name] = _scaled(item, rate)
    return dataclasses.replace(value, **update)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(f"Cannot read {path}: {error.strerror}; give a readable settings file.") from None
    except UnicodeError:
        raise SettingsError(f"{path} is not UTF-8 text; save it as such.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML ({error.__class__.__name__}): {error}; mend the file.") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold settings as `name: value`; it holds {type(content).__name__}.")
    return content


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one tree of settings over another."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        out[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


def _case_folded(value: Any) -> Any:
    """Return a tree in which a lower-case key lies over the sibling that differs from it by case alone."""
    if not isinstance(value, dict):
        return value
    names = {key.lower(): key for key in value if isinstance(key, str) and key != key.lower()}
    out = {key: _case_folded(item) for key, item in value.items() if key not in names}
    for key, name in names.items():
        if key in value:
            out = merged(out, {name: _case_folded(value[key])})
    return out


_EVALUATORS = "domain/signals/alerts.py"
# What a setting of 0.1.0 is called now.
_RENAMED = {
    "flip": "alert_rules.GAMMA_FLIP",
    "breaks": "alert_rules.STRUCTURE_BREAK",
    "indices": "spot_only",
    "day.hard_stop_ms": "day.verify_flat_again_ms",
    "entry.narrow_market_ticks": "entry.narrow_market_increments",
    "entry.drift_min_ticks": "entry.drift_min_increments",
    "exits.min_tick_ticks": "exits.price_min_ticks",
}


def _refusal(error: ValidationError, path: Path | None) -> SettingsError:
    where = str(path) if path is not None else "the settings or the environment"
    parts, findings = [], {}
    for item in error.errors()[:5]:
        name = ".".join(str(part) for part in item["loc"])
        what = item["msg"].removeprefix("Value error, ")
        if not name:
            parts.append(what)
        elif item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            parts.append(f"{name} is not a setting{_remedy(name)}")
        else:
            given = item.get("input")
            if not isinstance(given, dict):  # of a section that lacks something the values say nothing
                what += f" (given: {str(given)[:40]!r})"
            findings[name] = what = what[0].lower() + what[1:]
            parts.append(f"{name}: {what}")
    text = f"In {where}: {'; '.join(parts)}. See config/defaults.yaml for every setting and its unit."
    return SettingsError(text, findings)


def _remedy(unknown: str) -> str:
    if unknown in _RENAMED:
        return f" (it is {_RENAMED[unknown]} now)"
    section, _, kind = unknown.partition(".")
    if section == "alert_rules" and "." not in kind:
        return f": no evaluator is known as {kind}; a kind of your own needs its row in EVALUATORS of {_EVALUATORS}"
    return ""
