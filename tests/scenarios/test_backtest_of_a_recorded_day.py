"""A day that was traded and recorded, backtested from its data folder: the same alerts, and the same run each time."""

from __future__ import annotations

import gc
import json
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from commands import fit_exits
from commands.cli import main
from config.settings import Settings, load_settings
from domain.instants import MINUTE
from domain.units import Cents, Utc
from simulation.backtest.model import FillModel
from simulation.backtest.recorded import RecordedDay
from simulation.backtest.run import Backtest, Day
from simulation.day import start_of, stepped_day
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import start_run
from storage.sqlite_file import LedgerRefusedError
from supervision.trace import NoTrace
from tests.testkit.anchored import anchored

pytestmark = pytest.mark.slow
RECORDED_MIN = 60  # from 09:20 on


class Recorded(NamedTuple):
    folder: Path
    settings: Settings


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    settings = load_settings(
        None, "demo",
        anchored({  # parity wants a fill
            "tickers": ["SPX"], "lanes": {"gexwatch": ["SPX"], "advisor": ["SPX"]},
            "warehouse": {"chain_every_ms": 5_000}, "demo": {"session": "2026-11-19", "seed": 8},
        }),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        clock = start_of(settings)
        day = stepped_day(settings, Path(name), trace=NoTrace(clock), clock=clock)
        day.run(Utc(clock.now_utc() + RECORDED_MIN * MINUTE))
        day.runtime.close()
        yield Recorded(Path(name), settings)


def backtested(recorded: Recorded, tmp_path: Path) -> Day:
    settings, folder = recorded.settings, recorded.folder
    promotions = dict.fromkeys(settings.lanes, settings.promoted)
    ledgers = tmp_path / "ledgers"
    ledgers.mkdir(parents=True)
    run = Backtest(
        settings, folder / "series", folder / "warehouse", promotions, FillModel(), Cents(30_000_000), ledgers
    )
    (day,) = run.days((settings.demo.session,))
    return day


def recorded_days() -> list[RecordedDay]:
    """Return the recorded days in memory; other tests keep some as constants."""
    gc.collect()
    return [kept for kept in gc.get_objects() if isinstance(kept, RecordedDay)]


def test_the_recorded_day_shows_the_same_alerts_and_the_same_run_twice(recorded: Recorded, tmp_path: Path) -> None:
    before = len(recorded_days())
    first = backtested(recorded, tmp_path / "1")
    second = backtested(recorded, tmp_path / "2")
    assert first == second
    assert len(recorded_days()) == before  # memory is flat in days
    assert (first.crashed, first.held, first.damaged) == ((), 0, ())
    assert first.contracts > 20

    def alerts_of(ledgers: Path) -> list[tuple[str, int, int]]:
        found = LedgerReader(ledgers, recorded.settings.desk).alerts(recorded.settings.demo.session)
        return [(row["alert_id"], row["direction"], row["is_shadow"]) for row in found]

    live = alerts_of(recorded.folder / "ledgers")
    assert live
    assert alerts_of(tmp_path / "1" / "ledgers") == live
    assert first.unpriced == 1  # the recording ends with a position open


def test_a_desk_of_live_money_on_a_port_of_its_own_is_backtested_as_any_other(
    recorded: Recorded, tmp_path: Path
) -> None:
    settings = recorded.settings
    live = settings.model_copy(
        update={"trading_mode": "live", "broker": replace(settings.broker, paper_port=7_497, live_port=7_496)}
    )
    traded = backtested(recorded._replace(settings=live), tmp_path / "live")
    assert traded.trades
    assert traded == backtested(recorded, tmp_path / "paper")


def test_its_parity_report_names_every_difference_with_its_cause(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "desk.yaml"
    file.write_text(
        "tickers: [SPX]\nlanes: {gexwatch: [SPX], advisor: [SPX]}\nwarehouse: {chain_every_ms: 5000}\n", "utf-8"
    )
    session = str(recorded.settings.demo.session)
    words = ["--config", str(file), "--data", str(recorded.folder), "backtest", session, session, "--parity"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    live = LedgerReader(recorded.folder / "ledgers", recorded.settings.desk)
    day = recorded.settings.demo.session
    assert told["same"]["alert"] == len(live.alerts(day))
    assert told["same"]["gate"] == len(live.attempts(day))
    assert told["same"]["fill"] == len({row["order_ref"] for row in live.executions(day)}) > 0
    assert {one["what"] for one in told["differences"]} == {"order"}  # their limits come from samples of quotes
    assert all(one["cause"] for one in told["differences"])


def test_exits_are_fitted_to_the_positions_of_its_backtest_where_no_ledger_is_kept(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("series", "warehouse"):
        (tmp_path / name).symlink_to(recorded.folder / name)
    file = tmp_path / "desk.yaml"
    file.write_text("tickers: [SPX]\nlanes: {gexwatch: [SPX], advisor: [SPX]}\n", "utf-8")
    session = str(recorded.settings.demo.session)
    words = ["--config", str(file), "--data", str(tmp_path), "fit-exits", session, session]
    assert main(words) == 1
    assert "0 closed positions with quotes on 0 sessions teach nothing" in capsys.readouterr().err
    assert main([*words, "--backtest"]) == 1
    assert "1 stored session teaches nothing; name a longer period" in capsys.readouterr().err
    monkeypatch.setattr(fit_exits, "SESSIONS_MIN", 1)  # else it is refused before it is backtested
    assert main([*words, "--backtest"]) == 1
    said = capsys.readouterr().err
    assert "2 closed positions with quotes on 1 session teach nothing; name a longer period" in said
    assert "--backtest" not in said


def test_a_day_whose_ledgers_meet_a_full_disk_comes_to_nothing(recorded: Recorded, tmp_path: Path) -> None:
    desk = recorded.settings.desk
    start_run(tmp_path, (desk,), Utc(0))
    DeskLedger(tmp_path, desk, 1).open()
    bytes_max = sum(path.stat().st_size for path in tmp_path.glob(f"{desk}.db*"))  # new ones fit
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        with pytest.raises(LedgerRefusedError, match=r"^The backtest of 2026-11-19 came to nothing\. The ledger"):
            backtested(recorded, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
