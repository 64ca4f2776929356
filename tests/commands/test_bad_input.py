"""Bad input at the edges: one sentence with the remedy, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import doctor, import_
from commands.cli import main
from commands.folder import DataFolder
from config.settings import SettingsError, load_settings, overlaid
from gateways.gexbot.negotiate import negotiate


@pytest.mark.parametrize(
    "demo", [{"rate": 0}, {"rate": -5}, {"rate": float("nan")}, {"rate": 1e6}, {"start_clock": "25:99"}, {"sead": 7}]
)
def test_a_demo_that_no_clock_can_play_is_refused_in_one_sentence(demo: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(profile="demo", overrides={"demo": demo})
    assert next(iter(demo)) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_demo_of_a_ticker_that_its_market_does_not_have_is_refused_before_anything_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, data = tmp_path / "mine.yaml", tmp_path / "data"
    mine.write_text("profile: demo\ntickers: [SPX, XYZ]\n")
    assert main(["--config", str(mine), "--data", str(data), "run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "The simulated market has no XYZ: write `tickers` with some of SPX, " in said
    assert not (data / "run" / "clock").exists()


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00bad", b"just words", b"entry.positions_max: 12", b"alert_rules: {GAMMA_FLIP: {readings: x}}"],
)
def test_a_file_of_settings_that_cannot_be_used_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    recorded = load_settings(profile="demo").to_json()
    uses: tuple[Callable[[], object], ...] = (lambda: load_settings(path), lambda: overlaid(recorded, path))
    for use in uses:
        with pytest.raises(SettingsError, match=r"mine\.yaml"):
            use()


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"desk: a\nentry: [1,\n", "line 3, column 1"),
        (b"desk: a\n\tentry: 1\n", "line 2, column 1: found character '\\t' that cannot start any token"),
        (b"desk: a: b\n", "line 1, column 8: mapping values are not allowed here"),
        (b"desk: \x00\n", "special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_yaml_is_named_in_one_line_with_the_place(tmp_path: Path, content: bytes, where: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    said = str(refused.value)
    assert said.startswith(f"{path} is not YAML")
    assert where in said
    assert said.endswith("; mend the file.")
    assert "\n" not in said


def test_traces_of_other_names_are_passed_over(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    day = folder.traces / "2026-11-20"
    day.mkdir(parents=True)
    for name in ("run-2.jsonl", "run-10.jsonl.zst", "run-x.jsonl", "run-3.jsonl.tmp"):
        (day / name).touch()
    assert [path.name for path in folder.traces_newest_first()] == ["run-10.jsonl.zst", "run-2.jsonl"]
    (day / "run-2.jsonl.zst").touch()  # killed while it was sealed: both hold the same
    assert [path.name for path in folder.traces_newest_first()] == ["run-10.jsonl.zst", "run-2.jsonl.zst"]


@pytest.mark.parametrize("rate", ["0", "-3", "nan"])
def test_a_flag_that_cannot_be_used_is_named_as_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    assert main(["--data", str(tmp_path), "sim", "gateway", f"--rate={rate}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("--rate: must be above 0")
    assert (said.count("\n"), "{" in said) == (1, False)


def test_rules_of_a_kind_without_an_evaluator_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("alert_rules: {MINE: {readings: 2}}", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"alert_rules\.MINE is not a setting: .* a file that alert_files names"):
        load_settings(path)


@pytest.mark.parametrize("url", ["http://host:99999/v2", "http://host:x/", "http://[::1/", "nonsense", "ftp://host/"])
def test_a_feed_address_that_is_none_is_a_finding(url: str) -> None:
    found = doctor._of_vendor(load_settings(profile="real"), "KEY", negotiate(url, "k", ()))
    assert (found.is_fault, "feed.negotiate_url is no http" in found.seen) == (True, True)
    assert "feed.negotiate_url" in found.remedy


def test_a_file_that_is_in_the_way_of_a_command_is_named_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imports.jsonl").mkdir(parents=True)
    (tmp_path / "bars.csv").write_text("x", "utf-8")
    words = ["--data", str(tmp_path), "import", str(tmp_path / "bars.csv")]
    assert main(words) == 3
    assert capsys.readouterr().err == (
        f"{tmp_path / 'imports.jsonl'} cannot be used (Is a directory); mend its place or its permissions.\n"
    )

    def without_a_file(*_: object) -> int:
        raise OSError("not a file's")

    monkeypatch.setattr(import_, "act", without_a_file)
    with pytest.raises(OSError, match="not a file's"):
        main(words)
