"""The supervisor's side of notifications: what waits for each target, in one thread that trading never waits for.

`post` is an append. The process that sends is started here, and again where it dies or hangs; what it had under way
counts as not delivered.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from config.tree import Notify, NotifyTarget
from domain.alarm import Severity
from domain.notices.alarm_words import announced_key, announced_text
from domain.notices.outbox import Failure, Notice, Outbox, Pauses, body_of, most_urgent
from gateways.notify.talk import HEARTBEAT, Beginning, Job, Ping, Result, Wanted, answer_of, line_of
from messages.operator import Announce

Tell = Callable[
    [str, Severity, str], None
]  # an alarm: what it is about (its key is `notify:` and this), severity, text
_ORDER: Final = tuple(Severity)
_KEY: Final = "notify:"
_START_S: Final = 30.0  # what a process may take to begin, on a busy machine
_MARGIN_S: Final = 5.0  # beyond a target's time, for the process itself
_PAUSE_MIN_S: Final = 0.5  # before the process is started again; doubles
_PAUSE_MAX_S: Final = 60.0
_LOST_EVERY_S: Final = 60.0  # between two words on lost lines
_BEGINNING: Final = ""  # in the place of a target's name while the process starts
_STARTS_SAID: Final = 20  # starts between two words on a process that does not begin
_HEARTBEAT_FAILS: Final = 3  # in a row before it is said
_ARRIVED_MAX: Final = 10_000  # lines that nobody has looked at: the thread hangs


class NotifyPort:
    """Takes lines for people and has them sent.

    Args:
        rules: targets and pauses.
        title: the title of every message.
        command: starts the process that sends; it gets `--link FD`.
        folder: where it runs.
        log: the file that takes what it prints.
        tell: takes alarms about what could not be delivered.
        is_alive: whether the supervisor does its work; where it does not, the heartbeat stops.
        mask: takes account numbers out of a text.
    """

    def __init__(
        self, rules: Notify, title: str, command: Sequence[str], folder: str, log: str, tell: Tell,
        is_alive: Callable[[], bool] = lambda: True, mask: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self.starts = 0
        self._rules = rules
        self._title = title
        self._command = tuple(command)
        self._folder = folder
        self._log = log
        self._tell = tell
        self._is_alive = is_alive
        self._mask = mask
        pauses = Pauses(
            rules.batch_ms / 1000, rules.lines_max, rules.queue_max, rules.retry_min_ms / 1000,
            rules.retry_max_ms / 1000, rules.give_up_ms / 1000,
        )  # fmt: skip
        self._boxes = {name: Outbox(pauses) for name in rules.targets}
        self._arrived: deque[Announce] = deque(maxlen=_ARRIVED_MAX)
        self._deadlines_s: dict[str, float] = {}  # of what is under way
        self._said_failing: set[str] = set()
        self._lost: dict[str, int] = {}
        self._lost_said_s: dict[str, float] = {}
        self._unusable: frozenset[str] = frozenset()
        self._pings_failed = 0
        self._ping_due_s = 0.0
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._is_closing = threading.Event()
        self._close_by_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def post(self, line: Announce) -> None:
        """Take a line."""
        self._arrived.append(line)
        self._wake()

    def close(self, timeout_s: float = 3.0) -> int:
        """Send what waits as far as the time allows, end, and return how many lines were left behind."""
        self._tell = lambda *_: None
        self._close_by_s = time.monotonic() + timeout_s
        self._is_closing.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s + 2.0)
        for sock in (self._wake_out, self._wake_in):
            sock.close()
        return sum(map(len, self._boxes.values()))

    # -- the thread ------------------------------------------------------------------------------

    def _wake(self) -> None:
        with suppress(OSError):  # full (somebody woke it already) or closed
            self._wake_in.send(b"x")

    def _run(self) -> None:
        pause_s = _PAUSE_MIN_S
        while not self._is_over():
            began_s = time.monotonic()
            try:
                self._serve_once()
            except OSError:  # no process, no memory: tried again like one that died
                pass
            except Exception as error:  # a bug: said, and begun afresh, for nobody looks at this thread
                self._tell("process", Severity.WARNING, f"Notifications failed ({type(error).__name__}: {error}).")
            self._break_off()
            if self._is_closing.is_set():
                return
            if time.monotonic() - began_s > _PAUSE_MAX_S:
                pause_s = _PAUSE_MIN_S
            self._is_closing.wait(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)

    def _is_over(self) -> bool:
        if not self._is_closing.is_set():
            return False
        return time.monotonic() >= self._close_by_s or not (self._arrived or any(map(len, self._usable().values())))

    def _usable(self) -> dict[str, Outbox]:
        return {name: box for name, box in self._boxes.items() if name not in self._unusable}

    def _serve_once(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, open(self._log, "ab") as log:
            with theirs:
                process = subprocess.Popen(
                    (*self._command, "--link", str(theirs.fileno())), cwd=self._folder, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, pass_fds=(theirs.fileno(),),
                )  # fmt: skip
            self.starts += 1
            try:
                self._talk(ours)
            finally:
                process.kill()  # it keeps nothing
                process.wait()

    def _talk(self, link: socket.socket) -> None:
        """Hand out jobs and take answers until the process is gone, hangs, or it is over."""
        link.settimeout(_MARGIN_S)
        wanted = {name: target.url_env for name, target in self._rules.targets.items()}
        link.sendall(line_of(Wanted(wanted, self._rules.heartbeat_env, self._rules.send_timeout_ms / 1000)))
        self._deadlines_s = {_BEGINNING: time.monotonic() + _START_S}
        self._ping_due_s = time.monotonic()
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_out, selectors.EVENT_READ)
            selector.register(link, selectors.EVENT_READ)
            while not self._is_over() and time.monotonic() < min(self._deadlines_s.values(), default=float("inf")):
                self._sort_arrived()
                if _BEGINNING not in self._deadlines_s:  # it has begun
                    self._hand_out(link)
                for ready, _ in selector.select(self._wait_s()):
                    if ready.fileobj is self._wake_out:
                        _drain(self._wake_out)
                        continue
                    got = link.recv(65_536)
                    if not got:
                        return
                    *lines, rest = (rest + got).split(b"\n")
                    for line in lines:
                        self._hear(line)

    def _wait_s(self) -> float:
        """Return how long nothing is to be done; while the process begins, nothing can be handed out."""
        due = [*self._deadlines_s.values(), self._close_by_s]
        if _BEGINNING not in self._deadlines_s:
            due += [due_s for box in self._usable().values() if (due_s := box.due_s()) is not None]
            due.append(self._ping_due_s)
        return max(0.0, min(min(due) - time.monotonic(), 60.0))

    def _sort_arrived(self) -> None:
        """Put what has arrived into the boxes of those who want it."""
        now_s = time.monotonic()
        while self._arrived:
            line = self._arrived.popleft()
            text = announced_text(line.topic, line.severity, line.text)
            notice = Notice(line.topic, line.severity, self._mask(text))
            for name, box in self._usable().items():
                if _wants(self._rules.targets[name], line) and not _is_about(name, line):
                    box.put(notice, now_s)

    def _hand_out(self, link: socket.socket) -> None:
        now_s = time.monotonic()
        early_s = self._rules.batch_ms / 1000 if self._is_closing.is_set() else 0.0  # at the end nothing is gathered
        for name, box in self._usable().items():
            if sent := box.next(now_s + early_s):
                link.sendall(line_of(Job(name, self._title, body_of(sent, box.unsaid), most_urgent(sent))))
                self._deadlines_s[name] = now_s + self._rules.send_timeout_ms / 1000 + _MARGIN_S
            self._say_lost(name, box, now_s)
        if now_s >= self._ping_due_s:
            self._ping_due_s = now_s + self._rules.heartbeat_every_ms / 1000
            if self._is_alive():
                link.sendall(line_of(Ping()))

    def _hear(self, line: bytes) -> None:
        with suppress(msgspec.DecodeError):
            match answer_of(line):
                case Beginning() as beginning:
                    self._deadlines_s.pop(_BEGINNING, None)
                    self._begin(beginning)
                case Result(target=target) as result if target == HEARTBEAT:
                    self._note_ping(result)
                case Result(target=target) as result if target in self._boxes:
                    self._deadlines_s.pop(target, None)
                    self._note(result)
                case _:
                    pass

    def _begin(self, beginning: Beginning) -> None:
        for name in beginning.unusable.keys() - self._unusable:
            why = beginning.unusable[name]
            self._tell(name, Severity.WARNING, f"Nothing can be sent to {name}: {why}.")
        self._unusable = frozenset(beginning.unusable)

    def _note(self, result: Result) -> None:
        box = self._boxes[result.target]
        if result.is_ok:
            box.delivered()
            if result.target in self._said_failing:
                self._said_failing.discard(result.target)
                self._tell(result.target, Severity.INFO, f"{result.target} takes messages again.")
            return
        self._fail(result.target, box, result)

    def _fail(self, name: str, box: Outbox, result: Result) -> None:
        failure = Failure.REFUSED if result.is_refused else Failure.AGAIN
        box.failed(time.monotonic(), failure, result.why, result.retry_after_s)
        if name not in self._said_failing and result.retry_after_s is None:  # a pause that was asked for is no fault
            self._said_failing.add(name)
            self._tell(name, Severity.WARNING, f"A message to {name} failed: {result.why}. Tried again.")

    def _break_off(self) -> None:
        """Take what was under way as not delivered: the process that sends ended, or hung and was ended."""
        now_s = time.monotonic()
        for name, deadline_s in self._deadlines_s.items():
            if name in self._boxes:
                why = "it did not answer in time" if now_s >= deadline_s else "the process that sends ended"
                self._fail(name, self._boxes[name], Result(name, False, why))
            elif name == _BEGINNING and not self._is_closing.is_set() and self.starts % _STARTS_SAID == 1:
                self._tell("process", Severity.WARNING, f"Notifications cannot be sent: look at {self._log}.")
        self._deadlines_s.clear()

    def _say_lost(self, name: str, box: Outbox, now_s: float) -> None:
        self._lost[name] = self._lost.get(name, 0) + box.take_lost()
        if self._lost[name] and now_s - self._lost_said_s.get(name, float("-inf")) >= _LOST_EVERY_S:
            text = f"{self._lost[name]} lines for {name} were lost" + (f": {box.why}." if box.why else ".")
            self._tell(f"{name}:lost", Severity.WARNING, text)
            self._lost[name], self._lost_said_s[name] = 0, now_s

    def _note_ping(self, result: Result) -> None:
        self._pings_failed = 0 if result.is_ok else self._pings_failed + 1
        if self._pings_failed == _HEARTBEAT_FAILS:
            self._tell("heartbeat", Severity.WARNING, f"The heartbeat's address fails: {result.why}.")


def _wants(target: NotifyTarget, line: Announce) -> bool:
    """Return whether a target is told a line; whoever was told of a fault is told of its end."""
    urgency = max(_ORDER.index(severity) for severity in (line.severity, line.ends or line.severity))
    return line.topic in target.topics and urgency >= _ORDER.index(target.severity_min)


def _is_about(name: str, line: Announce) -> bool:
    """Return whether a line is our own alarm about a target: it is for the others."""
    return f"{announced_key(line.topic, line.text)}:".startswith(f"{_KEY}{name}:")


def _drain(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(4096):
            pass
