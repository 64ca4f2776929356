"""Settings that contradict each other are refused before a run begins, in one sentence with the path."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from config.checks import AT_MOST, BELOW, all_leaves, value_at
from config.layers import merged
from config.settings import HERE, Settings, SettingsError, from_json, load_settings


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_")]:
        monkeypatch.delenv(name)


def refused(overrides: dict[str, Any], profile: str = "demo") -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(profile=profile, overrides=overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def loaded(text: str, folder: Path, profile: str | None = None) -> Settings:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, profile)


def nested(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


@pytest.mark.parametrize(("lesser", "greater"), BELOW, ids=" < ".join)
def test_what_must_be_below_is_refused_when_equal(lesser: str, greater: str) -> None:
    value = value_at(load_settings(profile="demo"), greater)
    assert f"{lesser}: must be below {greater} (given: {value} and {value})" in refused(nested(lesser, value))


@pytest.mark.parametrize(("lesser", "greater"), AT_MOST, ids=" <= ".join)
def test_what_must_not_be_above_may_be_equal(lesser: str, greater: str) -> None:
    value = value_at(load_settings(profile="demo"), greater)
    more = value + (1 if isinstance(value, int) else value / 2)
    said = refused(nested(lesser, more))
    assert f"{lesser}: must not be above {greater}" in said
    try:
        load_settings(profile="demo", overrides=nested(lesser, value))
    except SettingsError as error:  # another pair may forbid it
        assert f"{lesser}: must not be above {greater}" not in str(error)


RULES = {"trading_class": "SPXW", "premium_min_ticks": 200, "premium_max_ticks": 200}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"broker": {"client_ids": {"orders": 7, "quotes": 7}}}, "broker.client_ids: must be different ids"),
        (
            {"broker": {"client_ids": {"quotes": 13}}, "feed": {"chain": {"origin": "broker"}}},
            "broker.client_ids: must be different ids",
        ),
        (
            {"feed": {"source": "chain", "chain": {"origin": "broker", "lines": 8}}},
            "feed.chain.lines: must be above the number of tickers",
        ),
        ({"broker": {"client_ids": {"orders": 0}}}, "broker.client_ids.orders: must be at least 1"),
        ({"broker": {"client_ids": {"orders": 2**31}}}, "broker.client_ids.orders: must be at least 1"),
        ({"broker": {"paper_port": 4001}}, "broker.live_port: must not be broker.paper_port"),
        ({"broker": {"gateways": []}}, "broker.gateways: must name at least one"),
        ({"broker": {"gateways": [{"host": "a", "port": 1}] * 2}}, "broker.gateways: names a:1 twice"),
        ({"broker": {"gateways": [{"host": "a", "port": 65536}]}}, "broker.gateways.0.port: must be at least 1"),
        ({"entry": {"on_hard_stop": "flaten"}}, "entry.on_hard_stop: input should be 'flatten' or 'halt'"),
        ({"exits": {"entry_step_ms": 7000}}, "exits.entry_total_ms: must not be below entry_mid_ms"),
        ({"day": {"entry_after_open_ms": 21_000_000}}, "leaves no time for entries"),
        ({"day": {"flatten_ms": 1_600_000}}, "day.flatten_ms: must be below day.panic_ms"),
        ({"lanes": {"gexwatch": ["RUT"]}}, "lanes.gexwatch: watches RUT, which tickers does not name"),
        ({"tickers": ["SPX", "QQQ", "RUT"], "lanes": {"advisor": ["RUT"]}}, "add ticker_rules.RUT"),
        ({"lanes": {"strangers": ["SPX"]}}, "lanes.strangers: has no row in alerts"),
        ({"lanes": {"gexwatch": ["SPX", "SPX"]}}, "lanes.gexwatch: names SPX twice"),
        ({"alerts": {"gexwatch": ["MOON"]}}, "alerts.gexwatch: names 'MOON'; there are: CASCADE_WATCH"),
        ({"alerts": {"gexwatch": ["GAMMA_FLIP"] * 2}}, "alerts.gexwatch: names GAMMA_FLIP twice"),
        ({"strategies": {"gexwatch": {"plan": "moon"}}}, "strategies.gexwatch.plan: names 'moon'"),
        ({"strategies": {"gexwatch": {"signal_age_max_ms": 3000}}}, "must be above entry.intent_deadline_ms"),
        ({"promoted": ["GAMMA_FLIP"]}, "promoted: must be <kind>-<version>"),
        ({"promoted": ["MOON-1"]}, "promoted: must be <kind>-<version> of a known kind"),
        ({"promoted": ["GAMMA_FLIP-2"]}, "promoted: must name a version from 1"),
        ({"alert_trials": {"GAMMA_FLIP": [{"version": 1}]}}, "alert_trials.GAMMA_FLIP: has version 1 twice"),
        ({"alert_trials": {"GAMMA_FLIP": [{"version": 2, "readings": 0}]}}, "alert_trials.GAMMA_FLIP.0.readings: must"),
        ({"promoted": ["GAMMA_FLIP-x"]}, "promoted: must name a version from 1"),
        ({"spot_only": ["VIX", "SPX"]}, "spot_only: must not name what tickers names (given: SPX)"),
        ({"tickers": ["spx"]}, "tickers.0: must be a ticker in capitals"),
        ({"ticker_rules": {"SPX": RULES}}, "ticker_rules.SPX.premium_min_ticks: must be below"),
        ({"ticker_rules": {"SPX": {"progress_bps": 5}}}, "ticker_rules.SPX.progress_ticks: must be set, or"),
        ({"ticker_rules": {"SPX": {"progress_ticks": None}}}, "ticker_rules.SPX.progress_ticks: must be set, or"),
        ({"feed": {"hubs": {"classic": ["classic_gex_zero", "state_gex_zero"]}}}, "names state_gex_zero twice"),
        ({"feed": {"hubs": {"classic": ["gex"]}}}, "feed.hubs.classic.0: must be a category of the vendor"),
        ({"feed": {"negotiate_url": "api.gex.bot"}}, "feed.negotiate_url: must be an address"),
        ({"kill": {"spread_norm": {"09:30": 0.0}}}, "kill.spread_norm.09:30:00: must be above 0"),
        ({"demo": {"hub_dropped": "nowhere"}}, "demo.hub_dropped: names 'nowhere'"),
        ({"demo": {"start_clock": "09:20:00Z"}}, "demo.start_clock: must be New York time without an offset"),
        ({"entry": {"spread_share_by_time": [{"after_open_ms": 5, "share": 0.4}] * 2}}, "in the order of after_open"),
        ({"desk": "a-b"}, "desk: must be a name"),
        ({"desk": "direct"}, "desk: must be a name of at most 12 letters, digits and _, not ledger, shared or direct"),
        ({"desk": "abcdefghijklm"}, "desk: must be a name of at most 12"),
        ({"entry": {"positions_max": True}}, "entry.positions_max: must not be true or false (given: true)"),
        (
            {"entry": {"twap_min_qty": 3}}, "entry.twap_min_qty: must not be below entry.twap_slices (given: 3 and 4)",
        ),
        (
            {"entry": {"twap_min_qty": 4, "twap_duration_ms": 30_000}},
            "entry.twap_duration_ms: leaves 7500 ms for each of entry.twap_slices, which may take",
        ),
        (
            {"strategies": {"gexwatch": {"no_naked_short": False}}},
            "strategies.gexwatch.no_naked_short: must be true: no desk sells to open what nothing covers",
        ),
        (
            {"strategies": {"advisor": {"force_cancel_all_before_eod_flatten": False}}},
            "strategies.advisor.force_cancel_all_before_eod_flatten: must be true: an order that still works could",
        ),
        ({"trading_mode": "alive"}, "trading_mode: input should be 'paper' or 'live'"),
    ],
)  # fmt: skip
def test_a_contradiction_is_named(overrides: dict[str, Any], said: str) -> None:
    assert said in refused(overrides)


def test_the_norm_of_spreads_needs_a_row() -> None:
    tree = load_settings(profile="demo").model_dump(mode="json")
    tree["kill"]["spread_norm"] = {}
    with pytest.raises(SettingsError, match=r"kill\.spread_norm: must have at least one row"):
        from_json(orjson.dumps(tree))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("entry:\n  risk_nav: 0.001\n  positions_max: 1\n  risk_nav: 0.01\n", "sets risk_nav twice, in lines 2 and 4"),
        ("desk: a\ntrading_mode: paper\ndesk: b\n", "sets desk twice, in lines 1 and 3"),
        ("ticker_rules: {SPX: {size_cap: 1}, spx: {size_cap: 2}}\n", "sets spx twice, in lines 1 and 1"),
        ("strategies: {advisor: {long_only: true}, ADVISOR: {}}\n", "sets ADVISOR twice, in lines 1 and 1"),
        ("broker:\n  gateways:\n    - {host: a, port: 1, port: 2}\n", "sets port twice, in lines 3 and 3"),
    ],
)
def test_a_name_that_stands_twice_is_refused_with_its_lines(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(text, tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'mine.yaml'} {said}")


def test_a_merged_row_may_change_what_it_merges(tmp_path: Path) -> None:
    text = "ticker_rules:\n  SPY: &row {size_cap: 1}\n  SPX: {<<: *row, size_cap: 2}\n"
    assert loaded(text, tmp_path).ticker_rules["SPX"].size_cap == 2


@pytest.mark.parametrize("given", ["2025-01-09", '"2025-01-09"'], ids=["date", "text"])
def test_a_closed_date_is_taken_as_yaml_reads_it(tmp_path: Path, given: str) -> None:
    settings = loaded(f"day: {{closed_dates: [{given}]}}", tmp_path)
    assert settings.day.closed_dates == (date(2025, 1, 9),)
    assert from_json(settings.to_json()).day.closed_dates == (date(2025, 1, 9),)


@pytest.mark.parametrize("text", ["rate: 60", "demo: {rate: 60}"])
def test_a_real_profile_with_a_rate_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="profile real runs at the real market's pace"):
        loaded(f"profile: real\n{text}\n", tmp_path)


def test_a_real_profile_with_a_rate_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROHOUR_DEMO__RATE", "60")
    with pytest.raises(SettingsError, match="ZEROHOUR_DEMO__RATE: profile real runs"):
        load_settings(profile="real")


def test_a_profile_of_the_environment_brings_its_own_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZEROHOUR_PROFILE", "real")
    settings = loaded("profile: demo", tmp_path)
    assert (settings.profile, settings.promoted) == ("real", ())
    with pytest.raises(SettingsError, match="ZEROHOUR_PROFILE in the environment for real"):
        load_settings(profile="demo")


def test_a_section_that_there_is_not_is_refused_in_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROHOUR_ENTRI__POSITIONS_MAX", "1")
    with pytest.raises(SettingsError, match="ZEROHOUR_ENTRI__POSITIONS_MAX in the environment is no setting"):
        load_settings(profile="demo")


@pytest.mark.parametrize(("mode", "is_on"), [("paper", False), ("live", True)])
def test_a_disaster_stop_rests_in_live_unless_said(mode: str, is_on: bool) -> None:
    settings = load_settings(profile="real", overrides={"trading_mode": mode})
    assert settings.exits.disaster_stop is is_on
    said = load_settings(profile="real", overrides={"trading_mode": mode, "exits": {"disaster_stop": not is_on}})
    assert said.exits.disaster_stop is not is_on


def test_the_widest_spread_follows_the_time_of_day() -> None:
    entry = load_settings(profile="demo").entry
    assert [entry.spread_share_at(ms) for ms in (-1, 0, 899_999, 900_000, 20_000_000)] == [0.3, 0.4, 0.4, 0.3, 0.3]


def test_no_amount_of_money_locks_the_day_by_default() -> None:
    assert load_settings(profile="real").entry.daily_loss_max_cents is None
    said = merged({}, {"entry": {"daily_loss_max_cents": 50_000}})
    assert load_settings(profile="real", overrides=said).entry.daily_loss_max_cents == 50_000


def test_no_duration_of_the_demo_differs_from_that_of_the_real_market() -> None:
    def durations(settings: Settings) -> dict[str, Any]:
        return {leaf.path: leaf.value for leaf in all_leaves(Settings, settings) if leaf.path.endswith("_ms")}

    assert durations(load_settings(profile="demo")) == durations(load_settings(profile="real"))


@pytest.mark.parametrize(
    ("name", "url", "secured"),
    [("rest_url", "http://api.example.com", "https"), ("stream_url", "ws://127.0.0.1.example.com/x", "wss")],
)
def test_a_providers_key_is_not_sent_in_the_clear_beyond_this_machine(name: str, url: str, secured: str) -> None:
    why = refused(nested(f"feed.provider.{name}", url))
    assert f"feed.provider.{name}: must begin with {secured}:// beyond this machine" in why
    load_settings(profile="demo", overrides=nested(f"feed.provider.{name}", f"{secured}://api.example.com"))
    load_settings(profile="demo", overrides=nested("feed.provider.rest_url", "http://127.0.0.1:8380"))


@pytest.mark.parametrize("name", ["spread-careful", "spread-demo", "spread-tight"])
def test_the_examples_of_the_spread_can_be_run(name: str) -> None:
    settings = load_settings(HERE / "examples" / f"{name}.yaml", "demo")
    assert settings.spread.is_on
    assert "CREDIT_SPREAD-1" in settings.promoted


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spread": {"spy_contracts_per_spread": 11}}, "must not be above 10 times spx_contracts_per_spread"),
        ({"spread": {"ratio_min": 10.05}}, "spread.ratio_min: must be below spread.ratio_max"),
        ({"spread": {"covered_by": "QQQ"}}, "spread.covered_by: must be SPX"),
        ({"spread": {"signal_age_max_ms": 3_000}}, "must be above entry.intent_deadline_ms"),
        ({"spread": {"is_on": True}, "trading_mode": "live"}, "set spread.is_live_allowed for trading_mode live"),
        (
            {"spread": {"is_on": True}, "tickers": ["SPX", "QQQ"], "lanes": {"gexwatch": ["SPX"], "advisor": ["QQQ"]}},
            "needs SPY, which tickers does not name",
        ),
        ({"lanes": {"spread": ["SPX"]}}, "take spread out of lanes and strategies"),
    ],
)
def test_a_spread_that_could_not_be_covered_or_traded_is_refused(changes: Any, said: str) -> None:
    assert said in refused(changes)


@pytest.mark.parametrize("legs", [{"vertical_width": 10}, {"combination": "iron condor"}])
def test_a_spread_whose_legs_are_all_of_the_index_needs_no_other_ticker(legs: dict[str, Any]) -> None:
    alone = {"tickers": ["SPX"], "lanes": {"gexwatch": ["SPX"], "advisor": ["SPX"]}}
    assert load_settings(overrides={"spread": {"is_on": True, **legs}, **alone}).spread.is_of_index
