"""What is promoted in a backtest: alerts of lanes and of the spread, and an exit profile, by ledger or person."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.backtest import promotions_of
from commands.cli import CommandError
from commands.folder import DataFolder
from config.settings import load_settings
from domain.units import Utc
from storage.promotions import promote
from storage.shared_ledger import start_run

SETTINGS = load_settings(
    profile="demo",
    overrides={
        "lanes": {"gexwatch": ["SPX"], "advisor": []}, "promoted": ["GAMMA_FLIP-1"],
        "spread": {"is_on": True, "min_entry_credit": 0, "max_position_loss": 1_000},
        "exits": {"learned": {"version": 2, "take": 0.4, "hold_ms": 900_000}},
    },
)  # fmt: skip


def test_the_spread_and_a_profile_of_exits_are_promoted_as_the_ledger_of_the_folder_says(tmp_path: Path) -> None:
    ledgers = tmp_path / "ledgers"
    ledgers.mkdir()
    start_run(ledgers, ("paper",), Utc(1))
    for source, name in (("gexwatch", "GAMMA_FLIP-1"), ("spread", "CREDIT_SPREAD-1"), ("exits", "EXITS-2")):
        promote(ledgers, (name,), source, "ann", "r", Utc(2))
    assert promotions_of(DataFolder(tmp_path), SETTINGS, None) == {
        "gexwatch": ("GAMMA_FLIP-1",), "advisor": (), "spread": ("CREDIT_SPREAD-1",), "exits": ("EXITS-2",)
    }  # fmt: skip


def test_a_person_names_alerts_of_every_source_and_a_profile_of_exits(tmp_path: Path) -> None:
    named = ["GAMMA_FLIP-1", "CREDIT_SPREAD-1", "EXITS-2"]
    found = promotions_of(DataFolder(tmp_path), SETTINGS, named)
    assert found == {
        **dict.fromkeys(("gexwatch", "advisor", "spread"), ("GAMMA_FLIP-1", "CREDIT_SPREAD-1")), "exits": ("EXITS-2",)
    }  # fmt: skip
    assert promotions_of(DataFolder(tmp_path), SETTINGS, None)["exits"] == ()  # never by itself
    with pytest.raises(CommandError, match="EXITS-1 is no alert of these settings"):
        promotions_of(DataFolder(tmp_path), SETTINGS, ["EXITS-1"])
