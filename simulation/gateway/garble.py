"""Messages that a real gateway sends and no client expects: fields with another text in them, or cut off.

A rewrite changes every frame of one message while its fault lasts, live ones and answers alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from domain.instants import to_datetime
from simulation.gateway.faults import Fault, FaultKind
from simulation.gateway.fields import FIELDS
from simulation.gateway.wire.frames import Framer, encode, fields_of, instant_of
from simulation.gateway.wire.orders import layout_place

_LAYOUTS = {5: ("open", 26), 101: ("completed", 24)}
_EXECUTION, _TIME_AT = FIELDS["execution.time"]


class Garbler:
    """Rewrites frames as the faults that last have it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def begin(self, fault: Fault) -> None:
        """Rewrite from now on."""
        self._faults.append(fault)

    def end(self, fault: Fault) -> None:
        """Rewrite no longer."""
        self._faults.remove(fault)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def rewrite(self, frames: Sequence[bytes], version: int) -> list[bytes]:
        """Return the frames as they are sent while the faults last."""
        out = []
        for payload in Framer().feed(b"".join(frames)):
            fields = fields_of(payload)
            for fault in self._faults:
                fields = _rewritten(fields, fault, version)
            out.append(encode(*fields))
        return out


def _rewritten(fields: list[str], fault: Fault, version: int) -> list[str]:
    if fault.kind is FaultKind.EXECUTION_TIME:
        if fields[0] == str(_EXECUTION):
            fields[int(_TIME_AT)] = _time_text(fields[int(_TIME_AT)], fault)
        return fields
    message, place = FIELDS[str(fault.args["field"])]
    where = fault.args.get("where")
    if fields[0] != str(message) or (where is not None and str(where) not in fields):
        return fields
    if isinstance(place, str):
        layout, head = _LAYOUTS[message]
        at = head + layout_place(layout, version, place)
    else:
        at = place + _shift(message, version, place)
    if at >= len(fields):
        return fields
    if fault.flag("cut"):
        return fields[:at]
    fields[at] = str(fault.args.get("value", ""))
    return fields


def _shift(message: int, version: int, place: int) -> int:
    """Return how many fields older server versions have before a place in contract details: two, one in front."""
    return 0 if message != 10 or version >= 164 else 1 + (place > 13)


def _time_text(text: str, fault: Fault) -> str:
    """Return an execution's time in another form (strftime), of another zone, or shifted."""
    at_utc = instant_of(text)
    assert at_utc is not None
    zone = ZoneInfo(str(fault.args.get("zone", "America/New_York")))
    moment = to_datetime(at_utc).astimezone(zone) + timedelta(seconds=fault.number("shift_s", 0))
    return f"{moment:{fault.args.get('form', '')}}" if fault.args.get("form") else ""
