"""The dashboard's process as a supervisor starts it, with a control line that a test answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import psutil

from commands.control import ControlServer
from commands.folder import DataFolder
from config.settings import Settings
from tests.testkit import web_desk as desk
from tests.testkit.paths import ROOT
from tests.testkit.supervisor_child import eventually
from web.feed import Doors, Feed, listen, url_of
from web.link import Hello

TOKEN = "a-run-token-of-the-tests"


def actor(name: str, **changes: Any) -> dict[str, Any]:
    """One row of the supervisor's status."""
    row = {"name": name, "is_up": True, "depth": 0, "restarts": 0, "p99_us": 210, "conflated": 0}
    return row | changes


def serving(url: str) -> psutil.Process:
    """The process that was started for an address (it holds the listening socket, as we do)."""
    port = int(url.rpartition(":")[2])
    children = psutil.Process().children(recursive=True)
    (found,) = [
        child for child in children
        if "commands.serve" in child.cmdline() and any(c.laddr.port == port for c in child.net_connections("tcp"))
    ]  # fmt: skip
    return found


class Desk:
    """A desk that is shown: its feed, what was asked of it, and what it answers."""

    def __init__(
        self, folder: Path, settings: Settings, port: int = 0, run_n: int = 1, account: str = "DU***67",
        accounts: dict[str, str | None] | None = None,
    ) -> None:  # fmt: skip
        self.folder = DataFolder(folder)
        self.folder.make()
        self.asked: list[dict[str, Any]] = []
        self.refuse: dict[str, Any] | None = None  # what every command is answered with, where it is set
        self.kill: dict[str, Any] = {"level": 0, "kill_epoch": 1, "reason": "first start", "by": "test"}
        self.control = ControlServer(self.folder.control, self.answer)
        listener = listen(settings.web.host, port or self.port_of_tests())
        hello = Hello(
            settings=msgspec.Raw(settings.to_json()), data_dir=str(folder), token=TOKEN, run_n=run_n,
            account=account, accounts=accounts or {},
        )  # fmt: skip
        command = (sys.executable, "-m", "commands.serve")
        public = listen("127.0.0.1", self.port_of_tests() + 10_000) if settings.web.public.is_on else None
        self.public_url = "" if public is None else url_of(public)
        log = os.fspath(self.folder.run / "dashboard.log")
        self.feed = Feed(Doors(listener, public), command, hello, str(ROOT), log)
        self.url = self.feed.url
        self.port = int(self.url.rpartition(":")[2])

    @staticmethod
    def port_of_tests() -> int:
        """Where the search for a free port begins: another place for each process that tests."""
        return 20_000 + os.getpid() % 10_000

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the control line as a supervisor does."""
        if request["do"] == "status":
            rows = [
                actor("supervisor"),
                actor("risk:paper"),
                actor("hub:classic", depth=2, conflated=3),
                actor("hub:orderflow"),
            ]
            process = {
                "at_utc": int(desk.NOW), "latched": None, "ended": None, "trace_failed": None, "rss_mb": 180,
                "uptime_s": 61, "dead_letters": 0,
            }  # fmt: skip
            return {"process": process, "actors": rows, "kill": self.kill}
        if self.refuse is not None:
            return self.refuse
        self.asked.append(request)
        if request["do"] == "signal":
            pass
        elif request["do"] == "resume":
            self.kill = self.kill | {"level": 0, "kill_epoch": self.kill["kill_epoch"] + 1}
        else:
            level = 2 if request["do"] == "flatten" else request["level"]
            self.kill = self.kill | {"level": level, "reason": request["reason"], "by": request["by"]}
        return {"done": f"{request['do']} was carried out"}

    def push_all(self) -> None:
        """Push what a supervisor has pushed by half past."""
        for slot, fact in desk.facts():
            self.feed.show(slot, desk.NOW, fact)

    def is_serving(self) -> bool:
        """Return whether the process answers."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=60)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, json={} if body is None else body, headers=headers, timeout=60)

    def close(self) -> None:
        self.feed.close()
        self.control.close()


Shown = TypeVar("Shown", bound=Desk)


@contextmanager
def shown(folder: Path, settings: Settings | None = None, **how: Any) -> Iterator[Desk]:
    """Serve a desk's folder until the end of the block; everything is pushed and read when it begins."""
    with served(Desk(folder, settings or desk.settings(folder), **how)) as made:
        yield made


@contextmanager
def served(made: Shown) -> Iterator[Shown]:
    """Push, read and serve everything of a desk until the end of the block."""
    try:
        made.push_all()
        made.feed.start()
        eventually(made.is_serving)
        eventually(lambda: made.get("/api/actors").json()["rows"])
        yield made
    finally:
        made.close()
