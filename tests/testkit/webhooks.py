"""A local HTTP server that answers webhooks as it is told: statuses, headers, a redirect, or nothing at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson


@dataclass
class Webhooks:
    """What is answered next (the last answer stays), and what was asked."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(200, {})])
    is_hanging: bool = False
    port: int = 0
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def bodies(self) -> list[str]:
        """The text of every message, whatever the service calls it."""
        found = []
        for _, body in list(self.asked):
            said = orjson.loads(body)
            embeds = said.get("embeds") or [{}]
            found.append(said.get("message") or said.get("text") or said.get("content") or embeds[0].get("description"))
        return found

    def wait_for(self, count: int, timeout_s: float = 180.0) -> bool:
        """Wait until so many requests have come."""
        with self._news:
            return self._news.wait_for(lambda: len(self.asked) >= count, timeout_s)

    def handle(self, path: str, body: bytes) -> tuple[int, dict[str, str]]:
        """Take a request and return what is answered."""
        with self._news:
            self.asked.append((path, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self._news.notify_all()
        if self.is_hanging:
            self._over.wait()
        return answer


@contextmanager
def webhooks() -> Iterator[Webhooks]:
    """Serve on a free port of this machine."""
    told = Webhooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers = told.handle(self.path, body)
            self.send_response(status)
            for name, value in {"Content-Length": "2", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"{}")

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # whoever asked has hung up

    server = Server(("127.0.0.1", 0), Handler)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told._over.set()
        server.shutdown()
        server.server_close()
        thread.join()
