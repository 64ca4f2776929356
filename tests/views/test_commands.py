"""`sql`, `shell`, `gaps`, `export` and `compact` as people call them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from commands.cli import main
from storage import manifest
from storage.views.database import Database
from storage.views.named import contract_quotes
from tests.testkit import bucket_rows as make
from tests.testkit.warehouse_days import damage_log, opened, store, stored_day

pytestmark = pytest.mark.slow

Said = pytest.CaptureFixture[str]


def call(folder: Path, *words: str) -> int:
    return main(["--data", str(folder), *words])


def test_sql_answers_as_a_table_as_csv_and_as_json(folder: Path, capsys: Said) -> None:
    query = "SELECT ticker, count(*) AS n, max(bucket_utc) AS newest FROM readings GROUP BY ticker ORDER BY ticker"
    assert call(folder, "sql", query) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["ticker", "n", "newest"]
    assert shown[-1] == f"({len(shown) - 3} rows)"
    assert call(folder, "sql", query, "--csv") == 0
    by_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert call(folder, "sql", query, "--json") == 0
    by_json = json.loads(capsys.readouterr().out)
    assert [row["ticker"] for row in by_csv] == [row["ticker"] for row in by_json]
    assert [int(row["n"]) for row in by_csv] == [row["n"] for row in by_json]
    assert by_json[0]["newest"] == "2026-11-20T16:29:00"


def test_sql_counts_the_readings_of_the_report(folder: Path, capsys: Said) -> None:
    call(folder, "report", "--json")
    told = json.loads(capsys.readouterr().out)["readings"]["computed"]
    call(folder, "sql", "select count(*) as n from readings", "--json")
    assert json.loads(capsys.readouterr().out) == [{"n": told}]


def test_sql_reads_a_query_from_its_input_and_shows_so_many_rows(
    folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT * FROM range(500)"))
    assert call(folder, "sql", "-", "--rows", "3") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("(500 rows, 3 shown")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("sql", "SELECT * FROM readigs"), 2, "did you mean readings?"),
        (("export", "nope"), 2, "there are: alert_log, alerts"),
        (("export", "kills", "--session", "2026-11-20"), 2, "not kept by session"),
        (("gaps", "yesterday"), 2, "is not a date"),
        (("gaps", "2020-01-02"), 1, "Nothing is stored of 2020-01-02"),
        (("compact", "2020-01-02"), 1, "Nothing is stored of 2020-01-02"),
        (("notebooks", "nope"), 2, "there are: alert_performance"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    folder: Path, capsys: Said, words: tuple[str, ...], code: int, said: str
) -> None:
    assert call(folder, *words) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [("sql", "SELECT 1"), ("gaps",), ("export", "trades"), ("compact",)])
def test_a_folder_in_which_nothing_was_stored_is_named(tmp_path: Path, capsys: Said, words: tuple[str, ...]) -> None:
    assert call(tmp_path / "none", *words) == 1
    assert "There is nothing to query" in capsys.readouterr().err


def test_a_shell_goes_on_after_an_error_and_lists_views_and_columns(
    folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = (
        "SELECT count(*) AS n\nFROM alerts;\nSELECT nope;\n.views\n.columns gaps\n.columns x\n.csv\nSELECT 1 AS"
        " a;\n.what\n"
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(typed + "SELECT 7 AS last"))
    assert call(folder, "shell") == 0
    said = capsys.readouterr().out
    assert 'Referenced column "nope"' in said
    assert "readings" in said
    assert "how many rows are missing" in said
    assert "There is no view 'x'" in said
    assert "a\n1\n" in said
    assert ".what is no command here" in said
    assert said.endswith("last\n7\n")


def test_an_export_is_the_whole_view_of_a_session(folder: Path, tmp_path: Path, capsys: Said) -> None:
    out = tmp_path / "alerts.csv"
    assert call(folder, "export", "alert_log", "--out", str(out)) == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == Database(folder).rows("SELECT count(*) AS n FROM alerts")[0]["n"]
    assert {row["direction"] for row in rows} <= {"BULLISH", "BEARISH"}
    capsys.readouterr()
    assert call(folder, "export", "trades", "--session", "2026-11-20", "--json") == 0
    assert {row["trade_date"] for row in json.loads(capsys.readouterr().out)} == {"2026-11-20"}
    assert call(folder, "export", "trades", "--out", str(tmp_path)) == 2


def test_gaps_are_shown_and_their_absence_is_said(tmp_path: Path, capsys: Said) -> None:
    warehouse = opened(tmp_path / "warehouse")
    store(warehouse, make.bucket(0))
    assert call(tmp_path, "gaps") == 0
    assert "No gaps" in capsys.readouterr().out
    store(warehouse, make.bucket(1, absent=(("SPX", "classic_gex_zero"),)))
    assert call(tmp_path, "gaps", "2026-11-20", "--json") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["hub"], row["missing"], row["why"]) == ("classic", 1, "silent")
    assert call(tmp_path, "gaps") == 1
    assert "In all: 1 rows missing, 0 covered, 0 not polled." in capsys.readouterr().out


def test_gaps_that_something_else_covered_are_shown_and_are_no_fault(tmp_path: Path, capsys: Said) -> None:
    warehouse = opened(tmp_path / "warehouse")
    store(warehouse, msgspec.structs.replace(make.bucket(1), covered=(("SPX", "classic_gex_zero"),)))
    assert call(tmp_path, "gaps") == 0
    said = capsys.readouterr().out
    assert "rest" in said
    assert "In all: 0 rows missing, 1 covered, 0 not polled." in said


def test_compact_makes_a_day_whole_and_not_beside_a_writer(tmp_path: Path, capsys: Said) -> None:
    warehouse = stored_day(tmp_path / "warehouse", 3)
    assert call(tmp_path, "compact") == 3
    assert "Another process writes" in capsys.readouterr().err
    warehouse.close()
    assert call(tmp_path, "compact") == 0
    assert "9 files are 3 now, 24 rows" in capsys.readouterr().out
    assert manifest.load(tmp_path / "warehouse", make.DAY).is_whole
    assert call(tmp_path, "compact") == 0
    assert "already" in capsys.readouterr().out


def test_compact_goes_on_past_a_day_of_which_something_is_damaged(tmp_path: Path, capsys: Said) -> None:
    monday_n = 3 * 24 * 120  # buckets after Friday's
    warehouse = opened(tmp_path / "warehouse")
    for n in (0, 1, monday_n, monday_n + 1):
        store(warehouse, make.bucket(n))
    warehouse.close()
    part, _ = manifest.load(tmp_path / "warehouse", make.DAY).parts
    file = manifest.folder_of(tmp_path / "warehouse", make.DAY) / part.name
    raw = bytearray(file.read_bytes())
    raw[40 : len(raw) // 2] = bytes(len(raw) // 2 - 40)
    file.write_bytes(raw)
    damage_log(tmp_path / "warehouse", part)
    assert call(tmp_path, "compact") == 3
    said = capsys.readouterr().err
    assert "4 rows are lost" in said
    assert "2026-11-23: 2 files are 1 now, 8 rows." in said


def test_a_chain_fits_80_columns_with_volatility_greeks_and_open_interest(folder: Path, capsys: Said) -> None:
    assert call(folder, "chain", "spx") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("SPX 2026-11-20: spot ")
    assert lines[3].split() == ["bid", "ask", "iv", "delta", "OI"] * 2
    assert len(lines) > 20 and all(len(line.split()) == 11 for line in lines[4:])
    assert call(folder, "chain", "SPX", "2026-11-20", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"expiry", "strike", "c_bid", "p_ask", "c_gamma", "p_open_interest", "c_volume"} <= set(rows[0])
    assert call(folder, "chain", "SPX", "2026-11-27") == 1
    assert "No chain of SPX of expiry 2026-11-27 is stored" in capsys.readouterr().err


def test_an_options_day_needs_no_trace(folder: Path) -> None:
    db = Database(folder)
    (one,) = db.rows("SELECT * FROM chains WHERE ticker = 'SPX' ORDER BY at_utc, strike, \"right\" LIMIT 1")
    found = contract_quotes(db, one["session"], "SPX", one["expiry"], one["strike"], one["right"]).to_pylist()
    assert (found[0]["at_utc"], found[0]["bid"], found[0]["ask"]) == (one["at_utc"], one["bid"], one["ask"])
    watched = db.rows('SELECT DISTINCT session, ticker, expiry, strike, "right" FROM quotes')
    assert watched
    for contract in watched:
        assert contract_quotes(db, *contract.values()).num_rows > 0
    assert db.rows("SELECT count(*) AS n FROM underlyings WHERE ticker = 'SPX'")[0]["n"] > 100
