"""Bytes of the message trace of a day with many positions: the real quotes, position and dashboard actors, stepped.

`POSITIONS` options of one underlying are held. Each is told as often as IB samples an option and the underlyings as
often as it samples those, which is the most that can come; a second run takes what a calm option brings. The pace of
the batches is the market-data port's. Ledgers, broker and the rest of the desk are sinks: what they are told stands in
the trace, what they would answer does not. Buckets and readings are `full_day`'s.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from datetime import date
from datetime import time as clock_time
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.figures import Report, work_folder
from config.settings import Settings, load_settings
from domain.instants import MINUTE, MS, SECOND, at_exchange
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.orders.intent import DecisionPrices, Permit, PositionRef
from domain.position.cycle import PositionState
from domain.session.modes import AccountClass, Mode
from domain.session.phases import Phase
from domain.signals.alert import AlertKey
from domain.units import Qty, Ticks, Utc
from main import Stores, build_tree
from messages import broker, entries, market, orders, positions, session
from messages.base import Message
from messages.envelope import Envelope, Handled
from supervision.spec import ChildSpec, Tree
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.supervisor import SupervisorActor
from supervision.trace import FileTrace, Header, TraceReader, seal

POSITIONS: Final = 50
SESSION_MIN: Final = 390
MINUTES: Final = 5  # of the market, each run
AIM_GB: Final = 2.0
START: Final = clock_time(10)
SPOT_TICKS: Final = 600_000
PRICE: Final = 1_000
RATES: Final = (("every sample", 10.0, 4.0), ("calm", 2.0, 4.0))  # of an option, of an underlying, a second
FOR_EVER_MS: Final = 86_400_000
HIDDEN: Final = ("ledger", "ledger:paper", "ibkr:paper", "risk:paper", "kill", "notifier", "series", "session")


class Pump:
    """The market-data port: the contracts of the index, ticks of what is streamed, told in its batches."""

    def __init__(self, runtime: SteppedRuntime, settings: Settings, option_hz: float, spot_hz: float) -> None:
        self._runtime = runtime
        self._settings = settings
        self._hz = option_hz, spot_hz
        self._random = random.Random(7)
        self._epoch = 0
        self._n = 0
        self._quotes: dict[int, Quote] = {}
        self._spots: dict[str, Spot] = {}
        self._news: dict[int | str, None] = {}
        self._told_utc: dict[int | str, Utc] = {}
        self._due_utc: Utc | None = None

    def post(self, command: Message) -> None:
        """Answer a dial and a request for a chain, and tick what is subscribed."""
        match command:
            case broker.Dial():
                self._epoch = command.session_epoch
                self._tell(
                    broker.LinkUp(
                        session_epoch=self._epoch, gateway_n=0, port=4002, account_class=AccountClass.PAPER,
                        account_matches=True, next_order_id=1,
                    )
                )  # fmt: skip
            case market.ListChain():
                listed = chain(command.ticker, command.expiry)
                self._tell(
                    market.ChainListed(
                        session_epoch=self._epoch, ticker=command.ticker, contracts=listed, underlying_con_id=1,
                        hours=None,
                    )
                )  # fmt: skip
            case market.Subscribe():
                for contract in command.contracts:
                    self._tick(contract.con_id)
                for ticker in command.tickers:
                    self._tick(ticker)
            case _:
                pass

    def _tell(self, message: Message) -> None:
        self._runtime.post("quotes:paper", message, "port:quotes:paper")

    def _tick(self, of: int | str) -> None:
        """Change a quote or price, tell it with the next batch, and come again."""
        now = Utc(self._runtime.clock.now_utc() + self._random.randrange(1_000))
        draw = self._random
        if isinstance(of, str):
            self._spots[of] = Spot(of, Ticks(SPOT_TICKS + draw.randrange(-150, 150)), now)
        else:
            bid = PRICE + draw.randrange(-30, 30)
            greeks = Greeks(
                draw.uniform(0.1, 0.2), draw.uniform(0.3, 0.6), draw.uniform(0.001, 0.01), draw.uniform(-40, -10),
                draw.uniform(0.5, 1.5), Ticks(SPOT_TICKS + draw.randrange(-150, 150)), now,
            )  # fmt: skip
            self._quotes[of] = Quote(
                of, Ticks(bid), Ticks(bid + 10), Qty(draw.randrange(1, 90)), Qty(draw.randrange(1, 90)), now,
                volume=self._n, greeks=greeks, open_interest=4_321,
            )  # fmt: skip
        self._n += 1
        self._mark(of, now)
        hz = self._hz[isinstance(of, str)]
        pause = round(SECOND / hz * (1 if hz >= 4 else draw.expovariate(1.0)))
        self._runtime.call_at(Utc(now + pause), lambda: self._tick(of))

    def _mark(self, of: int | str, now: Utc) -> None:
        """As `QuotesSession._mark` of what is held."""
        self._news[of] = None
        due_utc = Utc(max(now, self._told_utc.get(of, 0) + self._settings.connection.held_batch_ms * MS))
        if self._due_utc is None or due_utc < self._due_utc:
            self._due_utc = due_utc
            self._runtime.call_at(due_utc, lambda: self._flush(due_utc))

    def _flush(self, due_utc: Utc) -> None:
        if self._due_utc != due_utc or not self._news:
            return
        self._due_utc = None
        news, self._news = self._news, {}
        self._told_utc |= dict.fromkeys(news, due_utc)
        self._tell(
            market.QuotesArrived(
                session_epoch=self._epoch,
                quotes=tuple(self._quotes[of] for of in news if isinstance(of, int)),
                spots=tuple(self._spots[of] for of in news if isinstance(of, str)),
            )
        )  # fmt: skip


def chain(ticker: str, expiry: date) -> tuple[Contract, ...]:
    """Return the contracts of a ticker: those held of the index, none of the others."""
    if ticker != "SPX":
        return ()
    first = SPOT_TICKS - POSITIONS // 2 * 500
    return tuple(
        Contract(10_000 + n, ticker, "SPXW", expiry, Ticks(first + 500 * n), Right.CALL) for n in range(POSITIONS)
    )


def record(path: Path, minutes: float, option_hz: float, spot_hz: float) -> int:
    """Record so many minutes of the market and return how many messages; all positions are held at the end.

    Raises:
        RuntimeError: a position was left, or never held.
    """
    settings = load_settings(profile="real", overrides={"exits": {"no_progress_ms": FOR_EVER_MS}})
    at_utc = at_exchange(settings.demo.session, START)
    clock = VirtualClock(at_utc)
    header = Header(
        run_n=1, session=settings.demo.session.isoformat(), started_utc=at_utc, rate=1.0,
        settings_digest=settings.digest(), code_version="benchmark", settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip
    trace = FileTrace(path, header, clock, is_buffered=True, only_shown=("web",))
    runtime = SteppedRuntime(_tree(settings, lambda: runtime.cells), clock, trace=trace)
    pump = Pump(runtime, settings, option_hz, spot_hz)
    runtime.sinks |= dict.fromkeys(HIDDEN, _nothing) | {"port:quotes:paper": pump.post}
    runtime.start_tree()
    day = settings.demo.session
    phase = session.PhaseChanged(
        phase=Phase.ENTRY, session=day, open_utc=Utc(at_utc - 30 * MINUTE), close_utc=Utc(at_utc + 360 * MINUTE),
        at_utc=at_utc,
    )  # fmt: skip
    runtime.post("quotes:paper", phase, "session")
    for n, contract in enumerate(chain("SPX", day)):
        _hold(runtime, contract, n, phase)
    runtime.run_until(Utc(at_utc + round(minutes * MINUTE)))
    held = [cell.state.cycle for name, cell in runtime.cells.items() if name.startswith("position:")]
    runtime.close()
    trace.close()
    if held != [PositionState.OPEN] * POSITIONS:
        raise RuntimeError("not every position was held to the end")
    return runtime.steps


def _tree(settings: Settings, names: Callable[[], Any]) -> Tree:
    """Return the real tree with the actors that quotes go through, positions that ask no ledger, and sinks else."""
    nothing: Any = _Screen()
    built = build_tree(settings, Stores(nothing, nothing, nothing, nothing, nothing), names)
    tree = dataclasses.replace(
        built, rosters=(), children=(
            ChildSpec("supervisor", lambda: SupervisorActor("supervisor", tree, settings.supervision)),
            *(spec for spec in built.children if spec.name in ("quotes:paper", "web")),
        ),
        templates=tuple(dataclasses.replace(template, restore_from=None) for template in built.templates),
    )  # fmt: skip
    return tree


class _Screen:
    in_hand = 0

    def show(self, slot: str, at_utc: Utc, fact: msgspec.Struct) -> None:
        """Show nothing."""


def _nothing(_: Message) -> None:
    """Take what is told to somebody who is not there."""


def _hold(runtime: SteppedRuntime, contract: Contract, n: int, phase: session.PhaseChanged) -> None:
    """Have a position of one contract opened, filled and agreed on."""
    now, to = runtime.clock.now_utc(), f"position:paper:{contract.con_id}"
    ref = PositionRef(
        position_id=f"ZH-paper-{n:012d}", intent_id=f"intent-{n}", strategy="gexwatch", direction=1, contract=contract,
        key=AlertKey("gexwatch", "SPX", "GAMMA_FLIP", 1, now),
    )  # fmt: skip
    entry = f"{ref.position_id}-e"
    permit = Permit(kill_epoch=0, session_epoch=1, expires_utc=Utc(now + 2 * SECOND))
    told: tuple[Message, ...] = (
        phase,
        session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=1, session_epoch=1, cause="benchmark", at_utc=now),
        entries.OpenPosition(
            ref=ref, order_ref=entry, qty=Qty(1), limit_ticks=Ticks(PRICE),
            decision=DecisionPrices(Ticks(PRICE - 5), Ticks(PRICE + 5), Ticks(SPOT_TICKS)), permit=permit,
            deadline_utc=Utc(now + 10 * SECOND),
        ),
        broker.OrderSent(order_ref=entry, session_epoch=1, order_id=n, sent_utc=now),
        orders.OrderAcknowledged(order_ref=entry, perm_id=n + 1),
        orders.FillRecorded(
            order_ref=entry, con_id=contract.con_id, side=ref.side, exec_id=f"1.{n}", revision=1, qty=Qty(1),
            price_ticks=Ticks(PRICE), at_utc=now, filled_qty_total=Qty(1), filled_cost_ticks_total=PRICE,
        ),
        orders.OrderClosed(order_ref=entry, cause="Filled", filled_qty_total=Qty(1)),
        positions.BrokerPositionRead(con_id=contract.con_id, qty=Qty(1), read_utc=now),
    )  # fmt: skip
    for message in told:
        runtime.post(to, message, "benchmark")


def shares(path: Path) -> list[tuple[str, str, int, int]]:
    """Return what the lines of a trace are, by message and role: their number and bytes, most bytes first."""
    found: dict[tuple[str, str], list[int]] = {}
    encode = msgspec.json.encode
    for record_ in TraceReader(path):
        match record_:
            case Envelope():
                key = str(msgspec.json.decode(record_.message)["type"]), record_.to.partition(":")[0]
            case Handled():
                key = "what became of it", ""
            case _:
                continue
        entry = found.setdefault(key, [0, 0])
        entry[0] += 1
        entry[1] += len(encode(record_)) + 1
    return sorted(((*key, n, size) for key, (n, size) in found.items()), key=lambda row: -row[3])


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("trace_size", f"The trace of a day with {POSITIONS} positions", "python -m benchmarks trace_size")
    minutes = MINUTES * scale
    rows = []
    with work_folder() as folder:
        for name, option_hz, spot_hz in RATES:
            path = folder / f"{name.replace(' ', '-')}.jsonl"
            steps = record(path, minutes, option_hz, spot_hz)
            plain, parts = path.stat().st_size, shares(path)
            sealed = seal(path).stat().st_size
            a_day = SESSION_MIN / minutes
            gigabytes = sealed * a_day / 1e9
            what = f"sealed trace of a session, {POSITIONS} positions told {option_hz:g} times a second each"
            report.aim(what, f"≤ {AIM_GB:g} GB", f"{gigabytes:.2f} GB", gigabytes <= AIM_GB)
            rows.append([name, f"{option_hz:g}", f"{steps:,}", f"{plain * a_day / 1e9:.1f}", f"{gigabytes:.2f}"])
            report.table(
                f"{minutes:g} min, {name}: what the plain lines are.", ["message", "to", "lines", "MB", "bytes a line"],
                [[tag, to, f"{n:,}", f"{size / 1e6:.1f}", f"{size / n:.0f}"] for tag, to, n, size in parts[:8]],
            )  # fmt: skip
    report.table(
        f"Quotes, positions and dashboard of {minutes:g} min, and what {SESSION_MIN} min of it are.",
        ["ticks", "of an option a second", "messages", "GB plain a session", "GB sealed a session"], rows,
    )  # fmt: skip
    return report
