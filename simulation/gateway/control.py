"""The control port of a gateway: faults set, seen and ended over HTTP while it runs, by any program or by hand.

`GET /faults` lists them, `POST /faults` sets one or a list (a record as in a script), `DELETE /faults` ends them all.
`POST /callbacks` sends recorded callbacks to the clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from simulation.control_port import ControlPort
from simulation.gateway.faults import Fault
from simulation.gateway.replay import Callback
from simulation.hubs import http


class Faulty(Protocol):
    """What the control port needs of a gateway."""

    def inject(self, fault: Fault) -> None:
        """Set a fault."""

    def faults(self) -> dict[str, list[Fault]]:
        """Return the faults that last and those that wait."""

    def replay(self, callbacks: Sequence[Callback]) -> int:
        """Send recorded callbacks; return to how many clients."""

    def end_faults(self) -> None:
        """End every fault that lasts and forget those that wait."""


class FaultControl(ControlPort):
    """The control port of one gateway."""

    HOW = "GET, POST or DELETE /faults, or POST /callbacks"

    def __init__(self, gateway: Faulty) -> None:
        super().__init__()
        self._gateway = gateway

    def carry_out(self, request: http.Request) -> http.Answer | None:
        """Set, end or show faults, or send callbacks."""
        match request.method, request.path:
            case "GET", "/faults":
                pass
            case "DELETE", "/faults":
                self._gateway.end_faults()
            case "POST", "/faults":
                given = msgspec.json.decode(request.body, type=Fault | list[Fault])
                for fault in given if isinstance(given, list) else [given]:
                    self._gateway.inject(fault)
            case "POST", "/callbacks":
                callbacks = msgspec.json.decode(request.body, type=list[Callback])
                return http.Answer(200, {"clients": self._gateway.replay(callbacks)})
            case _:
                return None
        return http.Answer(200, msgspec.json.encode(self._gateway.faults()))
