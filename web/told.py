"""What the pages are told of the desk, a message a kind: pushed as it changes, and all of it when a page begins."""

from __future__ import annotations

from typing import Any

import orjson

from web import desk, holdings, lists
from web.stream import Stream
from web.view import View

LISTED = 50
REFUSALS_LISTED = 30


def as_json(value: Any) -> bytes:
    """Return a model, or plain values, as JSON."""
    if hasattr(value, "model_dump_json"):
        return bytes(value.model_dump_json().encode())
    return orjson.dumps(value)


def push_status(view: View, stream: Stream) -> None:
    """Tell where the desk stands."""
    stream.push("status", as_json(desk.status(view).model_copy(update={"at": None})))


def push_flow(view: View, stream: Stream) -> None:
    """Tell the prices and how the stages do."""
    stream.push("market", as_json(desk.market(view)))
    stream.push("pipeline", as_json([stage.model_dump() for stage in desk.pipeline(view)]))


def push_held(view: View, stream: Stream) -> None:
    """Tell what is held and the day's money."""
    stream.push("positions", as_json([position.model_dump() for position in holdings.positions(view)]))
    money = holdings.performance(view).model_copy(update={"curve": [list(point) for point in view.curve[-1:]]})
    stream.push("performance", as_json(money))


def push_lists(view: View, stream: Stream) -> None:
    """Tell what was traded, filled and refused."""
    stream.push("trades", as_json([trade.model_dump() for trade in lists.trades(view, LISTED)]))
    stream.push("fills", as_json([fill.model_dump() for fill in lists.fills(view, LISTED)]))
    stream.push("gates", as_json(lists.gates(view, REFUSALS_LISTED)))


def push_all(view: View, stream: Stream) -> None:
    """Tell all of it as it is known now: whoever opens a page sees bar and panels of one moment."""
    push_status(view, stream)
    push_flow(view, stream)
    if view.ledgers.is_read:
        push_held(view, stream)
        push_lists(view, stream)
