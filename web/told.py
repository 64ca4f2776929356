"""What the pages are told of their desk, a message a kind: pushed as it changes, and all of it when a page begins."""

from __future__ import annotations

from typing import Any

import orjson

from web import desk, holdings, lists
from web.desks import Desks, desk_lines
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
    stream.push("status", as_json(desk.status(view).model_copy(update={"at": None})), view.settings.desk)


def push_flow(view: View, stream: Stream) -> None:
    """Tell the prices and how the stages do."""
    own = view.settings.desk
    stream.push("market", as_json(desk.market(view)), own)
    stream.push("pipeline", as_json([stage.model_dump() for stage in desk.pipeline(view)]), own)


def push_held(view: View, stream: Stream) -> None:
    """Tell what is held and the day's money."""
    own = view.settings.desk
    stream.push("positions", as_json([position.model_dump() for position in holdings.positions(view)]), own)
    money = holdings.performance(view).model_copy(update={"curve": [list(point) for point in view.curve[-1:]]})
    stream.push("performance", as_json(money), own)


def push_lists(view: View, stream: Stream) -> None:
    """Tell what was traded, filled and refused."""
    own = view.settings.desk
    stream.push("trades", as_json([trade.model_dump() for trade in lists.trades(view, LISTED)]), own)
    stream.push("fills", as_json([fill.model_dump() for fill in lists.fills(view, LISTED)]), own)
    stream.push("gates", as_json(lists.gates(view, REFUSALS_LISTED)), own)


def push_desks(desks: Desks, stream: Stream) -> None:
    """Tell every desk in a line, where there are several."""
    if len(desks.names) > 1:
        stream.push("desks", as_json([line.model_dump() for line in desk_lines(desks)]))


def push_all(view: View, stream: Stream) -> None:
    """Tell all of it as it is known now: whoever opens a page sees bar and panels of one moment."""
    push_status(view, stream)
    push_flow(view, stream)
    if view.ledgers.is_read:
        push_held(view, stream)
        push_lists(view, stream)
