"""The supervisor's side of the dashboard: listens, starts the process that serves, feeds it and starts it again.

`Feed.show` is a put into a dict: what was not sent yet is replaced by what is newer, so a process that is slow, stuck
or dead costs the supervisor nothing. All else happens in one thread of its own. The listening socket belongs to the
supervisor and outlives the process that serves, so its address stays, and a page that comes in between waits.
"""

from __future__ import annotations

import errno
import selectors
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple

import msgspec

from config.secrets import secret
from domain.units import Utc
from web.link import Bye, Hello, beat_of, fact_line, line_of

SILENT_S = 20.0  # without a beat for this long the process is stuck
FIRST_BEAT_S = 120.0  # and for this long while it starts: on a machine that others fill it takes long to begin
PAUSE_MIN_S = 0.5  # before the process is started again; doubles
PAUSE_MAX_S = 30.0
AGAIN_S = 10.0  # between two tries to listen
BYE_S = 1.5  # for the last word to reach the pages
CALM_S = 60.0  # a process that lived this long has earned the shortest pause again
SLOTS_MAX = 2_000
_CHUNK = 262_144
_Slot = tuple[str, str]  # with the desk


def listen(host: str, port: int, tries: int = 100) -> socket.socket:
    """Return a listening socket on the port, or on the next free one above it among so many.

    Raises:
        OSError: the address is none of this machine, or no port is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for wanted in range(port, min(port + tries, 65_536)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, wanted))
            sock.listen(256)
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            sock.setblocking(False)
            return sock
    raise OSError(errno.EADDRINUSE, "no port is free")


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """Return the address of a listening socket for people."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{shown}:{port}"


class Doors(NamedTuple):
    """The sockets that the process serves: its own, and that of the public listener where there is one."""

    listener: socket.socket
    public: socket.socket | None = None


class Feed:
    """A `Screen` (see `domain.ports`) that is shown by a process of its own.

    Args:
        doors: the sockets, closed at the end; or what opens them: it is tried again until it does.
        command: how the process is started; `--feed FD --listen FD` are added, and `--public FD`.
        hello: what the process is told first.
        folder: where the process runs.
        log: the file that takes what the process prints.
        scheme: `https` where the process speaks TLS.

    `url` is empty until the sockets are open; `on_open` is told once they are, where they were not at first.
    """

    def __init__(
        self, doors: Doors | Callable[[], Doors], command: Sequence[str], hello: Hello, folder: str, log: str,
        scheme: str = "http",
    ) -> None:  # fmt: skip
        self.url = ""
        self.starts = 0
        self.clients = 0
        self.on_open: Callable[[str], None] = lambda _: None
        self._listeners: dict[str, socket.socket] = {}
        self._scheme = scheme
        self._open_doors = None if isinstance(doors, Doors) else doors
        if isinstance(doors, Doors):
            self._take_doors(doors)
        self._command = tuple(command)
        self._hello = hello
        self._folder = folder
        self._log = log
        self._lock = threading.Lock()
        self._kept: dict[_Slot, tuple[Utc, msgspec.Struct]] = {}
        self._new: dict[_Slot, None] = {}
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._is_closing = threading.Event()
        self._bye = Bye()
        self._thread = threading.Thread(target=self._run, name="web-feed", daemon=True)

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def show(self, slot: str, at_utc: Utc, fact: msgspec.Struct, desk: str = "") -> None:
        """Take a fact; the newest of a slot and desk wins. Where there are too many slots, the oldest goes."""
        its = (slot, desk)
        with self._lock:
            is_idle = not self._new
            self._kept[its] = (at_utc, fact)
            self._new[its] = None
            if len(self._kept) > SLOTS_MAX:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._new.pop(oldest, None)
        if is_idle:
            self._wake()

    def close(self, why: str | None = None, timeout_s: float = 5.0) -> None:
        """Have the pages told that it is over (`why`: what went wrong), and give process and address back."""
        self._bye = Bye(why)
        self._is_closing.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        for sock in (*self._listeners.values(), self._wake_out, self._wake_in):
            sock.close()

    def _take_doors(self, doors: Doors) -> None:
        self._listeners = {"--listen": doors.listener} | ({} if doors.public is None else {"--public": doors.public})
        self.url = url_of(doors.listener, self._scheme)

    # -- the thread ------------------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            self._wake_in.send(b"x")
        except OSError:  # full (somebody woke it already) or closed
            return

    def _run(self) -> None:
        while self._open_doors is not None and not self._is_closing.is_set():
            try:
                self._take_doors(self._open_doors())
            except Exception:  # why, was said when the first try failed
                self._is_closing.wait(AGAIN_S)
            else:
                self._open_doors = None
                self.on_open(self.url)
        pause_s = PAUSE_MIN_S
        while not self._is_closing.is_set():
            began = time.monotonic()
            try:
                self._serve_once()
            except Exception:  # no process, no memory, no file, or a bug: tried again like a process that died
                self._note_failure()
            self.clients = 0
            if time.monotonic() - began > CALM_S:
                pause_s = PAUSE_MIN_S
            self._is_closing.wait(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def _note_failure(self) -> None:
        with suppress(OSError), open(self._log, "a", encoding="utf-8") as log:
            traceback.print_exc(file=log)

    def _serve_once(self) -> None:
        """Start a process and feed it until it is gone, or stuck, or nobody wants it any more."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, open(self._log, "ab") as log:
                handed = {"--feed": theirs} | self._listeners
                process = subprocess.Popen(
                    [*self._command, *(word for name, sock in handed.items() for word in (name, str(sock.fileno())))],
                    cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=[sock.fileno() for sock in handed.values()],
                )  # fmt: skip
            self.starts += 1
            try:
                ours.setblocking(False)
                line = _Line(ours, self._wake_out, self._hello, self._take_all, self._take_new, self._seen)
                line.run(lambda: self._is_closing.is_set() or process.poll() is not None)
                if self._is_closing.is_set() and line.say_bye(self._bye):
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(BYE_S)
            finally:
                _end(process)

    def _seen(self, clients: int) -> None:
        self.clients = clients

    def _take_all(self) -> list[bytes]:
        with self._lock:
            self._new.clear()
            kept = list(self._kept.items())
        return [fact_line(slot, at_utc, fact, desk) for (slot, desk), (at_utc, fact) in kept]

    def _take_new(self) -> list[bytes]:
        with self._lock:
            found = [(its, self._kept[its]) for its in self._new]
            self._new.clear()
        return [fact_line(slot, at_utc, fact, desk) for (slot, desk), (at_utc, fact) in found]


class _Line:
    """One process's end of the line: what is not written yet is at most one round of the newest facts."""

    def __init__(
        self, link: socket.socket, wake: socket.socket, hello: Hello, take_all: Callable[[], list[bytes]],
        take_new: Callable[[], list[bytes]], seen: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._link = link
        self._wake = wake
        self._take_new = take_new
        self._seen = seen
        self._out = memoryview(b"".join([line_of(hello), *take_all()]))
        self._in = b""
        self._deadline_s = time.monotonic() + FIRST_BEAT_S

    def run(self, is_over: Callable[[], bool]) -> None:
        """Feed until it is over, the process hangs up, or is silent for too long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            key = selector.register(self._link, selectors.EVENT_READ)
            while not is_over() and time.monotonic() < self._deadline_s:
                if not self._out:  # newer facts are taken only when the older ones have left
                    self._out = memoryview(b"".join(self._take_new()))
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                if key.events != wanted:
                    key = selector.modify(self._link, wanted)
                for ready, events in selector.select(timeout=1.0):
                    if ready.fileobj is self._wake:
                        _drain(self._wake)
                        continue
                    if events & selectors.EVENT_READ and not self._hear():
                        return
                    if events & selectors.EVENT_WRITE and not self._write():
                        return

    def say_bye(self, bye: Bye) -> bool:
        """Say the last word, after what was begun and what is new; False where nobody takes it."""
        self._link.settimeout(BYE_S)
        try:
            self._link.sendall(b"".join([self._out, *self._take_new(), line_of(bye)]))
        except OSError:
            return False
        return True

    def _hear(self) -> bool:
        try:
            got = self._link.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        *lines, self._in = (self._in + got).split(b"\n")
        for line in lines:
            try:
                self._seen(beat_of(line).clients)
            except msgspec.DecodeError:
                return False
            self._deadline_s = time.monotonic() + SILENT_S
        return bool(got)

    def _write(self) -> bool:
        """Write as much as goes; False where nobody is there any more."""
        try:
            self._out = self._out[self._link.send(self._out[:_CHUNK]) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def _drain(sock: socket.socket) -> None:
    try:
        while sock.recv(4096):
            pass
    except OSError:
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process: asked first, forced soon; it holds nothing that could be lost."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine alone; of names only `localhost` is."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_beyond_loopback(host: str, variable: str) -> str | None:
    """Return the token of the environment that other machines must show; `None` where it is not set or not needed."""
    return None if is_loopback(host) else secret(variable)
