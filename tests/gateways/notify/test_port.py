"""The port with its real process against a local server: what arrives, what is tried again, what is lost and said."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.settings import load_settings
from config.tree import Notify
from domain.alarm import Severity
from gateways.notify.port import NotifyPort
from messages.operator import Announce
from tests.testkit.paths import ROOT
from tests.testkit.webhooks import Webhooks, webhooks

pytestmark = pytest.mark.slow
COMMAND = (sys.executable, "-m", "commands.send")
QUICK = {"batch_ms": 50, "retry_min_ms": 100, "retry_max_ms": 400, "send_timeout_ms": 60_000}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhooks]:
    with webhooks() as made:
        monkeypatch.setenv("PHONE_URL", f"json://127.0.0.1:{made.port}/s3cret")
        yield made


def rules(*names: str, **more: object) -> Notify:
    targets = {
        name: {"url_env": f"{name.upper()}_URL", "topics": ["entry", "exit", "kill", "alarm"], "severity_min": "info"}
        for name in names or ("phone",)
    }
    return load_settings(overrides={"notify": {"targets": targets, **QUICK, **more}}).notify


class Alarms:
    """Takes alarms, and waits for one."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Severity, str]] = []
        self._news = threading.Condition()

    def __call__(self, key: str, severity: Severity, text: str) -> None:
        with self._news:
            self.told.append((key, severity, text))
            self._news.notify_all()

    def wait_for(self, words: str) -> bool:
        with self._news:
            return self._news.wait_for(lambda: any(words in text for _, _, text in self.told), 180.0)


@contextmanager
def port(
    tmp_path: Path, given: Notify, alarms: Alarms | None = None, *, command: tuple[str, ...] = COMMAND,
    is_alive: Callable[[], bool] = lambda: True, posted: Iterable[Announce] = (),
) -> Iterator[NotifyPort]:  # fmt: skip
    """A running port; what was `posted` stands in its queue when it starts, so that it is one batch."""
    made = NotifyPort(
        given, "Zerohour paper", command, str(ROOT), str(tmp_path / "notify.log"), alarms or Alarms(), is_alive,
        mask=lambda text: text.replace("DU1234567", "DU***67"),
    )  # fmt: skip
    for one in posted:
        made.post(one)
    made.start()
    try:
        yield made
    finally:
        made.close(0.5)


def line(text: str, topic: str = "entry", severity: Severity = Severity.INFO) -> Announce:
    return Announce(topic=topic, severity=severity, text=text, at_utc=0)


def test_lines_arrive_together_masked_and_only_those_that_are_wanted(tmp_path: Path, server: Webhooks) -> None:
    posted = [line("first"), line("of account DU1234567"), line("nobody asked for this", topic="phase")]
    with port(tmp_path, rules(), posted=posted):
        assert server.wait_for(1)
    assert server.bodies == ["entry: first\nentry: of account DU***67"]


def test_who_is_told_of_a_fault_is_told_that_it_is_over(tmp_path: Path, server: Webhooks) -> None:
    given = rules()
    pager = dataclasses.replace(given.targets["phone"], severity_min=Severity.HIGH)
    posted = [
        Announce(topic="alarm", severity=Severity.INFO, text=f"over: {ends}", at_utc=0, ends=ends)
        for ends in (Severity.WARNING, Severity.HIGH, None)
    ]
    with port(tmp_path, dataclasses.replace(given, targets={"phone": pager}), posted=posted):
        assert server.wait_for(1)
    assert server.bodies == ["alarm: over: high"]


def test_a_429_is_waited_for_and_is_no_fault(tmp_path: Path, server: Webhooks) -> None:
    server.answers = [(429, {"Retry-After": "0.3"}), (200, {})]
    alarms = Alarms()
    with port(tmp_path, rules(), alarms) as sending:
        sending.post(line("held up"))
        assert server.wait_for(2)
    assert server.bodies == ["entry: held up"] * 2
    assert alarms.told == []


def test_a_failing_target_is_said_once_and_again_when_it_is_over(tmp_path: Path, server: Webhooks) -> None:
    server.answers = [(500, {}), (500, {}), (200, {})]
    alarms = Alarms()
    with port(tmp_path, rules(), alarms) as sending:
        sending.post(line("at last"))
        assert alarms.wait_for("takes messages again")
    assert [(key, severity) for key, severity, _ in alarms.told] == [
        ("phone", Severity.WARNING), ("phone", Severity.INFO),
    ]  # fmt: skip
    assert "HTTP 500" in alarms.told[0][2]


def test_lost_lines_are_reported(tmp_path: Path, server: Webhooks) -> None:
    server.answers = [(400, {}), (200, {})]
    alarms = Alarms()
    with port(tmp_path, rules(), alarms) as sending:
        sending.post(line("malformed"))
        assert alarms.wait_for("1 lines for phone were lost: HTTP 400")
        sending.post(line("next"))
        assert server.wait_for(2)
    assert server.bodies[1] == "(1 lines before this could not be delivered)\nentry: next"


def test_a_target_that_hangs_holds_up_no_other(
    tmp_path: Path, server: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhooks() as hung:
        hung.is_hanging = True
        monkeypatch.setenv("HUNG_URL", f"json://127.0.0.1:{hung.port}/")
        with port(tmp_path, rules("hung", "phone", send_timeout_ms=600_000)) as sending:
            sending.post(line("one"))
            assert hung.wait_for(1)
            assert server.wait_for(1)
            sending.post(line("two"))
            assert server.wait_for(2)


def test_a_process_that_was_killed_is_started_again_and_loses_nothing(tmp_path: Path, server: Webhooks) -> None:
    script = tmp_path / "dies_once.py"
    script.write_text(
        "import pathlib, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"mark = pathlib.Path({str(tmp_path / 'died')!r})\n"
        "if not mark.exists():\n"
        "    import os, socket\n"
        "    from gateways.notify.talk import Beginning, line_of\n"
        "    link = socket.socket(fileno=int(sys.argv[2]))\n"
        "    lines = link.makefile('rb')\n"
        "    next(lines)\n"
        "    link.sendall(line_of(Beginning({})))\n"
        "    while b'job' not in next(lines):\n"
        "        pass\n"
        "    mark.write_text('')\n"
        "    os._exit(1)\n"
        "from commands.send import main\n"
        "main()\n"
    )
    alarms = Alarms()
    with port(tmp_path, rules(), alarms, command=(sys.executable, str(script))) as sending:
        sending.post(line("twice if need be"))
        assert server.wait_for(1)
        assert sending.starts == 2
    assert server.bodies == ["entry: twice if need be"]
    assert alarms.told[0][2] == "A message to phone failed: the process that sends ended. Tried again."


def test_a_process_that_cannot_begin_is_said(tmp_path: Path, server: Webhooks) -> None:
    alarms = Alarms()
    with port(tmp_path, rules(), alarms, command=(sys.executable, "-c", "raise SystemExit(3)")):
        assert alarms.wait_for("Notifications cannot be sent: look at")


class Counted(NotifyPort):
    """Counts its rounds, and can be made to fail in one."""

    rounds = 0
    error: Exception | None = None

    def _sort_arrived(self) -> None:
        self.rounds += 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        super()._sort_arrived()


def test_the_thread_sleeps_while_the_process_begins(tmp_path: Path, server: Webhooks) -> None:
    alarms = Alarms()
    command = (sys.executable, "-c", "import threading; threading.Event().wait(1)")
    made = Counted(rules(), "t", command, str(ROOT), str(tmp_path / "log"), alarms)
    made.post(line("waits", severity=Severity.HIGH))
    made.start()
    assert alarms.wait_for("cannot be sent")
    assert made.rounds < 20
    made.close(0.1)


def test_a_bug_in_the_thread_is_said_and_it_begins_afresh(tmp_path: Path, server: Webhooks) -> None:
    alarms = Alarms()
    made = Counted(rules(), "t", COMMAND, str(ROOT), str(tmp_path / "log"), alarms)
    made.error = KeyError("phone")
    made.start()
    made.post(line("after all"))
    assert alarms.wait_for("Notifications failed (KeyError: 'phone').")
    assert server.wait_for(1)
    made.close(0.5)


@pytest.mark.parametrize(
    ("value", "why"), [(None, "PHONE_URL is not set"), ("nonsense://x", "no address that Apprise")]
)
def test_a_target_without_a_usable_address_is_said(
    tmp_path: Path, server: Webhooks, monkeypatch: pytest.MonkeyPatch, value: str | None, why: str
) -> None:
    monkeypatch.delenv("PHONE_URL")
    if value is not None:
        monkeypatch.setenv("PHONE_URL", value)
    alarms = Alarms()
    with port(tmp_path, rules(), alarms):
        assert alarms.wait_for(why)


def test_an_address_may_stand_in_a_file(tmp_path: Path, server: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "phone").write_text(f"json://127.0.0.1:{server.port}/x\n")
    monkeypatch.delenv("PHONE_URL")
    monkeypatch.setenv("PHONE_URL_FILE", str(tmp_path / "phone"))
    with port(tmp_path, rules()) as sending:
        sending.post(line("from a file"))
        assert server.wait_for(1)


def test_what_waits_at_the_end_is_sent_before_it_is_over(tmp_path: Path, server: Webhooks) -> None:
    given = rules(batch_ms=60_000)
    with port(tmp_path, given) as sending:
        sending.post(line("!", severity=Severity.HIGH))
        assert server.wait_for(1)
        sending.post(line("last words"))
        assert sending.close(60.0) == 0
    assert server.bodies == ["HIGH entry: !", "entry: last words"]


def test_lines_that_could_not_be_sent_by_the_end_are_counted(tmp_path: Path, server: Webhooks) -> None:
    server.answers = [(500, {})]
    with port(tmp_path, rules(retry_min_ms=60_000, retry_max_ms=60_000)) as sending:
        sending.post(line("a"))
        assert server.wait_for(1)
        sending.post(line("b"))
        assert sending.close(0.5) == 2


def test_an_alarm_comes_in_plain_words_with_what_to_do(tmp_path: Path, server: Webhooks) -> None:
    with port(tmp_path, rules()) as sending:
        text = "[budget:hub:classic] hub:classic crashed 4 times in 60 s"
        sending.post(line(text, topic="alarm", severity=Severity.HIGH))
        assert server.wait_for(1)
    assert server.bodies == [
        "HIGH alarm: Hub classic failed 4 times in 60 s and is not started again. Entries are off: if it comes back"
        " after a restart, close everything at the broker's own screen."
    ]


def test_an_alarm_about_a_target_goes_to_the_others(
    tmp_path: Path, server: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhooks() as other:
        monkeypatch.setenv("MAIL_URL", f"json://127.0.0.1:{other.port}/")
        with port(tmp_path, rules("phone", "mail")) as sending:
            sending.post(line("[notify:phone] A message to phone failed", topic="alarm"))
            assert other.wait_for(1)
            sending.post(line("for both"))
            assert server.wait_for(1)
    assert server.bodies == ["entry: for both"]


def test_the_heartbeat_stops_when_the_supervisor_does_no_work(
    tmp_path: Path, server: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROHOUR_HEARTBEAT_URL", f"http://127.0.0.1:{server.port}/beat")
    looks: list[bool] = [True, True, False]
    stopped = threading.Event()

    def is_alive() -> bool:
        if len(looks) == 1:
            stopped.set()
            return False
        return looks.pop(0)

    given = load_settings(overrides={"notify": {"heartbeat_every_ms": 50}}).notify
    with port(tmp_path, given, is_alive=is_alive):
        assert stopped.wait(180.0)
        assert server.wait_for(2)
    assert [path for path, _ in server.asked] == ["/beat", "/beat"]
