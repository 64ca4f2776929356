"""Names of the spread system before: each is taken over, changes nothing, or is refused in one sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from config import env_file
from config.aliases import NAMES, VARIABLES
from config.env_file import take_env_file
from config.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _no_variables_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ZEROHOUR_") or name in {alias.name for alias in VARIABLES}:
            monkeypatch.delenv(name)


def of_file(tmp_path: Path, text: str, profile: str = "real") -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, profile)


BEFORE = """
trading:
  max_spreads_per_day: 2
  entry_time: "09:45"
  exit_check_time: "15:40"
  market_close: "16:00"
risk_management:
  max_daily_loss: 2000
  emergency_exit_enabled: true
execution:
  order_timeout_seconds: 30
  use_limit_orders: true
dashboard: {refresh_interval_seconds: 5, show_greeks: true, show_pnl_chart: true}
logging: {level: INFO, console: true, file: true}
"""


@pytest.mark.parametrize("profile", ["demo", "real"])
def test_a_settings_file_of_before_is_taken_over(tmp_path: Path, profile: str) -> None:
    settings = of_file(tmp_path, BEFORE, profile)
    assert {rules.trades_per_day_max for rules in settings.strategies.values()} == {2}
    assert settings.day.entry_after_open_ms == 15 * 60_000
    assert settings.day.flatten_ms == 20 * 60_000
    assert settings.entry.daily_loss_max_cents == 200_000
    assert settings.exits.entry_total_ms == 30_000
    assert (settings.spread.max_spreads_per_day, settings.spread.max_daily_loss) == (2, 2_000)


OF_THE_SPREAD = """
trading:
  {min_entry_credit: 800, assignment_risk_threshold: 5, spy_contracts_per_spread: 20, spx_contracts_per_spread: 2}
risk_management: {max_position_loss: 1000}
"""


def test_the_spreads_own_names_are_taken_over_and_switch_nothing_on(tmp_path: Path) -> None:
    spread = of_file(tmp_path, OF_THE_SPREAD).spread
    assert (spread.min_entry_credit, spread.assignment_risk_threshold, spread.max_position_loss) == (800, 5, 1_000)
    assert (spread.spy_contracts_per_spread, spread.spx_contracts_per_spread) == (20, 2)
    assert not spread.is_on


def test_our_own_name_wins_over_one_of_before(tmp_path: Path) -> None:
    settings = of_file(tmp_path, BEFORE + "entry: {daily_loss_max_cents: 50000}\n")
    assert settings.entry.daily_loss_max_cents == 50_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "execution: {max_retry_attempts: 3}",
            "execution.max_retry_attempts: 3 cannot be honoured: orders are never retr",
        ),
        ("trading: {min_entry_credit: much}", "is no number"),
        ("trading: {spy_contracts_per_spread: 11}", "must not be above 10 times spx_contracts_per_spread"),
        ("risk_management: {max_position_loss: 0}", "spread.max_position_loss: must be above 0"),
        ("risk_management: {emergency_exit_enabled: false}", "exits cannot be switched off"),
        ("execution: {use_limit_orders: false}", "entries are always limit orders"),
        ('trading: {market_close: "15:00"}', "the exchange's calendar has the close"),
        ('trading: {entry_time: "09:00"}', "is before the open"),
        ('trading: {entry_time: "soon"}', "is no time"),
        ("trading: {max_spreads_per_day: 0}", "must be 1 or more"),
        ("trading: {max_spreads_per_day: 1.5}", "must be a whole number"),
        ("risk_management: {max_daily_loss: .nan}", "must be 1 or more"),
        ("trading: {nonsense: 1}", "trading.nonsense is no setting"),
        ("trading: 5", "must hold settings"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        of_file(tmp_path, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_name_of_the_file_is_taken_or_says_why_not(tmp_path: Path) -> None:
    refused = {alias.name for alias in NAMES if alias.becomes.startswith("refused")}
    for alias in NAMES:
        section, key = alias.name.split(".")
        value: Any = {"entry_time": '"09:45"', "exit_check_time": '"15:40"', "market_close": '"16:00"'}.get(key, 30)
        value = 10 if key == "spy_contracts_per_spread" else value
        value = "true" if key in ("emergency_exit_enabled", "use_limit_orders") else value
        try:
            of_file(tmp_path, f"{section}: {{{key}: {value}}}")
            is_refused = False
        except SettingsError:
            is_refused = True
        assert is_refused is (alias.name in refused), alias.name


def of_environment(monkeypatch: pytest.MonkeyPatch, profile: str = "real", **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings(profile=profile)


def test_variables_of_before_are_taken_over_by_profile_real(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = of_environment(
        monkeypatch, IB_HOST="10.0.0.5", IB_PORT="7497", IB_CLIENT_ID="21", TRADING_MODE="paper",
        MAX_SPREADS_PER_DAY="3", MAX_DAILY_LOSS="1000", DASHBOARD_HOST="127.0.0.1", DASHBOARD_PORT="5050",
        EMAIL_ENABLED="false", EMAIL_ADDRESS="me@example.org", SMTP_SERVER="smtp.example.org", SMTP_PORT="587",
    )  # fmt: skip
    gateway, ids = settings.broker.gateways[0], settings.broker.client_ids
    assert (gateway.host, gateway.port, settings.broker.paper_port) == ("10.0.0.5", 7497, 7497)
    assert (ids.orders, ids.quotes, ids.direct) == (21, 22, 23)
    assert {rules.trades_per_day_max for rules in settings.strategies.values()} == {3}
    assert (settings.entry.daily_loss_max_cents, settings.web.port) == (100_000, 5050)


def test_a_live_port_of_before_is_that_of_live_trading(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = of_environment(monkeypatch, IB_PORT="7496", TRADING_MODE="live")
    assert (settings.trading_mode, settings.broker.live_port, settings.broker.paper_port) == ("live", 7496, 4002)


def test_variables_of_before_change_no_demo_day(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_settings(profile="demo").to_json()
    assert (
        of_environment(monkeypatch, "demo", IB_PORT="7497", TRADING_MODE="live", MAX_DAILY_LOSS="1").to_json() == plain
    )


def test_our_own_variable_wins_over_one_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = of_environment(monkeypatch, DASHBOARD_PORT="5050", ZEROHOUR_WEB__PORT="5051")
    assert settings.web.port == 5051


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MIN_ENTRY_CREDIT", "much", "MIN_ENTRY_CREDIT: 'much' is no number"),
        ("EMAIL_ENABLED", "true", "notify.targets"),
        ("IB_PORT", "abc", "IB_PORT: 'abc' is no number"),
        ("TRADING_MODE", "demo", "must be paper or live"),
    ],
)
def test_a_variable_that_cannot_be_honoured_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    with pytest.raises(SettingsError, match="In the environment: ") as refused:
        of_environment(monkeypatch, **{name: value})
    assert said in str(refused.value)


def test_an_env_file_fills_in_what_the_environment_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# mine\nZEROHOUR_A=from file\nexport ZEROHOUR_B='quoted # 5'  # note\nIB_PORT=7497\n", encoding="utf-8"
    )
    monkeypatch.setattr(env_file, "FILE", path)
    monkeypatch.setenv("ZEROHOUR_A", "from the environment")
    for name in ("ZEROHOUR_B", "IB_PORT"):
        monkeypatch.setenv(name, "")  # restored by the fixture
        monkeypatch.delenv(name)
    take_env_file()
    assert [os.environ[name] for name in ("ZEROHOUR_A", "ZEROHOUR_B", "IB_PORT")] == [
        "from the environment", "quoted # 5", "7497",
    ]  # fmt: skip


def test_an_env_file_can_be_named_or_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.env"
    path.write_text("ZEROHOUR_C=1\n", encoding="utf-8")
    monkeypatch.setattr(env_file, "FILE", path)
    monkeypatch.setenv("ZEROHOUR_C", "")
    monkeypatch.delenv("ZEROHOUR_C")
    monkeypatch.setenv("ZEROHOUR_ENV_FILE", "")
    take_env_file()
    assert "ZEROHOUR_C" not in os.environ
    monkeypatch.setenv("ZEROHOUR_ENV_FILE", str(path))
    take_env_file()
    assert os.environ["ZEROHOUR_C"] == "1"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"ZEROHOUR_D\n", "ZEROHOUR_D has no value"), (b"\xff\xfe\x00", "no UTF-8 text"), (None, "is not there")],
    ids=["no value", "no text", "not there"],
)
def test_an_env_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    path = tmp_path / "mine.env"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("ZEROHOUR_ENV_FILE", str(path))
    with pytest.raises(SettingsError, match=said):
        take_env_file()
