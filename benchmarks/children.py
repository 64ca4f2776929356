"""The parent's end of a child process: it writes lines of JSON and reads lines of commands."""

from __future__ import annotations

import queue
import subprocess
import threading
from typing import Any

import orjson

from benchmarks.figures import spawn


class Child:
    """A running child; what it writes comes out of `next`, in order."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module, self.process = module, spawn(module, *arguments)
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True, name=f"child {module}").start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(orjson.loads(line))
        self._lines.put({"ended": True})

    def next(self, timeout_s: float = 120.0) -> dict[str, Any]:
        """Return what it writes next.

        Raises:
            RuntimeError: it wrote nothing in time, or ended.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise RuntimeError(f"the child {self._module} wrote nothing for {timeout_s} s") from None
        if "ended" in line:
            raise RuntimeError(f"the child {self._module} ended")
        return line

    def drain(self) -> list[dict[str, Any]]:
        """Return everything that it has written, and forget it."""
        lines = []
        while True:
            try:
                lines.append(self._lines.get_nowait())
            except queue.Empty:
                return lines

    def tell(self, command: str) -> None:
        """Return it a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """End it by closing its input; after five seconds by force."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
