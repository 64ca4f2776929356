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

from config.desks import desk_names, of_desk
from config.settings import Settings
from domain.instants import BUCKET_NS, SECOND, bucket_of
from domain.orders.intent import Intent
from domain.session.calendar import TradingDay
from domain.signals.alert import Alert, AlertKey
from domain.signals.registry import FEATURES
from domain.signals.spread import SOURCE
from domain.signals.strategies import intent_of
from domain.units import Cents, Ticks, Utc
from main import Desk, Port, Stores, assemble
from messages import entries, operator, signals
from messages.base import Message
from messages.ledgers import DeskFact, DeskInput, SharedFact, SharedInput
from simulation.days.beside import PlannedSwitch
from simulation.days.checks import Checks
from simulation.days.coverage import Coverage, count_edges
from simulation.days.desk import EDGE, DayDesk, Watcher, watchers_of
from simulation.days.desks_checks import DesksChecks
from simulation.days.exchange import DayExchange, grid_after
from simulation.days.faults import Fault
from simulation.days.plan import DayPlan, PlannedFault, PlannedSignal
from simulation.days.runtime import DayRuntime
from simulation.days.scene import Scene
from simulation.days.tape import TapeMarket, market_for
from simulation.market.from_settings import nature_of
from storage.desk_ledger import DeskLedger
from storage.promotions import promote
from storage.shared_ledger import SharedLedger, start_run
from supervision.mailbox import Mail
from supervision.spec import Tree
from supervision.stepped import VirtualClock
from supervision.trace import NoTrace, Trace

SIGNALS: Final = "port:signals"
STORM: Final = 20_000  # messages at one instant
RESTART_NS: Final = 3 * SECOND  # whoever starts the process again after it ended by itself
# What disturbs every desk: the process, or actors that are no desk's own.
OF_EVERY_DESK: Final = frozenset({
    Fault.PROCESS_KILLED, Fault.PROCESS_KILLED_AGAIN, Fault.DEMOTED, Fault.SESSION_GIVEN_UP, Fault.SHARED_LEDGER_FAILED,
})  # fmt: skip
OF_NO_DESK: Final = frozenset(("session", "operator", "lane", "ledger"))
# What may have begun while the process was away: the next one meets it.
STILL_THERE: Final = frozenset({
    Fault.LINK_RESET, Fault.LINK_BLACK_HOLE, Fault.LINK_OUT_AT_CLOSE, Fault.LINK_SHORT_OF_BROKER, Fault.QUOTES_RESET,
    Fault.READ_SILENT, Fault.READ_FAILED,
})  # fmt: skip
OF_RISK: Final = (entries.PermitRenewed, entries.PermitRefused, entries.SliceAllowed, entries.SliceRefused)
RESUME_AGAIN_NS: Final = 30 * SECOND  # after a restart for a latch
TWICE_SHARE: Final = 0.05  # of the signals: told once more, as a lane does that was started again
NIGHT_SEED: Final = 1 << 20  # of the market of all second sessions, so that its columns are shared
TURN_NS: Final = 13 * 3_600 * SECOND  # before the second open, on the evening before, the broker's day turns
END_WAIT: Final = 8 * 60 * SECOND  # after the close: settlement, the day's row


class MessageStorm(BaseException):
    """Actors answer each other without an end and without a wait."""


class ProcessKilled(BaseException):
    """The process is gone between two messages."""


class WatchedTrace:
    """A trace that also keeps a ring of what was handled, tells the checks, and is where a process may die.

    One that keeps no records is not called for each message: it would stamp with the same clock.
    """

    def __init__(self, inner: Trace, scene: Scene, watched: dict[type[Message], Watcher], clock: VirtualClock) -> None:
        self._inner = inner
        self._receipt = inner.receipt if inner.records else None
        self._clock = clock
        self._seq = 0
        self._keep = scene.ring.append
        self._watcher_of = watched.get
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

    def __init__(self, folder: Path, desks: tuple[str, ...], scene: Scene, clock: VirtualClock) -> None:
        super().__init__(folder, desks, is_durable=False)
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

    def tidy(self) -> None:
        """Take nothing away."""

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
        self._cash = Cents(settings.demo.nav_usd * 100)
        self._is_dense = is_dense
        self.desks: tuple[DayDesk, ...] = ()
        for name in desk_names(settings):
            self.desks += (self._make_desk(name, market),)
        self.scene, self.checks = self.desks[0].scene, self.desks[0].checks
        self._between = DesksChecks(self.desks) if len(self.desks) > 1 else None
        self.lives = self.executions = 0
        self.messages = 0
        self._runtime: DayRuntime | None = None
        self._trace: WatchedTrace | None = None
        self._dead_for: PlannedFault | None = None
        self._alerts: dict[str, Alert] = {}
        self._commands = 0
        self._answers: dict[str, int] = {}  # of risk, by order

    def _make_desk(self, name: str, market: TapeMarket) -> DayDesk:
        """Make a desk with its broker's book; each has faults of its own, and all break one day."""
        plan, number = self.plan.of_desk(len(self.desks)), len(self.desks)
        exchange = DayExchange(
            market, plan, self.coverage, self._cash, self.plan.day.session.toordinal(), number
        )  # fmt: skip
        first = self.desks[0].scene if self.desks else None
        scene = Scene(plan, market, exchange, self.coverage, self._is_dense, first)
        settings = of_desk(self.settings, name)
        checks = Checks(scene, settings, self.folder)
        return DayDesk(settings, scene, checks, self.clock, is_one_of_several=bool(self.settings.desks))

    # -- lives ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the whole plan; findings are in the scene, counts in the coverage."""
        edges = count_edges()
        before = dict(edges)
        if self.plan.shuffle_seed is not None:
            self.coverage.fault(Fault.SHUFFLED)
        self.begin()
        self._run_until(Utc(self.plan.day.close_utc + END_WAIT))
        self._judge()
        if self.plan.next_day is not None:
            self._run_night(self.plan.next_day)
        self.executions += self._executions()
        if self._runtime is not None:
            self._end_life()
        self.coverage.edges = {name: n - before.get(name, 0) for name, n in edges.items() if n > before.get(name, 0)}

    def _judge(self) -> None:
        """Look at a session that is over."""
        for desk in self.desks:
            desk.checks.at_end(self.clock.now_utc())
        if self._between is not None:
            self._between.at_end()

    def _executions(self) -> int:
        return sum(len(desk.scene.exchange.executions()) for desk in self.desks)

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
        self.executions += self._executions()
        for number, desk in enumerate(self.desks):
            cash = Cents(desk.scene.exchange.account_values()["TotalCashValue"])
            exchange = DayExchange(market, desk.scene.plan, self.coverage, cash, day.session.toordinal(), number)
            desk.scene.turn(market, exchange)
            desk.checks.new_session()
            desk.turn()
        self._run_until(Utc(day.close_utc + END_WAIT))
        self._judge()

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
        for desk in self.desks:
            desk.scene.disturb(until_utc)
        for fault in self.scene.faults:
            if self.clock.now_utc() < fault.at_utc <= until_utc and fault.kind is Fault.HALT:
                self._strike(fault)
        market = self.scene.market
        while True:
            due = [(at_utc, desk) for desk in self.desks if (at_utc := desk.next_due(self.clock.now_utc())) is not None]
            due_utc = min((at_utc for at_utc, _ in due), default=None)
            if due_utc is None or due_utc > until_utc:
                break
            self.clock.advance(due_utc)
            market.step(max(due_utc, market.now_utc))
            for at_utc, desk in due:
                if at_utc == due_utc:
                    desk.step_alone(due_utc)
        self.clock.advance(until_utc)
        self._begin_life()

    def _end_life(self) -> None:
        runtime = self._runtime
        assert runtime is not None
        self.messages += runtime.steps
        for desk in self.desks:
            desk.scene.runtime = None
            desk.end_life()
        self._runtime = None
        runtime.close()

    def _begin_life(self) -> None:
        settings, scene, clock = self.settings, self.scene, self.clock
        now, names = clock.now_utc(), desk_names(settings)
        self.lives += 1
        run_n = start_run(self.folder, names, now)
        first, *others = (
            FailingDesk(self.folder, desk.name, run_n, desk.scene, clock) for desk in self.desks
        )  # fmt: skip
        stores = Stores(FailingShared(self.folder, names, scene, clock), first, NoWarehouse())
        beside = tuple(
            Desk(desk.settings, ledger, desk.settings.trading_mode == "live")
            for desk, ledger in zip(self.desks[1:], others, strict=True)
        )
        for desk in self.desks:
            desk.checks.new_life(now)
        watched = watchers_of(self.desks)
        trace = self._trace = WatchedTrace(self._make_trace(clock, run_n), scene, watched, clock)
        shuffle_seed = self.plan.shuffle_seed

        def make_runtime(tree: Tree) -> DayRuntime:
            return DayRuntime(trading_side(tree), clock, run_n, trace, shuffle_seed)

        def make_ports(runtime: DayRuntime) -> Iterable[Port]:
            return tuple(port for desk in self.desks for port in desk.begin_life(runtime))

        runtime = self._runtime = assemble(settings, stores, make_runtime, make_ports, beside=beside).runtime
        for desk in self.desks:
            desk.scene.runtime = runtime
        if self.plan.has_lost_permits:
            runtime.lose(self._is_lost)
        runtime.after_step = self._after_step()
        runtime.sinks[SIGNALS] = self._on_recorded
        runtime.sinks[EDGE] = self._on_answer
        for switch in () if self.plan.beside is None else self.plan.beside.switches:
            if switch.at_utc > now:
                runtime.call_at(switch.at_utc, partial(self._switch, switch))
        for signal in self.plan.signals:
            if signal.at_utc > now:
                runtime.call_at(signal.at_utc, partial(self._find, signal))
        for desk in self.desks:
            for fault in desk.scene.faults:
                if fault.at_utc > now:
                    runtime.call_at(fault.at_utc, partial(self._strike, fault, desk))
                elif fault.kind in STILL_THERE and fault.until_utc > now:
                    rest = replace(fault, at_utc=now, lasting_ns=fault.until_utc - now)
                    runtime.call_at(now, partial(self._strike, rest, desk))
        runtime.start_tree()

    def _after_step(self) -> Callable[[Utc], None]:
        """Return what looks at everything after an instant."""
        between = self._between
        if between is None:
            return self.checks.after_step
        looks = [*(desk.checks.after_step for desk in self.desks), between.after_step]

        def look(now: Utc) -> None:
            for one in looks:
                one(now)

        return look

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
        for desk in self.desks:
            if desk.trades(source):
                desk.checks.signals[message.alert_id] = self.clock.now_utc()
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

    def _strike(self, fault: PlannedFault, desk: DayDesk | None = None) -> None:
        """Let a planned fault happen, at the desk that it was planned for; what is the process's is everybody's."""
        now, kind, desk = self.clock.now_utc(), fault.kind, desk or self.desks[0]
        if kind in OF_EVERY_DESK or fault.subject in OF_NO_DESK:
            for one in self.desks:
                one.scene.disturb(now, fault.until_utc)
        match kind:
            case Fault.PROCESS_KILLED | Fault.PROCESS_KILLED_AGAIN:
                if self._trace is not None:
                    self.coverage.fault(kind)
                    self._dead_for = fault
                    self._trace.dies_in = fault.n
            case Fault.DEMOTED:
                self.coverage.fault(kind)
                self._promote(operator.Demote)
                if self._runtime is not None:
                    self._runtime.call_at(fault.until_utc, partial(self._promote, operator.Promote))
            case Fault.HALT:
                for one in self.desks:
                    one.strike(fault)
            case Fault.RESUMED if self._is_latched(desk):
                desk.scene.disturb(now, fault.until_utc)
            case _:
                desk.strike(fault)

    def _is_lost(self, message: Message) -> bool:
        """Return whether a message is an answer of risk that never arrives: each is drawn by the order it is about."""
        if not isinstance(message, OF_RISK):
            return False
        n = self._answers[message.order_ref] = self._answers.get(message.order_ref, 0) + 1
        is_lost = self.plan.is_lost(message.order_ref, n)
        if is_lost:
            self.coverage.fault(Fault.PERMIT_LOST)
        return is_lost

    def _switch(self, switch: PlannedSwitch) -> None:
        """Have a person switch a strategy from the desk that trades it to the other."""
        runtime, between = self._runtime, self._between
        if runtime is None or between is None:
            return
        now, at = self.clock.now_utc(), between.route_of(switch.strategy)
        if len(at) != 1:
            self.coverage.other("switches: nobody trades it, or both")
            return
        self._commands += 1
        (to_desk,) = (desk.name for desk in self.desks if desk.name not in at)
        command = operator.Switch(
            command_id=f"switch-{self._commands}", reply_to=EDGE, by="people", reason="drawn",
            expires_utc=Utc(now + 60 * SECOND), strategy=switch.strategy, from_desk=at[0], to_desk=to_desk,
        )  # fmt: skip
        between.on_asked(command, now)
        for desk in self.desks:
            desk.scene.disturb(now)
        runtime.post("operator", command, EDGE)

    def _on_answer(self, message: Message) -> None:
        """Hear what became of a person's command."""
        if self._between is not None and isinstance(message, operator.CommandDone | operator.CommandDenied):
            self._between.on_answer(message, self.clock.now_utc())

    def _is_latched(self, desk: DayDesk) -> bool:
        """Return whether a resume would be refused for a latch; whoever asked starts the process again."""
        if self._runtime is None or not desk.is_latched or self._trace is None:
            return False
        now = self.clock.now_utc()
        self.coverage.other("processes started again for their latch")
        desk.scene.faults.append(PlannedFault(Fault.RESUMED, now + RESUME_AGAIN_NS))
        self._dead_for = PlannedFault(Fault.PROCESS_KILLED, now, RESTART_NS)
        self._trace.dies_in = 0
        return True

    def _promote(self, command: type[operator.Promote] | type[operator.Demote]) -> None:
        """Promote or demote the first source's kind."""
        if self._runtime is None:
            return
        self._commands += 1
        source, kinds = next(iter(self.settings.alerts.items()))
        version = self.settings.alert_rules[kinds[0]].version
        told = command(
            command_id=f"days-p{self._commands}", reply_to=EDGE, by="people", reason="drawn", source=source,
            kind=kinds[0], version=version, expires_utc=self.clock.now_utc() + 60 * SECOND,
        )  # fmt: skip
        self._runtime.post("operator", told, EDGE)


KEPT: Final = (
    "supervisor", "ledger", "kill", "notifier", "operator", "router", "risk", "ibkr", "quotes", "lane", "session",
)  # fmt: skip


def trading_side(tree: Tree) -> Tree:
    """Return the tree without what only makes readings: hubs, feed, readings, warehouse."""
    children = tuple(child for child in tree.children if child.name.partition(":")[0] in KEPT)
    gone = frozenset(("hubs", "readings", "warehouse"))
    subscribers = {event: tuple(r for r in roles if r not in gone) for event, roles in tree.subscribers.items()}
    return dataclasses.replace(tree, children=children, subscribers=subscribers)


def executions_hash(*exchanges: DayExchange) -> str:
    """Return the hash of a day's executions: reference, side, quantity, price and instant of each, in order."""
    digest = hashlib.blake2b(digest_size=12)
    for execution, _ in (row for exchange in exchanges for row in exchange.executions()):
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
