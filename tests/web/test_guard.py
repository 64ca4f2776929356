"""Who may read and who may act, beyond loopback too."""

from __future__ import annotations

import http.client
import socket
import threading
from pathlib import Path

import pytest
from fastapi import FastAPI, Request

from commands.cli import CommandError
from commands.dashboard import feed_of, line_of
from commands.folder import DataFolder
from config.settings import load_settings
from tests.testkit import web_desk as desk
from web.feed import is_loopback, listen, url_of
from web.guard import COOKIE, Guard, Rates, Refused
from web.masking import masked_text
from web.serve import _server

REMOTE = "a-token-from-the-environment"
JSON = {"content-type": "application/json"}


def guard(host: str = "0.0.0.0", remote: str | None = REMOTE, *, allows_actions: bool = True) -> Guard:
    return Guard(
        host, "run-token", remote, rate_per_s=100.0, allows_actions=allows_actions, allowed_from=("10.0.0.0/8", "::1"),
        signals_token="a-token-for-signals",
    )  # fmt: skip


def status(made: Guard, path: str = "/api/status", client: str = "10.0.0.9", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        made.check_reach(path, client, named)
        made.check_read(path, client, named)
    except Refused as refused:
        return refused.status
    return 200


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:5000", True), ("localhost:5000", True), ("[::1]:5000", True), ("127.7.7.7", True),
        ("127.evil.example", False), ("127.0.0.1.evil.example:5000", False), ("localhost.evil.example", False),
        ("evil.example#127.0.0.1", False), ("", False), ("[", False),
    ],
)  # fmt: skip
def test_a_name_that_only_looks_like_loopback_is_refused(host: str, *, is_ours: bool) -> None:
    made = guard("127.0.0.1", remote=None)
    assert status(made, client="127.0.0.1", host=host) == (200 if is_ours else 421)


def test_who_is_not_among_the_allowed_networks_is_refused_with_the_token_too() -> None:
    made, token = guard(), f"Bearer {REMOTE}"
    assert status(made, client="10.255.0.1", authorization=token) == 200
    assert status(made, client="::ffff:10.0.0.9", authorization=token) == 200
    assert status(made, client="11.0.0.9", authorization=token) == 403
    assert status(made, client="unknown", authorization=token) == 403


def test_a_caller_is_where_it_connects_from_whatever_its_headers_say() -> None:
    app = FastAPI()
    app.get("/")(_client_host)
    listener = socket.create_server(("127.0.0.1", 0))
    server = _server(app, load_settings(profile="demo"), listener)
    serving = threading.Thread(target=server.run, args=([listener],))
    serving.start()
    try:
        asked = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=60)
        asked.request("GET", "/", headers={"X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "https"})
        assert asked.getresponse().read() == b'"http 127.0.0.1"'
        asked.close()
    finally:
        server.should_exit = True
        serving.join()


def _client_host(request: Request) -> str:
    return f"{request.url.scheme} {request.client.host if request.client else None}"


def test_a_page_of_another_site_neither_reads_nor_uses_up_the_rate() -> None:
    made = guard("127.0.0.1", remote=None)
    for _ in range(1_000):
        assert status(made, client="127.0.0.1", host="127.0.0.1", sec_fetch_site="cross-site") == 403
    assert status(made, client="127.0.0.1", host="127.0.0.1", sec_fetch_site="same-origin") == 200
    assert status(made, "/", client="127.0.0.1", host="127.0.0.1", sec_fetch_site="cross-site") == 200  # a link


def test_refused_actions_do_not_take_the_turn_of_one_with_a_token() -> None:
    made = guard("127.0.0.1", remote=None)
    for _ in range(50):
        with pytest.raises(Refused):
            made.check_action("127.0.0.1", JSON | {"x-zerohour-token": "guessed"})
    made.check_action("127.0.0.1", JSON | {"x-zerohour-token": "run-token"})


def test_the_token_for_signals_gives_signals_and_acts_on_nothing() -> None:
    made, shown = guard(), JSON | {"authorization": "Bearer a-token-for-signals"}
    made.check_signal("10.0.0.9", shown)
    with pytest.raises(Refused, match="An action needs a token"):
        made.check_action("10.0.0.9", shown)
    with pytest.raises(Refused, match="A signal needs its token"):
        made.check_signal("10.0.0.9", JSON | {"authorization": f"Bearer {REMOTE}"})


def test_beyond_loopback_every_read_needs_the_token() -> None:
    made = guard()
    assert status(made) == status(made, "/") == status(made, authorization="Bearer guessed") == 401
    assert status(made, authorization=f"Bearer {REMOTE}") == 200
    assert status(made, cookie=f"{COOKIE}={REMOTE}") == 200
    assert status(made, cookie=f"{COOKIE}=guessed") == 401
    assert status(made, "/login") == status(made, "/healthz") == 200


def test_without_a_token_in_the_environment_nobody_reads_beyond_loopback() -> None:
    made = guard(remote=None)
    assert status(made, authorization="Bearer ") == status(made, authorization="Bearer None") == 401


def test_a_cookie_alone_never_acts() -> None:
    with pytest.raises(Refused) as refused:
        guard().check_action("10.0.0.9", JSON | {"cookie": f"{COOKIE}={REMOTE}"})
    assert refused.value.status == 401
    guard().check_action("10.0.0.9", JSON | {"authorization": f"Bearer {REMOTE}"})


def test_actions_that_are_switched_off_are_refused_whoever_asks() -> None:
    made = guard("127.0.0.1", allows_actions=False)
    with pytest.raises(Refused, match="allows_actions"):
        made.check_action("127.0.0.1", JSON | {"x-zerohour-token": "run-token"})


def test_one_client_that_asks_too_fast_is_held_up_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    rates = Rates(per_s=2.0, burst=3.0)
    for _ in range(3):
        rates.check("a")
    with pytest.raises(Refused) as refused:
        rates.check("a")
    assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
    rates.check("b")
    now_s += 0.5
    rates.check("a")


def test_a_host_beyond_loopback_without_a_token_is_no_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    settings = desk.settings(tmp_path, host="0.0.0.0")
    monkeypatch.delenv("ZEROHOUR_WEB_TOKEN", raising=False)
    for token in (None, "short"):
        if token is not None:
            monkeypatch.setenv("ZEROHOUR_WEB_TOKEN", token)
        with pytest.raises(CommandError, match="set ZEROHOUR_WEB_TOKEN in the environment"):
            feed_of(settings, folder, 1, None)


@pytest.mark.parametrize(
    ("web", "why"),
    [
        ({}, r"name those that may ask in web\.allowed_from"),
        ({"allowed_from": ["10.0.0.0/99"]}, "write addresses or networks"),
        ({"allowed_from": ["10.0.0.0/8"]}, "web.tls names no certificate"),
        ({"allowed_from": ["10.0.0.0/8"], "tls": {"certificate": "/none.pem", "key": None}}, "/none.pem is no file"),
    ],
)  # fmt: skip
def test_a_host_beyond_loopback_wants_a_list_of_who_may_ask_and_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: dict[str, object], why: str
) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    monkeypatch.setenv("ZEROHOUR_WEB_TOKEN", REMOTE)
    with pytest.raises(CommandError, match=why):
        feed_of(desk.settings(tmp_path, host="0.0.0.0", **web), folder, 1, None)


def test_plain_http_beyond_loopback_is_served_where_the_settings_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    monkeypatch.setenv("ZEROHOUR_WEB_TOKEN", REMOTE)
    web = {"host": "0.0.0.0", "port": 31_000, "allowed_from": ["10.0.0.0/8"], "allows_plain_http": True}
    feed = feed_of(desk.settings(tmp_path, **web), folder, 1, None)
    assert feed is not None
    assert feed.url.startswith("http://127.0.0.1:")
    feed.close()


def test_a_dashboard_that_is_off_is_none_and_a_public_port_that_is_taken_is_said(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    assert feed_of(desk.settings(tmp_path, is_on=False), folder, 1, None) is None
    with listen("127.0.0.1", 31_000) as taken:
        port = taken.getsockname()[1]
        settings = desk.settings(tmp_path, port=32_000, public={"is_on": True, "port": port})
        with pytest.raises(CommandError, match=r"web\.public\.port"):
            feed_of(settings, folder, 1, None)
        own = desk.settings(tmp_path, port=port)
        feed = feed_of(own, folder, 1, None)
        assert feed is not None
        assert line_of(own, feed.url) == f"Dashboard: {feed.url} (port {port} is taken)"
        feed.close()


def test_addresses_are_told_as_a_browser_takes_them() -> None:
    with listen("0.0.0.0", 31_000) as everywhere:
        assert url_of(everywhere).startswith("http://127.0.0.1:")
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1")] == [True, True, True]
    assert [is_loopback(host) for host in ("10.0.0.1", "0.0.0.0", "127.evil.example")] == [False, False, False]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DU1234567 is not U7654321", "DU***67 is not U***21"),
        ("order ZH-paper-U23456723456-e of 20261120", "order ZH-paper-U23456723456-e of 20261120"),
        ("DUM1234567, DUN123456 and U12345678", "DUM***67, DUN***56 and U***78"),
        ("of 5WT00001 at the second broker", "of 5WT***01 at the second broker"),
        ("SPXW 251120P05890000 and 0000e0d5.6548ab12.01.01", "SPXW 251120P05890000 and 0000e0d5.6548ab12.01.01"),
        (None, None),
        (r'{"text":"\nDU7654321_"}', r'{"text":"\nDU***21_"}'),
    ],
)
def test_account_numbers_are_masked_and_references_are_not(text: str | None, shown: str | None) -> None:
    assert masked_text(text) == shown
