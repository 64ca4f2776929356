"""`main.py sweep` as people call it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import msgspec
import orjson
import pyarrow.parquet as pq
import pytest

from commands.cli import main
from commands.report_period import text_of
from commands.sweep import PARTS, TABLE, _alone, combinations_of
from commands.sweep_report import report_of
from domain.units import Cents
from simulation.backtest.model import FillModel
from simulation.backtest.sweep import row_of
from tests.testkit.paths import LEAN, needs_recorded_day
from tests.testkit.swept_days import day_of

Said = pytest.CaptureFixture[str]
DAY = "2021-01-04"


@pytest.fixture
def imported(tmp_path: Path, capsys: Said) -> Path:
    assert main(["--data", str(tmp_path / "data"), "import", *map(str, sorted(LEAN.glob("*.zip")))]) == 0
    capsys.readouterr()
    return tmp_path / "data"


@needs_recorded_day
@pytest.mark.slow
def test_a_swept_day_is_the_backtest_of_its_settings_and_is_not_run_twice(
    imported: Path, tmp_path: Path, capsys: Said
) -> None:
    small = tmp_path / "small.yaml"
    small.write_text("tickers: [SPX]\nlanes: {gexwatch: [SPX], advisor: [SPX]}\n", "utf-8")
    out = tmp_path / "out"
    words = ["--config", str(small), "--data", str(imported)]
    swept = [*words, "sweep", DAY, DAY, "fills.crossing=1,1.5", "exits.premium_stop=0.3", "--out", str(out), "--json"]
    assert main([*swept, "--workers", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["combinations"] == [
        {"fills.crossing": 1, "exits.premium_stop": 0.3}, {"fills.crossing": 1.5, "exits.premium_stop": 0.3}
    ]  # fmt: skip
    table = pq.read_table(out / TABLE)
    assert table["exits.premium_stop"].to_pylist() == [0.3, 0.3]
    assert main([*words, "backtest", DAY, DAY, "--json"]) == 0
    (day,) = json.loads(capsys.readouterr().out)["days"]
    assert table["digest"].to_pylist() == [day["digest"]] * 2
    made = {path: path.stat().st_mtime_ns for path in (out / PARTS).iterdir()}
    assert main(swept) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / PARTS).iterdir()} == made
    assert pq.read_table(out / TABLE) == table


@needs_recorded_day
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nonsense"], "write it as exits.premium_stop=0.3,0.4,0.5"),
        (["exits.premium_stop="], "is no setting with values"),
        (["exits.premium_stop=[1"], "is no setting with values"),
        (["exits.nothing=1"], "exits.nothing is not a setting"),
        (["exits.premium_stop=7"], "must be above 0 and at most 1"),
        (["fills.nothing=1"], "give one of fills.latency_ms"),
        (["fills.crossing=0.5"], "give 1 to 10"),
        (["fills.latency_ms=soon"], "These fills cannot be modelled"),
        (["fills.crossing=1", "fills.crossing=2"], "is said twice"),
        (["fills.crossing=1,1"], "has a value twice"),
        ([f"fills.latency_ms={','.join(map(str, range(101)))}", f"fills.stale_ms={','.join(map(str, range(1, 101)))}"],
         "10,100 combinations"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_said_in_one_sentence_and_nothing_is_run(
    given: list[str], said: str, tmp_path: Path, imported: Path, capsys: Said
) -> None:
    assert main(["--data", str(imported), "sweep", DAY, DAY, *given, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_combinations_change_the_last_setting_fastest_and_a_value_may_be_a_list() -> None:
    assert combinations_of(["a.b=1,2", "c=[3, 4],x"]) == [
        {"a.b": 1, "c": [3, 4]}, {"a.b": 1, "c": "x"}, {"a.b": 2, "c": [3, 4]}, {"a.b": 2, "c": "x"},
    ]  # fmt: skip


def test_the_report_shows_how_all_came_out_and_what_the_chosen_ones_were_worth_afterwards() -> None:
    sessions = [date(2026, 11, day) for day in (16, 17, 18)]
    nets = ([50_000, -30_000, -20_000], [10_000, 20_000, 30_000])
    rows = [
        (n, row_of(day_of(session, [cents])))
        for n, of_days in enumerate(nets) for session, cents in zip(sessions, of_days, strict=True)
    ]  # fmt: skip
    combinations = combinations_of(["exits.premium_stop=0.25,0.35"])
    report = report_of(
        sessions[0],
        sessions[-1],
        "paper",
        combinations,
        rows,
        (date(2026, 11, 19),),
        Cents(30_000_000),
        FillModel(),
        "Seeds.",
    )
    assert report.title == "Sweep 2026-11-16 to 2026-11-18: 2 combinations on 3 sessions, 1 not stored"
    spread, forward = report.sections[0], report.sections[2]
    assert [row[1] for row in spread.table.rows] == [0.0, 150.0, 300.0, 450.0, 600.0]
    assert spread.says.startswith(
        "Seeds. Nothing is stored of 2026-11-19. 50 % of 2 (9-91) gained. Whether the best one could be luck is"
    )
    assert spread.chart is not None
    bars = dict(zip(spread.chart.labels, spread.chart.series[0].values, strict=True))
    assert {label: n for label, n in bars.items() if n} == {"0 to 50": 1.0, "550 to 600": 1.0}  # the best among them
    assert forward.says.startswith("The chosen ones came to +0.00 on sessions that they were not chosen on")
    assert [row[1] for row in forward.table.rows] == ["#0", "#1"]
    assert all(len(line) <= 80 for line in text_of(report, 80))
    assert orjson.loads(orjson.dumps(msgspec.to_builtins(report)))["title"] == report.title


def test_a_sweep_in_which_nothing_was_entered_says_why() -> None:
    sessions = [date(2026, 11, day) for day in (16, 17, 18)]
    rows = [(n, row_of(day_of(session, []))) for n in range(2) for session in sessions]
    rows[0][1]["why_no_entry"] = "2 alerts, all shadows: nothing of them is promoted"
    combinations = combinations_of(["exits.premium_stop=0.25,0.35"])
    report = report_of(sessions[0], sessions[-1], "paper", combinations, rows, (), Cents(30_000_000), FillModel(), "")
    assert report.sections[0].says.endswith(
        "Nothing was entered in any run: no alert was found (5 of 6 runs); 2 alerts, all shadows: nothing of them is"
        " promoted (1 of 6 runs)."
    )
    assert report.sections[0].chart is not None
    assert report.sections[0].chart.labels == ("0",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["exits.premium_stop=0.3,0.4"], "exits.premium_stop=0.3 comes out as 0.36"),
        (["exits.premium_stop=0.36,0.4"], "exits.premium_stop=0.4 comes out as 0.36"),
        (["EXITS.take_single=0.4"], "EXITS.take_single is not a setting"),
        (["exits__take_single=0.4"], "exits__take_single is not a setting"),
        (["exits.take_single=0.4", "exits={take_single: 0.3}"], "exits holds exits.take_single"),
        (["exits.take_single=1,1.0"], "are the same settings; give each value once"),
        (["data_dir=a,b"], "name the folder with --data"),
        (["profile=demo,real"], "name it in the settings file"),
        (["demo.nav_usd=100000,200000", "--nav", "5000"], "leave --nav out"),
        (["exits.disaster_stop=null,true"], "exits.disaster_stop=None comes out as False"),
    ],
)
def test_a_value_that_would_not_be_in_force_is_refused(
    given: list[str], said: str, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROHOUR_EXITS__PREMIUM_STOP", "0.36")
    assert main(["--data", str(tmp_path), "sweep", DAY, DAY, *given, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "given", ["ticker_rules.SPX.max_hold_ms=60000,120000", "demo.nav_usd=100000,200000", "exits={take_single: 0.3}"]
)
def test_a_setting_is_named_as_in_the_defaults_however_deep_it_lies(given: str, tmp_path: Path, capsys: Said) -> None:
    assert main(["--data", str(tmp_path), "sweep", DAY, DAY, given, "--out", str(tmp_path / "out")]) == 1
    assert "is stored in" in capsys.readouterr().err  # the settings were taken


def test_a_setting_that_changed_nothing_is_named() -> None:
    combinations = combinations_of(["exits.premium_stop=0.25,0.35", "web.port=8050,8051"])
    rows = [
        (n, {**row_of(day_of(date(2026, 11, 20), [cents])), "digest": str(cents)})
        for n, cents in enumerate((100, 100, 300, 300))
    ]  # fmt: skip
    report = report_of(
        date(2026, 11, 20), date(2026, 11, 20), "paper", combinations, rows, (), Cents(1), FillModel(), ""
    )
    assert report.sections[1].says.startswith("web.port changed nothing on any session")
    rows[3] = (3, {**rows[3][1], "digest": "another"})
    report = report_of(
        date(2026, 11, 20), date(2026, 11, 20), "paper", combinations, rows, (), Cents(1), FillModel(), ""
    )
    assert report.sections[1].says == ""


def test_a_second_sweep_into_a_folder_is_refused_while_the_first_has_it(tmp_path: Path, capsys: Said) -> None:
    out = tmp_path / "out"
    (tmp_path / "data" / "series" / DAY).mkdir(parents=True)
    words = ["--data", str(tmp_path / "data"), "sweep", DAY, DAY, "exits.premium_stop=0.3", "--out", str(out)]
    with _alone(out):
        assert main(words) == 2
    assert f"Another sweep writes to {out}" in capsys.readouterr().err
    assert not list(out.iterdir())
