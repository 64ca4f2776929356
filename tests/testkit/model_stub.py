"""A local endpoint that answers as a language model would, reply by reply, and keeps what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

Call = tuple[str, dict[str, Any]]


@dataclass
class ModelStub:
    """`replies` are said one after the other (the last stays): a text, calls of tools, a status, or raw bytes."""

    shape: str
    replies: list[str | list[Call] | int | bytes]
    url: str = ""
    is_hanging: bool = False
    heard: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def handle(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        """Take a request and return status and body of the answer."""
        self.heard.append(body)
        self.headers.append(headers)
        if self.is_hanging:
            self.over.wait()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        match reply:
            case int():
                return reply, b'{"error": "no"}'
            case bytes():
                return 200, reply
            case _ if self.shape == "openai":
                return 200, orjson.dumps({"choices": [{"message": _openai(reply)}]})
            case _:
                return 200, orjson.dumps({"content": _anthropic(reply)})


def _openai(reply: str | list[Call]) -> dict[str, Any]:
    if isinstance(reply, str):
        return {"role": "assistant", "content": reply}
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": orjson.dumps(given).decode()}}
        for n, (name, given) in enumerate(reply)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _anthropic(reply: str | list[Call]) -> list[dict[str, Any]]:
    if isinstance(reply, str):
        return [{"type": "text", "text": reply}]
    return [{"type": "tool_use", "id": f"c{n}", "name": name, "input": given} for n, (name, given) in enumerate(reply)]


@contextmanager
def model_stub(shape: str, *replies: str | list[Call] | int | bytes) -> Iterator[ModelStub]:
    """Serve on a free port of this machine."""
    stub = ModelStub(shape, list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = stub.handle(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            if status // 100 == 3:
                self.send_header("Location", stub.url)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # whoever asked has hung up

    server = Server(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
