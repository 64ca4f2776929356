"""Requests under way on one connection: answers come in rows, and an end, an error or a lost connection ends them."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

R = TypeVar("R")


class RequestError(Exception):
    """A request that the gateway answered with an error, or not at all; the text is one sentence."""


class Answers(Generic[R]):
    """The requests of one kind; their rows are of one type. `None` is the id of a kind whose answers carry none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._under_way: dict[int | None, tuple[list[R], asyncio.Future[list[R]]]] = {}

    def expect(self, request_id: int | None = None) -> asyncio.Future[list[R]]:
        """Return the future of a request's rows."""
        future: asyncio.Future[list[R]] = self._loop.create_future()
        self._under_way[request_id] = [], future
        return future

    def add(self, row: R, request_id: int | None = None) -> bool:
        """Keep a row; False where nobody has asked for it."""
        found = self._under_way.get(request_id)
        if found is None:
            return False
        found[0].append(row)
        return True

    def end(self, request_id: int | None = None) -> None:
        """End a request with the rows that came."""
        rows, future = self._under_way.pop(request_id, ([], None))
        if future is not None and not future.done():
            future.set_result(rows)

    def fail(self, request_id: int | None, why: str) -> bool:
        """End a request with an error; False where there is no such request."""
        found = self._under_way.pop(request_id, None)
        if found is None:
            return False
        future = found[1]
        if not future.done():
            future.set_exception(RequestError(why))
            future.exception()  # seen: whoever waits gets it, nobody else has to
        return True

    def fail_all(self, why: str) -> None:
        """End every request with an error."""
        for request_id in list(self._under_way):
            self.fail(request_id, why)
