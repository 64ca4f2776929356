"""What is refused is named with the place where it was said: the file, the environment, or the call itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from config.settings import SettingsError, from_json, load_settings

CALL = {"exits": {"premium_stopp": 0.25}}


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spx.yaml"
    path.write_text("entry: {reward_to_riskk: 2}\n", "utf-8")
    return path


def refused(path: Path | None, call: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(path, overrides=call)
    return str(error.value)


def test_a_setting_of_the_call_is_not_looked_for_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spx.yaml"
    path.write_text("tickers: [SPX]\nlanes: {gexwatch: [SPX], advisor: [SPX]}\n", "utf-8")
    said = refused(path, CALL)
    assert said.startswith("In the call: exits.premium_stopp is not a setting (did you mean exits.premium_stop?).")
    assert refused(path, {"exits": {"premium_stop": 7}}).startswith("In the call: exits.premium_stop: must be")
    assert refused(path, {"exits": {"premium_stop": "much"}}).startswith("In the call: exits.premium_stop: ")


def test_a_setting_of_the_file_and_one_of_the_environment_are_named_with_theirs(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(file, {}).startswith(f"In {file}: entry.reward_to_riskk is not a setting")
    assert refused(file, CALL).startswith((f"In {file} and the call: ", f"In the call and {file}: "))
    monkeypatch.setenv("ZEROHOUR_EXITS__PREMIUM_STOP", "7")
    assert refused(None, {}).startswith("In the environment: exits.premium_stop: must be")


def test_what_was_recorded_of_a_run_is_nobodys_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROHOUR_EXITS__PREMIUM_STOP", "0.3")
    raw = load_settings().to_json().replace(b'"premium_stop":0.3', b'"premium_stop":7')
    with pytest.raises(SettingsError, match=r"In the settings or the environment: exits\.premium_stop"):
        from_json(raw)
