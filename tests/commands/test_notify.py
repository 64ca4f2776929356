"""`main.py notify`, and the lines of a running supervisor beyond its console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from commands.cli import main
from commands.notify_port import does_its_work, notify_port_of, title_of
from config.settings import Settings, load_settings
from domain.desks import DeskKind
from tests.testkit.supervisor_child import Supervisor, command, eventually
from tests.testkit.webhooks import Webhooks, webhooks

NOW_NS = 10**15
TARGET = {"url_env": "PHONE_URL", "topics": ["entry", "kill", "mode", "phase"], "severity_min": "info"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhooks]:
    with webhooks() as made:
        monkeypatch.setenv("PHONE_URL", f"json://127.0.0.1:{made.port}/s3cret")
        (tmp_path / "mine.yaml").write_bytes(orjson.dumps({"notify": {"targets": {"phone": TARGET}}}))
        monkeypatch.setenv("ZEROHOUR_HEARTBEAT_URL", f"http://127.0.0.1:{made.port}/beat-s3cret")
        yield made


def notify(capsys: pytest.CaptureFixture[str], tmp_path: Path, *more: str) -> tuple[int, str]:
    mine = tmp_path / "mine.yaml"
    config = ["--config", str(mine)] if mine.exists() else []
    code = main([*config, "--data", str(tmp_path), "notify", *more])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def test_a_test_sends_one_line_to_every_target_and_asks_the_heartbeat(
    tmp_path: Path, server: Webhooks, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = notify(capsys, tmp_path, "--test")
    assert (code, [path for path, _ in server.asked]) == (0, ["/s3cret", "/beat-s3cret"])
    assert out.splitlines() == ["ok   phone: JSON, entry, kill, mode, phase from info on", "ok   heartbeat"]
    assert "s3cret" not in out


def test_a_test_that_fails_says_which_and_why(
    tmp_path: Path, server: Webhooks, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [(403, {}), (503, {})]
    code, out = notify(capsys, tmp_path, "--test")
    assert (code, out.splitlines()) == (1, ["BAD  phone: JSON: HTTP 403", "BAD  heartbeat: HTTP 503"])


def test_without_the_test_nothing_is_sent(
    tmp_path: Path, server: Webhooks, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out = notify(capsys, tmp_path)
    assert (code, server.asked, "heartbeat: every 60 s" in out) == (0, [], True)
    monkeypatch.delenv("PHONE_URL")
    code, out = notify(capsys, tmp_path)
    assert (code, "BAD  phone: PHONE_URL is not set" in out) == (1, True)
    code, out = notify(capsys, tmp_path, "--target", "mail")
    assert (code, "There is no target mail; there are: phone." in out) == (2, True)


def test_where_nobody_is_to_be_told_it_says_how_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = notify(capsys, tmp_path)
    assert (code, "docs/guides/notifications.md" in out) == (0, True)


def port_of(settings: Settings) -> object:
    folder = SimpleNamespace(run=Path("run"))
    return notify_port_of(settings, folder, DeskKind.PAPER, lambda *_: None, lambda: True)


def test_a_supervisor_without_targets_and_heartbeat_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert port_of(load_settings()) is None
    monkeypatch.setenv("ZEROHOUR_HEARTBEAT_URL", "http://127.0.0.1:9/")
    assert port_of(load_settings()) is not None


def test_a_target_without_its_address_holds_up_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONE_URL_FILE", "/nowhere/at/all")
    assert port_of(load_settings(overrides={"notify": {"targets": {"phone": TARGET}}})) is not None


def test_the_title_says_whose_money_it_is() -> None:
    settings = load_settings()
    assert title_of(settings, DeskKind.PAPER) == "Zerohour paper"
    assert title_of(settings, DeskKind.LIVE) == "Zerohour paper (live)"


def cell(*, is_up: bool = True, busy_s: float | None = None) -> SimpleNamespace:
    since_ns = NOW_NS - int((busy_s or 0) * 1e9)
    return SimpleNamespace(is_up=is_up, in_hand=None if busy_s is None else object(), busy_since_ns=since_ns)


@pytest.mark.parametrize(
    ("ended", "cells", "is_alive"),
    [
        (None, {"kill": cell(), "risk": cell(busy_s=1)}, True),
        ("a trace that cannot be written", {"kill": cell(), "risk": cell()}, False),
        (None, {"kill": cell(), "risk": cell(is_up=False)}, False),
        (None, {"kill": cell()}, False),
        (None, {"kill": cell(), "risk": cell(busy_s=60)}, False),
    ],
)
def test_a_supervisor_whose_money_actors_stand_still_gives_no_sign_of_life(
    ended: str | None, cells: dict[str, SimpleNamespace], is_alive: bool
) -> None:
    host = SimpleNamespace(ended=ended, cells=cells)
    assert does_its_work(host, ("kill", "risk"), 5_000, NOW_NS) is is_alive


@pytest.mark.slow
def test_a_running_supervisor_sends_its_lines_and_its_sign_of_life(tmp_path: Path, server: Webhooks) -> None:
    config = ("--config", str(tmp_path / "mine.yaml"))
    supervisor = Supervisor(
        tmp_path / "data", *config, "--profile", "demo", "--rate", "60", ZEROHOUR_TICKERS='["SPX","QQQ"]'
    )
    try:
        eventually(lambda: {path for path, _ in list(server.asked)} == {"/s3cret", "/beat-s3cret"})
        told = [orjson.loads(body) for path, body in server.asked if path == "/s3cret"]
        assert told[0]["title"] == "Zerohour paper (sim)"
        command(tmp_path / "data", "kill", "1", "--reason", "lunch")
        assert any("HIGH kill: Kill level 1 (no entries)" in text for text in _until_kill(server))
    finally:
        supervisor.end_if_left()
        command(tmp_path / "data", "sim", "stop")


def _until_kill(server: Webhooks) -> list[str]:
    for count in range(len(server.asked), len(server.asked) + 20):
        found = [orjson.loads(body)["message"] for path, body in list(server.asked) if path == "/s3cret"]
        if any("kill:" in text for text in found):
            return found
        server.wait_for(count + 1)
    return []
