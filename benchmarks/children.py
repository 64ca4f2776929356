"""The parent's end of a child process: it says lines of JSON, we give it lines of commands."""

from __future__ import annotations

import queue
import subprocess
import threading
from typing import Any

import orjson

from benchmarks.figures import spawn


class Child:
    """A running child; what it says comes out of `next`, in order."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module, self.process = module, spawn(module, *arguments)
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True, name=f"child {module}").start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(orjson.loads(line))
        self._said.put({"ended": True})

    def next(self, timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait for what it says next.

        Raises:
            RuntimeError: it said nothing in time, or ended.
        """
        try:
            said = self._said.get(timeout=timeout_s)
        except queue.Empty:
            raise RuntimeError(f"the child {self._module} said nothing for {timeout_s} s") from None
        if "ended" in said:
            raise RuntimeError(f"the child {self._module} ended")
        return said

    def drain(self) -> list[dict[str, Any]]:
        """Take everything that it has said."""
        said = []
        while True:
            try:
                said.append(self._said.get_nowait())
            except queue.Empty:
                return said

    def tell(self, command: str) -> None:
        """Give it a command."""
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
