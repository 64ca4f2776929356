"""`main.py evaluate` and `new-alert`: a kind of one's own over stored sessions, before it ever runs."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.feature_sessions import HALF, snapshots_of
from commands.cli import main
from commands.folder import DataFolder
from commands.new_alert import TEMPLATE
from commands.session_market import (
    IMPORTED,
    RECORDED_INDEX,
    RECORDED_LIST,
    SERVERS,
    SIMULATED,
    UNKNOWN,
    market_of,
    told_of,
)
from config.settings import load_settings
from domain.session import calendar
from storage.series import Series
from tests.domain.signals.test_columns import wild_session
from tests.testkit.browser import PHONE, WIDE, Watched, chromium
from tests.testkit.lane_days import lived, readings_of, recorded
from tests.testkit.paths import ROOT

EVE = calendar.day(date(2026, 12, 24))
assert EVE is not None
DAYS = (HALF, EVE)
PERIOD = ("2026-11-01", "2026-12-31")
NAME_MAX = 44  # of a market, in the table of an evaluation 80 columns wide


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two half days of QQQ readings, with a gap."""
    root = tmp_path_factory.mktemp("history")
    series = Series(root / "series", 1, is_durable=False)
    for n, day in enumerate(DAYS):
        for reading in readings_of("QQQ", day, snapshots(n)):
            series.take(reading)
    assert series.flush() is None
    series.close()
    return root


def snapshots(n: int) -> Any:
    return snapshots_of(wild_session(20 + n, DAYS[n], [100, 101, 102]), DAYS[n])


@pytest.fixture
def mine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A kind of one's own, as `new-alert` writes it, with thresholds that wandering numbers meet."""
    path = tmp_path / "strategies" / "mine.py"
    assert main(["new-alert", "MINE", "--out", str(path)]) == 0
    capsys.readouterr()
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("alignment_min=0.4", "alignment_min=0.0").replace("momentum_min=1.0", "momentum_min=0.3")
    )
    return path


def told(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> tuple[int, str, str]:
    code = main(["--data", str(root), *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_file_that_no_settings_name_is_evaluated_as_its_lane_would_have_recorded_it(
    folder: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = told(capsys, folder, "evaluate", str(mine), *PERIOD, "--ticker", "qqq", "--json")
    found = orjson.loads(out)
    assert code == 0
    file = mine.parent / "s.yaml"
    file.write_text(f"alert_files: [{mine}]\nalerts: {{advisor: [MINE]}}\n", encoding="utf-8")
    live = lived(
        load_settings(file, "demo"), "lane:advisor:QQQ",
        [(day, readings_of("QQQ", day, snapshots(n))) for n, day in enumerate(DAYS)],
    )  # fmt: skip
    assert [one["alert_id"].replace("evaluation", "advisor") for one in found["alerts"]] == [
        record.alert.key.alert_id for record in live
    ]
    assert len(live) > 5
    first, record = found["alerts"][0], recorded(live[0])
    assert first["features"] == list(record["features"])
    assert [tuple(force.values()) for force in first["forces"]] == list(record["forces"])
    assert first["alert"]["is_shadow"] is True
    rates = next(s for s in found["report"]["sections"] if s["title"] == "Outcomes")["table"]["rows"][0]
    resolved = [one["outcome"] for one in found["alerts"] if one["outcome"]["state"] == "resolved"]
    assert rates[1] == len(found["alerts"])
    assert rates[2] == {"hits": sum(one["first"] == "target" for one in resolved), "n": len(resolved)}
    assert rates[5] == len(found["alerts"]) - len(resolved)


def test_the_terminal_says_n_bounds_and_whose_market_within_80_columns(
    folder: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = told(capsys, folder, "evaluate", str(mine), *PERIOD, "--ticker", "QQQ")
    assert code == 0
    assert out.startswith("MINE-1, 2026-11-01 to 2026-12-31: 2 sessions\n")
    assert max(map(len, out.splitlines())) <= 80
    assert "and nothing about profit" in " ".join(out.split())
    assert UNKNOWN.name.split(":")[0] in out
    assert "% of" in out


def test_a_known_kind_is_evaluated_under_the_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, folder, "evaluate", "VANNA_UNWIND", *PERIOD)
    assert code == 0
    assert "Target 20 bps, stop 12 bps" in " ".join(out.split())


def test_a_version_that_is_tried_is_evaluated_under_its_own_thresholds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "s.yaml"
    config.write_text("alert_trials: {VANNA_UNWIND: [{version: 2, target_bps: 33}]}\n", encoding="utf-8")
    for name, title, target in (("VANNA_UNWIND", "-1", "20"), ("VANNA_UNWIND-2", "-2", "33")):
        code, out, _ = told(capsys, folder, "--config", str(config), "evaluate", name, *PERIOD)
        assert (code, out.partition(",")[0]) == (0, f"VANNA_UNWIND{title}")
        assert f"Target {target} bps" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("NOPE", *PERIOD), 2, "There is no alert kind NOPE; there are: CASCADE_WATCH"),
        (("gone.py", *PERIOD), 2, "there is no Python file"),
        (("GAMMA_FLIP", "2026-11-01", "soon"), 2, "'soon' is not a date; write it as 2026-11-20."),
        (("GAMMA_FLIP", "2026-11-02", "2026-11-01"), 2, "give the earlier date first"),
        (("GAMMA_FLIP", "2025-01-01", "2025-02-01"), 1, "it holds 2026-11-27 to 2026-12-24: choose other dates"),
        (("GAMMA_FLIP", *PERIOD, "--ticker", "IWM"), 1, "No readings of IWM"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    ended, out, err = told(capsys, folder, "evaluate", *words)
    assert (ended, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_file_with_an_error_is_one_sentence_of_evaluate_doctor_and_run(tmp_path: Path, mine: Path) -> None:
    mine.write_text(
        mine.read_text(encoding="utf-8").replace("np.sign(momentum)", "np.sing(momentum)"), encoding="utf-8"
    )
    line = 1 + next(n for n, text in enumerate(mine.read_text().splitlines()) if "np.sing" in text)
    config = tmp_path / "s.yaml"
    config.write_text(f"alert_files: [{mine}]\n", encoding="utf-8")
    for words in (
        ["evaluate", str(mine), *PERIOD],
        ["--config", str(config), "doctor"],
        ["--config", str(config), "run"],
    ):
        ended = subprocess.run(
            [sys.executable, "main.py", "--data", str(tmp_path / "data"), *words], cwd=ROOT, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 2, words
        assert f"mine.py, line {line}: AttributeError" in ended.stderr, words
        assert "Traceback" not in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_doctor_names_the_kinds_of_ones_own(tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "s.yaml"
    config.write_text(f"alert_files: [{mine}]\n", encoding="utf-8")
    main(["--config", str(config), "--data", str(tmp_path / "data"), "doctor", "--json"])
    findings = {one["check"]: one for one in orjson.loads(capsys.readouterr().out)}
    found = findings["alert files"]
    assert found["seen"] == f"MINE-1 of {mine}, which no source looks for"
    assert "alerts" in found["remedy"]
    config.write_text(f"alert_files: [{mine}]\nalerts: {{advisor: [MINE]}}\n", encoding="utf-8")
    main(["--config", str(config), "--data", str(tmp_path / "data"), "doctor", "--json"])
    findings = {one["check"]: one for one in orjson.loads(capsys.readouterr().out)}
    assert findings["alert files"]["seen"] == f"MINE-1 of {mine}, looked for by advisor, a shadow"


def test_a_template_loads_as_it_is_and_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep" / "kind.py"
    assert main(["new-alert", "KIND_2", "--out", str(path)]) == 0
    out = capsys.readouterr().out
    lines = [text.strip() for text in out.splitlines() if text.startswith("  alert")]
    config = tmp_path / "s.yaml"
    config.write_text("\n".join(lines), encoding="utf-8")
    settings = load_settings(config, "real")
    assert "KIND_2" in settings.alerts["advisor"]
    for words, said in (
        (["KIND_2", "--out", str(path)], "is there already and stays as it is"),
        (["GAMMA_FLIP"], "There is a kind GAMMA_FLIP already"),
        (["my-kind"], "take capitals, digits and _, as MY_KIND"),
    ):
        assert main(["new-alert", *words]) == 2
        assert said in capsys.readouterr().err


def test_the_guide_shows_what_new_alert_writes() -> None:
    guide = (ROOT / "docs" / "guides" / "add-an-alert.md").read_text(encoding="utf-8")
    assert f"```python\n{TEMPLATE.format(name='MOMENTUM')}```" in guide


def header(root: Path, session: str, told: dict[str, Any]) -> None:
    path = root / "traces" / session / "run-1.jsonl"
    path.parent.mkdir(parents=True)
    record = {
        "kind": "header", "run_n": 1, "session": session, "started_utc": 0, "rate": 1.0, "settings_digest": "",
        "code_version": "", "settings": told,
    }  # fmt: skip
    path.write_bytes(orjson.dumps(record) + b"\n")


def test_the_market_of_a_session_is_what_its_run_was_made_of(tmp_path: Path) -> None:
    feed = {"source": "hubs", "negotiate_url": "https://api.example.com/v2/negotiate", "provider": {"rest_url": ""}}
    here = feed | {"negotiate_url": "http://127.0.0.1:5000/negotiate"}
    header(tmp_path, "2026-11-16", {"profile": "demo", "demo": {"market_folder": None}})
    header(tmp_path, "2026-11-17", {"profile": "demo", "demo": {"market_folder": "days"}})
    header(tmp_path, "2026-11-18", {"profile": "real", "feed": feed})
    header(tmp_path, "2026-11-19", {"profile": "real", "feed": here})
    header(tmp_path, "2026-11-23", {
        "profile": "demo", "demo": {"market_folder": None}, "market": {"kind": "honest", "feedback": 1.0},
    })  # fmt: skip
    folder = DataFolder(tmp_path)
    markets = [market_of(folder, date(2026, 11, n)) for n in range(16, 21)]
    assert markets[:2] + markets[3:] == [SIMULATED, RECORDED_INDEX, SERVERS, UNKNOWN]
    assert market_of(folder, date(2026, 11, 23)).name == "simulated honest market, feedback 1"
    assert [market.is_real for market in markets] == [False, False, True, False, False]
    (tmp_path / RECORDED_LIST).write_text('{"session":"2026-11-24","seed":5}\n', "utf-8")
    imported = tmp_path / "series" / "2026-11-25" / "bars-import-1f.parquet"
    imported.parent.mkdir(parents=True)
    imported.touch()
    assert [market_of(folder, date(2026, 11, n)) for n in (24, 25)] == [SIMULATED, IMPORTED]
    assert told_of(folder, [date(2026, 11, n) for n in (18, 24, 25)]) == (
        "Market: 1 session recorded from the market (hubs); 1 session simulated, made from a seed; 1 session imported"
        " from files. What is not recorded from the market proves no profit."
    )
    assert max(len(market.name) for market in (*markets, market_of(folder, date(2026, 11, 23)))) <= NAME_MAX


@pytest.mark.slow
def test_the_page_stands_by_itself_and_fits_a_phone(
    folder: Path, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "mine.html"
    assert told(capsys, folder, "evaluate", str(mine), *PERIOD, "--ticker", "QQQ", "--html", str(page))[0] == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "nothing about profit" in text
    with chromium() as browser:
        for size, scheme in ((WIDE, "light"), (PHONE, "dark")):
            watched = Watched(browser, page.as_uri(), size=size, scheme=scheme)
            assert watched.complaints == []
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            if shots := os.environ.get("KIT_SHOTS"):
                watched.page.screenshot(path=f"{shots}-{size['width']}.png", full_page=True)
