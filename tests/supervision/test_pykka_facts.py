"""What the two runtimes stand on in pykka 4.5.0, private hooks among it: a new version must show these again."""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pykka
import pytest
from pykka._actor import ActorInbox

from supervision.stepped import SteppedShell
from supervision.threaded import LiveShell


class Plain(pykka.ThreadingActor):
    """Raises what it is told; says what became of it."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[Any] = []
        self.hooks: list[str] = []
        self.over = threading.Event()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        self.handled.append(message)
        return message

    def on_failure(self, *_: Any) -> None:
        self.hooks.append("on_failure")
        self.over.set()

    def on_stop(self) -> None:
        self.hooks.append("on_stop")
        self.over.set()


Started = tuple[pykka.ActorRef[Any], Plain]


@pytest.fixture
def plain() -> Iterator[Started]:
    made: list[Plain] = []

    class Kept(Plain):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    ref = Kept.start()
    yield ref, made[0]
    ref.stop()


def test_version_is_the_one_the_facts_are_of() -> None:
    assert version("pykka") == "4.5.0"


def test_hooks_that_the_runtimes_override_exist_and_an_inbox_is_put_get_empty() -> None:
    for hook in ("_create_actor_inbox", "_create_future", "_start_actor_loop"):
        assert callable(getattr(pykka.Actor, hook))
        assert callable(getattr(SteppedShell, hook))
    assert isinstance(inspect.getattr_static(pykka.ThreadingActor, "_create_actor_inbox"), staticmethod)
    assert {n for n, f in vars(ActorInbox).items() if inspect.isfunction(f)} >= {"put", "get", "empty"}


def test_live_shell_gets_the_simple_queue() -> None:
    assert isinstance(LiveShell._create_actor_inbox(), queue.SimpleQueue)
    assert {"put", "get", "empty"} <= set(dir(queue.SimpleQueue))


def test_exception_in_a_tell_kills_the_actor_drops_what_waits_and_runs_on_failure_alone(
    plain: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, actor = plain
    gate = threading.Event()
    real = actor.on_receive
    monkeypatch.setattr(actor, "on_receive", lambda message: gate.wait(60) if message == "wait" else real(message))
    for message in ("wait", ValueError("x"), "lost"):
        ref.tell(message)
    gate.set()
    assert actor.over.wait(60)
    assert actor.hooks == ["on_failure"] and actor.handled == []
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("later")


def test_exception_in_an_ask_leaves_the_actor_alive_and_runs_no_hook(plain: Started) -> None:
    ref, actor = plain
    with pytest.raises(ValueError, match="x"):
        ref.ask(ValueError("x"), timeout=60)
    assert ref.ask("still", timeout=60) == "still"
    assert actor.hooks == []


def test_base_exception_in_one_actor_stops_every_actor(plain: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, _ = plain
    stopped = threading.Event()
    monkeypatch.setattr(pykka.ActorRegistry, "stop_all", lambda *_, **__: stopped.set())
    ref.tell(SystemExit())
    assert stopped.wait(60)


def test_stop_waits_its_turn_behind_what_is_queued(plain: Started) -> None:
    ref, actor = plain
    for n in range(100):
        ref.tell(n)
    ref.stop()
    assert actor.handled == list(range(100)) and actor.hooks == ["on_stop"]


def test_restart_is_a_new_actor_with_a_new_ref() -> None:
    first, second = Plain.start(), Plain.start()
    assert first.actor_urn != second.actor_urn
    first.stop()
    assert second.is_alive() and not first.is_alive()
    second.stop()
