"""One target against a local server: what arrives, and what each kind of answer is taken for."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from apprise.plugins.discord import NotifyDiscord
from apprise.plugins.telegram import NotifyTelegram

from domain.alarm import Severity
from gateways.notify.sender import Sender, ping, retry_after
from tests.testkit.webhooks import Webhooks, webhooks

TOKEN = "s3cr3t" * 10
PATIENT_S = 60.0


@pytest.fixture
def server() -> Iterator[Webhooks]:
    with webhooks() as made:
        yield made


@pytest.fixture(params=["discord", "telegram", "json"])
def target(request: pytest.FixtureRequest, server: Webhooks, monkeypatch: pytest.MonkeyPatch) -> Sender:
    """A target of each kind, its service replaced by the local server."""
    here = f"http://127.0.0.1:{server.port}"
    monkeypatch.setattr(NotifyDiscord, "notify_url", f"{here}/discord")
    monkeypatch.setattr(NotifyTelegram, "notify_url", f"{here}/bot")
    url = {
        "discord": f"https://discord.com/api/webhooks/417429632418316298/{TOKEN}",
        "telegram": "tgram://123456789:abcdefghijklmnopqrstuvwxyz123456789/12345",
        "json": f"json://127.0.0.1:{server.port}/in/{TOKEN}",
    }[request.param]
    return Sender("phone", url, PATIENT_S)


def send(target: Sender, body: str = "exit: Closed 2 SPXW 5890P: +196.00 net") -> tuple[bool, str, float | None, bool]:
    result = target.send("Zerohour paper", body, Severity.HIGH)
    return result.is_ok, result.why, result.retry_after_s, result.is_refused


def test_a_message_arrives_with_its_text(target: Sender, server: Webhooks) -> None:
    assert send(target, "one\ntwo <b> & *three*") == (True, "", None, False)
    assert len(server.asked) == 1
    text = server.bodies[0]
    assert "one" in text
    assert "two" in text


def test_a_429_is_asked_once_and_its_pause_is_told(target: Sender, server: Webhooks) -> None:
    server.answers = [(429, {"Retry-After": "7.5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9999999999"})]
    assert send(target) == (False, "HTTP 429", 7.5, False)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 401, 404])
def test_a_failure_may_be_tried_again(target: Sender, server: Webhooks, status: int) -> None:
    server.answers = [(status, {})]
    is_ok, why, pause, is_refused = send(target)
    assert (is_ok, str(status) in why, pause, is_refused) == (False, True, None, False)


def test_a_message_that_is_refused_is_not_tried_again(target: Sender, server: Webhooks) -> None:
    server.answers = [(400, {})]
    assert send(target)[3] is True


def test_a_secret_does_not_follow_a_redirect(target: Sender, server: Webhooks) -> None:
    with webhooks() as other:
        server.answers = [(302, {"Location": f"http://127.0.0.1:{other.port}/{TOKEN}"})]
        assert send(target)[0] is False
        assert other.asked == []


def test_a_target_that_hangs_fails_in_time(server: Webhooks) -> None:
    server.is_hanging = True
    sender = Sender("phone", f"json://127.0.0.1:{server.port}/", timeout_s=0.2)
    assert send(sender)[:2] == (False, "it did not answer in time")


def test_a_target_that_is_not_there_fails(server: Webhooks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    assert send(Sender("phone", f"json://127.0.0.1:{free}/", PATIENT_S))[:2] == (False, "it cannot be reached")


def test_an_address_that_nobody_knows_is_refused_without_being_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="it is no address") as refused:
        Sender("phone", f"discord://{TOKEN}", PATIENT_S)
    assert TOKEN not in str(refused.value)
    assert TOKEN not in "".join(capfd.readouterr())


def test_the_heartbeats_address_is_asked(server: Webhooks) -> None:
    url = f"http://127.0.0.1:{server.port}/beat"
    assert ping(url, PATIENT_S).is_ok
    assert server.asked[0][0] == "/beat"
    server.answers = [(503, {})]
    assert ping(url, PATIENT_S).why == "HTTP 503"
    assert ping("no address", PATIENT_S).is_ok is False


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("0.25", 0.25), ("-3", 0.0), (formatdate(1_060, usegmt=True), 60.0), ("soon", None), (None, None),
     ("nan", None), (formatdate(10, usegmt=True), 0.0), ("1e999", math.inf)],
)  # fmt: skip
def test_a_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, 1_000.0) == seconds
