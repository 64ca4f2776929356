"""`main.py gamma` as people call it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from commands.cli import main
from tests.testkit.chains import small_csv

Said = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "quotedata.csv"
    path.write_text(small_csv(), "utf-8")
    return path


def test_a_chain_file_gives_totals_walls_zero_gamma_and_the_convention(file: Path, capsys: Said) -> None:
    assert main(["gamma", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["spot"] == 4677.03
    assert 4600 < told["zero_gamma"] < 4750
    assert told["call_wall"] > told["spot"] > told["put_wall"]
    assert [expiry["expiry"] for expiry in told["expiries"]] == ["2022-01-07", "2022-01-21"]
    assert told["refused"] == {"expired": 16}
    assert told["net_gamma_usd_per_1pct"] == pytest.approx(
        told["call_gamma_usd_per_1pct"] + told["put_gamma_usd_per_1pct"]
    )
    assert "dealers long calls" in told["convention"]


def test_what_people_read_fits_eighty_columns_and_names_the_convention(file: Path, capsys: Said) -> None:
    assert main(["gamma", str(file), "--plot"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for said in ("net gamma", "zero gamma", "call wall", "put wall", "Convention: dealers are long", "16  expired"):
        assert said in text
    assert any("|" in line and "*" in line for line in lines[-20:])


def test_spot_and_instant_can_be_given(file: Path, capsys: Said) -> None:
    assert main(["gamma", str(file), "--spot", "4600", "--at", "2022-01-20T10:00", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["spot"], told["at"]) == (4600.0, "2022-01-20T15:00:00+00:00")
    assert [expiry["expiry"] for expiry in told["expiries"]] == ["2022-01-21"]


def test_a_gzip_under_any_name_is_read(tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "chain.dat"
    path.write_bytes(gzip.compress(small_csv().encode()))
    assert main(["gamma", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["symbol"] == "SPX"


def test_an_all_zero_chain_is_refused_in_one_sentence(file: Path, capsys: Said) -> None:
    file.write_text(
        small_csv().replace(",900,", ",0,").replace(",100,", ",0,").replace(",900\n", ",0\n").replace(",100\n", ",0\n")
    )
    assert main(["gamma", str(file), "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "has no gamma" in captured.err and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "content"),
    [
        (["--at", "tomorrow"], None), (["--spot", "-3"], None), (["--at", "2023-01-01"], None), ([], "no chain\n"),
        ([], ""), ([], '{"data": []}'),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_said_in_one_sentence(
    file: Path, capsys: Said, words: list[str], content: str | None
) -> None:
    if content is not None:
        file.write_text(content, "utf-8")
    assert main(["gamma", str(file), *words]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: Said) -> None:
    assert main(["gamma", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err
