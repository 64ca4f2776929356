"""`main.py features`: the registry for people and machines."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter

import pytest

from commands import features
from commands.cli import main
from domain.signals.registry import FEATURES, GROUP_SIZES, Group


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["features", *arguments]) == 0
    return capsys.readouterr().out


def test_json_lists_73_features_with_all_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "--json"))
    assert [one["name"] for one in found] == [feature.name for feature in FEATURES]
    assert Counter(one["group"] for one in found) == {group.value: n for group, n in GROUP_SIZES.items()}
    fields = ["name", "group", "unit", "inputs", "window_min", "formula", "missing"]
    assert all(list(one) == fields and one["unit"] and one["formula"] and one["missing"] for one in found)
    assert next(one["window_min"] for one in found if one["name"] == "price_return_60m_bps") == 60.0


def test_every_feature_and_force_is_on_the_screen_within_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(capsys)
    assert all(f"  {feature.name} [" in text for feature in FEATURES)
    assert all(f"{group.value} ({n})" in text for group, n in GROUP_SIZES.items())
    assert "gamma: loc_zero_gamma_bps ÷ 20" in text
    assert max(map(len, text.splitlines())) <= 80


def test_one_group_is_shown_alone(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "flow")
    assert text.startswith("flow (9)")
    assert "loc_" not in text
    assert len(json.loads(shown(capsys, "flow", "--json"))) == 9


def test_the_parser_knows_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    for group in Group:
        assert features.act(Namespace(group=group.value, json=False)) == 0
        assert shown(capsys, group.value)
    with pytest.raises(SystemExit):
        main(["features", "mood"])
