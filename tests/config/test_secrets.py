"""A secret comes from its variable, or from the file that NAME_FILE names; a run takes its key from either."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.allowed import keys_of
from commands.cli import CommandError
from config.secrets import secret
from config.settings import SettingsError, load_settings

NAME = "ZEROHOUR_GEXBOT_KEY"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NAME, f"{NAME}_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_the_variable_wins_over_the_file_and_neither_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret(NAME) is None
    file = tmp_path / "key"
    file.write_text("from the file\n", encoding="utf-8")
    monkeypatch.setenv(f"{NAME}_FILE", str(file))
    assert secret(NAME) == "from the file"
    monkeypatch.setenv(NAME, "from the variable")
    assert secret(NAME) == "from the variable"


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_file_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    monkeypatch.setenv(f"{NAME}_FILE", str(file))
    assert secret(NAME) is None


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["not there", "no text"])
def test_a_file_that_cannot_be_read_is_one_sentence_without_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(f"{NAME}_FILE", str(file))
    with pytest.raises(SettingsError, match=f"{NAME}_FILE names"):
        secret(NAME)


def test_a_run_takes_its_key_from_the_file_and_says_where_one_may_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(profile="real")
    with pytest.raises(CommandError, match=f"{NAME}_FILE"):
        keys_of(settings)
    file = tmp_path / "key"
    file.write_text("the key", encoding="utf-8")
    monkeypatch.setenv(f"{NAME}_FILE", str(file))
    assert keys_of(settings) == ("the key",)
