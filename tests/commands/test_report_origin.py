"""What a report says of a trade's prices: recorded or synthetic, summed for each, and real only where some were."""

from __future__ import annotations

import zipfile
from pathlib import Path

import orjson
import pytest

from commands.cli import main
from commands.folder import DataFolder
from domain.instants import MINUTE
from domain.instruments import Side
from messages.base import SCHEMA
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask

# The call of 6005 is quoted in the bar of 9:59, so that its record stands from 10:00 to 10:10; nothing else is.
INDEX = "30600000,6000.00,6001.00,5999.00,6000.00,60"
QUOTE = "35940000,50000,50000,50000,50000,9,51000,51000,51000,51000,9"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    with zipfile.ZipFile(folder / "spx_20261120_trade.zip", "w") as packed:
        packed.writestr("20261120_spx_minute_trade.csv", INDEX)
    with zipfile.ZipFile(folder / "spxw_20261120_quote.zip", "w") as packed:
        for right in ("call", "put"):
            packed.writestr(f"20261120_spxw_minute_quote_european_{right}_60050000_20261120.csv", QUOTE)
    return folder


def traded(root: Path, numbers: tuple[int, ...], profile: str, market: Path | None, *, exit_min: int = 5) -> DataFolder:
    """Write a day whose n-th trade loses 10 · n USD; trade 1 is of the recorded contract."""
    made = DataFolder(root / "data")
    made.make()
    start_run(made.ledgers, ("paper",), ask.T0)
    desk = DeskLedger(made.ledgers, "paper", run_n=1)
    desk.open()
    for n in numbers:
        out_utc = ask.T0 + exit_min * MINUTE
        for message in (
            ask.reserve(n),
            ask.execution(n, exec_id=f"in{n}"),
            ask.position(n),
            ask.execution(n, exec_id=f"out{n}", order_ref=ask.ref(n, "x1"), side=Side.SELL, at_utc=out_utc),
            ask.closed(n, -1_000 * n),
        ):
            desk.apply(message, ask.T0)
    settings = {
        "profile": profile, "demo": {"market_folder": None if market is None else str(market)},
        "market": {"kind": "honest", "feedback": 0.5},
    }  # fmt: skip
    header = {"kind": "header", "run_n": 1, "code_version": "x", "schema": SCHEMA, "settings": settings}
    path = made.traces / ask.DAY.isoformat() / "run-1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(orjson.dumps(header) + b"\n")
    return made


def report(folder: DataFolder, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    main(["--data", str(folder.root), "report", *flags])
    return capsys.readouterr().out


def test_every_trade_of_a_recorded_day_says_what_it_is_and_the_result_is_summed_for_each(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = traded(tmp_path, (1, 2, 3), "demo", recorded)
    text = report(folder, capsys)
    said = " ".join(text.split())
    assert f"{ask.ref(1)}, recorded" in said and f"{ask.ref(2)}, synthetic" in said
    assert "recorded: -10.00 USD, won 0 of 1" in said and "synthetic: -50.00 USD, won 0 of 2" in said
    assert "1 of 3 trades on real quotes, the others synthetic" in said
    told = orjson.loads(report(folder, capsys, "--json"))
    assert {row["order_ref"]: row["origin"] for row in told["trades"]} == {
        ask.ref(1): "recorded", ask.ref(2): "synthetic", ask.ref(3): "synthetic"
    }  # fmt: skip
    assert told["by_origin"]["synthetic"] == {"n": 2, "wins": 0, "realised_cents": -5_000}
    ends = [row.rsplit(",", 1)[1] for row in report(folder, capsys, "--csv").splitlines()]
    assert ends[0] == "origin" and sorted(ends[1:]) == ["recorded", "synthetic", "synthetic"]


def test_a_period_sums_the_result_for_each_kind_of_quotes(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = traded(tmp_path, (1, 2, 3), "demo", recorded)
    told = {one["title"]: one for one in orjson.loads(report(folder, capsys, "day", "--json"))["sections"]}
    assert told["Recorded and synthetic quotes, USD"]["table"]["rows"] == [
        ["paper", "recorded", {"hits": 0, "n": 1}, -10.0],
        ["paper", "synthetic", {"hits": 0, "n": 2}, -50.0],
    ]
    assert "means nothing about profit" in report(folder, capsys, "day")
    assert "Recorded and synthetic" not in report(traded(tmp_path / "vendor", (1,), "real", None), capsys, "day")


def test_a_recorded_day_without_a_trade_on_a_recorded_quote_calls_nothing_real(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(report(traded(tmp_path, (2, 3), "demo", recorded), capsys).split())
    assert "every trade on synthetic quotes" in text and "real" not in text.replace("realised", "")


def test_a_trade_that_was_closed_after_its_record_had_ended_is_synthetic(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(report(traded(tmp_path, (1,), "demo", recorded, exit_min=11), capsys).split())
    assert f"{ask.ref(1)}, synthetic" in text and "recorded:" not in text


def test_a_drawn_market_has_synthetic_trades_and_a_real_ones_are_neither(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = " ".join(report(traded(tmp_path / "drawn", (1,), "demo", None), capsys).split())
    assert "simulated honest market, feedback 0.5; simulated money" in drawn
    assert "means nothing about profit" in drawn and "synthetic: -10.00 USD" in drawn
    of_vendor = " ".join(report(traded(tmp_path / "vendor", (1,), "real", None), capsys).split())
    assert "the vendor's feed" in of_vendor and "synthetic" not in of_vendor and "recorded" not in of_vendor


def test_a_recorded_day_whose_folder_is_gone_says_that_it_does_not_know(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = traded(tmp_path, (1,), "demo", recorded)
    for file in recorded.iterdir():
        file.unlink()
    text = " ".join(report(folder, capsys).split())
    assert "whose folder is gone" in text and "not known: -10.00 USD" in text and "real" not in text


def test_simulate_on_a_recorded_folder_says_what_was_recorded_and_what_is_synthetic(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--market", str(recorded), "--json"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert told["index_minutes"] == {"recorded": 1, "of": 390}
    assert told["holes"][0]["minutes"] == 389 and "no index bars for 389 min" in told["market"]["left out"]
    # Two contracts of the chain's 162, from 10:00 until 10:10.
    assert told["quote_minutes_of_today"] == {"recorded": 2 * 11, "of": 162 * 390}
    assert "synthetic" in told["market"]["everything else"]
    assert main(["simulate", "--market", str(recorded)]) == 0
    text = capsys.readouterr().out
    assert "contract-minutes of 0DTE quotes recorded" in text and max(map(len, text.splitlines())) <= 80


def test_simulate_on_a_folder_without_a_recorded_day_says_so_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--market", str(tmp_path)]) == 2
    assert "has no recorded day" in capsys.readouterr().err
