"""Lanes that nobody set watch what is followed; those that somebody set are taken at their word."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import SettingsError, from_json, load_settings

SEVEN = ("QQQ", "SPY", "IWM", "NVDA", "TSLA", "AAPL", "META")


def test_the_advisor_watches_seven_tickers() -> None:
    assert load_settings().lanes == {"gexwatch": ("SPX",), "advisor": SEVEN}


def test_fewer_tickers_need_no_word_about_lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("tickers: [QQQ, TSLA]\n", encoding="utf-8")
    settings = load_settings(path)
    assert settings.lanes == {"gexwatch": (), "advisor": ("QQQ", "TSLA")}
    assert from_json(settings.to_json()).lanes == settings.lanes
    monkeypatch.setenv("ZEROHOUR_TICKERS", '["SPX", "SPY"]')
    assert load_settings(path).lanes == {"gexwatch": ("SPX",), "advisor": ("SPY",)}


def test_a_lane_that_somebody_set_is_refused_where_its_ticker_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("tickers: [SPX, QQQ]\nlanes: {advisor: [QQQ, TSLA]}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="watches TSLA, which tickers does not name"):
        load_settings(path)
