"""The way to a running supervisor: orjson lines over loopback TCP, with the token of `control.json`."""

from __future__ import annotations

import hmac
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import psutil

from commands.cli import CommandError
from commands.folder import Control, write_private

Handler = Callable[[dict[str, Any]], dict[str, Any]]
_LINE_MAX = 65_536
_READS = frozenset({"status", "desk"})
_SILENT = (
    "The supervisor does not answer: it is paused, stuck, or its machine is overloaded. Look at its process; `main.py"
    " flatten --direct` closes what is held without it."
)
_UNKNOWN = (
    "The supervisor did not answer in time: whether it was done is not known. Look at `main.py status`, and give the"
    " command again; `main.py flatten --direct` closes what is held without it."
)
SWITCH_WAIT_S = 60.0  # real: for a switch of a strategy, in which two desks read their brokers back


class ControlServer:
    """Answers one JSON object per line; a request without the token is refused and nothing else is said."""

    def __init__(self, path: Path, handler: Handler) -> None:
        token = secrets.token_urlsafe(24)

        class Request(socketserver.StreamRequestHandler):
            timeout = 10

            def handle(self) -> None:
                line = self.rfile.readline(_LINE_MAX)
                try:
                    request = orjson.loads(line)
                    given = str(request.pop("token", ""))
                except (orjson.JSONDecodeError, AttributeError, TypeError):  # no JSON, or no object
                    return
                if not hmac.compare_digest(given.encode(), token.encode()):
                    self.wfile.write(b'{"error":"wrong token"}\n')
                    return
                self.wfile.write(orjson.dumps(handler(request), default=str) + b"\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Request)
        self._path = path
        me = psutil.Process()
        write_private(
            path, Control(port=self._server.server_address[1], token=token, pid=me.pid, began=me.create_time())
        )
        threading.Thread(target=self._server.serve_forever, name="control", daemon=True).start()

    def close(self) -> None:
        """Stop answering and take the address back."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def request(path: Path, what: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Ask the running supervisor.

    Raises:
        CommandError: none is running, or it does not answer.
    """
    try:
        control = msgspec.json.decode(path.read_bytes(), type=Control)
        with socket.create_connection(("127.0.0.1", control.port), timeout=timeout_s) as link:
            link.sendall(orjson.dumps(what | {"token": control.token}) + b"\n")
            with link.makefile("rb") as answer:
                line = answer.readline()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, TimeoutError):
            raise CommandError(_SILENT if what.get("do") in _READS else _UNKNOWN, 3) from None
        where = path.parent.parent
        raise CommandError(
            f"No supervisor runs on {where}; start one with `main.py run`, or name its --data.", 3
        ) from None
    if not line:
        raise CommandError("The supervisor closed the line without an answer; look at `main.py status`.", 3)
    answered: dict[str, Any] = orjson.loads(line)
    return answered
