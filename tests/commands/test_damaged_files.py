"""Bytes that changed on the disk, files that were cut: every command that reads them says one sentence, or goes on."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
import zstandard

from commands.cli import main
from config.settings import load_settings
from domain.position.day import DayMark
from messages import lifecycle, positions, session, signals
from messages.base import Message
from messages.envelope import HandlingOutcome
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, start_run
from supervision.mailbox import Mail
from supervision.stepped import VirtualClock
from supervision.trace import FileTrace, Header
from tests.testkit import ledger_asks as ask
from tests.testkit.paths import DATA

COMMANDS = {
    "report": ("report",),
    "report --json": ("report", "--json"),
    "why": ("why", ask.ref(1)),
    "why-not": ("why-not", ask.alert_id(2)),
    "replay": ("replay",),
    "resume": ("resume", "--reason", "r"),
    "status": ("status",),
    "kill": ("kill", "1", "--reason", "r"),
}
CASES = 12  # a file and command, each with another place that is damaged


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ledgers, a warehouse and a trace, in which all is well."""
    root = tmp_path_factory.mktemp("whole")
    ledgers = root / "ledgers"
    ledgers.mkdir()
    start_run(ledgers, ("paper",), ask.T0)
    desk = DeskLedger(ledgers, "paper", run_n=1)
    desk.open()
    kept: tuple[Message, ...] = (
        ask.reserve(1), ask.execution(1), ask.position(1), ask.exit_intent(1), ask.denial(2),
        ask.broker_refused(1, "x1"), ask.reserve(3), ask.abandoned(3),
    )  # fmt: skip
    for message in kept:
        desk.apply(message, ask.T0)
    desk.close()
    shared = SharedLedger(ledgers, ("paper",))
    shared.open()
    shared.apply(ask.alert(2), ask.T0)
    shared.close()
    shutil.copytree(DATA / "warehouse_v1", root / "warehouse")
    trace(root / "traces" / ask.DAY.isoformat() / "run-1.jsonl", *kept, ask.alert(2))
    return root


def trace(path: Path, *messages: Message) -> None:
    settings = load_settings(profile="demo")
    header = Header(
        run_n=1, session=ask.DAY.isoformat(), started_utc=ask.T0, rate=1.0, settings_digest=settings.digest(),
        code_version="test", settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip
    written = FileTrace(path, header, VirtualClock(ask.T0))
    phase = session.RequestPhase(reply_to="lane:gexwatch:SPX")
    started = lifecycle.Started(name="session", incarnation=1, run_n=1, restored=None)
    checked = positions.HoldingsChecked(
        session=ask.DAY, mark=DayMark.CLOSE, positions=((1, 2),), is_known=True, read_utc=ask.T0,
        at_utc=ask.T0,
    )  # fmt: skip
    silent = signals.NotEvaluated(
        source="gexwatch", ticker="SPX", kind="GAMMA_FLIP", bucket_utc=ask.key(2).bucket_utc, why="cooldown"
    )  # fmt: skip
    for n, message in enumerate((started, phase, *messages, checked, silent), 1):
        to = {checked: "notifier", started: "session"}.get(message, "ledger:paper")
        mail = Mail(message, msgspec.json.encode(message), "test", f"1/test/1/{n}", 0, ask.T0)
        seq, _ = written.receipt(to, 1, n, mail)
        written.handled(seq, HandlingOutcome.OK, 0, b"")
    written.close()


def damage(path: Path, source: random.Random) -> None:
    """Change some bytes, cut the end off, or empty the middle."""
    raw = bytearray(path.read_bytes())
    match source.randrange(4):
        case 0:
            del raw[source.randrange(len(raw)) :]
        case 1:
            start = source.randrange(len(raw))
            end = min(len(raw), start + source.randrange(1, 5000))
            raw[start:end] = bytes(end - start)
        case _:
            for _ in range(source.choice((1, 1, 5, 200))):
                raw[source.randrange(len(raw))] = source.randrange(256)
    path.write_bytes(raw)


def said_by(root: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["--data", str(root), *command])
    said = capsys.readouterr()
    return code, said.out, said.err


def of_folder(root: Path, kind: str) -> Path:
    found = {
        "desk ledger": root / "ledgers" / "paper.db",
        "shared ledger": root / "ledgers" / "ledger.db",
        "manifest": next((root / "warehouse").glob("*/manifest.json")),
        "trace": next((root / "traces").glob("*/run-1.jsonl*")),
    }
    return found["trace" if kind == "sealed trace" else kind]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_all_is_well_where_nothing_is_damaged(
    whole: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code, _, err = said_by(whole, command, capsys)
    assert code in ((0, 1) if command[0] in ("report", "why", "why-not", "replay") else (3,)), err
    assert "damaged" not in err.lower()


@pytest.mark.parametrize("kind", ["desk ledger", "shared ledger", "manifest", "trace", "sealed trace"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_damaged_file_is_never_a_stack_trace(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], kind: str
) -> None:
    for seed in range(CASES):
        root = tmp_path / str(seed)
        shutil.copytree(whole, root)
        path = of_folder(root, kind)
        if kind == "sealed trace":
            sealed = path.with_name(f"{path.name}.zst")
            sealed.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
            path.unlink()
            path = sealed
        damage(path, random.Random(f"{seed} {kind}"))
        try:
            code, _, err = said_by(root, command, capsys)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {kind}, {command}") from error
        assert code in (0, 1, 2, 3), seed
        assert err.count("\n") <= 1, (seed, err)
        shutil.rmtree(root)


def test_a_locked_ledger_is_one_sentence(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "locked"
    shutil.copytree(whole, root)
    db = sqlite3.connect(root / "ledgers" / "paper.db", isolation_level=None)
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    db.execute("BEGIN EXCLUSIVE")
    db.execute("CREATE TABLE t (x)")
    code, out, err = said_by(root, ("report",), capsys)
    db.close()
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "paper.db" in err


def test_a_report_goes_on_without_a_trace_that_is_damaged_and_names_it(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "torn"
    shutil.copytree(whole, root)
    path = of_folder(root, "trace")
    sealed = path.with_name(f"{path.name}.zst")
    sealed.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes())[:200] + b"\0" * 50)
    path.unlink()
    code, out, _ = said_by(root, ("report",), capsys)
    assert code == 1, "a position is held"
    assert "Damaged:" in out
    assert "restore it from a copy" in " ".join(out.split())
    assert ask.ref(1) in out
