"""Queries of strangers: SELECTs over the views pass, everything else is refused, and no account number comes out."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from storage.views.database import QueryError
from storage.views.guarded import GuardedDatabase, _masked
from tests.testkit.asked_desk import ACCOUNT, MASKED, asked_desk

ROWS_MAX = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_desk(tmp_path_factory.mktemp("asked")).root


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[GuardedDatabase]:
    db = GuardedDatabase(folder, ROWS_MAX, timeout_s=30)
    yield db
    db.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM trades",
        "FROM trades SELECT *",
        "WITH t AS (SELECT * FROM trades) SELECT count(*) FROM t",
        "SELECT * FROM trades t JOIN orders o ON true, (SELECT 1) s;",
        "SELECT type, count(*) FROM trace GROUP BY ALL -- of the traces",
        "SELECT * FROM trace a JOIN trace b USING (run_n, seq) WHERE a.message->>'type' = b.type",
        "SELECT * FROM range(3)",
        "SELECT x FROM (VALUES (1), (2)) v(x) UNION SELECT 3",
    ],
)
def test_a_select_over_the_views_is_answered(guarded: GuardedDatabase, sql: str) -> None:
    assert guarded.answer(sql)[0].num_rows >= 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO trades VALUES (1)",
        "DELETE FROM trades",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '{out}'",
        "EXPORT DATABASE '{out}'",
        "ATTACH '{out}' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "SELECT 1; COPY (SELECT 1) TO '{out}'",
        "SELECT 1); COPY (SELECT 1) TO '{out}'; (SELECT 1",
        "WITH t AS (DELETE FROM trades RETURNING *) SELECT * FROM t",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('https://example.com/x.csv')",
        "SELECT * FROM read_json('{folder}/traces/2026-11-20/run-1.jsonl')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT getenv('HOME')",
        "SELECT list_transform([1], x -> getenv('HOME'))",
        "SELECT current_setting('allowed_directories')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM base_trace",
        "SELECT * FROM base_kill",
        "SELECT json_execute_serialized_sql('[]')",
        "nonsense",
        "",
        "WITH trades AS (SELECT 1 AS realised) SELECT * FROM trades",
        "SELECT * FROM (WITH RECURSIVE base_kill AS (SELECT 1) SELECT * FROM base_kill)",
    ],
)
def test_what_is_no_select_over_the_views_is_refused(
    guarded: GuardedDatabase, folder: Path, tmp_path: Path, sql: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(QueryError):
        guarded.answer(sql.format(out=out, folder=folder))
    assert not out.exists()


@pytest.mark.parametrize(
    "name",
    ["{folder}/traces/2026-11-20/run-1.jsonl", "base_trace", "base_executions", "BASE_KILL", "sqlite_master",
     "duckdb_views", "duckdb_columns", "pragma_database_list", "pg_tables"],
)  # fmt: skip
def test_a_name_in_with_opens_nothing_outside_its_own_part_of_a_query(
    guarded: GuardedDatabase, folder: Path, name: str
) -> None:
    told = name.format(folder=folder)
    with pytest.raises(QueryError, match="WITH"):
        guarded.answer(f'SELECT * FROM "{told}", (WITH "{told}" AS (SELECT 1 AS a) SELECT * FROM "{told}") z')


def test_a_name_of_nothing_that_stands_in_another_part_of_a_query_is_not_found(guarded: GuardedDatabase) -> None:
    with pytest.raises(QueryError, match="There is no view other"):
        guarded.answer("SELECT * FROM other, (WITH other AS (SELECT 1 AS a) SELECT * FROM other) z")


@pytest.mark.parametrize("kind", ["traces", "ledgers", "series"])
def test_the_connection_itself_opens_no_file_in_which_account_numbers_stand(
    guarded: GuardedDatabase, folder: Path, kind: str
) -> None:
    found = next((path for path in (folder / kind).rglob("*") if path.is_file()), folder / kind / "a")
    with pytest.raises(QueryError, match="Permission Error"):
        guarded.query(f"SELECT * FROM read_text('{found}')")  # past the first wall


def test_the_connection_itself_opens_nothing_else(guarded: GuardedDatabase, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    for sql in (f"SELECT * FROM read_csv('{other}')", f"COPY (SELECT 1) TO '{tmp_path / 'out'}'"):
        with pytest.raises(QueryError, match="Permission Error"):
            guarded.query(sql)  # past the first wall
    with pytest.raises(QueryError, match="locked"):
        guarded.query("SET enable_external_access = true")


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("SELECT reason FROM kills", "reason"),
        ("SELECT substr(reason, 1) || '' AS r FROM kills", "r"),
        ("SELECT message::VARCHAR AS m FROM trace WHERE type = 'risk.RecordKill'", "m"),
    ],
)
def test_an_account_number_is_masked_before_a_query_sees_it(guarded: GuardedDatabase, sql: str, column: str) -> None:
    (told,) = guarded.answer(sql)[0].column(column).to_pylist()
    assert MASKED in told
    assert ACCOUNT not in told


@pytest.mark.parametrize("before", [r"\n", r"\t", r"\u000b", r"\"", "_", "(", ",DU1234567,"])
def test_an_account_number_is_masked_whatever_stands_before_it_in_json(before: str) -> None:
    raw = f'{{"text":"Account:{before}{ACCOUNT}_x, {ACCOUNT}"}}'
    found = duckdb.execute(f"SELECT {GuardedDatabase._LINE} FROM (SELECT ?::JSON AS message)", [raw]).fetchone()
    (of_ledger,) = _masked(pa.table({"raw": [raw]})).column("raw").to_pylist()
    assert found == (of_ledger,)
    assert of_ledger.count(MASKED) == 2
    assert "7654321" not in of_ledger and "1234567" not in of_ledger


@pytest.mark.parametrize(("number", "shown"), [("DUM7654321", "DUM***21"), ("5WT00001", "5WT***01")])
def test_account_numbers_of_every_form_are_masked_in_queries(number: str, shown: str) -> None:
    raw = f'{{"text":"of {number}."}}'
    found = duckdb.execute(f"SELECT {GuardedDatabase._LINE} FROM (SELECT ?::JSON AS message)", [raw]).fetchone()
    (of_ledger,) = _masked(pa.table({"raw": [raw]})).column("raw").to_pylist()
    assert found == (of_ledger,) == (f'{{"text":"of {shown}."}}',)


def test_no_arithmetic_on_texts_brings_an_account_number_out(guarded: GuardedDatabase) -> None:
    sql = "SELECT list_aggregate(string_split(reason, ''), 'string_agg', '-') AS letters FROM kills"
    (letters,) = guarded.answer(sql)[0].column("letters").to_pylist()
    assert "-".join(ACCOUNT) not in letters


def test_a_trace_that_was_sealed_meanwhile_is_looked_for_once_more(
    folder: Path, guarded: GuardedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [guarded._segments(), (folder / "traces" / "2026-11-20" / "run-9.jsonl",)]
    monkeypatch.setattr(guarded, "_segments", found.pop)
    assert guarded.answer("SELECT * FROM trace")[0].num_rows == ROWS_MAX
    assert found == []


def test_rows_beyond_the_limit_are_cut_and_said_to_be(guarded: GuardedDatabase) -> None:
    assert guarded.answer("SELECT * FROM range(100)") == (guarded.query("SELECT * FROM range(3)"), True)
    assert guarded.answer("SELECT * FROM range(3)")[1] is False


def test_the_order_that_was_asked_for_is_kept(guarded: GuardedDatabase) -> None:
    found, _ = guarded.answer("SELECT range AS n FROM range(1000) ORDER BY n DESC")
    assert found.column("n").to_pylist() == [999, 998, 997]


@pytest.mark.parametrize("timeout_s", [0.2, 0.001], ids=["while it runs", "while its views are made"])
def test_a_query_that_takes_too_long_is_ended_and_the_next_is_answered(folder: Path, timeout_s: float) -> None:
    db = GuardedDatabase(folder, ROWS_MAX, timeout_s)
    with pytest.raises(QueryError, match=f"longer than {timeout_s:g} s"):
        db.answer(
            "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"
        )
    assert db.answer("SELECT 1 AS one")[0].column("one").to_pylist() == [1]


def test_texts_without_end_cost_the_machine_no_more_than_a_gigabyte(folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    db = GuardedDatabase(folder, 200, timeout_s=60)
    with pytest.raises(QueryError, match="more than 512MB"):
        db.answer("SELECT repeat('x', 20000000) FROM range(100)")
    with pytest.raises(QueryError, match="MB is the most"):
        db.answer("SELECT repeat('x', 3000000) FROM range(6)")
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert db.answer("SELECT 1 AS one")[0].column("one").to_pylist() == [1]


def test_a_query_that_wants_too_much_memory_is_refused_in_a_sentence(folder: Path) -> None:
    db = GuardedDatabase(folder, ROWS_MAX, timeout_s=60)
    with pytest.raises(QueryError, match="more than 512MB"):
        db.answer("SELECT list(range) FROM range(200000000)")
