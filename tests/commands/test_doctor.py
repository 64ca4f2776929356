"""`main.py doctor`: every fault is one finding with its remedy, a fault is exit code 1, and nothing on disk changes."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from commands import doctor
from commands.cli import main
from commands.doctor import _of_vendor
from commands.findings import Finding
from commands.folder import DataFolder
from config.settings import load_settings
from domain.units import Utc
from gateways.gexbot.negotiate import Addresses, Refusal
from storage.shared_ledger import start_run

NOW = Utc(1_795_000_000_000_000_000)


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_") and name != "ZEROHOUR_ENV_FILE"]:
        monkeypatch.delenv(name)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def findings(root: Path, capsys: pytest.CaptureFixture[str], *, config: str = "") -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and what was found; what somebody else serves on this machine is no finding of ours."""
    call = ["--data", str(root), "doctor", "--json"]
    if config:
        file = root.parent / "mine.yaml"
        file.write_text(config, encoding="utf-8")
        call = ["--config", str(file), *call]
    with pytest.MonkeyPatch.context() as patch:
        if "web:" not in config:
            patch.setenv("ZEROHOUR_WEB__PORT", str(free_port()))
        code = main(call)
    return code, orjson.loads(capsys.readouterr().out)


def bad(found: list[dict[str, Any]], *, is_warning: bool = False) -> list[tuple[str, str, str]]:
    return [
        (row["check"], row["seen"], row["remedy"])
        for row in found
        if not row["is_ok"] and row["is_warning"] is is_warning
    ]


def used(root: Path) -> DataFolder:
    """Return a folder in which a run has been."""
    folder = DataFolder(root)
    folder.make()
    start_run(folder.ledgers, ("paper",), NOW)
    trace = folder.traces / "2026-11-20" / "run-1.jsonl"
    trace.parent.mkdir(parents=True)
    trace.write_text("{}\n", encoding="utf-8")
    return folder


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def test_a_folder_that_was_never_used_is_no_fault_and_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = findings(tmp_path / "new", capsys)
    assert (code, bad(found)) == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_all_findings_are_told_in_a_last_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def last(*call: str) -> str:
        main(["--data", str(tmp_path / "new"), *call])
        return capsys.readouterr().out.splitlines()[-1]

    with socket.create_server(("127.0.0.1", 0)) as taken:
        own = tmp_path / "own.yaml"
        own.write_text(f"web: {{port: {taken.getsockname()[1]}}}\n", encoding="utf-8")
        assert last("--config", str(own), "doctor") == "1 warning, nothing that is in the way."
    own.write_text("web: {is_on: false}\nwarehouse: {disk_free_min_mb: 99999999}\n", encoding="utf-8")
    assert last("--config", str(own), "doctor") == "1 fault; a run needs the faults mended."
    own.write_text("web: {is_on: false}\n", encoding="utf-8")
    assert last("--config", str(own), "doctor") == "Nothing is in the way."


def test_sound_ledgers_are_named_with_their_version_and_nothing_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = used(tmp_path / "data").root
    before = everything(root)
    code, found = findings(root, capsys)
    assert (code, bad(found)) == (0, [])
    assert [row["seen"].rpartition("/")[2].partition(", version")[0] for row in found if row["check"] == "ledger"] == [
        "ledger.db", "paper.db",
    ]  # fmt: skip
    assert everything(root) == before


def test_of_two_desks_each_ledger_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = findings(used(tmp_path / "data").root, capsys, config="desks: {model: {kind: sim}}\n")
    seen = [row["seen"].rpartition("/")[2] for row in found if row["check"] == "ledger"]
    assert [re.split("[, ]", text)[0] for text in seen] == ["ledger.db", "paper.db", "model.db"]


def test_what_stands_in_the_log_of_a_killed_writer_counts_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = used(tmp_path / "data")
    path = folder.ledgers / "paper.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute("UPDATE meta SET value = 'other' WHERE key = 'desk'")
        db.commit()
        kept = {name: (folder.ledgers / name).read_bytes() for name in ("paper.db", "paper.db-wal")}
    for name, content in kept.items():
        (folder.ledgers / name).write_bytes(content)
    before = everything(folder.root)
    code, found = findings(folder.root, capsys)
    assert (code, bad(found)) == (
        1, [("ledger", f"The ledger {path} is that of other, not of paper", "Name another data folder.")]
    )  # fmt: skip
    assert everything(folder.root) == before


@pytest.mark.parametrize("name", ["ledger.db", "paper.db"])
@pytest.mark.parametrize("how", ["emptied", "gone"])
def test_a_lost_ledger_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: str) -> None:
    folder = used(tmp_path / "data")
    path = folder.ledgers / name
    path.write_bytes(b"") if how == "emptied" else path.unlink()
    code, found = findings(folder.root, capsys)
    assert code == 1
    ((check, seen, remedy),) = bad(found)
    assert (check, str(path) in seen, "restore it from a backup" in remedy.lower()) == ("ledger", True, True)
    assert ("is empty" if how == "emptied" else "is missing") in seen


def test_both_ledgers_gone_beside_a_trace_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = used(tmp_path / "data")
    for path in folder.ledgers.iterdir():
        path.unlink()
    code, found = findings(folder.root, capsys)
    assert (code, [check for check, *_ in bad(found)]) == (1, ["ledger"])


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")


def _of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id=7")


def _torn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)


def _no_database(path: Path) -> None:
    path.write_bytes(b"words\n" * 1000)


@pytest.mark.parametrize(
    ("harm", "seen"),
    [
        (_newer, "has version 99"), (_of_another_program, "is not a desk ledger"), (_torn, "the ledger"),
        (_no_database, "cannot be read"),
    ],
    ids=["newer", "not ours", "torn", "no database"],
)  # fmt: skip
def test_a_ledger_that_cannot_be_used_is_a_fault_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Any, seen: str
) -> None:
    folder = used(tmp_path / "data")
    harm(folder.ledgers / "paper.db")
    code, found = findings(folder.root, capsys)
    assert code == 1
    ((check, said, remedy),) = bad(found)
    assert (check, seen in said.lower(), bool(remedy)) == ("ledger", True, True)
    assert "zerohour-doctor-" not in said + remedy


def test_files_of_the_future_are_a_fault_of_the_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = used(tmp_path / "data")
    ahead = folder.traces / "2026-11-20" / "run-1.jsonl"
    stat = ahead.stat()
    os.utime(ahead, (stat.st_atime + 7200, stat.st_mtime + 7200))
    code, found = findings(folder.root, capsys)
    assert code == 1
    ((check, seen, remedy),) = bad(found)
    assert (check, "before the newest file" in seen, remedy[:13]) == ("clock", True, "Set the clock")


def test_a_disk_below_its_least_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = findings(tmp_path / "d", capsys, config="warehouse: {disk_free_min_mb: 99999999}")
    assert (code, [check for check, *_ in bad(found)]) == (1, ["disk"])


def test_a_file_in_place_of_the_data_folder_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("", encoding="utf-8")
    code, found = findings(tmp_path / "data", capsys)
    assert (code, bad(found)[0][0]) == (1, "data folder")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("lanes: {gexwatch: [RUT]}", "watches RUT"),
        ("lanes: {strangers: [SPX]}", "lanes.strangers: has no row in alerts"),
        ("entry: {risk_nav: .nan}", "entry.risk_nav: must be above 0"),
    ],
)
def test_settings_that_no_run_takes_are_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, said: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(config, encoding="utf-8")
    assert main(["--config", str(file), "--data", str(tmp_path / "d"), "doctor"]) == 2
    error = capsys.readouterr().err
    assert (said in error, error.count("\n")) == (True, 1)


def test_a_day_that_one_stop_could_use_up_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # SPX: 35 % of a premium of 25.00 are 875 USD; three of them are 2,625.
    code, found = findings(tmp_path / "d", capsys, config="entry: {daily_loss_max_cents: 262500}")
    assert code == 0
    assert [row for row in bad(found, is_warning=True) if row[0] == "daily loss limit"] == [
        (
            "daily loss limit", "one stop of one SPX contract may cost 875 USD of the day's 2,625 USD",
            "Raise entry.daily_loss_max_cents, or lower ticker_rules.SPX.premium_max_ticks.",
        )
    ]  # fmt: skip
    _, found = findings(tmp_path / "d", capsys, config="entry: {daily_loss_max_cents: 262501}")
    assert bad(found, is_warning=True) == []
    _, found = findings(tmp_path / "d", capsys, config="entry: {risk_nav: 0.01, risk_stop_multiple: 1.5}")
    assert [check for check, *_ in bad(found, is_warning=True)] == ["daily loss limit"]


def test_a_rule_without_its_input_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = findings(tmp_path / "d", capsys, config="spot_only: []")
    assert (code, [check for check, *_ in bad(found, is_warning=True)]) == (0, ["kill rules"])


def test_an_account_of_the_other_kind_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def account(mode: str, name: str) -> list[Finding]:
        monkeypatch.setenv("ZEROHOUR_IB_ACCOUNT", name)
        return list(doctor._account(load_settings(profile="real", overrides={"trading_mode": mode})))

    assert [finding.check for finding in account("live", "DU123")] == ["account type"]
    assert [finding.check for finding in account("paper", "U123")] == ["account type"]
    assert account("live", "U123") == account("paper", "DF123") == account("paper", "") == []


def test_a_live_desk_without_a_resting_stop_is_warned_of() -> None:
    def found(*, is_on: bool | None) -> list[Finding]:
        overrides = {"trading_mode": "live", "exits": {"disaster_stop": is_on}}
        return list(doctor._disaster_stop(load_settings(profile="real", overrides=overrides)))

    assert [finding.is_fault for finding in found(is_on=False)] == [False]
    assert found(is_on=None) == found(is_on=True) == []


def test_a_dashboard_port_that_is_taken_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, found = findings(tmp_path / "d", capsys, config=f"web: {{port: {port}}}")
    assert code == 0
    ((check, seen, remedy),) = bad(found, is_warning=True)
    assert (check, "set web.port" in remedy) == ("dashboard", True)
    assert seen == f"127.0.0.1:{port} cannot be taken (Address already in use)"


REAL = load_settings(profile="real")


@pytest.mark.parametrize(
    ("told", "seen", "remedy"),
    [
        (Refusal("host refused to negotiate with 401: bad key", is_final=True), "401: bad key", "Check the key in K"),
        (Refusal("host could not be reached", is_final=False), "could not be reached", "Check the network"),
        ({"classic": "wss://x"}, "is given no", "Subscribe to these"),
        (Addresses({"classic": "wss://x"}), "is given no", "Subscribe to these"),
    ],
)
def test_a_vendor_that_gives_less_than_is_wanted_is_a_fault(told: Any, seen: str, remedy: str) -> None:
    found = _of_vendor(REAL, "K", told)
    assert (found.is_fault, seen in found.seen, remedy in found.remedy) == (True, True, True)


def test_a_vendor_that_gives_every_hub_is_no_fault() -> None:
    assert _of_vendor(REAL, "K", dict.fromkeys(REAL.feed.by_hub, "wss://x")).is_ok


class _Refusing(BaseHTTPRequestHandler):
    """A vendor that knows no key."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"error": "unknown key"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def vendor() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v2/negotiate"
        server.shutdown()
        thread.join()


def test_a_real_desk_with_a_bad_key_and_no_gateway_names_both_and_keeps_the_key_to_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, vendor: str
) -> None:
    monkeypatch.setattr("gateways.ib.checkup.OTHER_PORTS", ())
    key = tmp_path / "key"
    key.write_text("not-a-real-key\n", encoding="utf-8")
    monkeypatch.setenv(f"{REAL.feed.keys[0]}_FILE", str(key))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        config = (
            f"profile: real\nfeed: {{negotiate_url: '{vendor}', keys: [{REAL.feed.keys[0]}]}}\n"
            f"broker: {{paper_port: {port}, gateways: [{{host: 127.0.0.1, port: {port}}}]}}\nweb: {{is_on: false}}"
        )
        code, found = findings(tmp_path / "d", capsys, config=config)
    told = {check: seen for check, seen, _ in bad(found)}
    assert code == 1
    assert set(told) == {"IB Gateway", "vendor feed"}
    assert "cannot be reached" in told["IB Gateway"]
    assert "401: unknown key" in told["vendor feed"]
    assert "not-a-real-key" not in str(found)
