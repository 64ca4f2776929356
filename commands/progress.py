"""How far a long command is, on standard error: a line that changes in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console

LINE_EVERY_S: Final = 15.0  # where there is no terminal: a log is read later, and by people


class Progress:
    """What is told while a command works; `clock_s` tells monotonic seconds."""

    def __init__(self, first: str = "starting", clock_s: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(stderr=True)
        self._shown = self._console.status(first)
        self._clock_s = clock_s
        self._told_s = clock_s()

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, where)

    def at(self, text: str) -> None:
        """Say how far it is; where there is no terminal, no more often than every `LINE_EVERY_S`."""
        if self._console.is_terminal:
            self._shown.update(text)
        elif self._clock_s() - self._told_s >= LINE_EVERY_S:
            self.line(text)

    def line(self, text: str) -> None:
        """Say what stays to be read, whoever reads it."""
        self._told_s = self._clock_s()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
