"""Ledger files: refused in one sentence when they must not be used, and whole after any kill -9."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from messages import lifecycle, operator, risk, signals
from messages.restored import KillRestored, LaneRestored, Restored, RiskRestored
from storage.desk_ledger import DeskLedger
from storage.ledger_schema import DESK, SHARED, SHARED_OWNER
from storage.promotions import promote
from storage.shared_ledger import SharedLedger, start_run
from storage.sqlite_file import LedgerRefusedError, Schema, open_file, script
from tests.testkit import ledger_asks as ask

ROOT = Path(__file__).parents[2]


def shared(folder: Path) -> SharedLedger:
    ledger = SharedLedger(folder, ("paper",))
    ledger.open()
    return ledger


def restored(ledger: SharedLedger, name: str) -> Restored | None:
    (reply,) = ledger.apply(lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY), ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    return reply.restored


def refusal_of(path: Path, schema: Schema, desk: str) -> str | None:
    """Why a ledger cannot be opened; `None` where it can."""
    try:
        open_file(path, schema, desk).close()
    except LedgerRefusedError as refused:
        return str(refused)
    return None


def test_a_ledger_is_durable_before_it_says_so(tmp_path: Path) -> None:
    db = open_file(tmp_path / "paper.db", DESK, "paper")
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA user_version").fetchone() == (DESK.version,)


def test_a_ledger_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "paper.db"
    db = open_file(path, DESK, "paper")
    db.execute(f"PRAGMA user_version={DESK.version + 1}")
    db.close()
    refusal = refusal_of(path, DESK, "paper")
    assert refusal is not None
    assert "update the program" in refusal
    with pytest.raises(LedgerRefusedError, match=f"version {DESK.version + 1}"):
        DeskLedger(tmp_path, "paper", run_n=1).open()
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (DESK.version + 1,)


def test_a_ledger_of_another_desk_or_kind_or_program_is_refused(tmp_path: Path) -> None:
    open_file(tmp_path / "paper.db", DESK, "paper").close()
    assert "is that of paper" in (refusal_of(tmp_path / "paper.db", DESK, "live") or "")
    assert "not a shared ledger" in (refusal_of(tmp_path / "paper.db", SHARED, SHARED_OWNER) or "")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (a)")
    other.close()
    assert "not a desk ledger" in (refusal_of(tmp_path / "other.db", DESK, "paper") or "")


@pytest.mark.parametrize("damage", ["head", "middle", "cut", "page"])
def test_a_torn_ledger_is_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "paper.db"
    ledger = DeskLedger(tmp_path, "paper", run_n=1)
    ledger.open()
    for n in range(30):
        ledger.apply(ask.denial(n), ask.T0)
    ledger.close()
    db = sqlite3.connect(path)
    (n,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'gate_log_by_alert'").fetchone()
    db.close()
    whole = path.read_bytes()
    page = 4096
    torn = {
        "head": b"\x00" * page + whole[page:],
        "middle": whole[:page] + b"\xa5" * (len(whole) - page),
        "cut": whole[: len(whole) // 2],
        "page": whole[: (n - 1) * page] + b"\xa5" * page + whole[n * page :],
    }[damage]
    path.write_bytes(torn)
    refusal = refusal_of(path, DESK, "paper")
    assert refusal is not None
    assert refusal.endswith("backup.")
    assert "\n" not in refusal.strip()


def test_an_older_ledger_is_migrated_in_one_step(tmp_path: Path) -> None:
    from dataclasses import replace  # noqa: PLC0415

    path = tmp_path / "paper.db"
    open_file(path, DESK, "paper").close()
    newer = replace(DESK, migrations=(*DESK.migrations, script("ALTER TABLE day ADD COLUMN note TEXT;")))
    db = open_file(path, newer, "paper")
    assert db.execute("SELECT note FROM day").fetchall() == []
    db.close()
    broken = replace(
        newer, migrations=(*newer.migrations, script("CREATE TABLE half (a);\nALTER TABLE nothing ADD b;"))
    )
    with pytest.raises(LedgerRefusedError):
        open_file(path, broken, "paper")
    db = open_file(path, newer, "paper")
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []


def test_runs_are_counted_across_starts(tmp_path: Path) -> None:
    assert [start_run(tmp_path, ("paper",), ask.T0 + n) for n in range(3)] == [1, 2, 3]


def test_the_kill_level_comes_back_as_it_went_down(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    assert restored(ledger, "kill") == KillRestored(level=0, kill_epoch=0, reason="", by="", is_new=True)
    for epoch, level in ((1, 1), (2, 2)):
        kill = risk.RecordKill(level=level, kill_epoch=epoch, reason="r", by="cli", at_utc=ask.T0)
        assert ledger.apply(kill, ask.T0) == (risk.KillRecorded(kill_epoch=epoch),)
    ledger.apply(risk.RecordKill(level=1, kill_epoch=2, reason="r", by="late", at_utc=ask.T0), ask.T0)
    ledger.close()
    assert restored(shared(tmp_path), "kill") == KillRestored(level=2, kill_epoch=2, reason="r", by="cli")


def test_a_kill_table_that_cannot_be_read_means_level_1(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("ALTER TABLE kill RENAME TO gone")
    db.close()
    back = restored(ledger, "kill")
    assert isinstance(back, KillRestored)
    assert back.level == 1
    assert "cannot be read" in back.reason


def test_a_lane_gets_back_what_was_never_decided_on_and_its_promotions(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    promote(tmp_path, ["GAMMA_FLIP-1"], "gexwatch", "demo", "demo day", ask.T0)
    promote(tmp_path, ["GAMMA_FLIP-1"], "gexwatch", "demo", "demo day", ask.T0 + 1)
    for n in (1, 2, 3):
        assert ledger.apply(ask.alert(n), ask.T0) == (signals.AlertRecorded(alert_id=ask.alert_id(n), is_new=True),)
    assert ledger.apply(ask.alert(2), ask.T0) == (signals.AlertRecorded(alert_id=ask.alert_id(2), is_new=False),)
    ledger.apply(ask.alert(4, ticker="QQQ"), ask.T0)
    desk = DeskLedger(tmp_path, "paper", run_n=1)
    desk.open()
    desk.apply(ask.reserve(1), ask.T0)
    desk.apply(ask.denial(3), ask.T0)
    lane = restored(ledger, "lane:gexwatch:SPX")
    assert isinstance(lane, LaneRestored)
    assert lane.unraised == (ask.alert(2).alert,)
    assert lane.last_alerts == (("GAMMA_FLIP-1", ask.alert(3).alert.raised_utc),)
    assert (lane.last_direction, lane.promoted) == (1, ("GAMMA_FLIP-1",))
    (reply,) = desk.apply(lifecycle.RequestState(name="risk:paper", reply_to="supervisor", session=ask.DAY), ask.T0)
    assert isinstance(reply, lifecycle.StateRead)
    assert isinstance(reply.restored, RiskRestored)
    assert [alert_id for alert_id, _ in reply.restored.pending_alerts] == [
        ask.alert_id(2),
        ask.alert_id(4, ticker="QQQ"),
    ]


def test_a_lane_gets_the_last_alert_of_each_kind_and_the_direction_of_the_last_of_all(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    for alert in (ask.alert(1), ask.alert(2, kind="BREAK"), ask.alert(4), ask.alert(3, kind="BREAK", direction=-1)):
        ledger.apply(alert, ask.T0)
    lane = restored(ledger, "lane:gexwatch:SPX")
    assert isinstance(lane, LaneRestored)
    assert lane.last_alerts == (
        ("BREAK-1", ask.alert(3).alert.raised_utc),
        ("GAMMA_FLIP-1", ask.alert(4).alert.raised_utc),
    )
    assert lane.last_direction == 1


def test_a_command_told_again_changes_its_outcome_only(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    for outcome in ("taken", "done"):
        said = operator.RecordCommand(
            command_id="c1", name="Kill", by="cli", reason="r", outcome=outcome, at_utc=ask.T0
        )
        assert ledger.apply(said, ask.T0) == ()
    rows = sqlite3.connect(tmp_path / "ledger.db").execute("SELECT command_id, outcome FROM commands").fetchall()
    assert rows == [("c1", "done")]


def test_another_command_under_an_old_id_does_not_stand_under_the_old_ones_name(tmp_path: Path) -> None:
    ledger = shared(tmp_path)
    for name, outcome in (("kill", "done"), ("resume", "taken"), ("resume", "done"), ("kill", "done")):
        said = operator.RecordCommand(command_id="c1", name=name, by="cli", reason="r", outcome=outcome, at_utc=ask.T0)
        ledger.apply(said, ask.T0)
    db = sqlite3.connect(tmp_path / "ledger.db")
    rows = db.execute("SELECT command_id, name, outcome FROM commands ORDER BY command_id").fetchall()
    assert rows == [("c1", "kill", "done"), ("c1#2", "resume", "done")]


KILLED = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from tests.testkit import ledger_asks as ask
from storage.desk_ledger import DeskLedger
ledger = DeskLedger(Path({folder!r}), "paper", run_n=1)
ledger.open()
n = {first}
while True:
    limits = dict(positions_max=10**6, positions_per_ticker_max=10**6, trades_per_day_max=10**6)
    ledger.apply(ask.reserve(n, **limits), ask.T0)
    print("R", n, flush=True)
    ledger.apply(ask.execution(n, exec_id=f"e{{n}}"), ask.T0)
    print("E", n, flush=True)
    n += 1
"""


def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    random.seed(6)
    said: set[tuple[str, int]] = set()
    for round_n in range(20):
        program = KILLED.format(
            root=str(ROOT), tests=str(Path(__file__).parent), folder=str(tmp_path), first=round_n * 10_000 + 1
        )
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(random.randint(1, 60)):
            kind, n = child.stdout.readline().split()
            said.add((kind, int(n)))
        os.kill(child.pid, signal.SIGKILL)
        rest, _ = child.communicate(timeout=60)
        said.update((line.split()[0], int(line.split()[1])) for line in rest.splitlines() if line.count(" ") == 1)
        assert refusal_of(tmp_path / "paper.db", DESK, "paper") is None
    db = sqlite3.connect(tmp_path / "paper.db")
    reserved = [row[0] for row in db.execute("SELECT con_id FROM reservations")]
    ordered = [row[0] for row in db.execute("SELECT con_id FROM orders WHERE NOT is_exit")]
    decided = [int(row[0][1:]) for row in db.execute("SELECT intent_id FROM gate_log WHERE code IS NULL")]
    filled = [row[0] for row in db.execute("SELECT con_id FROM executions")]
    assert len(said) > 200
    assert {n for kind, n in said if kind == "R"} <= set(reserved)
    assert {n for kind, n in said if kind == "E"} <= set(filled)
    for found in (reserved, ordered, decided, filled):
        assert len(found) == len(set(found)), "nothing twice"
    assert set(reserved) == set(ordered) == set(decided), "one transaction: all of it or none"
