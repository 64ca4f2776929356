"""`main.py doctor` on what is beyond broker and vendor: a provider's key, and addresses that tell people."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from commands.doctor_services import notify_findings, provider_findings
from config.settings import Settings, load_settings
from domain.units import Utc

NOW = Utc(1_795_185_000_000_000_000)
KEY = "ZEROHOUR_PROVIDER_KEY"
PHONE = {"phone": {"url_env": "ZEROHOUR_PHONE_URL", "topics": ["kill", "alarm"], "severity_min": "info"}}
BAR = {"t": 1_795_180_020_000, "o": 6000.0, "h": 6001.0, "l": 5999.0, "c": 6000.5, "v": 10}


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_") and name != "ZEROHOUR_ENV_FILE"]:
        monkeypatch.delenv(name)


def settings(**changes: Any) -> Settings:
    return load_settings(profile="real", overrides=changes)


@contextmanager
def provider(status: int, results: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """A provider on loopback that always answers so; who asked with which key."""
    shown: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization", ""))
            body = json.dumps({"results": results}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", shown
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


@pytest.mark.parametrize(
    ("status", "results", "is_ok", "seen"),
    [
        (200, [BAR], True, "gives bars of SPX"),
        (200, [], False, "has no bars of SPX in the last 7 days"),
        (401, [], False, "gives no bars of SPX"),
    ],
)
def test_a_provider_is_asked_with_the_key_which_is_told_nobody(
    monkeypatch: pytest.MonkeyPatch, status: int, results: list[dict[str, Any]], seen: str, *, is_ok: bool
) -> None:
    monkeypatch.setenv(KEY, "the-key-itself")
    with provider(status, results) as (url, shown):
        (found,) = provider_findings(settings(feed={"source": "provider", "provider": {"rest_url": url}}), NOW)
    assert (found.is_ok, seen in found.seen) == (is_ok, True)
    assert "the-key-itself" not in f"{found.seen}{found.remedy}"
    assert shown[0] == "Bearer the-key-itself"
    if not is_ok:
        assert KEY in found.remedy


def test_without_a_key_the_provider_is_not_asked() -> None:
    assert list(provider_findings(settings(feed={"source": "provider"}), NOW)) == []


def test_nobody_to_tell_is_warned_of_and_a_live_desk_without_a_watchman_too(monkeypatch: pytest.MonkeyPatch) -> None:
    (nobody,) = notify_findings(settings())
    assert (nobody.is_ok, nobody.is_warning) == (False, True)
    live = {"trading_mode": "live", "broker": {"gateways": [{"host": "127.0.0.1", "port": 4001}]}}
    assert [one.check for one in notify_findings(settings(**live))] == ["notifications", "heartbeat"]
    monkeypatch.setenv("ZEROHOUR_HEARTBEAT_URL", "http://127.0.0.1:1/alive")
    assert [one.check for one in notify_findings(settings(**live))] == ["notifications"]


@pytest.mark.parametrize(
    ("address", "is_ok", "seen"),
    [
        (None, False, "phone: ZEROHOUR_PHONE_URL is not set"),
        ("magic://token-itself", False, "phone: ZEROHOUR_PHONE_URL: it is no address that Apprise knows"),
        ("json://127.0.0.1:1/token-itself", True, "phone: JSON"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_fault_that_keeps_it_to_itself(
    monkeypatch: pytest.MonkeyPatch, address: str | None, seen: str, *, is_ok: bool
) -> None:
    if address is not None:
        monkeypatch.setenv("ZEROHOUR_PHONE_URL", address)
    (found,) = notify_findings(settings(notify={"targets": PHONE}))
    assert (found.is_ok, found.is_warning) == (is_ok, False)
    assert found.seen.startswith(seen)
    assert "token-itself" not in f"{found.seen}{found.remedy}"
