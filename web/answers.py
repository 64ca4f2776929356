"""What both listeners answer with: masked JSON, refusals in a sentence, the bounds of a list."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response

from storage.manifest import WarehouseRefusedError
from storage.sqlite_file import LedgerRefusedError
from web.guard import Refused
from web.masking import masked

Limit = Annotated[int, Query(ge=1, le=1_000)]
Responses = dict[int | str, dict[str, Any]]
UNKNOWN: Responses = {404: {"description": "There is none of this name, or not yet."}}
UNREADABLE: Responses = {503: {"description": "It cannot be read now; `detail` says why."}}
# What the guard says before a route is reached.
GUARDED: Responses = {
    status: {"description": what, "content": {"application/json": {}}}
    for status, what in {
        401: "A token is needed.",
        403: "From there, or by that page, or here at all it may not be asked.",
        411: "The length of the body is not said.",
        413: "The body is too long.",
        415: "The body is not JSON.",
        421: "The name that was asked for is not that of this server.",
        429: "Too many requests; `retry-after` says when to come again.",
    }.items()
}


class Masked(JSONResponse):
    """JSON without account numbers."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return masked(orjson.dumps(content))


def add_troubles(app: FastAPI) -> None:
    """Have a file that cannot be read answered in a sentence, as 503."""

    async def unreadable(_request: Request, error: Exception) -> Response:
        return Masked({"detail": str(error)}, 503)

    for kind in (LedgerRefusedError, WarehouseRefusedError):
        app.add_exception_handler(kind, unreadable)


def client_of(request: Request) -> str:
    """Return who asks, by address."""
    return "unknown" if request.client is None else request.client.host


def refusal(refused: Refused) -> Response:
    """Return a refusal as an answer."""
    headers = {} if refused.retry_after_s is None else {"retry-after": str(refused.retry_after_s)}
    return Masked({"error": refused.why}, refused.status, headers=headers)
