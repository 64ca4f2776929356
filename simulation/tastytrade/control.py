"""The control port of the simulated REST broker: its switches set, seen and ended over HTTP while it runs.

`GET /faults` shows them, `POST /faults` sets those that a record names, `DELETE /faults` sets all as they were,
`POST /drop` ends the streams, `POST /expire` ends the tokens.
"""

from __future__ import annotations

import asyncio

import msgspec

from simulation.control_port import ControlPort
from simulation.hubs import http
from simulation.tastytrade.faults import TastytradeFaults
from simulation.tastytrade.server import TastytradeServer


class TastytradeControl(ControlPort):
    """The control port of one server."""

    HOW = "GET, POST or DELETE /faults, POST /drop or POST /expire"

    def __init__(self, server: TastytradeServer) -> None:
        super().__init__()
        self._broker = server
        self._dropping: set[asyncio.Task[None]] = set()

    def carry_out(self, request: http.Request) -> http.Answer | None:
        """Set or show switches, or end streams or tokens."""
        faults = self._broker.faults
        match request.method, request.path:
            case "GET", "/faults":
                pass
            case "DELETE", "/faults":
                _set(faults, TastytradeFaults())
            case "POST", "/faults":
                given = msgspec.json.decode(request.body, type=dict[str, object])
                _set(faults, msgspec.convert(_fields(faults) | given, TastytradeFaults))
            case "POST", "/drop":
                task = asyncio.get_running_loop().create_task(self._broker.drop_streams())
                self._dropping.add(task)
                task.add_done_callback(self._dropping.discard)
            case "POST", "/expire":
                self._broker.expire_tokens()
            case _:
                return None
        return http.Answer(200, msgspec.json.encode(faults))


def _fields(faults: TastytradeFaults) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(faults)
    return found


def _set(faults: TastytradeFaults, wanted: TastytradeFaults) -> None:
    for name in wanted.__struct_fields__:
        setattr(faults, name, getattr(wanted, name))
