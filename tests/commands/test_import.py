"""`main.py import` as people call it: files of others beside live days, each once, whole or not at all."""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import shutil
import sqlite3
import zipfile
from contextlib import closing
from datetime import date, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands.cli import main
from domain.instants import SECOND, at_exchange
from gateways.gexbot import history
from storage import manifest
from storage.views.database import Database
from storage.views.named import derived_series
from storage.warehouse import Warehouse
from tests.testkit.chains import small_csv

Said = pytest.CaptureFixture[str]
SESSION = date(2026, 1, 6)
OPEN_S = at_exchange(SESSION, time(9, 30)) // SECOND
NAME = "2026-01-06_SPX_classic_gex_zero.json"


def gex(at_s: int, spot: float = 6000.12, **more: Any) -> dict[str, Any]:
    rows = [[6005, -1.5, 2.25, [1, 2, 3, 4, 5]], [5995, 10.5, -20, [0, 0, 0, 0, 0.01]]]  # the vendor does not sort
    return {
        "timestamp": at_s, "ticker": "SPX", "min_dte": 0, "sec_min_dte": 1, "spot": spot, "zero_gamma": 5990.5,
        "major_pos_vol": 5995, "major_pos_oi": 6005, "major_neg_vol": 6005, "major_neg_oi": 5995, "strikes": rows,
        "sum_gex_vol": 9.0, "sum_gex_oi": -17.75, "delta_risk_reversal": 0.012, "max_priors": [[6000, 1.5]] * 6, **more,
    }  # fmt: skip


def day(buckets_n: int = 4, each_s: int = 10) -> list[dict[str, Any]]:
    return [gex(OPEN_S + 2 + s, 6000 + s / 100) for s in range(0, 30 * buckets_n - 2, each_s)]


def write(path: Path, objects: list[dict[str, Any]], *, packed: bool = False) -> Path:
    data = json.dumps(objects).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def call(folder: Path, *words: str | Path) -> int:
    return main(["--data", str(folder / "data"), "import", *map(str, words)])


def told(folder: Path, capsys: Said, *words: str | Path) -> list[dict[str, Any]]:
    capsys.readouterr()
    call(folder, *words, "--json")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def rows(folder: Path, sql: str) -> list[dict[str, Any]]:
    db = Database(folder / "data")
    try:
        return db.rows(sql)
    finally:
        db.close()


@pytest.mark.parametrize("packed", [False, True])
def test_a_history_day_becomes_a_row_a_bucket_that_the_views_read(tmp_path: Path, capsys: Said, packed: bool) -> None:
    file = write(tmp_path / NAME, day(), packed=packed)
    assert call(tmp_path, file) == 0
    assert "4 rows stored of 2026-01-06" in capsys.readouterr().out
    found = rows(tmp_path, "SELECT * FROM gex ORDER BY bucket_utc")
    assert [row["frames"] for row in found] == [3, 3, 3, 3]
    assert {(row["mode"], row["hub"], row["category"]) for row in found} == {("import", "classic", "classic_gex_zero")}
    assert found[0]["spot"] == 6000.20 and found[0]["zero_gamma"] == 5990.5 and found[0]["sum_gex_oi"] == -17.75
    strikes = rows(tmp_path, "SELECT strike, gex_vol, gex_oi, prior_4 FROM profile ORDER BY bucket_utc, strike LIMIT 2")
    assert strikes == [
        {"strike": 5995.0, "gex_vol": 10.5, "gex_oi": -20.0, "prior_4": 0.01},
        {"strike": 6005.0, "gex_vol": -1.5, "gex_oi": 2.25, "prior_4": 5.0},
    ]


def test_importing_twice_is_importing_once_also_without_the_journal(tmp_path: Path, capsys: Said) -> None:
    file = write(tmp_path / NAME, day())
    assert told(tmp_path, capsys, file)[0]["stored"] == 4
    again = told(tmp_path, capsys, file)[0]
    assert (again["stored"], again["was_imported_before"]) == (0, True)
    (tmp_path / "data" / "imports.jsonl").write_bytes(b'{"digest": "cut by a cra')
    third = told(tmp_path, capsys, file)[0]
    assert (third["stored"], third["known"], third["was_imported_before"]) == (0, 4, False)
    assert told(tmp_path, capsys, file)[0]["was_imported_before"]
    assert rows(tmp_path, "SELECT count(*) AS n FROM rows") == [{"n": 4}]


def test_what_was_imported_and_is_lost_since_comes_back_when_it_is_asked_for_again(
    tmp_path: Path, capsys: Said
) -> None:
    file = write(tmp_path / NAME, day())
    assert told(tmp_path, capsys, file)[0]["stored"] == 4
    shutil.rmtree(manifest.folder_of(tmp_path / "data" / "warehouse", SESSION))
    assert call(tmp_path, file) == 0
    assert "imported before (4 rows; --again stores what is lost)" in capsys.readouterr().out
    assert told(tmp_path, capsys, file, "--again")[0]["stored"] == 4
    assert rows(tmp_path, "SELECT count(*) AS n FROM rows") == [{"n": 4}]


def test_an_import_that_was_killed_before_its_swap_is_not_seen_and_goes_on(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = write(tmp_path / NAME, day()), write(tmp_path / NAME.replace("zero", "one"), day())
    assert call(tmp_path, first) == 0

    class Killed(BaseException):
        """What nothing catches, as a kill."""

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Warehouse, "add_sealed", killed)
        with pytest.raises(Killed):
            call(tmp_path, second)
    assert rows(tmp_path, "SELECT DISTINCT category FROM rows") == [{"category": "classic_gex_zero"}]
    found = told(tmp_path, capsys, first, second)
    assert [done["stored"] for done in found] == [0, 4]
    assert rows(tmp_path, "SELECT count(*) AS n FROM rows") == [{"n": 8}]
    folder = manifest.folder_of(tmp_path / "data" / "warehouse", SESSION)
    assert {path.name for path in folder.glob("whole-*")} == {
        part.name for part in manifest.load(folder.parent, SESSION).parts
    }


def test_objects_that_cannot_be_rows_are_counted_and_cost_no_other(tmp_path: Path, capsys: Said) -> None:
    objects = day()
    objects[2:2] = [
        gex(OPEN_S - 60), gex(OPEN_S + 8 * 3600), gex(OPEN_S + 86_400), gex(OPEN_S + 3), {"a": 1},
        gex(OPEN_S + 23, ticker="QQQ"), gex(OPEN_S + 24, strikes=[["x", 1, 2, [1, 2, 3, 4, 5]]]),
    ]  # fmt: skip
    objects[-1]["strikes"] = "none"
    found = told(tmp_path, capsys, write(tmp_path / NAME, objects))[0]
    assert found["stored"] == 4
    assert found["refused"] == {
        "another_session": 1, "corrupt": 3, "outside_hours": 2, "time_backwards": 2, "wrong_ticker": 1,
    }  # fmt: skip


def test_an_end_of_day_zip_is_one_import_of_all_its_categories(tmp_path: Path, capsys: Said) -> None:
    greek = [
        {
            "timestamp": OPEN_S + 5, "ticker": "SPX", "spot": 6000.0, "major_positive": 6010, "major_negative": 5990,
            "major_long_gamma": 6005, "major_short_gamma": 5995,
            "mini_contracts": [[6000, 0.153, 0.161, -12.5, [1, 2, 3], None, None]],
        }
    ]  # fmt: skip
    file = tmp_path / "eod_SPX.zip"
    with zipfile.ZipFile(file, "w") as packed:
        for path, objects in (("classic/gex_full", day()), ("classic/gex_zero", day()), ("state/charm_zero", greek)):
            package, category = path.split("/")
            name = f"SPX/{path}/2026-01-06_SPX_{package}_{category}.json.gz"
            packed.writestr(name, gzip.compress(json.dumps(objects).encode()))
        packed.writestr("SPX/readme.txt", "hello")
    found = told(tmp_path, capsys, file)[0]
    assert (found["stored"], found["refused"]) == (9, {"member of unknown name": 1})
    kinds = rows(tmp_path, "SELECT category, hub, count(*) AS n FROM rows GROUP BY ALL ORDER BY category")
    assert [(row["category"], row["hub"], row["n"]) for row in kinds] == [
        ("classic_gex_full", "classic", 4), ("classic_gex_zero", "classic", 4),
        ("state_charm_zero", "state_greeks_zero", 1),
    ]  # fmt: skip
    ivs = rows(tmp_path, "SELECT call_iv, put_iv, exposure FROM profile WHERE category = 'state_charm_zero'")
    assert ivs == [{"call_iv": 0.153, "put_iv": 0.161, "exposure": -12.5}]


def test_a_history_file_whose_name_says_another_day_than_its_content_is_not_imported(
    tmp_path: Path, capsys: Said
) -> None:
    file = write(tmp_path / NAME.replace("01-06", "01-07"), day())
    found = told(tmp_path, capsys, file)[0]
    assert found["error"].startswith("its name says 2026-01-07, its content is of 2026-01-06")
    assert found["stored"] == 0
    assert not manifest.sessions_in(tmp_path / "data" / "warehouse")
    by_hand = write(tmp_path / "20260107.json", day())
    assert "its name says" in told(tmp_path, capsys, by_hand, "--ticker", "SPX", "--category", "classic_gex_zero")[0][
        "error"
    ]  # fmt: skip
    assert told(tmp_path, capsys, file.rename(tmp_path / NAME))[0]["stored"] == 4


def test_a_member_of_another_day_than_its_name_says_is_left_out_and_named(tmp_path: Path, capsys: Said) -> None:
    file = tmp_path / "eod_SPX.zip"
    with zipfile.ZipFile(file, "w") as packed:
        for day_told, category in (("2026-01-06", "gex_full"), ("2026-01-05", "gex_zero")):
            packed.writestr(f"SPX/classic/{category}/{day_told}_SPX_classic_{category}.json", json.dumps(day()))
    found = told(tmp_path, capsys, file)[0]
    assert (found["stored"], found["refused"]) == (4, {"member of another day than its name says": 1})
    assert "2026-01-05_SPX_classic_gex_zero.json: its name says 2026-01-05" in found["notes"][0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (json.dumps(day()).encode()[:-200], "ends in the middle"),
        (gzip.compress(json.dumps(day()).encode())[:-30], "damaged or cut"),
        (b"[1, 2]", "no object"),
        (b"[]", "no object lies within"),
    ],
)
def test_a_history_file_that_is_cut_is_not_imported_at_all(
    tmp_path: Path, capsys: Said, content: bytes, why: str
) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert call(tmp_path, tmp_path / NAME) == 1
    out = capsys.readouterr().out
    assert why in out and "0 rows stored" in out
    assert rows(tmp_path, "SELECT count(*) AS n FROM rows") == [{"n": 0}]


def test_a_category_that_no_name_says_must_be_named(tmp_path: Path, capsys: Said) -> None:
    file = write(tmp_path / "download.json", day())
    assert call(tmp_path, file) == 1
    assert "--ticker and --category" in capsys.readouterr().out
    assert call(tmp_path, file, "--ticker", "spx", "--category", "classic_gex_full") == 0
    assert rows(tmp_path, "SELECT DISTINCT category FROM rows") == [{"category": "classic_gex_full"}]


def test_while_somebody_else_writes_nothing_is_imported(tmp_path: Path, capsys: Said) -> None:
    file = write(tmp_path / NAME, day())
    lock = tmp_path / "data" / "warehouse" / "writer.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert call(tmp_path, file) == 3
    assert "Another process writes" in capsys.readouterr().err
    assert call(tmp_path, file) == 0


def test_a_chain_is_kept_with_its_day(tmp_path: Path, capsys: Said) -> None:
    file = tmp_path / "quotedata.csv"
    file.write_text(small_csv(), "utf-8")
    assert told(tmp_path, capsys, file)[0]["stored"] == 48
    found = rows(
        tmp_path,
        "SELECT session, ticker, expiry, strike, open_interest FROM chains"
        " WHERE strike = 4700 AND \"right\" = 'C' ORDER BY expiry DESC LIMIT 1",
    )
    assert [(str(row["expiry"]), row["strike"], row["open_interest"]) for row in found] == [("2022-01-21", 4700.0, 900)]


def test_delta_and_gamma_of_a_chain_are_the_files_or_computed(tmp_path: Path, capsys: Said) -> None:
    told_file, bare = tmp_path / "told.csv", tmp_path / "bare_2022-01-08.csv"
    told_file.write_text(small_csv(), "utf-8")
    assert told(tmp_path, capsys, told_file)[0]["stored"] == 48
    of_file = "SELECT delta, gamma FROM chains WHERE strike = 4700 AND \"right\" = 'C' ORDER BY expiry"
    # the file says 0.5 and 0.01 of every contract
    assert rows(tmp_path, of_file) == [{"delta": 0.5, "gamma": 0.01}] * 3
    bare.write_text(small_csv().replace(",Delta,Gamma", ",x,y"), "utf-8")
    other = tmp_path / "other"
    found = told(other, capsys, bare)[0]
    assert found["stored"] == 48
    assert found["notes"] == [
        "bare_2022-01-08.csv: its name says 2022-01-08, its content is of 2022-01-07; the content counts"
    ]
    computed = rows(
        other, 'SELECT expiry, "right", delta, gamma FROM chains WHERE strike = 4700 ORDER BY expiry, "right"'
    )
    assert [row["delta"] for row in computed[:2]] == [None, None], "of what had expired nothing is computed"
    assert all(0.0 < row["delta"] < 0.5 for row in computed[2:] if row["right"] == "C")
    assert all(-1.0 < row["delta"] < -0.5 for row in computed[2:] if row["right"] == "P")
    assert all(row["gamma"] > 0.0 for row in computed[2:])


def test_minute_bars_are_checked_and_their_holes_named(tmp_path: Path, capsys: Said) -> None:
    lines = ["timestamp,open,high,low,close,volume"]
    for minute in range(390):
        if not 100 <= minute < 130:
            clock = f"{(570 + minute) // 60:02}:{(570 + minute) % 60:02}"
            lines.append(f"2026-01-06 {clock}:00,600,{900 if minute == 50 else 601},599,600.5,100")
    file = tmp_path / "bars.csv"
    file.write_text("\r\n".join([*lines, "x,y", ""]), "utf-8")
    assert call(tmp_path, file) == 1
    assert "--ticker" in capsys.readouterr().out
    found = told(tmp_path, capsys, file, "--ticker", "SPY")[0]
    assert (found["stored"], found["refused"]) == (359, {"unreadable": 1, "wild_price": 1})
    assert "31 min of the session are missing" in found["notes"][0] and "11:10 to 11:40" in found["notes"][0]


def test_bars_of_a_future_at_all_hours_tell_of_the_night_before_a_session(tmp_path: Path, capsys: Said) -> None:
    closes = {
        "2026-01-05 15:58": 6000, "2026-01-05 15:59": 6010, "2026-01-05 16:30": 5900, "2026-01-05 18:00": 6020,
        "2026-01-05 23:59": 6040, "2026-01-06 00:00": 6030, "2026-01-06 09:29": 6025, "2026-01-06 09:30": 6100,
    }  # fmt: skip
    lines = ["time,symbol,open,high,low,close,volume"]
    lines += [f"{at}:00,ES,{close},{close},{close},{close},1" for at, close in closes.items()]
    file = tmp_path / "es.csv"
    file.write_text("\n".join(lines), "utf-8")
    found = told(tmp_path, capsys, file)
    assert sum(one["stored"] for one in found) == len(closes)
    values = {(row["symbol"], row["name"]): row for row in derived_series(Database(tmp_path / "data")).to_pylist()}
    assert values["ES", "overnight_move"]["value"] == pytest.approx(6025 / 6010 - 1)
    assert values["ES", "overnight_range"]["value"] == pytest.approx(20 / 6020)
    assert values["NQ", "overnight_move"]["value"] is values["SPX", "hourly_regime"]["said"] is None


def test_parquet_bars_of_an_index_have_no_volume(tmp_path: Path, capsys: Said) -> None:
    table = pa.table({
        "t": [(OPEN_S + 60 * n) * 1000 for n in range(3)], "symbol": ["SPX"] * 3, "o": [1.0, 2.0, 3.0],
        "h": [1.5, 2.5, 3.5], "l": [0.5, 1.5, 2.5], "c": [1.2, 2.2, 3.2], "v": [5, 6, 7],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "x.bin")
    assert told(tmp_path, capsys, tmp_path / "x.bin")[0]["refused"] == {"wild_price": 2}
    stored = next((tmp_path / "data" / "series").rglob("bars-import-*"))
    kept = pq.read_table(stored)
    assert kept["volume"].null_count == kept.num_rows == 1


def test_quotes_in_leans_layout_become_quotes(tmp_path: Path, capsys: Said) -> None:
    name = "20210104_spxw_minute_quote_european_call_37000000_20210106.csv"
    text = (
        "34200000,651000,671000,635000,649000,48,692000,707000,674000,679000,15\n"
        "34260000,649000,658000,630000,690000,19,679000,679000,659000,660000,19\n"
        "34320000,,,,,,679000,679000,659000,660000,19\nrubbish\n"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        out.writestr(name, text)
    (tmp_path / "q.zip").write_bytes(packed.getvalue())
    found = told(tmp_path, capsys, tmp_path / "q.zip")[0]
    assert (found["kind"], found["stored"]) == ("LEAN quotes", 2)
    assert found["refused"] == {"crossed_quote": 1, "unreadable": 1}
    stored = rows(tmp_path, "SELECT ticker, trading_class, strike, bid, ask FROM quotes ORDER BY at_utc LIMIT 1")
    assert stored == [{"ticker": "SPX", "trading_class": "SPXW", "strike": 3700.0, "bid": 64.9, "ask": 67.9}]


def test_gaps_are_not_judged_of_imported_days(tmp_path: Path, capsys: Said) -> None:
    assert call(tmp_path, write(tmp_path / NAME, day())) == 0
    bars = tmp_path / "SPX_minute.csv"
    bars.write_text("timestamp,open,high,low,close,volume\n2026-01-07 09:30:00,600,601,599,600.5,100\n", "utf-8")
    assert call(tmp_path, bars, "--ticker", "SPY") == 0
    capsys.readouterr()
    assert main(["--data", str(tmp_path / "data"), "gaps"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said == (
        "Not judged: 2026-01-06, 2026-01-07. No desk has recorded hubs there (imported days have what their files had),"
        " so nothing was expected."
    )
    assert main(["--data", str(tmp_path / "data"), "gaps", "2026-01-08"]) == 1
    assert capsys.readouterr().err == "Nothing is stored of 2026-01-08.\n"


def test_an_incumbents_database_comes_in_by_a_map(tmp_path: Path, capsys: Said) -> None:
    file, names = tmp_path / "old.db", tmp_path / "map.yaml"
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE gex (sym TEXT, kind TEXT, payload TEXT)")
        db.executemany("INSERT INTO gex VALUES ('SPX', 'classic_gex_zero', ?)", [(json.dumps(o),) for o in day()])
        db.execute("INSERT INTO gex VALUES ('SPX', 'classic_gex_zero', '{')")
        db.execute("CREATE TABLE deals (opened TEXT, sym TEXT, won REAL, note TEXT)")
        db.execute("INSERT INTO deals VALUES ('2026-01-06 10:00:00', 'SPX', 120.5, 'first')")
        db.commit()
    names.write_text(
        "market: {table: gex, ticker: sym, category: kind, json: payload}\n"
        "trades: {table: deals, at: opened, ticker: sym, pnl: won}\n",
        "utf-8",
    )
    found = told(tmp_path, capsys, "--sqlite", file, "--map", names)[0]
    assert (found["stored"], found["refused"]) == (5, {"corrupt": 1})
    assert rows(tmp_path, "SELECT count(*) AS n FROM rows WHERE mode = 'import'") == [{"n": 4}]
    kept = pq.read_table(next((tmp_path / "data" / "series").rglob("trades-import-*"))).to_pylist()
    assert [(row["ticker"], row["pnl"], json.loads(row["more"])) for row in kept] == [("SPX", 120.5, {"note": "first"})]
    assert told(tmp_path, capsys, "--sqlite", file, "--map", names)[0]["was_imported_before"]
    names.write_text("market: {table: gexx, ticker: sym, category: kind, json: payload}\n", "utf-8")
    assert "there are: deals, gex" in told(tmp_path, capsys, "--sqlite", file, "--map", names)[0]["error"]


def test_objects_are_found_whatever_the_pieces_and_whatever_braces_texts_hold() -> None:
    objects = [{"a": "}{", "b": [1, {"c": 2}]}, {"timestamp": 5}, {"x": '\\"}'}]
    data = ("\ufeff \n[" + " ,\n".join(json.dumps(o) for o in objects) + " ]\n").encode()

    class Dripping(io.BytesIO):
        """A file that gives three bytes at a time."""

        def read(self, _: int | None = -1) -> bytes:
            return super().read(3)

    assert [json.loads(raw) for raw in history.objects_in(Dripping(data))] == objects


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("SPX/classic/gex_full/2026-01-06_SPX_classic_gex_full.json.gz", "classic_gex_full"),
        ("2026-01-06_ES_SPX_classic_zero.json", "classic_gex_zero"),
        ("2026-01-06_ES_SPX_state_vanna_one.json.gz", "state_vanna_one"),
        ("SPX_orderflow_orderflow.json", "orderflow_orderflow"),
        ("notes.json", None), ("SPX_classic_vanna_one.json", None),
    ],
)  # fmt: skip
def test_the_category_is_read_from_names_of_the_vendors_form(name: str, category: str | None) -> None:
    found = history.named(name)
    assert (None if found is None else found.category) == category
    if found is not None:
        assert found.ticker in ("SPX", "ES_SPX")


@pytest.mark.slow
def test_a_backtest_trades_on_imported_days_of_several_files_as_they_lie_and_compacted(
    tmp_path: Path, capsys: Said
) -> None:
    for name in (NAME, NAME.replace("gex_zero", "gex_full")):
        assert call(tmp_path, write(tmp_path / name, day())) == 0
    config = tmp_path / "small.yaml"
    config.write_text("tickers: [SPX]\nlanes: {gexwatch: [SPX], advisor: []}\n", "utf-8")
    words = ["--config", str(config), "--data", str(tmp_path / "data")]

    def heard() -> dict[str, Any]:
        capsys.readouterr()
        assert main([*words, "backtest", str(SESSION), str(SESSION), "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["days"]
        told: dict[str, Any] = found
        return told

    as_it_lies = heard()
    assert (as_it_lies["rows"], as_it_lies["damaged"]) == (8, [])
    assert "no rows of classic 09:31 to 16:00" in as_it_lies["lacking"]
    assert main([*words, "compact", str(SESSION)]) == 0
    assert len(list((tmp_path / "data" / "warehouse").rglob("whole-*.parquet"))) == 1
    assert heard() == as_it_lies


def test_bars_that_are_longer_than_a_minute_are_refused_whole(tmp_path: Path, capsys: Said) -> None:
    def csv(*minutes: int) -> Path:
        path = tmp_path / "spx.csv"
        lines = [f"{OPEN_S + 60 * minute},6000,6001,5999,6000.5" for minute in minutes]
        path.write_text("\n".join(["time,open,high,low,close", *lines]), "utf-8")
        return path

    assert call(tmp_path, csv(0, 5, 10, 15), "--ticker", "SPX") == 1
    assert "the bars of SPX lie 5 min apart: only bars of one minute are taken" in capsys.readouterr().out
    assert not list((tmp_path / "data" / "series").rglob("*.parquet"))
    assert call(tmp_path, csv(0, 5, 6, 15), "--ticker", "SPX") == 0


def test_of_a_file_of_two_tickers_neither_is_stored_where_the_bars_of_one_are_too_long(tmp_path: Path) -> None:
    lines = [f"{OPEN_S + 60 * n},QQQ,600,601,599,600.5" for n in range(4)]
    lines += [f"{OPEN_S + 300 * n},SPY,600,601,599,600.5" for n in range(4)]
    path = tmp_path / "both.csv"
    path.write_text("\n".join(["time,ticker,open,high,low,close", *lines]), "utf-8")
    assert call(tmp_path, path) == 1
    assert not list((tmp_path / "data" / "series").rglob("*.parquet"))


LONG = "99999999999999999999"  # of more digits than a column of whole numbers holds


def test_a_line_with_a_number_that_no_column_holds_costs_no_other(tmp_path: Path, capsys: Said) -> None:
    title, good = "time,ticker,open,high,low,close,volume", "2026-01-06 10:00:00,SPY,600,601,599,600.5,100"
    bad = [
        good.replace("2026-01-06", "9999-12-31"), good.replace("2026-01-06", "0001-01-01"),
        good.replace("600.5", LONG), good.replace(",100", f",{LONG}"), f"{LONG}{good[19:]}",
    ]  # fmt: skip
    (tmp_path / "bars.csv").write_text("\n".join([title, *bad, good]), "utf-8")
    cells = {"time": ["9999-12-31", "2026-01-06 10:01:00"], **{name: [1e30, 600.0] for name in ("open", "high")}}
    pq.write_table(pa.table(cells | {"low": [1.0, 600.0], "close": [1.0, 600.0]}), tmp_path / "bars.parquet")
    with zipfile.ZipFile(tmp_path / "lean.zip", "w") as out:
        out.writestr(
            "20260106_spy_minute_trade.csv", f"{LONG},1,1,1,1,1\n36120000,6000000,6000000,6000000,6000000,{LONG}\n"
        )
        quotes = "20260106_spxw_minute_quote_european_call_{}_20260106.csv"
        out.writestr(quotes.format(LONG), "34200000,1,1,1,1,1,2,2,2,2,1\n")
        out.writestr(
            quotes.format(60000000), f"34200000,1,1,1,100,{LONG},2,2,2,200,1\n{LONG},1,1,1,100,1,2,2,2,200,1\n"
        )
    asked = ["bars.csv", "bars.parquet", "lean.zip"]
    found = {
        one["file"]: one for one in told(tmp_path, capsys, *(tmp_path / name for name in asked), "--ticker", "SPY")
    }
    assert {name: (one["stored"], one["refused"]) for name, one in found.items()} == {
        "bars.csv": (1, {"unreadable": 5}), "bars.parquet": (1, {"unreadable": 1}),
        "lean.zip": (0, {"unreadable": 4, "member of unknown name": 1}),
    }  # fmt: skip


def test_a_foreign_row_with_an_instant_that_no_column_holds_costs_no_other(tmp_path: Path, capsys: Said) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        db.execute("CREATE TABLE alerts (at, ticker)")
        db.executemany("INSERT INTO alerts VALUES (?, 'SPX')", [("9999-12-31",), (5e19,), ("2026-01-06 10:00",)])
        db.commit()
    (tmp_path / "map.yaml").write_text("alerts: {table: alerts, at: at, ticker: ticker}\n", "utf-8")
    (found,) = told(tmp_path, capsys, "--sqlite", tmp_path / "old.db", "--map", tmp_path / "map.yaml")
    assert (found["stored"], found["refused"]) == (1, {"unreadable_alerts": 2})
    (tmp_path / "map.yaml").write_bytes(b"\xff\xfe\x00")
    (found,) = told(tmp_path, capsys, "--sqlite", tmp_path / "old.db", "--map", tmp_path / "map.yaml")
    assert "cannot be read" in found["error"]


def test_lines_of_a_csv_may_end_in_any_way_and_one_that_is_no_csv_is_refused_whole(
    tmp_path: Path, capsys: Said
) -> None:
    lines = ["time,ticker,open,high,low,close", *(f"2026-01-06 10:0{n}:00,SPY,600,601,599,600.5" for n in range(3))]
    for end in ("\r", "\r\n", "\n"):
        (tmp_path / "bars.csv").write_bytes(end.join(lines).encode())
        assert told(tmp_path, capsys, tmp_path / "bars.csv", "--again")[0]["read"] == 3, repr(end)
    (tmp_path / "bars.csv").write_bytes("\n".join([*lines, "x" * 200_000]).encode())
    assert "cannot be read as CSV" in told(tmp_path, capsys, tmp_path / "bars.csv")[0]["error"]


@pytest.mark.parametrize(("name", "value"), [("current_price", 1e300), ("bid", 1e300), ("volume", -1e300), ("iv", 1e9)])
def test_a_chain_with_a_number_that_none_can_be_is_not_imported(
    tmp_path: Path, capsys: Said, name: str, value: float
) -> None:
    option = {"option": "SPXW260106C06000000", "bid": 1.0, "ask": 2.0, "iv": 0.2, "open_interest": 1, "volume": 1}
    told_of = {"current_price": 6000.0, "options": [option]}
    (told_of if name in told_of else option)[name] = value
    file = tmp_path / "chain.json"
    file.write_text(json.dumps({"timestamp": "2026-01-06 15:00:00", "data": told_of}), "utf-8")
    assert "which none can be; download it again" in told(tmp_path, capsys, file)[0]["error"]
    (told_of if name in told_of else option)[name] = 1.0
    file.write_text(json.dumps({"timestamp": "2026-01-06 15:00:00", "data": told_of}), "utf-8")
    assert told(tmp_path, capsys, file)[0]["stored"] == 1
