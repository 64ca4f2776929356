"""What both listeners answer with: masked JSON, refusals in a sentence, the bounds of a list."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response

from web.guard import Refused
from web.masking import masked

Limit = Annotated[int, Query(ge=1, le=1_000)]


class Masked(JSONResponse):
    """JSON without account numbers."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return masked(orjson.dumps(content))


def client_of(request: Request) -> str:
    """Return who asks, by address."""
    return "unknown" if request.client is None else request.client.host


def refusal(refused: Refused) -> Response:
    """Return a refusal as an answer."""
    headers = {} if refused.retry_after_s is None else {"retry-after": str(refused.retry_after_s)}
    return Masked({"error": refused.why}, refused.status, headers=headers)
