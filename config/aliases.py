"""Settings of the spread system before this one, by their names there: what each becomes here, or why it cannot.

Its YAML sections stand in a settings file beside or in place of our own; its variables count for profile real alone (a
shell that still carries them must not change a demo day). Where both name the same, our own name wins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import time
from typing import Any, Final, NamedTuple

from config.layers import merged

SECTIONS: Final = ("trading", "risk_management", "execution", "dashboard", "logging")
_OPEN_MINUTE, _CLOSE_MINUTE = 9 * 60 + 30, 16 * 60
_EACH: Final = "*"  # stands for every strategy

Layer = dict[str, Any]


class AliasError(ValueError):
    """A setting of before that cannot be honoured; the text is one sentence with the remedy."""


class Alias(NamedTuple):
    """A name of before: what it is here (`becomes`, for people), and how a value is taken over.

    `take` returns our settings as a tree, empty where the value changes nothing, and raises a `ValueError` with what is
    wrong about the value.
    """

    name: str
    becomes: str
    take: Callable[[Any], Layer]


def _number(value: Any, least: float = 0) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("is no number") from None
    if not least <= number < 1e12:
        raise ValueError(f"must be {least:g} or more")
    return number


def _whole(value: Any, least: int = 1) -> int:
    number = _number(value, least)
    if number != int(number):
        raise ValueError("must be a whole number")
    return int(number)


def _minute(value: Any) -> int:
    try:
        clock = time.fromisoformat(str(value))
    except ValueError:
        raise ValueError("is no time; write it as 09:35") from None
    return clock.hour * 60 + clock.minute


def _is_true(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in ("true", "yes", "1", "on"):
        return True
    if text in ("false", "no", "0", "off", ""):
        return False
    raise ValueError("must be true or false")


def _trades(value: Any) -> Layer:
    most = _whole(value)
    return {"strategies": {_EACH: {"trades_per_day_max": most}}, "spread": {"max_spreads_per_day": most}}


def _daily_loss(value: Any) -> Layer:
    usd = _number(value, 1)
    return {"entry": {"daily_loss_max_cents": round(usd * 100)}, "spread": {"max_daily_loss": usd}}


def _of_spread(name: str, read: Callable[[Any], float]) -> Callable[[Any], Layer]:
    """Return what takes a setting of the spread under its own name."""
    return lambda value: {"spread": {name: read(value)}}


def _entry_time(value: Any) -> Layer:
    minutes = _minute(value) - _OPEN_MINUTE
    if minutes < 0:
        raise ValueError("is before the open")
    return {"day": {"entry_after_open_ms": minutes * 60_000}}


def _exit_time(value: Any) -> Layer:
    minutes = _CLOSE_MINUTE - _minute(value)
    if minutes <= 0:
        raise ValueError("is not before the close")
    return {"day": {"flatten_ms": minutes * 60_000}}


def _timeout(value: Any) -> Layer:
    return {"exits": {"entry_total_ms": round(_number(value, 1) * 1_000)}}


def _mode(value: Any) -> Layer:
    text = str(value).strip().lower()
    if text not in ("paper", "live"):
        raise ValueError("must be paper or live")
    return {"trading_mode": text}


def _client_id(value: Any) -> Layer:
    first = _whole(value, 0)
    return {"broker": {"client_ids": {"orders": first, "quotes": first + 1, "direct": first + 2, "chains": first + 3}}}


def _idle(_: Any) -> Layer:
    return {}


def _refused(why: str) -> Callable[[Any], Layer]:
    def take(_: Any) -> Layer:
        raise ValueError(f"cannot be honoured: {why}; take it out")

    return take


def _only(wanted: bool, why: str) -> Callable[[Any], Layer]:
    """Return what takes one truth value, which is how it is here, and refuses the other."""

    def take(value: Any) -> Layer:
        if _is_true(value) is not wanted:
            raise ValueError(f"cannot be {str(not wanted).lower()}: {why}")
        return {}

    return take


def _close(value: Any) -> Layer:
    if _minute(value) != _CLOSE_MINUTE:
        raise ValueError("cannot be set: the exchange's calendar has the close of each day; take it out")
    return {}


_TRADES: Final = "`spread.max_spreads_per_day`, and `strategies.*.trades_per_day_max` of each strategy"
_LOSS: Final = "`spread.max_daily_loss`, and `entry.daily_loss_max_cents` (USD × 100)"

VARIABLES: Final = (
    Alias("IB_HOST", "`broker.gateways`, the host of the first", lambda v: {"host": str(v).strip()}),
    Alias(
        "IB_PORT", "`broker.gateways`, the port of the first, and `broker.paper_port` or `broker.live_port`",
        lambda v: {"port": _whole(v)},
    ),
    Alias("IB_CLIENT_ID", "`broker.client_ids.orders`; the next three are `quotes`, `direct` and `chains`", _client_id),
    Alias("TRADING_MODE", "`trading_mode`; live must be armed besides", _mode),
    Alias("MAX_SPREADS_PER_DAY", _TRADES, _trades),
    Alias("MIN_ENTRY_CREDIT", "`spread.min_entry_credit`", _of_spread("min_entry_credit", _number)),
    Alias("MAX_DAILY_LOSS", _LOSS, _daily_loss),
    Alias("DASHBOARD_HOST", "`web.host`", lambda v: {"web": {"host": str(v).strip()}}),
    Alias("DASHBOARD_PORT", "`web.port`", lambda v: {"web": {"port": _whole(v)}}),
    Alias(
        "EMAIL_ENABLED", "false changes nothing; true is refused: name a target under `notify.targets`",
        _only(False, "e-mail is a target under notify.targets here (an address mailto://...)"),
    ),
    Alias("EMAIL_ADDRESS", "no effect: part of the address of a target under `notify.targets`", _idle),
    Alias("SMTP_SERVER", "no effect: part of the address of a target under `notify.targets`", _idle),
    Alias("SMTP_PORT", "no effect: part of the address of a target under `notify.targets`", _idle),
)  # fmt: skip

NAMES: Final = (
    Alias("trading.max_spreads_per_day", _TRADES, _trades),
    Alias("trading.min_entry_credit", "`spread.min_entry_credit`", _of_spread("min_entry_credit", _number)),
    Alias(
        "trading.assignment_risk_threshold", "`spread.assignment_risk_threshold`",
        _of_spread("assignment_risk_threshold", _number),
    ),
    Alias(
        "trading.spy_contracts_per_spread", "`spread.spy_contracts_per_spread`",
        _of_spread("spy_contracts_per_spread", _whole),
    ),
    Alias(
        "trading.spx_contracts_per_spread", "`spread.spx_contracts_per_spread`",
        _of_spread("spx_contracts_per_spread", _whole),
    ),
    Alias("trading.entry_time", "`day.entry_after_open_ms`, counted from 09:30", _entry_time),
    Alias("trading.exit_check_time", "`day.flatten_ms`, counted back from 16:00", _exit_time),
    Alias("trading.market_close", "no effect at 16:00; else refused: the exchange's calendar has the close", _close),
    Alias("risk_management.max_daily_loss", _LOSS, _daily_loss),
    Alias(
        "risk_management.max_position_loss", "`spread.max_position_loss`; elsewhere `exits.premium_stop` ends a loss",
        _of_spread("max_position_loss", _number),
    ),
    Alias(
        "risk_management.emergency_exit_enabled", "true changes nothing; false is refused",
        _only(True, "exits cannot be switched off"),
    ),
    Alias("execution.order_timeout_seconds", "`exits.entry_total_ms` (seconds × 1000)", _timeout),
    Alias(
        "execution.max_retry_attempts", "refused: orders are never retried synchronously",
        _refused("orders are never retried synchronously"),
    ),
    Alias(
        "execution.use_limit_orders", "true changes nothing; false is refused",
        _only(True, "entries are always limit orders"),
    ),
    Alias("dashboard.refresh_interval_seconds", "no effect: the dashboard is live by push", _idle),
    Alias("dashboard.show_greeks", "no effect: chosen on the dashboard, column by column", _idle),
    Alias("dashboard.show_pnl_chart", "no effect: the chart is always there", _idle),
    Alias("logging.level", "no effect: the log holds everything, `main.py logs --level` chooses", _idle),
    Alias("logging.console", "no effect: the console always speaks", _idle),
    Alias("logging.file", "no effect: `logs/trading.log` in the data folder is always written", _idle),
)  # fmt: skip


def of_file(user: Mapping[str, Any], strategies: Collection[str]) -> Layer:
    """Return a settings file with the sections of before replaced by what they are here.

    Args:
        user: the file.
        strategies: the names of those that there are.

    Raises:
        AliasError: one of them cannot be honoured, or is not known.
    """
    known = {alias.name: alias for alias in NAMES}
    out: Layer = {}
    for section in SECTIONS:
        rows = user.get(section)
        if rows is None:
            continue
        if not isinstance(rows, Mapping):
            raise AliasError(f"{section} must hold settings as `name: value`.")
        for key, value in rows.items():
            out = _taken(out, known.get(f"{section}.{key}"), f"{section}.{key}", value)
    own = {name: value for name, value in user.items() if name not in SECTIONS}
    return merged(_for_each(out, {*strategies, *(own.get("strategies") or ())}), own)


def of_environment(environment: Mapping[str, str], layers: Mapping[str, Any], mode: str) -> Layer:
    """Return what the variables of before say, as our settings.

    Args:
        environment: all variables.
        layers: the settings so far; the first of their gateways gets the host and the port.
        mode: the trading mode of the settings so far.

    Raises:
        AliasError: one of them cannot be honoured.
    """
    out: Layer = {}
    for alias in VARIABLES:
        if environment.get(alias.name, "") != "":
            out = _taken(out, alias, alias.name, environment[alias.name])
    out, gateways = _for_each(out, layers["strategies"]), layers["broker"]["gateways"]
    address = {name: out.pop(name) for name in ("host", "port") if name in out}
    if not address:
        return out
    own = "live_port" if out.get("trading_mode", mode) == "live" else "paper_port"
    broker: Layer = {"gateways": [{**gateways[0], **address}, *gateways[1:]]}
    if "port" in address:
        broker[own] = address["port"]
    return merged(out, {"broker": broker})


def _for_each(out: Layer, strategies: Collection[str]) -> Layer:
    """Return settings in which what is said of every strategy is said of each by its name."""
    rules = out.get("strategies", {}).get(_EACH)
    return out if rules is None else out | {"strategies": {name: dict(rules) for name in strategies}}


def _taken(out: Layer, alias: Alias | None, name: str, value: Any) -> Layer:
    if alias is None:
        raise AliasError(
            f"{name} is no setting, and none of the spread system either (docs/reference/names-of-before.md)."
        )
    try:
        return merged(out, alias.take(value))
    except ValueError as error:
        raise AliasError(f"{name}: {value!r} {error} (docs/reference/names-of-before.md).") from None
