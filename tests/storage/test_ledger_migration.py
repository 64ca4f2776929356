"""Ledgers of earlier versions: migrated with their meaning, kept beside, whole after any crash."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path

import msgspec
import pytest

from domain.instruments import Contract, Right, Side
from domain.orders.intent import PositionRef
from domain.orders.tiers import Tier
from domain.position.cycle import ExitKind, ExitReason, PositionState
from domain.risk.day import Closed, DayStops
from domain.risk.gates.types import Verdict
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.signals.alert import Alert, AlertKey
from domain.units import Cents, Ticks, Utc
from messages import lifecycle
from messages.restored import (
    ActorsRestored,
    IbkrRestored,
    KillRestored,
    LaneRestored,
    OrderFill,
    OwnOrder,
    PositionRestored,
    Reservation,
    Restored,
    RiskRestored,
)
from storage.desk_ledger import DeskLedger
from storage.ledger_schema import DESK, SHARED, SHARED_OWNER
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from storage.sqlite_file import LedgerRefusedError, Schema, open_file, open_reader
from tests.testkit import ledger_asks as ask
from tests.testkit.narrow import of_class
from tests.testkit.paths import DATA, ROOT

V1 = DATA / "ledger_v1"
DAY = date(2026, 11, 20)
NOW = Utc(1_795_190_000_000_000_000)

PUT = Contract(473_777_162, "QQQ", "QQQ", DAY, Ticks(51_700), Right.PUT)
STEM = "ZH-paper-HL3AWB37MCCU"
HELD = PositionRef(
    position_id=STEM, intent_id="20261120-gexwatch-QQQ-103500-GAMMA_FLIP-1/gexwatch/0",
    key=AlertKey.parse("20261120-gexwatch-QQQ-103500-GAMMA_FLIP-1"), strategy="gexwatch", direction=-1, contract=PUT,
    side=Side.BUY,
)  # fmt: skip
RESERVATION = Reservation(
    ref=HELD, order_ref=f"{STEM}-e", qty=10, limit_ticks=211, deadline_utc=1_795_189_549_000_000_000, is_open=True
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(V1, tmp_path, dirs_exist_ok=True)
    return tmp_path


def restored(folder: Path, name: str) -> Restored | None:
    ledgers = SharedLedger(folder, ("paper",)), DeskLedger(folder, "paper", run_n=2)
    start_run(folder, ("paper",), NOW)
    asked = lifecycle.RequestState(name=name, reply_to="supervisor", session=DAY)
    ledger = ledgers[0] if name == "kill" or name.startswith("lane:") else ledgers[1]
    ledger.open()
    (reply,) = ledger.apply(asked, NOW)
    ledger.close()
    assert isinstance(reply, lifecycle.StateRead)
    return reply.restored


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def test_the_kill_level_is_the_one_in_force(folder: Path) -> None:
    assert restored(folder, "kill") == KillRestored(
        level=KillLevel.NO_ENTRIES, kill_epoch=3, reason="kill of the fixture", by="ann"
    )


def test_a_lane_gets_its_last_alerts_and_promotions(folder: Path) -> None:
    assert restored(folder, "lane:advisor:SPX") == LaneRestored(
        last_alerts=(("STRUCTURE_BREAK-1", Utc(1_795_189_533_000_000_000)),), last_direction=-1, unraised=(),
        promoted=("GAMMA_FLIP-1", "STRUCTURE_BREAK-1"),
    )  # fmt: skip


def test_an_alert_whose_gate_row_was_never_written_is_raised_again(folder: Path) -> None:
    db = sqlite3.connect(folder / "paper.db")
    db.execute("DELETE FROM gate_log WHERE n = 8")
    db.commit()
    db.close()
    key = AlertKey.parse("20261120-gexwatch-SPX-103530-GAMMA_FLIP-1")
    lane = restored(folder, "lane:gexwatch:SPX")
    assert isinstance(lane, LaneRestored)
    assert lane.unraised == (
        Alert(
            key=key, direction=-1, entry_ticks=601_061, target_ticks=600_159, stop_ticks=601_662, horizon_ms=1_800_000,
            is_shadow=False, raised_utc=1_795_188_963_000_000_000,
        ),
    )  # fmt: skip
    risk = restored(folder, "risk:paper")
    assert isinstance(risk, RiskRestored)
    assert risk.pending_alerts == ((key.alert_id, 1_795_188_963_000_000_000),)


def test_risk_gets_its_session_back(folder: Path) -> None:
    risk = restored(folder, "risk:paper")
    assert isinstance(risk, RiskRestored)
    assert (risk.session, risk.day_locked, risk.start_nav_cents, risk.pending_alerts) == (DAY, None, 30_000_000, ())
    assert [(d.key.alert_id[9:], d.strategy, d.code) for d in risk.decisions] == [
        ("gexwatch-SPX-100130-GAMMA_FLIP-1", "gexwatch", None),
        ("gexwatch-QQQ-100300-GAMMA_FLIP-1", "gexwatch", None),
        ("advisor-SPX-100330-STRUCTURE_BREAK-1", "advisor", RejectCode.TICKER_LIMIT),
        ("advisor-SPX-101600-STRUCTURE_BREAK-1", "advisor", None),
        ("advisor-QQQ-101600-STRUCTURE_BREAK-1", "advisor", RejectCode.TICKER_LIMIT),
        ("advisor-SPX-102130-STRUCTURE_BREAK-1", "advisor", RejectCode.KILL_SWITCH_L1),
        ("gexwatch-QQQ-103500-GAMMA_FLIP-1", "gexwatch", None),
        ("gexwatch-SPX-103530-GAMMA_FLIP-1", "gexwatch", None),
        ("advisor-SPX-104500-STRUCTURE_BREAK-1", "advisor", None),
    ]
    assert risk.decisions[-1].decided_utc == 1_795_189_534_000_000_000
    assert risk.reservations == (RESERVATION,)
    assert risk.closed == (
        Closed("ZH-paper-OI7JH6AHZUZB", "gexwatch", Cents(160_200), Cents(1_300), Utc(1_795_188_134_000_000_000)),
        Closed("ZH-paper-BIT6NE4Z7XM4", "advisor", Cents(-49_290), Cents(290), Utc(1_795_188_570_000_000_000)),
    )


def test_a_held_position_comes_back_with_its_second_exit_working(folder: Path) -> None:
    assert restored(folder, "positions:paper") == ActorsRestored(names=("position:paper:473777162",))
    assert restored(folder, "position:paper:473777162") == PositionRestored(
        reservation=RESERVATION,
        fills=(
            OrderFill(
                order_ref=f"{STEM}-e", is_exit=False, side=Side.BUY, qty=10, cost_ticks=2_110, fees_cents=650,
                charged_qty=10, first_utc=1_795_188_937_000_000_000,
            ),
            OrderFill(
                order_ref=f"{STEM}-x1", is_exit=True, side=Side.SELL, qty=5, cost_ticks=1_610, fees_cents=325,
                charged_qty=5, first_utc=1_795_189_484_000_000_000,
            ),
        ),
        state=PositionState.PENDING_EXIT, exit_reason=ExitReason.TAKE_PROFIT, exit_kind=ExitKind.FULL, exit_n=2,
        exit_order_ref=f"{STEM}-x2", tier=Tier.MID, entry_spot_ticks=51_662, entry_iv=0.3743027493521242,
        opened_utc=1_795_188_937_000_000_000, took_part=True,
    )  # fmt: skip


def test_an_abandoned_contract_comes_back_flat(folder: Path) -> None:
    found = restored(folder, "position:paper:205343066")
    assert isinstance(found, PositionRestored)
    assert (found.reservation, found.fills, found.state) == (None, (), PositionState.FLAT)


def test_the_order_session_gets_its_live_orders_back(folder: Path) -> None:
    def own(suffix: str, side: Side, qty: int) -> OwnOrder:
        return OwnOrder(
            order_ref=f"{STEM}-{suffix}", con_id=PUT.con_id, is_exit=suffix != "e", side=side, qty=qty
        )  # fmt: skip

    assert restored(folder, "ibkr:paper") == IbkrRestored(
        orders=(own("e", Side.BUY, 10), own("x1", Side.SELL, 5), own("x2", Side.SELL, 5))
    )


def test_the_day_goes_on_in_the_migrated_ledger(folder: Path) -> None:
    ledger = DeskLedger(folder, "paper", run_n=2)
    ledger.open()
    sold = ask.execution(
        exec_id="x2", order_ref=f"{STEM}-x2", con_id=PUT.con_id, side=Side.SELL, qty=5, price_ticks=430
    )
    facts = ledger.apply(sold, NOW)
    assert [type(fact).__name__ for fact in facts] == ["FillRecorded", "ExecutionRecorded"]
    ledger.apply(ask.closed(ref=HELD, opened_qty=10, realised_cents=1, closed_utc=NOW), NOW)
    assert ledger.apply(ask.reserve(1, con_id=PUT.con_id), ask.T0) != ()
    ledger.close()
    assert [trade["opened_qty"] for trade in LedgerReader(folder, "paper").trades(DAY)] == [10, 1, 10]


def test_gates_are_named_as_they_were_numbered_then(folder: Path) -> None:
    numbered = rows(folder / "paper.db", "SELECT n, gate, measured, limit_value, verdicts FROM gate_log ORDER BY n")
    start_run(folder, ("paper",), NOW)
    named = rows(folder / "paper.db", "SELECT n, gate, measured, limit_value, verdicts FROM gate_log ORDER BY n")
    assert [(row[0], row[1]) for row in named if row[1]] == [
        (3, "positions_of_ticker"),
        (5, "positions_of_ticker"),
        (6, "kill_level"),
    ]
    for old, new in zip(numbered, named, strict=True):
        assert old[2:4] == new[2:4]
        before = msgspec.json.decode(str(old[4]))
        after = msgspec.json.decode(str(new[4]))
        assert [(v["name"], v["outcome"], v["measured"], v["limit"], v["unit"], v["looked_at"]) for v in before] == [
            (v["gate"], *(v["finding"][name] for name in ("outcome", "measured", "limit", "unit", "looked_at")))
            for v in after
        ]
        # Gates that had an input which nobody told used to pass as `not_fed`; they cannot any more.
        today = str(new[4]).replace('"not_fed"', '"pass"')
        found = msgspec.json.decode(today, type=tuple[Verdict, ...])
        assert all(v.finding.code is None for v in found[:-1])


def test_no_row_is_lost_and_positions_say_what_opened_them(folder: Path) -> None:
    start_run(folder, ("paper",), NOW)
    for name in ("reservations", "orders", "executions", "commissions", "positions", "gate_log", "watermarks", "day"):
        sql = f"SELECT count(*) FROM {name}"
        assert rows(folder / "paper.db", sql) == rows(V1 / "paper.db", sql)
    for name in ("alerts", "kill", "commands", "promotions"):
        sql = f"SELECT count(*) FROM {name}"
        assert rows(folder / "ledger.db", sql) == rows(V1 / "ledger.db", sql)
    for alert_id, *parts in rows(
        folder / "paper.db", "SELECT alert_id, source, ticker, kind, version, bucket_utc, side FROM positions"
    ):
        assert AlertKey(*parts[:-1]).alert_id == alert_id
        assert parts[-1] == "BUY"


# -- the old file ---------------------------------------------------------------------------------


def test_a_copy_of_the_old_file_is_kept_beside_the_new_one(folder: Path) -> None:
    start_run(folder, ("paper",), NOW)
    assert sorted(path.name for path in folder.glob("*.db*")) == [
        "ledger.db", "ledger.db.v1", "paper.db", "paper.db.v1",
    ]  # fmt: skip
    for name in ("ledger.db", "paper.db"):
        kept = sqlite3.connect(folder / f"{name}.v1")
        assert list(kept.iterdump()) == list(sqlite3.connect(V1 / name).iterdump())
        assert kept.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_ledger_of_this_version_is_opened_without_a_copy(tmp_path: Path) -> None:
    for n in range(2):
        start_run(tmp_path, ("paper",), Utc(NOW + n))
    assert not list(tmp_path.glob("*.v*"))


def test_a_reader_refuses_an_old_ledger_until_the_writer_has_migrated_it(folder: Path) -> None:
    with pytest.raises(LedgerRefusedError, match="old version 1; start the supervisor once"):
        open_reader(folder / "paper.db", DESK)
    start_run(folder, ("paper",), NOW)
    assert open_reader(folder / "paper.db", DESK) is not None


def test_gate_rows_that_version_1_cannot_have_written_are_refused_and_kept(folder: Path) -> None:
    db = sqlite3.connect(folder / "paper.db")
    db.execute("UPDATE gate_log SET verdicts = '[{\"gate\":99}]' WHERE n = 4")
    db.commit()
    db.close()
    before = (folder / "paper.db").read_bytes()[100:]
    with pytest.raises(LedgerRefusedError, match="row 4 of its gate log"):
        start_run(folder, ("paper",), NOW)
    assert rows(folder / "paper.db", "PRAGMA user_version") == [(1,)]
    assert (folder / "paper.db").read_bytes()[100:] == before


class Dying(sqlite3.Connection):
    """Kills its process at the `at`-th statement."""

    at = 0
    done = 0

    def execute(self, *arguments: object) -> sqlite3.Cursor:
        type(self).done += 1
        if self.done == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments)


def opened_and_killed(path: Path, schema: Schema, owner: str, at: int) -> bool:
    """Open a ledger in a process that dies at a statement; return whether it lived to the end."""
    child = os.fork()
    if child == 0:
        real = sqlite3.connect
        Dying.at = at
        sqlite3.connect = lambda *a, **k: real(*a, **{"factory": Dying, **k})
        open_file(path, schema, owner).close()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("name", "schema", "owner", "version"),
    [
        *(("paper", DESK, "paper", version) for version in range(1, DESK.version)),
        *(("ledger", SHARED, SHARED_OWNER, version) for version in range(1, SHARED.version)),
    ],
)
def test_a_crash_at_any_statement_of_the_migration_leaves_the_old_ledger_or_the_new_one(
    tmp_path: Path, name: str, schema: Schema, owner: str, version: int
) -> None:
    fixture = DATA / f"ledger_v{version}" / f"{name}.db"
    old = list(sqlite3.connect(fixture).iterdump())
    left: list[int] = []
    for at in range(1, 500):
        path = tmp_path / str(at) / f"{name}.db"
        path.parent.mkdir()
        shutil.copy(fixture, path)
        if opened_and_killed(path, schema, owner, at):
            break
        left.append(of_class(int, rows(path, "PRAGMA user_version")[0][0]))
        if left[-1] == version:
            assert list(sqlite3.connect(path).iterdump()) == old
        db = open_file(path, schema, owner)
        assert db.execute("PRAGMA user_version").fetchone() == (schema.version,)
        db.close()
        assert not list(path.parent.glob("*.tmp")), "nothing is left of the copy that was broken off"
        if left[-1] == version:
            assert list(sqlite3.connect(path.with_name(f"{path.name}.v{version}")).iterdump()) == old
    assert len(left) > 10
    assert left == sorted(left), "old until its one commit"
    assert left.count(version) > 10


STARTED_AT_ONCE = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from storage.shared_ledger import start_run
sys.stdin.readline()
print(start_run(Path({folder!r}), ("paper",), 1))
"""


def test_several_programs_that_migrate_at_once_leave_one_new_ledger_and_one_copy_of_the_old(tmp_path: Path) -> None:
    shutil.copytree(DATA / "ledger_v2", tmp_path, dirs_exist_ok=True)
    old = list(sqlite3.connect(tmp_path / "paper.db").iterdump())
    program = STARTED_AT_ONCE.format(root=str(ROOT), folder=str(tmp_path))
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    runs = sorted(int(child.communicate(timeout=60)[0]) for child in children)
    assert runs == [2, 3, 4, 5]
    assert list(sqlite3.connect(tmp_path / "paper.db.v2").iterdump()) == old
    assert not list(tmp_path.glob("*.tmp"))


# -- from version 2 -------------------------------------------------------------------------------


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """The ledgers of version 2: a morning with a position held, a kill level raised and lowered."""
    shutil.copytree(DATA / "ledger_v2", tmp_path, dirs_exist_ok=True)
    start_run(tmp_path, ("paper",), NOW)
    return tmp_path


def test_orders_of_version_2_get_the_history_that_their_rows_tell(second: Path) -> None:
    reader = LedgerReader(second, "paper")
    sold = [(e["event"], e["qty"], e["order_type"]) for e in reader.order_events("ZH-paper-55TROADOI267-x1")]
    assert sold[0] == ("intended", 10, "LMT")
    assert ("working", 10, None) in sold
    assert sum(qty for event, qty, _ in sold if event == "fill") == 10
    refs = {row[0] for row in rows(second / "paper.db", "SELECT order_ref FROM orders")}
    assert {row[0] for row in rows(second / "paper.db", "SELECT order_ref FROM order_events")} == refs


def test_what_version_2_held_comes_back_and_its_day_goes_on(second: Path) -> None:
    held = LedgerReader(second, "paper").held()
    assert [(row["con_id"], row["state"], row["net_qty"]) for row in held] == [(473_777_162, "OPEN", 5)]
    assert restored(second, "kill") == KillRestored(
        level=KillLevel.RUNNING, kill_epoch=2, reason="kill of the fixture", by="ann"
    )
    risk = restored(second, "risk:paper")
    assert isinstance(risk, RiskRestored)
    assert risk.stops == DayStops()
    assert len(risk.decisions) == 6
    for name in ("reservations", "orders", "executions", "commissions", "positions", "gate_log", "day"):
        sql = f"SELECT count(*) FROM {name}"
        assert rows(second / "paper.db", sql) == rows(DATA / "ledger_v2" / "paper.db", sql)


def test_a_position_of_version_3_comes_back_and_its_settlement_price_is_not_known(tmp_path: Path) -> None:
    shutil.copytree(DATA / "ledger_v3", tmp_path, dirs_exist_ok=True)
    (held,) = rows(tmp_path / "paper.db", "SELECT con_id FROM positions WHERE state = 'OPEN'")
    found = restored(tmp_path, f"position:paper:{held[0]}")
    assert isinstance(found, PositionRestored)
    assert (found.state, found.settlement_ticks) == (PositionState.OPEN, None)
    for name in ("reservations", "orders", "executions", "commissions", "positions", "gate_log", "day", "order_events"):
        sql = f"SELECT count(*) FROM {name}"
        assert rows(tmp_path / "paper.db", sql) == rows(DATA / "ledger_v3" / "paper.db", sql)


def test_orders_of_version_4_whose_position_has_ended_are_over_and_their_history_says_who(tmp_path: Path) -> None:
    for name in ("ledger_v3/ledger.db", "ledger_v4/paper.db"):
        shutil.copy(DATA / name, tmp_path)
    start_run(tmp_path, ("paper",), NOW)
    before, after = (
        {str(ref): status for ref, status in rows(path / "paper.db", "SELECT order_ref, status FROM orders")}
        for path in (DATA / "ledger_v4", tmp_path)
    )
    changed = {ref: (before[ref], status) for ref, status in after.items() if status != before[ref]}
    stem = "ZH-paper-NMV2LSIXLB4D"
    assert changed == {
        "broker:1994000005": ("adopted", "filled"), f"{stem}-x2": ("intended", "abandoned"),
        f"{stem}-x3": ("unknown", "abandoned"),
    }  # fmt: skip
    told = [(e["event"], e["by"], e["words"]) for e in LedgerReader(tmp_path, "paper").order_events(f"{stem}-x2")]
    assert told[0][:2] == ("intended", "desk") and told[-1] == ("abandoned", "ledger", "its reservation had ended")
    assert ("fill", "ledger") not in rows(tmp_path / "paper.db", "SELECT event, by FROM order_events")


def test_an_order_of_version_7_was_an_order_by_itself(tmp_path: Path) -> None:
    shutil.copy(DATA / "ledger_v7" / "paper.db", tmp_path)
    columns = [row[1] for row in rows(tmp_path / "paper.db", "PRAGMA table_info(orders)")]
    kept = f"SELECT {', '.join(map(str, columns))} FROM orders ORDER BY order_ref"
    old = rows(tmp_path / "paper.db", kept)
    open_file(tmp_path / "paper.db", DESK, "paper").close()
    assert old
    assert rows(tmp_path / "paper.db", kept) == old
    assert rows(tmp_path / "paper.db", "SELECT DISTINCT combo_ref FROM orders") == [(None,)]


def test_exit_changes_of_version_8_are_those_of_the_adaptive_profile(tmp_path: Path) -> None:
    shutil.copy(DATA / "ledger_v8" / "paper.db", tmp_path)
    with sqlite3.connect(tmp_path / "paper.db") as db:
        db.execute(
            "INSERT INTO exit_changes (position_id, version, at_utc, stop_scale, take_scale, left_ms, is_in_force)"
            " SELECT position_id, 1, 1, 0.5, 0.5, 1000, 0 FROM positions LIMIT 1"
        )
    db.close()
    open_file(tmp_path / "paper.db", DESK, "paper").close()
    assert rows(tmp_path / "paper.db", "SELECT kind, version FROM exit_changes") == [("ADAPTIVE", 1)]


def test_a_structure_of_version_5_gets_its_row_without_its_terms(tmp_path: Path) -> None:
    shutil.copy(DATA / "ledger_v5" / "paper.db", tmp_path)
    legs = (
        ("c", 0, "OPEN"), ("c", 1, "OPEN"), ("d", 0, "CLOSED"), ("d", 1, "ABANDONED"), ("a", 0, "RELEASED"),
        ("a", 1, "RELEASED"),
    )  # fmt: skip
    db = sqlite3.connect(tmp_path / "paper.db")
    columns = [row[1] for row in db.execute("PRAGMA table_info(reservations)")]
    (old,) = db.execute(f"SELECT {', '.join(columns)} FROM reservations WHERE state = 'CLOSED' LIMIT 1").fetchall()
    for con_id, (name, leg, state) in enumerate(legs):
        row = dict(zip(columns, old, strict=True)) | {
            "intent_id": name, "structure_id": name, "leg": leg, "state": state, "order_ref": f"{name}{leg}",
            "con_id": con_id,
        }  # fmt: skip
        db.execute(f"INSERT INTO reservations VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    db.commit()
    db.close()
    open_file(tmp_path / "paper.db", DESK, "paper").close()
    found = rows(tmp_path / "paper.db", "SELECT structure_id, cover_ref, short_ref, state, terms FROM structures")
    assert sorted(found) == sorted(
        (name, f"{name}0", f"{name}1", state, None)
        for name, state in (("c", "HELD"), ("d", "CLOSED"), ("a", "ABANDONED"))
    )  # fmt: skip


def test_alerts_of_version_4_are_kept_and_came_of_no_offer(tmp_path: Path) -> None:
    shutil.copy(DATA / "ledger_v4" / "ledger.db", tmp_path)
    (kept,) = rows(tmp_path / "ledger.db", "SELECT * FROM alerts")
    start_run(tmp_path, (), 1)
    assert rows(tmp_path / "ledger.db", "SELECT * FROM alerts") == [(*kept, None)]


@pytest.mark.parametrize(("name", "schema"), [("paper", DESK), ("ledger", SHARED)])
def test_a_ledger_of_a_newer_version_is_refused_in_one_sentence_before_anything_runs(
    folder: Path, name: str, schema: Schema
) -> None:
    start_run(folder, ("paper",), NOW)
    db = sqlite3.connect(folder / f"{name}.db")
    db.execute(f"PRAGMA user_version={schema.version + 1}")
    db.close()
    with pytest.raises(LedgerRefusedError) as refused:
        start_run(folder, ("paper",), NOW)
    assert str(refused.value) == (
        f"The ledger {folder / f'{name}.db'} has version {schema.version + 1},"
        f" this program knows up to {schema.version}; update the program."
    )
    if name == "paper":
        assert LedgerReader(folder, "paper").runs()[-1]["run_n"] == 2, "a start that was refused is not counted"
