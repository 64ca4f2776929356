"""`main.py sim gateway|hubs|provider|tastytrade|clock`: a simulated broker or feed in its own process.

Alone it goes on with the next session after each; its own clock skips the nights. With `--run-folder` it is part of a
demo day: it takes the clock from there and leaves its pid and ports beside it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import time
from pathlib import Path

import psutil

from commands.book import keep_book
from commands.cli import CommandError
from commands.clocks import check_session, followed_clock, is_own, make_clock, market_text, start_of
from commands.folder import BOOK, ORDERS, DataFolder, SimProcess, settings_of, write_private
from config.settings import Settings, from_json
from domain.instants import SECOND, at_exchange
from domain.units import Cents, Utc
from simulation.broker.exchange import ACCOUNT, Exchange
from simulation.broker.kept import BookInUseError, BookRefusedError, KeptExchange
from simulation.broker.login import ACCOUNTS_MAX
from simulation.gateway.control import FaultControl
from simulation.gateway.faults import Fault, FaultKind, FaultScriptError, load_faults
from simulation.gateway.server import GatewayServer
from simulation.hubs.faults import DropHub
from simulation.hubs.server import HubServer
from simulation.market.from_settings import market_of
from simulation.market.market import Market
from simulation.market.minute_bars import RecordedDay, RecordedError, load_recorded_day
from simulation.market_data.server import ProviderServer
from simulation.pace.nights import session_at, skip_nights
from simulation.pace.pacer import RATE_MAX
from simulation.pace.stakes import Stake
from supervision.clock import MarketClock

GATEWAY_PORT, REST_PORT = 4002, 4004
SERVERS = ("hubs", "provider", "gateway")


def act(arguments: Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; or publish a clock, or stop what an unfinished demo day left running."""
    if arguments.what == "stop":
        return _stop(DataFolder(settings_of(arguments).data_dir))
    if arguments.run_folder is not None:
        settings = from_json((arguments.run_folder / "settings.json").read_bytes())
        clock = followed_clock(arguments.run_folder / "clock")
    elif arguments.what == "clock":
        return make_clock(_settings_alone(arguments, arguments.start), arguments.clock, arguments.rate)
    elif arguments.clock is not None:
        clock = followed_clock(arguments.clock)
        closed = settings_of(arguments).day.closed_dates
        settings = _settings_alone(arguments, f"{session_at(clock.now_utc(), closed).session} 00:00:00")
    else:
        settings = _settings_alone(arguments, arguments.start)
        clock = MarketClock.starting(at_exchange(settings.demo.session, settings.demo.start_clock), settings.demo.rate)
    with asyncio.Runner() as runner:
        serve = {
            "gateway": _serve_gateway, "hubs": _serve_hubs, "provider": _serve_provider, "tastytrade": _serve_rest,
        }[arguments.what]  # fmt: skip
        runner.run(serve(settings, clock, arguments))
    return 0


def _settings_alone(arguments: Namespace, start: str | None) -> Settings:
    """Load the settings of a market that is no demo day's; `start` is its first instant in New York."""
    session, clock = start_of(start)
    settings = settings_of(
        arguments, profile="demo", demo__seed=arguments.seed,
        demo__rate=1.0 if arguments.rate is None else arguments.rate, demo__session=session, demo__start_clock=clock,
    )  # fmt: skip
    check_session(settings, settings.demo.session)
    return settings


def _stop(folder: DataFolder) -> int:
    stopped = [(what, found) for what in SERVERS if (found := folder.sim(what)) is not None]
    for what, found in stopped:
        found.end()
        print(f"Stopped the simulated {what} (pid {found.pid}).")
    if not folder.is_supervised():
        folder.clock.unlink(missing_ok=True)  # the day is over: the next run begins another
    if not stopped:
        print(f"No simulated server of {folder.root} is running.")
    return 0


def recorded_of(folder: Path | None) -> RecordedDay | None:
    """Read a recorded day.

    Raises:
        CommandError: the folder does not hold one.
    """
    try:
        return None if folder is None else load_recorded_day(folder)
    except RecordedError as error:
        raise CommandError(str(error)) from None


def provenance_of(settings: Settings) -> Mapping[str, str]:
    """Return what of a recorded day is real and what is synthetic; empty for a simulated market."""
    return {} if settings.demo.market_folder is None else market_of(settings).provenance


def _real_s(market_s: float) -> float:
    """Return how long an outage of the script lasts on the wall: the demo's clock runs at this very rate then."""
    return market_s / RATE_MAX[Stake.OUTAGE]


def _is_ahead(settings: Settings, clock: MarketClock, wall: time) -> bool:
    """Return whether a fault's instant is still to come (a day that starts later never had it)."""
    return clock.now_utc() < at_exchange(settings.demo.session, wall)


async def _serve_gateway(settings: Settings, clock: MarketClock, arguments: Namespace) -> None:
    world = market_of(settings, rolls=arguments.run_folder is None)
    exchange = _exchange_of(settings, world, clock, arguments)
    faults = _faults_of(arguments)
    demo = settings.demo
    is_dropped = demo.gateway_drop_s > 0 and _is_ahead(settings, clock, demo.gateway_drop_at)
    if arguments.run_folder is not None and not faults and is_dropped:
        faults = (
            Fault(
                FaultKind.DROP_REFUSE,
                at_clock=demo.gateway_drop_at.isoformat(),
                duration_s=_real_s(demo.gateway_drop_s),
            ),
        )
    server = GatewayServer(world, exchange, clock, faults, others=_others_of(settings, world, arguments))
    before = _before("gateway", arguments)
    wanted = before.port if before else 0 if arguments.run_folder is not None else arguments.port or GATEWAY_PORT
    try:
        port = await server.start(arguments.host, wanted)
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Port {wanted} cannot be used ({error}); stop what listens there or give --port.", 3
        ) from None
    control = await _control_of(server, arguments)
    _say_ready("gateway", settings, arguments, clock, port)
    if control is not None and arguments.run_folder is None:
        print(f"Its faults are set at http://127.0.0.1:{control.port}/faults (GET, POST a record, DELETE).", flush=True)
    kept = arguments.run_folder
    keeping = None if kept is None else asyncio.create_task(keep_book(exchange, clock, settings.day, kept / BOOK))
    await _until_told(settings, clock, arguments)
    if keeping is not None:
        keeping.cancel()
    if control is not None:
        await control.stop()
    await server.stop()


async def _control_of(server: GatewayServer, arguments: Namespace) -> FaultControl | None:
    """Open the control port where one is asked for."""
    if arguments.control_port is None:
        return None
    control = FaultControl(server)
    try:
        await control.start(arguments.control_port)
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Port {arguments.control_port} cannot be used ({error}); give another --control-port, or 0 for any.", 3
        ) from None
    return control


def _exchange_of(settings: Settings, world: Market, clock: MarketClock, arguments: Namespace) -> Exchange:
    """Return the broker; that of a demo day keeps its book, and goes on with that of a process which was killed."""
    cash_cents = Cents(settings.demo.nav_usd * 100)
    if arguments.run_folder is None:
        return Exchange(world, account=_accounts_of(arguments)[0], cash_cents=cash_cents)
    try:
        kept = KeptExchange(world, arguments.run_folder / ORDERS, cash_cents=cash_cents)
    except BookInUseError as error:
        raise CommandError(f"The simulated gateway of this day runs already: {error}.", 3) from None
    except BookRefusedError as error:
        raise CommandError(f"The simulated gateway cannot start: {error}.", 3) from None
    kept.catch_up(clock.now_utc(), world.step)
    return kept


def _others_of(settings: Settings, world: Market, arguments: Namespace) -> Sequence[Exchange]:
    """Return the further accounts of the login, each with as much cash as the first."""
    cash_cents = Cents(settings.demo.nav_usd * 100)
    names = _accounts_of(arguments)[1:]
    return [Exchange(world, account=name, cash_cents=cash_cents, number=n) for n, name in enumerate(names, 1)]


def _accounts_of(arguments: Namespace) -> list[str]:
    """Return the accounts of the gateway's login, one at least.

    Raises:
        CommandError: too many of them, one twice, or one without a name; any at all for a demo day.
    """
    if arguments.accounts is not None and arguments.run_folder is not None:
        raise CommandError("A demo day has one account, whose book is kept: leave --accounts out.")
    names = [ACCOUNT] if arguments.accounts is None else [name.strip() for name in arguments.accounts.split(",")]
    if not all(names) or len(set(names)) < len(names) or len(names) > ACCOUNTS_MAX:
        raise CommandError(
            f"--accounts wants 1 to {ACCOUNTS_MAX} names with commas between them, each once: --accounts"
            " DU1234567,DU7654321."
        )
    return names


def _before(what: str, arguments: Namespace) -> SimProcess | None:
    """Return the server of this day that is gone, whose ports are taken again; `None` where there was none."""
    if arguments.run_folder is None:
        return None
    return DataFolder(arguments.run_folder.parent).sim_last(what)


def _faults_of(arguments: Namespace) -> Sequence[Fault]:
    try:
        return load_faults(arguments.faults) if arguments.faults else ()
    except FaultScriptError as error:
        raise CommandError(str(error)) from None


async def _serve_hubs(settings: Settings, clock: MarketClock, arguments: Namespace) -> None:
    demo = settings.demo
    _refuse_script(arguments)
    faults: tuple[DropHub, ...] = ()
    is_dropped = demo.hub_drop_s > 0 and _is_ahead(settings, clock, demo.hub_drop_at)
    if arguments.run_folder is not None and is_dropped:
        at_utc = at_exchange(demo.session, demo.hub_drop_at)
        faults = (DropHub(at_utc=at_utc, hub=demo.hub_dropped, outage_s=_real_s(demo.hub_drop_s)),)
    before = _before("hubs", arguments)
    port, ws_port = (before.negotiate_port, before.port) if before else (arguments.port or 0, 0)
    world = market_of(settings, rolls=arguments.run_folder is None)
    server = HubServer(
        world, clock, arguments.host, port, ws_port=ws_port, faults=faults,
        min_interval_real_ms=demo.frame_interval_ms,
    )  # fmt: skip
    try:
        await server.start()
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Port {port} cannot be used ({error}); stop what listens there or give --port.", 3
        ) from None
    _say_ready("hubs", settings, arguments, clock, server.ws_port, server.port)
    await _until_told(settings, clock, arguments)
    await server.stop()


async def _serve_provider(settings: Settings, clock: MarketClock, arguments: Namespace) -> None:
    _refuse_script(arguments)
    before = _before("provider", arguments)
    wanted = before.port if before else arguments.port or 0
    world = market_of(settings, rolls=arguments.run_folder is None)
    server = ProviderServer(
        world, clock, None, arguments.host, wanted, interval_s=settings.demo.frame_interval_ms / 1000
    )
    try:
        await server.start()
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Port {wanted} cannot be used ({error}); stop what listens there or give --port.", 3
        ) from None
    _say_ready("provider", settings, arguments, clock, server.port)
    await _until_told(settings, clock, arguments)
    await server.close()


async def _serve_rest(settings: Settings, clock: MarketClock, arguments: Namespace) -> None:
    """Serve the broker of Tastytrade's shape; alone, or beside a gateway of the same seed and clock."""
    from simulation.tastytrade.control import TastytradeControl  # noqa: PLC0415 - a web framework, which no other needs
    from simulation.tastytrade.server import TastytradeServer  # noqa: PLC0415

    if (arguments.faults, arguments.accounts) != (None, None):
        raise CommandError(
            "Fault scripts and --accounts are the gateway's; this broker's faults are set with --control-port."
        )
    world = market_of(settings, rolls=True)
    exchange = Exchange(world, cash_cents=Cents(settings.demo.nav_usd * 100))
    server, wanted = TastytradeServer(world, exchange, clock), arguments.port or REST_PORT
    control = None if arguments.control_port is None else TastytradeControl(server)
    try:
        await server.start(arguments.host, wanted)
        if control is not None:
            wanted = arguments.control_port
            await control.start(wanted)
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Port {wanted} cannot be used ({error}); stop what listens there or give --port.", 3
        ) from None
    _say_ready("tastytrade", settings, arguments, clock, server.port)
    print(
        f"Its REST is {server.rest_url}, its account stream {server.stream_url}, its account {server.account};"
        " any client secret and refresh token will do.",
        flush=True,
    )
    if control is not None:
        print(f"Its faults are set at http://127.0.0.1:{control.port}/faults (GET, POST, DELETE).", flush=True)
    await _until_told(settings, clock, arguments)
    if control is not None:
        await control.stop()
    await server.stop()


def _refuse_script(arguments: Namespace) -> None:
    if (arguments.faults, arguments.control_port, arguments.accounts) != (None, None, None):
        raise CommandError(
            "Fault scripts, the control port and accounts are the gateway's:"
            " `main.py sim gateway --faults FILE --control-port 4003 --accounts DU1234567,DU7654321`."
        )


def _say_ready(
    what: str, settings: Settings, arguments: Namespace, clock: MarketClock, port: int, negotiate_port: int = 0
) -> None:
    if arguments.run_folder is not None:
        me = psutil.Process()
        found = SimProcess(pid=me.pid, began=me.create_time(), port=port, negotiate_port=negotiate_port)
        write_private(arguments.run_folder / f"sim-{what}.json", found)
        return
    where = f"{arguments.host}:{port}"
    if negotiate_port:
        where = f"http://{arguments.host}:{negotiate_port}/v2/negotiate (any key of the form gexbot_custom_...)"
    pace = f"{clock.rate:g} market seconds a second, nights are skipped"
    if not is_own(arguments):
        pace = f"by the clock in {arguments.clock}"
    print(
        f"Simulated {what} at {where}. Its market is at {market_text(settings, clock.now_utc())} ({pace})."
        " Ctrl-C ends it.",
        flush=True,
    )


async def _until_told(settings: Settings, clock: MarketClock, arguments: Namespace) -> None:
    nights = None
    if is_own(arguments) and settings.demo.market_folder is None:
        nights = asyncio.create_task(skip_nights(clock, settings.demo.rate, settings.day.closed_dates))
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
    if nights is not None:
        nights.cancel()


def close_of(settings: Settings) -> Utc:
    """Return the instant at which a demo day is over: the settlement routine is behind it."""
    world = market_of(settings)
    return world.close_utc + settings.day.settlement_ms * 1_000_000 + 30 * SECOND


if __name__ == "__main__":
    sys.exit("run it as `main.py sim gateway` or `main.py sim hubs`")
