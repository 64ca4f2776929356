"""The spread's settings: what each may hold, and what stands for those that older records do not have."""

from __future__ import annotations

import dataclasses

import pytest

from config.settings import SettingsError, load_settings
from domain.limits import StrategyRules
from domain.structure.rules import SpreadRules

EDGES = {
    "min_entry_credit": (0, 1_000_000),
    "assignment_risk_threshold": (0, 1_000_000),
    "max_position_loss": (0.01, 1_000_000),
    "max_daily_loss": (0.01, 1_000_000),
    "spx_contracts_per_spread": (1, 100),
    "ratio_min": (1, 10),
    "ratio_max": (10, 100),
    "spx_spread_max_ticks": (1, 10_000),
    "vertical_width": (0, 1_000),
    "vertical_loss": (0.01, 1_000_000),
    "wing_width": (0, 1_000),
    "short_distance": (0, 1_000),
    "profit_share": (0, 1),
}
MORE = {"vertical_width": 5, "wing_width": 5, "short_distance": 5, "profit_share": 0.001}  # others are no strikes
CROSSED = ("ratio_min", "ratio_max")  # the one end of each is the other one's


def load(**spread: object) -> SpreadRules:
    return load_settings(profile="demo", overrides={"spread": {"spy_contracts_per_spread": 1, **spread}}).spread


@pytest.mark.parametrize("name", EDGES)
def test_a_setting_may_be_at_its_edges_and_not_beyond(name: str) -> None:
    least, most = EDGES[name]
    for value in (least, most):
        assert getattr(load(**{name: value}), name) == value
    is_whole = name in ("spx_contracts_per_spread", "spx_spread_max_ticks")
    more = MORE.get(name, 1 if is_whole else 0.5)
    beyond = (least - more if least >= 1 else -more if least == 0 else 0, most + more)
    for value in beyond:
        if name in CROSSED and value in (9.5, 10.5):
            continue
        with pytest.raises(SettingsError, match=name):
            load(**{name: value})


def test_as_many_shorts_as_the_cover_covers_may_be_sold_and_none_more() -> None:
    """The index is ten times the fund, and both have a multiplier of 100."""
    assert load(spy_contracts_per_spread=10).cover_ratio == 10
    assert load(spy_contracts_per_spread=1_000, spx_contracts_per_spread=100).short_contracts == 1_000
    for shorts, covers in ((0, 1), (11, 1), (1_001, 100)):
        with pytest.raises(SettingsError, match="spy_contracts_per_spread"):
            load(spy_contracts_per_spread=shorts, spx_contracts_per_spread=covers)


def test_the_spread_is_one_of_its_kind_at_a_time_and_sells() -> None:
    rules = load(max_spreads_per_day=3, signal_age_max_ms=40_000, cooldown_ms=7)
    assert rules.strategy == StrategyRules(
        plan="credit_spread", signal_age_max_ms=40_000, cooldown_ms=7, trades_per_day_max=3, one_position_only=True,
        long_only=False,
    )  # fmt: skip


def test_what_older_records_do_not_have_is_off() -> None:
    defaults = {
        one.name: one.default
        for one in dataclasses.fields(SpreadRules)
        if one.default is not dataclasses.MISSING
    }  # fmt: skip
    assert defaults == {
        "desk": None, "vertical_width": 0, "vertical_loss": 250, "combination": None, "wing_width": 10,
        "short_distance": 10, "profit_share": 0, "leave_before_close_ms": 0, "in_money_before_close_ms": 0,
    }  # fmt: skip
