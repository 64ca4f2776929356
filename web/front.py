"""What every request meets first: the guard, then the page's own files, from memory and compressed once.

The page's style, its first script and where the desk stands now stand in the page itself, so that one answer is enough
for the first paint, and its modules are one file; the content policy names what stands inside by its hash and allows
nothing else that is not a file of ours (what the desk tells is no script: it cannot be run).
"""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b, sha256
from mimetypes import guess_type
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.answers import client_of, refusal
from web.bundle import bundled
from web.guard import Guard, Refused

STATIC = Path(__file__).parent / "static"
PAGES = {"/": "index.html", "/login": "login.html"}
SCRIPT = "app.js"  # with all the modules that it needs
FIRST = b'<script type="application/json" id="first">{}</script>'  # where the page has what the desk tells at first
ACTIONS = "/api/action/"
SIGNALS = "/api/signals"
QUESTIONS = "/api/ask"
BODY_MAX = 65_536
NO_TOKEN = 401
PACKED_LEVEL = 4  # what is packed for each answer; level 9 would take many times as long, for a tenth fewer bytes
_STYLE = re.compile(r'<link rel="stylesheet" href="/static/([\w.-]+)">')
_SCRIPT = re.compile(r'<script src="/static/([\w.-]+)"></script>')
_INSIDE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True)
class File:
    """A file of the page, ready to be sent."""

    plain: bytes
    packed: bytes
    kind: str
    tag: str
    policy: str


class Front:
    """The application in front of the API."""

    def __init__(self, app: ASGIApp, guard: Guard, first: Callable[[str], bytes]) -> None:
        """Stand before `app`; `first` gives what the page of a desk (empty: none is named) shows at first, as JSON."""
        self._app = app
        self._guard = guard
        self._first = first
        self._files = files()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, answer with a file, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            self._check(scope["path"], client_of(request), request.headers)
            _check_size(request)
        except Refused as refused:
            is_page = refused.status == NO_TOKEN and scope["path"] == "/"  # people are shown where to sign in
            await (RedirectResponse("/login", 303) if is_page else refusal(refused))(scope, receive, send)
            return
        file = self._files.get(scope["path"]) if request.method in ("GET", "HEAD") else None
        if file is not None and FIRST in file.plain:
            told = self._first(request.query_params.get("desk", ""))
            await _answer_now(file, told, request.headers)(scope, receive, send)
            return
        if file is not None:
            await _answer(file, request.headers)(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_headers("default-src 'none'; frame-ancestors 'none'"))
            await send(message)

        await self._app(scope, receive, guarded)

    def _check(self, path: str, client: str, headers: Headers) -> None:
        """Let a request pass, before anything of its body is read."""
        self._guard.check_reach(path, client, headers)
        if path.startswith(ACTIONS):
            self._guard.check_action(client, headers)
        elif path == SIGNALS:
            self._guard.check_signal(client, headers)
        elif path == QUESTIONS:
            self._guard.check_question(path, client, headers)
        else:
            self._guard.check_read(path, client, headers)


def files() -> dict[str, File]:
    """Return the page's files by the path under which they are asked for."""
    found = {f"/static/{SCRIPT}": bundled(STATIC / SCRIPT).encode()}
    found |= {path: _whole(STATIC / name) for path, name in PAGES.items()}
    return {path: _file(path, raw) for path, raw in found.items()}


def _check_size(request: Request) -> None:
    if "transfer-encoding" in request.headers:
        raise Refused(411, "Say how long the body is (content-length).")
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > BODY_MAX:
        raise Refused(413, f"A body has at most {BODY_MAX} bytes here.")


def _whole(page: Path) -> bytes:
    """Return a page with its style and its first script inside."""
    text = _STYLE.sub(lambda found: f"<style>{(STATIC / found[1]).read_text('utf-8')}</style>", page.read_text("utf-8"))
    return _SCRIPT.sub(lambda found: f"<script>{(STATIC / found[1]).read_text('utf-8')}</script>", text).encode()


def _file(path: str, raw: bytes) -> File:
    kind = "text/html" if path in PAGES else guess_type(path)[0] or "application/octet-stream"
    allowed = {"style": "'self'", "script": "'self'"}
    if path in PAGES:
        for what, inside in _INSIDE.findall(raw.decode()):
            allowed[what] += f" 'sha256-{b64encode(sha256(inside.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; connect-src 'self'; style-src {allowed['style']}; script-src {allowed['script']};"
        " img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )
    tag = f'"{blake2b(raw, digest_size=8).hexdigest()}"'
    return File(raw, gzip.compress(raw, 9, mtime=0), f"{kind}; charset=utf-8", tag, policy)


def _answer(file: File, asked: Headers) -> Response:
    headers = _headers(file.policy) | {"cache-control": "no-cache", "etag": file.tag, "vary": "accept-encoding"}
    if asked.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in asked.get("accept-encoding", ""):
        return Response(file.packed, headers=headers | {"content-encoding": "gzip"}, media_type=file.kind)
    return Response(file.plain, headers=headers, media_type=file.kind)


def _answer_now(file: File, first: bytes, asked: Headers) -> Response:
    """Return a page with what it shows at first; no two of them are the same, so nobody keeps one."""
    told = first.replace(b"<", b"\\u003c")  # nothing in it ends the element that it stands in
    page = file.plain.replace(FIRST, FIRST.replace(b"{}", told))
    headers = _headers(file.policy) | {"cache-control": "no-store", "vary": "accept-encoding"}
    if "gzip" in asked.get("accept-encoding", ""):
        page, headers = gzip.compress(page, PACKED_LEVEL), headers | {"content-encoding": "gzip"}
    return Response(page, headers=headers, media_type=file.kind)


def _headers(policy: str) -> dict[str, str]:
    return {
        "content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
        "x-frame-options": "DENY", "cross-origin-resource-policy": "same-origin",
    }  # fmt: skip
