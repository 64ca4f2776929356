"""Requests under way on one connection: answers come in rows, and an end, an error or a lost connection ends them."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

R = TypeVar("R")


class RequestError(Exception):
    """A request that the gateway answered with an error, or not at all; the text is one sentence."""


class Request(Generic[R]):
    """One request: its rows so far; `asked_n` tells which of several was asked first."""

    __slots__ = ("asked_n", "future", "rows")

    def __init__(self, future: asyncio.Future[list[R]], asked_n: int) -> None:
        self.asked_n = asked_n
        self.rows: list[R] = []
        self.future = future


class Answers(Generic[R]):
    """The requests of one kind; their rows are of one type. `None` is the id of a kind whose answers carry none.

    `kind` names them for people.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, kind: str) -> None:
        self.kind = kind
        self._loop = loop
        self._under_way: dict[int | None, Request[R]] = {}

    def expect(self, request_id: int | None = None, asked_n: int = 0) -> asyncio.Future[list[R]]:
        """Return the future of a request's rows; one of the same id that is still open fails."""
        self.fail(request_id, "it was asked for again")
        future: asyncio.Future[list[R]] = self._loop.create_future()
        self._under_way[request_id] = Request(future, asked_n)
        return future

    def asked_n(self, request_id: int | None = None) -> int | None:
        """Return which request this was, in the order of asking; `None` where none of this id is under way."""
        found = self._under_way.get(request_id)
        return None if found is None else found.asked_n

    def add(self, row: R, request_id: int | None = None) -> bool:
        """Keep a row; False where nobody has asked for it."""
        found = self._under_way.get(request_id)
        if found is None:
            return False
        found.rows.append(row)
        return True

    def end(self, request_id: int | None = None) -> None:
        """End a request with the rows that came."""
        found = self._under_way.pop(request_id, None)
        if found is not None and not found.future.done():
            found.future.set_result(found.rows)

    def fail(self, request_id: int | None, why: str) -> bool:
        """End a request with an error; False where there is no such request."""
        found = self._under_way.pop(request_id, None)
        if found is None:
            return False
        if not found.future.done():
            found.future.set_exception(RequestError(why))
            found.future.exception()  # seen: whoever waits gets it, nobody else has to
        return True

    def fail_all(self, why: str) -> bool:
        """End every request with an error; False where there was none."""
        ids = list(self._under_way)
        for request_id in ids:
            self.fail(request_id, why)
        return bool(ids)
