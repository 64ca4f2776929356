"""What a service manager does with a unit: starts its command, and again after each end that the unit says so of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

from tests.testkit.supervisor_child import Supervisor


def directives(unit: Path) -> dict[str, list[str]]:
    """Return what a unit says, by name, in its order; sections are not told apart."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";", "[")):
            found.setdefault(name, []).append(value)
    return found


class ServiceManager:
    """Keeps a supervisor running by the rules of a unit (`Restart=on-failure`), without its pause."""

    def __init__(self, unit: Path, start: Callable[[], Supervisor]) -> None:
        rules = directives(unit)
        assert rules["Restart"] == ["on-failure"], "this manager knows no other rule"
        self._never_after = {int(code) for code in rules["RestartPreventExitStatus"]}
        self._start = start
        self._news = threading.Condition()
        self.runs = [start()]
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            code = self.runs[-1].process.wait()
            if code in (0, -signal.SIGTERM, -signal.SIGINT) or code in self._never_after:
                return
            with self._news:
                self.runs.append(self._start())
                self._news.notify_all()

    def run(self, n: int) -> Supervisor:
        """Wait for the n-th start, from 1."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.runs) >= n, 180)
        return self.runs[n - 1]

    def ended(self) -> bool:
        """Wait until it does not start again."""
        self._thread.join(180)
        return not self._thread.is_alive()
