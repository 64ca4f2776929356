"""One faulty day from its plan to its findings: the process that trades, its deaths, and the broker beyond it."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from config.settings import Settings
from domain.instants import BUCKET_NS, MS, SECOND, bucket_of
from domain.instruments import OrderType, Side
from domain.orders.intent import Intent
from domain.risk.kill import KillLevel
from domain.session.calendar import TradingDay
from domain.signals.alert import Alert, AlertKey
from domain.signals.registry import FEATURES
from domain.signals.spread import SOURCE
from domain.signals.strategies import intent_of
from domain.units import Cents, Qty, Ticks, Utc
from main import Port, Stores, assemble
from messages import lifecycle, operator, signals
from messages.base import Message
from messages.ledgers import DeskFact, DeskInput, SharedFact, SharedInput
from simulation.broker.orders import Order
from simulation.days.broker import DayBroker
from simulation.days.checks import INJECTED, Checks
from simulation.days.coverage import Coverage, count_edges
from simulation.days.exchange import HAND_CLIENT_ID, DayExchange, grid_after
from simulation.days.faults import Fault
from simulation.days.plan import DayPlan, PlannedFault, PlannedSignal
from simulation.days.quotes import DayQuotes, strikes_around
from simulation.days.runtime import DayRuntime
from simulation.days.scene import Scene
from simulation.days.tape import market_for
from simulation.market.from_settings import nature_of
from storage.desk_ledger import DeskLedger
from storage.promotions import promote
from storage.shared_ledger import SharedLedger, start_run
from supervision.cell import Cell
from supervision.mailbox import Mail
from supervision.spec import Tree
from supervision.stepped import VirtualClock
from supervision.trace import NoTrace, Trace

SIGNALS: Final = "port:signals"
EDGE: Final = "edge:days"
RETRY_NS: Final = 23 * SECOND  # between two tries of a fault that needs something held, or an order
# These wait for something to strike; until then nothing is disturbed.
TRIED_AGAIN: Final = frozenset({Fault.VANISHED, Fault.MANUAL_CLOSE, Fault.LIQUIDATED})
FLATTEN_TOO: Final = 0.6  # of what is sold by hand: the rest is flattened before the ledger knows of the sale
STORM: Final = 20_000  # messages at one instant
RESTART_NS: Final = 3 * SECOND  # whoever starts the process again after it ended by itself
# What may have begun while the process was away: the next one meets it.
STILL_THERE: Final = frozenset({
    Fault.LINK_RESET, Fault.LINK_BLACK_HOLE, Fault.LINK_OUT_AT_CLOSE, Fault.LINK_SHORT_OF_BROKER, Fault.QUOTES_RESET,
    Fault.READ_SILENT, Fault.READ_FAILED,
})  # fmt: skip
RESUME_AGAIN_NS: Final = 30 * SECOND  # after a restart for a latch
TWICE_SHARE: Final = 0.05  # of the signals: told once more, as a lane does that was started again
NIGHT_SEED: Final = 1 << 20  # of the market of all second sessions, so that its columns are shared
TURN_NS: Final = 13 * 3_600 * SECOND  # before the second open, on the evening before, the broker's day turns
END_WAIT: Final = 8 * 60 * SECOND  # after the close: settlement, the day's row


class MessageStorm(BaseException):
    """Actors answer each other without an end and without a wait."""


class ProcessKilled(BaseException):
    """The process is gone between two messages."""


class InjectedError(RuntimeError):
    """A fault of ours, so that nobody takes it for the program's own."""

    def __init__(self) -> None:
        super().__init__(INJECTED)


class WatchedTrace:
    """A trace that also keeps a ring of what was handled, tells the checks, and is where a process may die.

    One that keeps no records is not called for each message: it would stamp with the same clock.
    """

    def __init__(self, inner: Trace, scene: Scene, checks: Checks, clock: VirtualClock) -> None:
        self._inner = inner
        self._receipt = inner.receipt if inner.records else None
        self._clock = clock
        self._seq = 0
        self._keep = scene.ring.append
        self._watcher_of = checks.watched.get
        self.dies_in: int | None = None
        self._at_utc, self._at_seq = Utc(0), 0
        self.handled = inner.handled
        self.settle = inner.settle
        self.sync = inner.sync
        self.mend = inner.mend

    @property
    def records(self) -> bool:
        """Whether envelopes are kept at all."""
        return self._inner.records

    @property
    def failed(self) -> str | None:
        """Why nothing is recorded any more."""
        return self._inner.failed

    def receipt(self, to: str, incarnation: int, inbox_n: int, mail: Mail) -> tuple[int, Utc]:
        """Record a dequeue, unless the process dies before it."""
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                raise ProcessKilled
        if self._receipt is None:
            self._seq = seq = self._seq + 1
            at_utc = self._clock.at_utc
        else:
            seq, at_utc = self._receipt(to, incarnation, inbox_n, mail)
        if at_utc != self._at_utc:
            self._at_utc, self._at_seq = at_utc, seq
        elif seq - self._at_seq > STORM:
            raise MessageStorm(f"{STORM} messages at one instant, the last to {to}: {type(mail.message).__name__}")
        message = mail.message
        self._keep((seq, at_utc, to, message))
        watcher = self._watcher_of(type(message))
        if watcher is not None:
            watcher(to, message, at_utc)
        return seq, at_utc


class _Failing:
    """A ledger whose file cannot be written while a fault of that kind is in force (SQLite itself refuses)."""

    def _failing_as(self, scene: Scene, clock: VirtualClock, kind: Fault) -> None:
        self._scene = scene
        self._clock = clock
        self._kind = kind if scene.has(kind) else None
        self._is_failing = False

    def _follow_fault(self) -> None:
        if self._kind is None:
            return
        is_failing = self._scene.active(self._kind, self._clock.now_utc()) is not None
        db: sqlite3.Connection | None = getattr(self, "_open_db", None)
        if db is not None:
            db.execute(f"PRAGMA query_only={int(is_failing)}")
        if is_failing:
            self._scene.disturb(self._clock.now_utc())


class FailingShared(_Failing, SharedLedger):
    """The shared ledger on a disk that fails."""

    def __init__(self, folder: Path, desk: str, scene: Scene, clock: VirtualClock) -> None:
        super().__init__(folder, (desk,), is_durable=False)
        self._failing_as(scene, clock, Fault.SHARED_LEDGER_FAILED)

    def apply(self, message: SharedInput, now: Utc) -> tuple[SharedFact, ...]:
        """Carry out one message, or fail as a disk does."""
        self._follow_fault()
        return super().apply(message, now)

    def retry(self, now: Utc) -> tuple[tuple[SharedInput, SharedFact], ...]:
        """Try to record what waits, or fail again."""
        self._follow_fault()
        return super().retry(now)


class FailingDesk(_Failing, DeskLedger):
    """The desk's ledger on a disk that fails."""

    def __init__(self, folder: Path, desk: str, run_n: int, scene: Scene, clock: VirtualClock) -> None:
        super().__init__(folder, desk, run_n, is_durable=False)
        self._failing_as(scene, clock, Fault.LEDGER_FAILED)

    def apply(self, message: DeskInput, now: Utc) -> tuple[DeskFact, ...]:
        """Carry out one message, or fail as a disk does."""
        self._follow_fault()
        return super().apply(message, now)

    def retry(self, now: Utc) -> tuple[tuple[DeskInput, DeskFact], ...]:
        """Try to record what waits, or fail again."""
        self._follow_fault()
        return super().retry(now)


class NoWarehouse:
    """Nothing is stored on a day without hubs."""

    in_hand = 0

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to release."""

    def take_findings(self) -> tuple[str, ...]:
        """Return that nothing was found."""
        return ()

    def take(self, message: Any) -> None:
        """Take nothing."""

    def flush(self) -> tuple[Any, ...]:
        """Return no fact."""
        return ()

    def show(self) -> None:
        """Show nothing."""

    def disk_fault(self) -> str | None:
        """Return that the disk is well."""
        return None

    def end_day(self, session: Any) -> None:
        """Put nothing on record."""

    def start_seal(self, session: Any = None) -> bool:
        """Return that there is no work."""
        return False

    def poll_seal(self) -> str | None:
        """Return that nothing runs."""
        return None


class World:
    """A day's broker and the processes that trade it, one after the other."""

    def __init__(
        self, settings: Settings, plan: DayPlan, folder: Path, *, is_dense: bool = False,
        make_trace: Callable[[VirtualClock, int], Trace] | None = None,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.plan = plan
        self.folder = folder
        self.coverage = Coverage()
        self.clock = VirtualClock(plan.starts_utc - plan.starts_utc % SECOND)
        self._make_trace = make_trace or (lambda clock, _: NoTrace(clock))
        market = market_for(plan.market_seed, plan.day.session, settings.tickers, nature_of(settings))
        market.rewind()
        cash = Cents(settings.demo.nav_usd * 100)
        exchange = DayExchange(market, plan, self.coverage, cash, plan.day.session.toordinal())
        self.scene = Scene(plan, market, exchange, self.coverage, is_dense)
        self.checks = Checks(self.scene, settings, folder)
        self.checks.is_reachable = lambda: self._broker is not None and self._broker.is_reachable
        self.lives = self.executions = 0
        self.messages = 0
        self._broker: DayBroker | None = None
        self._quotes: DayQuotes | None = None
        self._runtime: DayRuntime | None = None
        self._trace: WatchedTrace | None = None
        self._dead_for: PlannedFault | None = None
        self._hand_n = 0
        self._alerts: dict[str, Alert] = {}
        self._commands = 0

    # -- lives ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the whole plan; findings are in the scene, counts in the coverage."""
        edges = count_edges()
        before = dict(edges)
        if self.plan.shuffle_seed is not None:
            self.coverage.fault(Fault.SHUFFLED)
        self.begin()
        self._run_until(Utc(self.plan.day.close_utc + END_WAIT))
        self.checks.at_end(self.clock.now_utc())
        if self.plan.next_day is not None:
            self._run_night(self.plan.next_day)
        self.executions += len(self.scene.exchange.executions())
        if self._runtime is not None:
            self._end_life()
        self.coverage.edges = {name: n - before.get(name, 0) for name, n in edges.items() if n > before.get(name, 0)}

    def begin(self) -> None:
        """Start the process for the first time."""
        self._begin_life()

    def go(self, for_ns: int) -> None:
        """Go on for a while."""
        self._run_until(Utc(self.clock.now_utc() + for_ns))

    def end(self) -> None:
        """End the process, for tests that run no whole day."""
        if self._runtime is not None:
            self._end_life()

    def find(self, source: str, ticker: str, direction: int) -> None:
        """Find an alert of the bucket that has just ended."""
        now = self.clock.now_utc()
        bucket_utc = Utc(bucket_of(now) - BUCKET_NS)
        self._find(PlannedSignal(now, bucket_utc, source, ticker, direction, is_shadow=False))

    def strike(self, fault: PlannedFault) -> None:
        """Let a fault happen that was not planned."""
        self.scene.faults.append(fault)
        self._strike(fault)

    def _run_night(self, day: TradingDay) -> None:
        """Go on through the night and trade the next session, with the same process where it lives."""
        self.coverage.fault(Fault.NIGHT)
        self._run_until(Utc(day.open_utc - TURN_NS))
        if self.scene.broken:
            return
        market = market_for(NIGHT_SEED, day.session, self.settings.tickers, nature_of(self.settings))
        market.rewind()
        old = self.scene.exchange
        self.executions += len(old.executions())
        exchange = DayExchange(
            market, self.plan, self.coverage, Cents(old.account_values()["TotalCashValue"]), day.session.toordinal()
        )
        self.scene.turn(market, exchange)
        self.checks.new_session()
        if self._broker is not None and self._quotes is not None:
            self._broker.turn()
            self._quotes.turn()
        self._run_until(Utc(day.close_utc + END_WAIT))
        self.checks.at_end(self.clock.now_utc())

    def _run_until(self, end_utc: Utc) -> None:
        while self.clock.now_utc() < end_utc and not self.scene.broken:
            runtime = self._runtime
            assert runtime is not None
            try:
                runtime.run_until(end_utc)
            except MessageStorm as storm:
                self.scene.breaks(str(storm))
                continue
            except ProcessKilled:
                fault = self._dead_for
                assert fault is not None
                self._be_dead(fault.lasting_ns)
                continue
            if self.scene.broken:
                return
            if runtime.ended is not None:
                if not self.scene.injected_crashes:
                    self.scene.breaks(f"the process ended by itself: {runtime.ended}")
                self.coverage.other("processes that ended by themselves")
                self._be_dead(RESTART_NS)

    def _be_dead(self, lasting_ns: int) -> None:
        """Let the broker go on alone, then start the process again at a whole second."""
        self._end_life()
        until_utc = grid_after(self.clock.now_utc() + lasting_ns)
        self.scene.disturb(until_utc)
        exchange, market = self.scene.exchange, self.scene.market
        for fault in self.scene.faults:
            if self.clock.now_utc() < fault.at_utc <= until_utc and fault.kind is Fault.HALT:
                self._strike(fault)
        while True:
            due_utc = exchange.next_due(self.clock.now_utc())
            if due_utc is None or due_utc > until_utc:
                break
            self.clock.advance(due_utc)
            market.step(max(due_utc, market.now_utc))
            exchange.step(due_utc)
        self.clock.advance(until_utc)
        self._begin_life()

    def _end_life(self) -> None:
        runtime = self._runtime
        assert runtime is not None
        self.messages += runtime.steps
        self.scene.runtime = None
        self._runtime = self._broker = self._quotes = None
        runtime.close()

    def _begin_life(self) -> None:
        settings, scene, clock = self.settings, self.scene, self.clock
        now, desk = clock.now_utc(), settings.desk
        self.lives += 1
        run_n = start_run(self.folder, (desk,), now)
        stores = Stores(
            FailingShared(self.folder, desk, scene, clock),
            FailingDesk(self.folder, desk, run_n, scene, clock),
            NoWarehouse(),
        )
        self.checks.new_life(now)
        trace = self._trace = WatchedTrace(self._make_trace(clock, run_n), scene, self.checks, clock)
        shuffle_seed = self.plan.shuffle_seed

        def make_runtime(tree: Tree) -> DayRuntime:
            return DayRuntime(trading_side(tree), clock, run_n, trace, shuffle_seed)

        def make_ports(runtime: DayRuntime) -> Iterable[Port]:
            around = strikes_around(settings.connection)
            self._broker = DayBroker(f"ibkr:{desk}", runtime, scene, self.checks)
            self._quotes = DayQuotes(f"quotes:{desk}", runtime, scene, around)
            return self._broker, self._quotes

        runtime = self._runtime = assemble(settings, stores, make_runtime, make_ports).runtime
        scene.runtime = runtime
        runtime.after_step = self.checks.after_step
        runtime.sinks[SIGNALS] = self._on_recorded
        runtime.sinks[EDGE] = lambda _message: None
        for signal in self.plan.signals:
            if signal.at_utc > now:
                runtime.call_at(signal.at_utc, partial(self._find, signal))
        for fault in self.scene.faults:
            if fault.at_utc > now:
                runtime.call_at(fault.at_utc, partial(self._strike, fault))
            elif fault.kind in STILL_THERE and fault.until_utc > now:
                rest = replace(fault, at_utc=now, lasting_ns=fault.until_utc - now)
                runtime.call_at(now, partial(self._strike, rest))
        runtime.start_tree()

    # -- signals ----------------------------------------------------------------------------------

    def _find(self, signal: PlannedSignal) -> None:
        """Find an alert: it is recorded first, as a lane does it."""
        settings, runtime = self.settings, self._runtime
        assert runtime is not None
        kind = settings.alerts[signal.source][0]
        version = settings.alert_rules[kind].version
        key = AlertKey(signal.source, signal.ticker, kind, version, signal.bucket_utc)
        price = self.scene.market.spot(signal.ticker).price_ticks
        alert = Alert(
            key=key, direction=signal.direction, entry_ticks=price, target_ticks=Ticks(price + signal.direction * 100),
            stop_ticks=Ticks(price - signal.direction * 100), horizon_ms=1_800_000, is_shadow=signal.is_shadow,
            raised_utc=self.clock.now_utc(),
        )  # fmt: skip
        self._alerts[key.alert_id] = alert
        record = signals.RecordAlert(
            reply_to=SIGNALS, alert=alert, features=(None,) * len(FEATURES), forces=(), alignment=None, thresholds=()
        )
        runtime.post("ledger", record, SIGNALS)

    def _on_recorded(self, message: Message) -> None:
        if not isinstance(message, signals.AlertRecorded) or not message.is_new:
            return
        runtime, alert = self._runtime, self._alerts[message.alert_id]
        assert runtime is not None
        source = alert.key.source
        intent = intent_of(alert, source, self.settings.strategies[source])
        self.checks.signals[message.alert_id] = self.clock.now_utc()
        self.coverage.other("signals")
        runtime.publish(signals.SignalRaised(intent=intent), SIGNALS)
        draw = self.plan.drawn("twice", message.alert_id)
        if draw.random() < TWICE_SHARE:
            wait_ns = draw.choice((0, draw.randrange(20) * SECOND))
            runtime.call_at(self.clock.now_utc() + wait_ns, partial(self._raise_again, intent))
        if self.plan.drawn("reversal", message.alert_id).random() < 0.3:
            reversal = signals.ReversalRaised(
                source=source, ticker=alert.key.ticker, direction=alert.direction, bucket_utc=alert.key.bucket_utc
            )
            runtime.publish(reversal, SIGNALS)

    def _raise_again(self, intent: Intent) -> None:
        if self._runtime is not None:
            self.coverage.fault(Fault.SIGNAL_TWICE)
            self._runtime.publish(signals.SignalRaised(intent=intent), SIGNALS)

    # -- faults -----------------------------------------------------------------------------------

    def _strike(self, fault: PlannedFault) -> None:
        """Let a planned fault happen."""
        scene, now = self.scene, self.clock.now_utc()
        kind = fault.kind
        if kind not in TRIED_AGAIN:
            scene.disturb(now, fault.until_utc)
        match kind:
            case (
                Fault.LINK_RESET | Fault.LINK_BLACK_HOLE | Fault.LINK_CUT | Fault.LINK_CUT_DATA_LOST
                | Fault.LINK_RESTORED_UNASKED | Fault.LINK_ID_IN_USE | Fault.LINK_WRONG_ACCOUNT
                | Fault.LINK_SHORT_OF_BROKER | Fault.LINK_DIES_DIALLING | Fault.LINK_OUT_AT_CLOSE
                | Fault.FARM_BROKEN | Fault.LINK_WRONG_PORT
            ):  # fmt: skip
                if self._broker is not None:
                    self._broker.strike(fault)
            case Fault.QUOTES_RESET | Fault.QUOTES_CUT:
                if self._quotes is not None:
                    self._quotes.strike(fault)
            case Fault.PROCESS_KILLED | Fault.PROCESS_KILLED_AGAIN:
                if self._trace is not None:
                    self.coverage.fault(kind)
                    self._dead_for = fault
                    self._trace.dies_in = fault.n
            case Fault.ACTOR_CRASHED | Fault.SESSION_GIVEN_UP:
                self._crash(fault)
            case Fault.ACTOR_STALLED:
                self._stall(fault)
            case Fault.HALT:
                self.coverage.fault(kind)
                scene.exchange.halt_until(fault.subject, fault.until_utc)
                if self._quotes is not None and self._runtime is not None:
                    self._quotes.halt(fault.subject, True)
                    self._runtime.call_at(fault.until_utc, partial(self._end_halt, fault.subject))
            case Fault.READ_GROUP_FAILED | Fault.READ_FAILED | Fault.READ_SILENT:
                scene.read_faults.append(fault)
                if self._broker is not None:
                    self._broker.strike(PlannedFault(Fault.LINK_RESET, now, SECOND))
            case Fault.STOPPED | Fault.FLATTENED | Fault.RESUMED | Fault.DEMOTED:
                if kind is Fault.RESUMED and self._is_latched():
                    return
                self.coverage.fault(kind)
                self._command(kind)
                if kind is Fault.DEMOTED and self._runtime is not None:
                    self._runtime.call_at(fault.until_utc, partial(self._promote, operator.Promote))
            case Fault.VANISHED:
                if self._broker is None or not self._broker.vanish():
                    self._strike_later(fault)
                else:
                    self.coverage.fault(kind)
                    scene.disturb(now, fault.until_utc)
            case Fault.FOREIGN_POSITION | Fault.FOREIGN_ORDER | Fault.MANUAL_CLOSE | Fault.LIQUIDATED:
                self._trade_by_hand(fault)
            case _:
                pass  # it is in force by itself from now on: whoever meets it asks the scene

    def _strike_later(self, fault: PlannedFault) -> None:
        """Try again a little later what finds nothing to strike."""
        if self._runtime is not None:
            self._runtime.call_at(self.clock.now_utc() + RETRY_NS, partial(self._strike, fault))

    def _end_halt(self, ticker: str) -> None:
        if self._quotes is not None:
            self._quotes.halt(ticker, False)

    def _is_latched(self) -> bool:
        """Return whether a resume would be refused for the process latch; whoever asked starts the process again."""
        if self._runtime is None or not self._runtime.latched or self._trace is None:
            return False
        now = self.clock.now_utc()
        self.coverage.other("processes started again for their latch")
        self.scene.faults.append(PlannedFault(Fault.RESUMED, now + RESUME_AGAIN_NS))
        self._dead_for = PlannedFault(Fault.PROCESS_KILLED, now, RESTART_NS)
        self._trace.dies_in = 0
        return True

    def _command(self, kind: Fault) -> None:
        runtime, now = self._runtime, self.clock.now_utc()
        if runtime is None:
            return
        self._commands += 1
        common: dict[str, Any] = {
            "command_id": f"days-{self._commands}", "reply_to": EDGE, "by": "people", "reason": "drawn",
            "expires_utc": now + 60 * SECOND,
        }  # fmt: skip
        match kind:
            case Fault.STOPPED:
                runtime.post("operator", operator.Kill(level=KillLevel.NO_ENTRIES, **common), EDGE)
            case Fault.FLATTENED:
                runtime.post("operator", operator.Flatten(**common), EDGE)
            case Fault.DEMOTED:
                self._promote(operator.Demote)
            case _:
                runtime.post("operator", operator.Resume(level=KillLevel.RUNNING, **common), EDGE)

    def _promote(self, command: type[operator.Promote] | type[operator.Demote]) -> None:
        """Promote or demote the first source's kind."""
        if self._runtime is None:
            return
        self._commands += 1
        source, kinds = next(iter(self.settings.alerts.items()))
        version = self.settings.alert_rules[kinds[0]].version
        told = command(
            command_id=f"days-{self._commands}", reply_to=EDGE, by="people", reason="drawn", source=source,
            kind=kinds[0], version=version, expires_utc=self.clock.now_utc() + 60 * SECOND,
        )  # fmt: skip
        self._runtime.post("operator", told, EDGE)

    def _struck(self, fault: PlannedFault) -> Cell | None:
        """Return the actor that a fault strikes; `None` where there is none of that kind."""
        runtime, desk, subject = self._runtime, self.settings.desk, fault.subject
        if runtime is None:
            return None
        prefix = {"position": f"position:{desk}:", "lane": "lane:", "structure": f"structure:{desk}:"}.get(subject)
        names = [n for n in runtime.cells if (n.startswith(prefix) if prefix else n in (subject, f"{subject}:{desk}"))]
        return runtime.cells[self.plan.drawn("struck", fault.at_utc).choice(sorted(names))] if names else None

    def _crash(self, fault: PlannedFault) -> None:
        cell = self._struck(fault)
        if cell is None:
            return
        self.coverage.fault(fault.kind)
        self.scene.injected_crashes.add(cell.name)
        is_given_up = fault.kind is Fault.SESSION_GIVEN_UP
        spared = 0 if is_given_up else self.plan.drawn("spared", fault.at_utc).choice((0, 0, 0, 1, 2, 3, 5))
        plant_crashes(cell, fault.n, spared=spared, with_started=is_given_up)

    def _stall(self, fault: PlannedFault) -> None:
        cell = self._struck(fault)
        if cell is None or self._runtime is None or not cell.is_up:
            return
        self.coverage.fault(fault.kind)
        if cell.name.startswith("ibkr:"):
            self.checks.order_session_stalled(fault.until_utc)
        self._runtime.stall(cell, fault.until_utc)

    def _trade_by_hand(self, fault: PlannedFault) -> None:
        scene, now = self.scene, self.clock.now_utc()
        if not scene.market.open_utc <= now < scene.market.close_utc or self._broker is None:
            return
        ours, is_short_leg = self.checks.ours(), self.checks.structures.is_short_leg
        held = [p for p in scene.exchange.positions() if p.con_id in ours and (p.qty > 0 or is_short_leg(p.con_id))]
        draw = self.plan.drawn("hand", fault.at_utc)
        if fault.kind in (Fault.MANUAL_CLOSE, Fault.LIQUIDATED):
            if not held:
                self._strike_later(fault)
                return
            position = draw.choice([p for p in held if abs(p.qty) > 1] or held)  # part of it, where there are parts
            qty = abs(position.qty) if fault.kind is Fault.LIQUIDATED else Qty(max(1, abs(position.qty) // 2))
            side = Side.SELL if position.qty > 0 else Side.BUY
            con_id, order_type, limit = position.con_id, OrderType.MARKET, None
            scene.touched_by_hand[con_id] = now
        else:
            chain = [c for c in scene.market.contracts(self.settings.tickers[1]) if c.expiry == scene.market.session]
            con_id, qty, side = draw.choice(chain).con_id, Qty(1), Side.BUY
            scene.touched_by_hand[con_id] = now
            is_order = fault.kind is Fault.FOREIGN_ORDER
            order_type, limit = (OrderType.LIMIT, Ticks(1)) if is_order else (OrderType.MARKET, None)
        self.coverage.fault(fault.kind)
        scene.disturb(now, fault.until_utc)
        self._hand_n += 1
        order = Order(
            con_id=con_id, side=side, qty=qty, type=order_type, client_id=HAND_CLIENT_ID, order_id=self._hand_n,
            limit_ticks=limit,
        )  # fmt: skip
        self._broker.trade_by_hand(order)
        if side is Side.SELL and draw.random() < FLATTEN_TOO and self._runtime is not None:
            self.coverage.fault(Fault.FLATTENED)
            soon_utc = now + draw.randrange(1, 8_000) * MS
            self._runtime.call_at(soon_utc, partial(self._command, Fault.FLATTENED))


KEPT: Final = ("supervisor", "ledger", "kill", "notifier", "operator", "risk", "ibkr", "quotes", "lane", "session")


def trading_side(tree: Tree) -> Tree:
    """Return the tree without what only makes readings: hubs, feed, readings, warehouse."""
    children = tuple(child for child in tree.children if child.name.partition(":")[0] in KEPT)
    gone = frozenset(("hubs", "readings", "warehouse"))
    subscribers = {event: tuple(r for r in roles if r not in gone) for event, roles in tree.subscribers.items()}
    return dataclasses.replace(tree, children=children, subscribers=subscribers)


def plant_crashes(cell: Cell, count: int, *, spared: int, with_started: bool) -> None:
    """Have an actor raise at its next `count` messages but `spared`, over as many incarnations as that takes."""
    left, before = [count], [spared]
    make = cell.spec.make

    def raising(decide: Any) -> Any:
        def act(turn: Any, message: Any) -> None:
            if before[0] > 0:
                before[0] -= 1
            elif left[0] > 0 and (with_started or type(message) is not lifecycle.Started):
                left[0] -= 1
                raise InjectedError
            decide(turn, message)

        return act

    def made() -> Any:
        actor: Any = make()
        if left[0] > 0:
            actor.decide = raising(actor.decide)
        return actor

    cell.spec = dataclasses.replace(cell.spec, make=made)
    cell.decide = raising(cell.decide)


def executions_hash(exchange: DayExchange) -> str:
    """Return the hash of a day's executions: reference, side, quantity, price and instant of each, in order."""
    digest = hashlib.blake2b(digest_size=12)
    for execution, _ in exchange.executions():
        order = execution.order
        row = (order.order_ref, order.con_id, order.side.value, execution.qty, execution.price_ticks, execution.at_utc)
        digest.update(repr(row).encode())
    return digest.hexdigest()


def fresh_ledgers(template: Path, folder: Path) -> None:
    """Put new ledgers, with the promotions of the settings, into a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)


def make_template(settings: Settings, folder: Path, now: Utc) -> None:
    """Make ledgers with the promotions of the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    start_run(folder, (settings.desk,), now)
    for source in (*settings.lanes, *((SOURCE,) if settings.spread.is_on else ())):
        promote(folder, settings.promoted, source, "demo", "named in the settings", now)
