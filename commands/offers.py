"""Signals from outside on their way from the control line to the lane that takes them."""

from __future__ import annotations

import secrets
from typing import Any, Literal

import msgspec

from domain.signals.offer import SOURCE as OUTSIDE
from domain.signals.offer import Offer
from domain.units import Ticks, Utc
from messages import signals
from supervision.threaded import LiveRuntime


class SignalRequest(msgspec.Struct, frozen=True):
    """A signal from outside as it comes over the control line; prices in ticks."""

    signal_id: str
    ticker: str
    kind: str
    version: int
    direction: Literal[-1, 1]
    entry_ticks: int
    target_ticks: int
    stop_ticks: int
    horizon_ms: int


def offer(runtime: LiveRuntime, request: dict[str, Any], expires_utc: Utc) -> dict[str, Any]:
    """Carry a signal from outside to its lane, and return what becomes of it."""
    try:
        asked = msgspec.convert({name: value for name, value in request.items() if name != "do"}, SignalRequest)
    except msgspec.ValidationError as error:
        return {"error": f"the signal cannot be read: {error}"}
    lane, edge = f"lane:{OUTSIDE}:{asked.ticker}", f"signal:{secrets.token_hex(6)}"
    if lane not in runtime.cells:
        detail = f"Nobody takes signals of {asked.ticker}; name it in lanes.{OUTSIDE}."
        return {"denied": "no_lane", "detail": detail}
    offered = Offer(
        kind=asked.kind, version=asked.version, direction=asked.direction, entry_ticks=Ticks(asked.entry_ticks),
        target_ticks=Ticks(asked.target_ticks), stop_ticks=Ticks(asked.stop_ticks), horizon_ms=asked.horizon_ms,
    )  # fmt: skip
    command = signals.OfferSignal(
        reply_to=f"edge:{edge}", offer_id=asked.signal_id, offer=offered, expires_utc=expires_utc
    )
    match answered := runtime.ask(edge, lane, command, timeout_s=4.0):
        case signals.OfferTaken():
            what = "a shadow, which is never traded" if answered.is_shadow else "on its way to the gates"
            return {"done": f"Recorded as {answered.alert_id}: {what}.", "detail": answered.alert_id}
        case signals.OfferDenied():
            return {"denied": answered.code, "detail": answered.detail}
        case None:
            return {"error": "no answer in time: send it again with the same signal_id"}
        case _:
            return {"error": f"the lane failed: {answered}"}
