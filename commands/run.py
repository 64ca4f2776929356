"""`main.py run`: the supervisor, until the day is over (demo), or until it is told to stop (real)."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time as real_time
from argparse import Namespace
from pathlib import Path
from typing import assert_never

from commands import live, report, report_desks, requests
from commands.allowed import check_new
from commands.cli import CommandError
from commands.clocks import led_clock, market_text
from commands.dashboard import line_of
from commands.emergency import SIGNALS, EmergencyWatch, KillFile, keep_level
from commands.folder import DataFolder, SimProcess, settings_of
from commands.hard_stop import HardStop
from commands.held import holdings
from commands.lines import paragraphs, wrapped
from commands.logbook import LogBook
from commands.service import is_well, service_line
from commands.sim import SERVERS, close_of, provenance_of, recorded_of
from config.desks import desk_names, is_simulated, of_desk
from config.settings import Settings, SettingsError, from_json
from config.tree import Broker, Feed, Gateway
from domain.alarm import Severity
from domain.instants import at_exchange, exchange_clock
from domain.notices.alarm_words import announced_text, key_suffix
from domain.risk.kill import KillLevel
from domain.session import calendar
from domain.units import Utc
from domain.wording import printable
from messages.operator import Announce
from simulation.market.tickers import DEFAULT_TICKERS
from storage.queries import LedgerReader
from storage.sqlite_file import LedgerRefusedError
from supervision.clock import ClockFileError, LedClock, MarketClock
from supervision.trace import seal
from web.masking import masked

_START_TIMEOUT_S = 180.0  # what a busy machine needs; a server that has ended is not waited for
_LINE_WAIT_S = 0.1


def act(arguments: Namespace) -> int:
    """Start, watch, stop, report."""
    recorded = recorded_of(arguments.market)
    settings = settings_of(
        arguments, demo__seed=arguments.seed, demo__rate=arguments.rate,
        demo__market_folder=None if arguments.market is None else str(arguments.market.resolve()),
        demo__session=None if recorded is None else recorded.session.isoformat(),
    )  # fmt: skip
    if settings.profile == "real" and arguments.rate is not None and arguments.clock is None:
        raise CommandError("--rate: profile real runs at the real market's pace; leave it out.")
    if settings.profile == "demo" and arguments.clock is not None:
        raise CommandError("--clock: a demo day makes a clock of its own; leave it out, or run profile real.")
    folder = DataFolder(settings.data_dir)
    check_new(settings, folder)
    clock = MarketClock.real() if arguments.clock is None else led_clock(settings, arguments.clock)
    folder.make()
    folder.lock()
    stop = threading.Event()
    SIGNALS.install()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal is no reason to leave positions alone
    try:
        if settings.profile == "demo":
            return _run_demo(settings, folder, arguments, stop)
        return _run_real(settings, folder, stop, clock, _call_of(arguments))
    finally:
        folder.unlock()


def say(text: str) -> None:
    """Print a text; a console that is gone or full must never end a run (the trace has it all).

    A service's console is a log: no account number stands in it.
    """
    text = masked(text.encode(errors="replace")).decode()
    try:
        print(paragraphs(text) if sys.stdout.isatty() else text, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())


def _call_of(arguments: Namespace) -> str:
    """Return how a command is called for the desk that these arguments name."""
    named = {"--config": arguments.config, "--data": arguments.data}
    return shlex.join(["main.py", *(word for option, path in named.items() if path for word in (option, str(path)))])


def _run_real(settings: Settings, folder: DataFolder, stop: threading.Event, clock: MarketClock, call: str) -> int:
    named = f"desks {', '.join(desk_names(settings))}" if settings.desks else f"desk {settings.desk}"
    say(f"Starting {named} on {folder.root.resolve()}. Ctrl-C stops cleanly.")
    if isinstance(clock, LedClock):
        say(
            f"A simulated market's clock is led: {market_text(settings, clock.now_utc())}, up to"
            f" {settings.demo.rate:g} times as fast while nothing is at stake. No real money, no real market."
        )
    for desk in desk_names(settings):
        say(_level_text(of_desk(settings, desk), folder, call))
    held = held_from_before(settings, folder)
    try:
        running = live.start(
            settings, folder, clock, settings.broker.gateways, settings.feed.negotiate_url, stop, settings.demo.rate
        )
    except (CommandError, SettingsError, LedgerRefusedError):  # before any port was started
        folder.unmake()
        raise
    _say_where_to_look(settings, running)
    for line in held:
        say(line)
    stops = _hard_stops(running, settings, folder, clock, settings.broker.gateways)
    _watch(running, clock, None, folder, stops)
    if isinstance(clock, LedClock):
        clock.follow(1.0)  # a market goes on without its desks
    still_open = _open_now(settings, folder, stops)
    if still_open:
        say("\n".join(["", *still_open]))
        say(
            f"Nobody watches it now. `{call} run --profile real` reads the broker back and goes on with it;"
            f" `{call} flatten --direct --reason ...` closes it without the supervisor."
        )
    elif not running.runtime.ended:
        say("Stopped: nothing is held. The same command starts it again.")
    return 1 if running.runtime.ended or still_open else 0


def _say_where_to_look(settings: Settings, running: live.Supervisor) -> None:
    if running.screen is not None and running.screen.url:
        say(line_of(settings, running.screen.url))


def _hard_stops(
    running: live.Supervisor, settings: Settings, folder: DataFolder, clock: MarketClock, gateways: tuple[Gateway, ...]
) -> tuple[HardStop, ...]:
    """Return one for each desk that has a broker of its own."""
    names = (name for name in settings.desks if not is_simulated(settings, name) and name not in running.left_out)
    own = tuple(of_desk(settings, name) for name in names)
    beside = (HardStop(running, desk, folder, clock, desk.broker.gateways) for desk in own)
    stops = (HardStop(running, settings, folder, clock, gateways), *beside)
    for one in stops:
        one.beside = tuple(other for other in stops if other is not one)
    return stops


def _level_text(settings: Settings, folder: DataFolder, call: str = "main.py") -> str:
    """Return at which kill level a real desk starts, and with which command a person lowers it."""
    whose, option = (f"Desk {settings.desk}: ", f" --desk {settings.desk}") if settings.desks else ("", "")
    try:
        seen = LedgerReader(folder.ledgers, settings.desk).kill()
    except LedgerRefusedError:
        return "The kill level is not known before the ledger can be read."  # the start says why, in its own words
    if seen is None:
        return (
            f"{whose}This desk is new: it starts at kill level 1, without entries. When gateway, account and"
            f' settings are as you want them: `{call} resume{option} --reason "first start"`.'
        )
    if seen["level"] == KillLevel.RUNNING:
        return f"{whose}Kill level 0: entries are allowed as soon as the session is stable."
    return (
        f"{whose}Kill level {seen['level']} since {exchange_clock(seen['at_utc'])} New York, by {seen['by']}:"
        f" {seen['reason']}. `{call} resume{option} --reason ...` lowers it."
    )


def held_from_before(settings: Settings, folder: DataFolder) -> list[str]:
    """Return a line for each position that an earlier run left: what, at which price, and what watches it now."""
    found = []
    for desk in desk_names(settings):
        with contextlib.suppress(LedgerRefusedError):  # a new desk, or the start says in its own words what is wrong
            told = [holding.told(is_supervised=True) for holding in holdings(LedgerReader(folder.ledgers, desk))]
            found += [f"Held from before{f' at desk {desk}' if settings.desks else ''}: {text}." for text in told]
    return found


def _open_now(settings: Settings, folder: DataFolder, stops: tuple[HardStop, ...] = ()) -> list[str]:
    """Return what is held or may be, a line each under a heading; empty where nothing is.

    What a hard stop has closed the ledgers learn of later.
    """
    flat = {stop.desk for stop in stops if stop.is_flat}
    found: list[str] = []
    for desk in desk_names(settings):
        if desk in flat:
            continue
        at = f"{desk}: " if settings.desks else ""
        try:
            found += [f"  {at}{holding.sentence}" for holding in holdings(LedgerReader(folder.ledgers, desk))]
        except LedgerRefusedError as error:
            return ["Whether something is held is not known:", f"  {error}"]
    return ["Open:", *found] if found else []


def _run_demo(settings: Settings, folder: DataFolder, arguments: Namespace, stop: threading.Event) -> int:
    asked = settings
    settings, clock, resumed = _world(settings, folder, arguments, stop)
    is_other = asked.to_json() != settings.to_json()
    gateway, hubs, provider = (folder.sim(what) for what in ("gateway", "hubs", "provider"))
    if gateway is None or any(folder.sim(what) is None for what in _servers(settings)):
        raise CommandError(f"The simulated market or broker died at once; the logs in {folder.run} say why.", 3)
    settings = settings.model_copy(update={"broker": _with_port(settings, gateway.port)})
    if provider is not None:
        settings = settings.model_copy(update={"feed": _with_provider(settings, provider.port)})
    say(
        f"{'Resuming' if resumed else 'Starting'} the demo day {settings.demo.session} at "
        f"{exchange_clock(clock.now_utc())} New York. Market time runs up to {settings.demo.rate:g} times as fast "
        "while nothing is at stake, and in real time (or twice that) while orders work. Ctrl-C stops cleanly."
    )
    if resumed:
        say(f"          {_resumed_text(arguments, is_other=is_other)}")
    for what, how in sorted(provenance_of(settings).items()):
        say(f"          {what}: {how}")
    gateways = (Gateway("127.0.0.1", gateway.port),)
    url = settings.feed.negotiate_url if hubs is None else f"http://127.0.0.1:{hubs.negotiate_port}/v2/negotiate"
    held = held_from_before(settings, folder)
    running = live.start(settings, folder, clock, gateways, url, stop, settings.demo.rate)
    _say_where_to_look(settings, running)
    for line in held:
        say(line)
    stops = _hard_stops(running, settings, folder, clock, gateways)
    finished = _watch(running, clock, close_of(settings), folder, stops)
    still_open = _open_now(settings, folder, stops)
    if running.runtime.ended or (still_open and not finished):
        clock.follow(1.0, clock.now_utc())  # nobody minds what is open, so the market waits for the next start
        say("\n".join(["", *still_open]))
        say(
            "The simulated market stands still meanwhile: `main.py run` reads the broker back and goes on with this"
            " day; `main.py sim stop` ends it."
        )
        return 1
    _stop_world(folder)
    for path in folder.traces_newest_first():
        if path.suffix != ".zst":
            seal(path)
    if finished:
        try:
            from commands.compact import seal_whole  # noqa: PLC0415 - DuckDB, which the trading process never loads

            seal_whole(folder.warehouse)
        except CommandError as error:  # the rows are there all the same
            say(f"The day's files could not be merged: {error}")
        folder.end_demo()
    bad, lines = report.lines_of(settings, folder, settings.demo.session)
    say("\n".join(["", *lines]))
    if settings.desks:
        say("\n".join(["", *report_desks.lines_of(report_desks.report_of(folder, settings.demo.session))]))
    if not finished:
        say("`main.py run` starts a new day.")
    elif running.screen is not None:
        say("`main.py dashboard` shows the day again in the browser.")
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


def _with_provider(settings: Settings, port: int) -> Feed:
    provider = dataclasses.replace(
        settings.feed.provider, rest_url=f"http://127.0.0.1:{port}", stream_url=f"ws://127.0.0.1:{port}"
    )
    return dataclasses.replace(settings.feed, provider=provider)


def _world(
    settings: Settings, folder: DataFolder, arguments: Namespace, stop: threading.Event
) -> tuple[Settings, LedClock, bool]:
    """Find the market and the broker of an unfinished day, with the settings it began with, or start new ones."""
    if folder.clock.exists() and folder.settings.exists() and not arguments.fresh:
        try:
            clock, begun = LedClock.resume(folder.clock), from_json(folder.settings.read_bytes())
        except (OSError, ClockFileError, SettingsError):
            raise CommandError(
                f"The unfinished day in {folder.run} cannot be read; `main.py run --fresh` begins another."
            ) from None
        is_broker_known = folder.sim("gateway") is not None or folder.orders.exists()
        if is_broker_known and clock.now_utc() < close_of(begun):
            _start_missing(begun, folder, stop)
            return begun, clock, True
    if calendar.day(settings.demo.session, settings.day.closed_dates) is None:
        raise CommandError(f"{settings.demo.session} is no session of the exchange; choose another demo.session.")
    strange = [ticker for ticker in settings.tickers if ticker not in DEFAULT_TICKERS]
    if strange:
        raise CommandError(
            f"The simulated market has no {', '.join(strange)}: write `tickers` with some of"
            f" {', '.join(DEFAULT_TICKERS)}; another one wants a broker and a feed that know it (`profile: real`)."
        )
    _stop_world(folder)
    for record in (folder.pace, folder.book, folder.orders, *map(folder.sim_book, settings.desks)):
        record.unlink(missing_ok=True)
    folder.begin_demo()
    folder.settings.write_bytes(settings.to_json())
    clock = LedClock.begin(folder.clock, at_exchange(settings.demo.session, settings.demo.start_clock))
    try:
        _start_missing(settings, folder, stop)
    except CommandError:
        _stop_world(folder)
        raise
    return settings, clock, False


def _servers(settings: Settings) -> tuple[str, ...]:
    """Return the servers that a demo day needs: the broker, and whom its market data is asked of, if anybody."""
    match settings.feed.source:
        case "hubs" | "rest":
            return ("hubs", "gateway")
        case "provider":
            return ("provider", "gateway")
        case "chain" | "file":
            return ("gateway",)
        case _:
            assert_never(settings.feed.source)


def _start_missing(settings: Settings, folder: DataFolder, stop: threading.Event) -> None:
    """Start those of the day's servers that do not run, and wait for them; one that was killed goes on with its book.

    Raises:
        CommandError: one does not start, or this process was told to stop.
    """
    wanted = _servers(settings)
    started = {what: _start_sim(what, folder) for what in wanted if folder.sim(what) is None}
    deadline = real_time.monotonic() + _START_TIMEOUT_S
    while missing := [what for what in wanted if folder.sim(what) is None]:
        ended = [what for what in missing if what in started and started[what].poll() is not None]
        if stop.wait(0.05) or ended or real_time.monotonic() > deadline:
            for process in started.values():
                process.terminate()
            if stop.is_set():
                raise CommandError("The simulated market was stopped before it began.", 130)
            raise CommandError(_no_market_text(ended, missing, folder), 3)


def _no_market_text(ended: list[str], missing: list[str], folder: DataFolder) -> str:
    named = ended or missing
    logs = " and ".join(str(folder.run / f"sim-{what}.log") for what in named)
    if ended:
        return f"Of the simulated market {' and '.join(named)} ended before the day began; {logs} says why."
    return (
        f"Of the simulated market {' and '.join(named)} did not come up within {_START_TIMEOUT_S:.0f} s; nothing was"
        f" begun. A machine this busy needs other programs ended first; what was said so far is in {logs}."
    )


def _start_sim(what: str, folder: DataFolder) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, str(root / "main.py"), "sim", what, "--run-folder", str(folder.run.resolve())]
    with (folder.run / f"sim-{what}.log").open("ab") as log:
        # A session of its own: killing the supervisor leaves market and broker standing.
        return subprocess.Popen(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _stop_world(folder: DataFolder) -> None:
    for what in SERVERS:
        found: SimProcess | None = folder.sim(what)
        if found is not None:
            found.end()
        (folder.run / f"sim-{what}.json").unlink(missing_ok=True)
    folder.clock.unlink(missing_ok=True)


def _watch(
    running: live.Supervisor, clock: MarketClock, until_utc: Utc | None, folder: DataFolder,
    stops: tuple[HardStop, ...],
) -> bool:  # fmt: skip
    """Print what is announced until the day is over, a signal or a request comes; True when the day is over."""

    def raise_kill(level: int, reason: str, edge: str, command_id: str) -> None:
        requests.raise_kill(running.runtime, KillLevel(level), reason, edge, command_id)

    stop = running.stop_wanted
    emergency = EmergencyWatch(raise_kill, KillFile(folder.kill_file), running.runtime.fail)
    gc.collect()
    gc.freeze()
    emergency.start()
    for hard_stop in stops:
        hard_stop.start()
    service = service_line(os.environ, lambda: is_well(running))
    if service is not None:
        service.start()
    log = LogBook(folder.log)
    is_over = False
    while not stop.is_set() and not running.runtime.end_wanted.is_set():
        _print_line(running, log, wait_s=_LINE_WAIT_S)
        if until_utc is not None and clock.now_utc() >= until_utc:
            is_over = True
            break
    if service is not None:
        service.close()
    are_entries_out = running.close()
    emergency.close()
    for hard_stop in stops:  # one desk's end cuts off no other's hard stop; a person's does
        hard_stop.close(may_finish=len(stops) > 1 and not stop.is_set())
    while _print_line(running, log, wait_s=0):
        pass
    log.close()
    if not are_entries_out:
        say("The broker has not confirmed in time that no entry works; what is left ends by itself, see below.")
    if running.runtime.ended:
        say(f"The supervisor ended: {running.runtime.ended}")
        _keep_kill_level(running, folder)
    return is_over


def _keep_kill_level(running: live.Supervisor, folder: DataFolder) -> None:
    """See to it that the next start comes up at level 1 at least, also where the ledger did not take that down."""
    if all(_is_raised(folder, desk) for desk in running.desks):
        return
    if keep_level(folder.kill_file, KillLevel.NO_ENTRIES):
        say(
            f"No raised kill level is on record, so {folder.kill_file} says 1 to the next start. Find the cause,"
            " remove the file, start, `main.py resume --reason ...`."
        )
    else:
        say(f"Neither the ledger nor {folder.kill_file} can be written: mend the disk before the next start.")


def _is_raised(folder: DataFolder, desk: str) -> bool:
    try:
        seen = LedgerReader(folder.ledgers, desk).kill()
    except LedgerRefusedError:
        return False
    return seen is not None and seen["level"] > KillLevel.RUNNING


def _print_line(running: live.Supervisor, log: LogBook, wait_s: float) -> bool:
    """Print the next announcement that comes in this time, and keep it in the log; False when none did."""
    try:
        line = running.console.get(block=wait_s > 0, timeout=wait_s or None)
    except queue.Empty:
        return False
    log.write(line)
    say(shown(line))
    return True


def shown(line: Announce) -> str:
    """Return an announcement as it stands on the console: New York's clock, topic, how urgent it is, text.

    A terminal gets lines of its width; a file or a pipe one line each, so that it can be searched.
    """
    urgent = "" if line.severity is Severity.INFO else f"{line.severity.value.upper()}: "
    head = f"{exchange_clock(line.at_utc)}  {line.topic:<7} "
    said = printable(announced_text(line.topic, line.severity, line.text))
    text = f"{urgent}{said}{key_suffix(line.topic, line.text)}"
    return "\n".join(wrapped(text, len(head), first=head)) if sys.stdout.isatty() else f"{head}{text}"
