"""`main.py run`: the supervisor, until the day is over (demo), or until it is told to stop (real)."""

from __future__ import annotations

import dataclasses
import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time as real_time
from argparse import Namespace
from pathlib import Path

import msgspec

from commands import live, report
from commands.cli import CommandError
from commands.folder import DataFolder, SimProcess, settings_of
from commands.sim import close_of, provenance_of, recorded_of
from config.settings import Broker, Gateway, Settings, SettingsError, from_json
from domain.instants import at_exchange, exchange_clock
from domain.risk.kill import KillLevel
from domain.session import calendar
from domain.units import Utc
from supervision.clock import MarketClock
from supervision.trace import seal

_START_TIMEOUT_S = 30.0


def act(arguments: Namespace) -> int:
    """Start, watch, stop, report."""
    recorded = recorded_of(arguments.market)
    settings = settings_of(
        arguments, demo__seed=arguments.seed, demo__rate=arguments.rate,
        demo__market_folder=None if arguments.market is None else str(arguments.market.resolve()),
        demo__session=None if recorded is None else recorded.session.isoformat(),
    )  # fmt: skip
    folder = DataFolder(settings.data_dir)
    folder.make()
    folder.lock()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to leave positions alone
    try:
        if settings.profile == "demo":
            return _run_demo(settings, folder, arguments, stop)
        return _run_real(settings, folder, stop)
    finally:
        folder.unlock()


def say(text: str) -> None:
    """Print a line; a console that is gone or full must never end a run (the trace has it all)."""
    try:
        print(text, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())


def _run_real(settings: Settings, folder: DataFolder, stop: threading.Event) -> int:
    clock = MarketClock.real()
    say(f"Starting desk {settings.desk} on {folder.root.resolve()}. Ctrl-C stops cleanly.")
    running = live.start(settings, folder, clock, settings.broker.gateways, settings.feed.negotiate_url, stop)
    _watch(running, clock, None, folder)
    return 1 if running.runtime.ended else 0


def _run_demo(settings: Settings, folder: DataFolder, arguments: Namespace, stop: threading.Event) -> int:
    asked = settings
    settings, clock, resumed = _world(settings, folder, arguments, stop)
    is_other = asked.to_json() != settings.to_json()
    gateway, hubs = folder.sim("gateway"), folder.sim("hubs")
    if gateway is None or hubs is None:
        raise CommandError("The simulated market or broker died at once; look at the logs in the run folder.", 3)
    settings = settings.model_copy(update={"broker": _with_port(settings, gateway.port)})
    say(
        f"{'Resuming' if resumed else 'Starting'} the demo day {settings.demo.session} at "
        f"{exchange_clock(clock.now_utc())} New York, {clock.rate:g} market seconds a second. Ctrl-C stops cleanly."
    )
    if resumed:
        say(f"          {_resumed_text(arguments, is_other=is_other)}")
    for what, how in sorted(provenance_of(settings).items()):
        say(f"          {what}: {how}")
    running = live.start(
        settings, folder, clock, (Gateway("127.0.0.1", gateway.port),),
        f"http://127.0.0.1:{hubs.negotiate_port}/v2/negotiate", stop,
    )  # fmt: skip
    finished = _watch(running, clock, close_of(settings), folder)
    if running.runtime.ended:
        return 1  # market and broker stand: the next start resumes the day
    _stop_world(folder)
    for path in folder.traces_newest_first():
        if path.suffix != ".zst":
            seal(path)
    if finished:
        folder.end_demo()
    bad, lines = report.lines_of(settings, folder, settings.demo.session)
    say("\n".join(["", *lines]))
    if not finished:
        say("`main.py run` starts a new day.")
    return 1 if bad else 0


def _resumed_text(arguments: Namespace, *, is_other: bool) -> str:
    """Return how a resumed day goes on; where other settings were asked for, which flags it does not heed."""
    flags = [f"--{name}" for name in ("config", "market", "rate", "seed") if getattr(arguments, name) is not None]
    if not (is_other and flags):
        return "`main.py run --fresh` begins a new day instead."
    return (
        f"The day goes on with the settings it began with, not with {', '.join(flags)};"
        " `main.py run --fresh` begins another."
    )


def _with_port(settings: Settings, port: int) -> Broker:
    return dataclasses.replace(settings.broker, gateways=(Gateway("127.0.0.1", port),), paper_port=port)


def _world(
    settings: Settings, folder: DataFolder, arguments: Namespace, stop: threading.Event
) -> tuple[Settings, MarketClock, bool]:
    """Find the market and the broker of an unfinished day, with the settings it began with, or start new ones."""
    if folder.clock.exists() and folder.settings.exists() and not arguments.fresh:
        try:
            clock, begun = MarketClock.load(folder.clock), from_json(folder.settings.read_bytes())
        except (OSError, msgspec.DecodeError, SettingsError):
            raise CommandError(
                f"The unfinished day in {folder.run} cannot be read; `main.py run --fresh` begins another."
            ) from None
        if folder.sim("gateway") and folder.sim("hubs") and clock.now_utc() < close_of(begun):
            return begun, clock, True
    if calendar.day(settings.demo.session, settings.day.closed_dates) is None:
        raise CommandError(f"{settings.demo.session} is no session of the exchange; choose another demo.session.")
    _stop_world(folder)
    folder.begin_demo()
    folder.settings.write_bytes(settings.to_json())
    clock = MarketClock.starting(at_exchange(settings.demo.session, settings.demo.start_clock), settings.demo.rate)
    clock.save(folder.clock)
    started = [_start_sim(what, folder) for what in ("hubs", "gateway")]
    deadline = real_time.monotonic() + _START_TIMEOUT_S
    while not (folder.sim("hubs") and folder.sim("gateway")):
        if stop.wait(0.05) or real_time.monotonic() > deadline:
            for process in started:
                process.terminate()
            _stop_world(folder)
            why = "was stopped before it began" if stop.is_set() else "did not start; see the logs in the run folder"
            raise CommandError(f"The simulated market {why}.", 130 if stop.is_set() else 3)
    return settings, clock, False


def _start_sim(what: str, folder: DataFolder) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, str(root / "main.py"), "sim", what, "--run-folder", str(folder.run.resolve())]
    with (folder.run / f"sim-{what}.log").open("ab") as log:
        # A session of its own: killing the supervisor leaves market and broker standing.
        return subprocess.Popen(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _stop_world(folder: DataFolder) -> None:
    for what in ("hubs", "gateway"):
        found: SimProcess | None = folder.sim(what)
        if found is not None:
            found.end()
        (folder.run / f"sim-{what}.json").unlink(missing_ok=True)
    folder.clock.unlink(missing_ok=True)


def _watch(running: live.Supervisor, clock: MarketClock, until_utc: Utc | None, folder: DataFolder) -> bool:
    """Print what is announced until the day is over, a signal or a request comes; True when the day is over."""
    stop = running.stop_wanted
    signal.signal(
        signal.SIGUSR2,  # each signal is a command of its own: an answer that is remembered would flatten only once
        lambda *_: live.raise_kill(
            running.runtime, KillLevel.FLATTEN, "SIGUSR2", "signal", f"signal-{real_time.time_ns()}"
        ),
    )
    kill_file = KillFile(folder.kill_file)
    gc.collect()
    gc.freeze()
    is_over = False
    while not stop.is_set() and not running.runtime.end_wanted.is_set():
        _print_line(running)
        kill_file.look(running)
        if until_utc is not None and clock.now_utc() >= until_utc:
            is_over = True
            break
    running.close()
    if running.runtime.ended:
        say(f"The supervisor ended: {running.runtime.ended}")
    return is_over


class KillFile:
    """The `KILL` file: looked at once a second; its content is the level (empty or unreadable: 2)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen_ns = 0
        self._empty_ns = 0
        self._next_look_s = 0.0

    def look(self, running: live.Supervisor) -> None:
        """Raise the kill level when the file is there or was written again; taking it away lowers nothing."""
        now_s = real_time.monotonic()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + 1.0
        try:
            written_ns = self._path.stat().st_mtime_ns
            if written_ns == self._seen_ns:
                return
            text = self._path.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return
        except OSError:
            written_ns, text = self._seen_ns + 1, "2"
        if text == "" and written_ns != self._empty_ns:
            self._empty_ns = written_ns  # perhaps caught while it is being written: look once more
            return
        self._seen_ns = written_ns
        level = KillLevel.NO_ENTRIES if text == "1" else KillLevel.FLATTEN
        reason = f"the KILL file says {text or 'nothing'}"
        live.raise_kill(running.runtime, level, reason, "file", f"file-{written_ns}")


def _print_line(running: live.Supervisor) -> None:
    try:
        line = running.console.get(timeout=0.2)
    except queue.Empty:
        return
    say(f"{exchange_clock(line.at_utc)}  {line.topic:<7} {line.text}")
