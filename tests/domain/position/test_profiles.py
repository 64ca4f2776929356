"""Which exit profile stands beside the fixed one, and what learned levels change of it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from config.settings import SettingsError, load_settings
from domain.limits import LearnedLevels
from domain.position.profiles import Other, learned_profile, names_of, other_of

SETTINGS = load_settings(profile="real")
EXITS, SPX = SETTINGS.exits, SETTINGS.ticker_rules["SPX"]
LEVELS = LearnedLevels(version=4, take=0.4, hold_ms=900_000)


def test_of_what_is_promoted_the_exit_profiles_are_named() -> None:
    promoted = {("exits", "ADAPTIVE", 2), ("gexwatch", "GAMMA_FLIP", 1), ("exits", "EXITS", 1)}
    assert names_of(promoted) == ("ADAPTIVE-2", "EXITS-1")


def test_a_promotion_names_the_version_of_the_profile_that_the_settings_have() -> None:
    assert other_of(EXITS) is None
    assert other_of(replace(EXITS, learned=LEVELS)) == Other("EXITS", 4)
    adaptive = replace(EXITS, adaptive=replace(EXITS.adaptive, is_on=True, version=3))
    assert (other_of(adaptive) or Other("", 0)).name == "ADAPTIVE-3"


def test_learned_levels_change_the_profit_and_the_hold_and_nothing_else() -> None:
    found = learned_profile(EXITS, SPX, LEVELS)
    takes = ("take_single", "take_first", "take_rest")
    assert {getattr(found.exits, name) for name in takes} == {0.4}
    assert found.ticker.max_hold_ms == 900_000
    assert all(getattr(found.exits, f.name) == getattr(EXITS, f.name) for f in fields(EXITS) if f.name not in takes)
    assert replace(found.ticker, max_hold_ms=SPX.max_hold_ms) == SPX


def test_two_profiles_at_once_are_refused() -> None:
    both = {"adaptive": {"is_on": True}, "learned": {"version": 1, "take": 0.4, "hold_ms": 900_000}}
    with pytest.raises(SettingsError, match=r"exits\.learned.*one profile at a time"):
        load_settings(profile="real", overrides={"exits": both})
