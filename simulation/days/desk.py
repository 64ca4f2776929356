"""One desk of a simulated day: its broker's book, its ports, what goes wrong with it, and what must hold of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from config.settings import Settings
from domain.instants import MS, SECOND
from domain.instruments import OrderType, Side
from domain.orders.capabilities import TASTYTRADE
from domain.risk.kill import KillLevel
from domain.session.modes import AccountClass
from domain.units import Qty, Ticks, Utc
from main import desk_of
from messages import lifecycle, operator, risk
from messages.base import Message
from simulation.broker.orders import Order
from simulation.days.broker import DayBroker
from simulation.days.checks import INJECTED, Checks
from simulation.days.exchange import HAND_CLIENT_ID
from simulation.days.faults import Fault
from simulation.days.plan import PlannedFault
from simulation.days.quotes import DayQuotes, strikes_around
from simulation.days.rest import DayVendor, RestDayBroker
from simulation.days.runtime import DayRuntime
from simulation.days.scene import Scene
from simulation.inprocess.port import PAPER, Login
from supervision.actor import IoActor
from supervision.cell import Cell
from supervision.stepped import VirtualClock

EDGE: Final = "edge:days"
RETRY_NS: Final = 23 * SECOND  # between two tries of a fault that needs something held, or an order
# These wait for something to strike; until then nothing is disturbed.
TRIED_AGAIN: Final = frozenset({Fault.VANISHED, Fault.MANUAL_CLOSE, Fault.LIQUIDATED})
FLATTEN_TOO: Final = 0.6  # of what is sold by hand: the rest is flattened before the ledger knows of the sale
FOR_EVERY_DESK: Final = 0.3  # of people's kills and flattens, where there are several
OF_LINK: Final = frozenset({
    Fault.LINK_RESET, Fault.LINK_BLACK_HOLE, Fault.LINK_CUT, Fault.LINK_CUT_DATA_LOST, Fault.LINK_RESTORED_UNASKED,
    Fault.LINK_ID_IN_USE, Fault.LINK_WRONG_ACCOUNT, Fault.LINK_SHORT_OF_BROKER, Fault.LINK_DIES_DIALLING,
    Fault.LINK_OUT_AT_CLOSE, Fault.FARM_BROKEN, Fault.LINK_WRONG_PORT,
})  # fmt: skip

Watcher = Callable[[str, Any, Utc], None]


class InjectedError(RuntimeError):
    """A fault of ours, so that nobody takes it for the program's own."""

    def __init__(self) -> None:
        super().__init__(INJECTED)


class DayDesk:
    """A desk of the day in hand; it outlives the process that trades it, its ports do not.

    `settings` are those of the desk alone; `is_one_of_several`: people name it.
    """

    def __init__(
        self, settings: Settings, scene: Scene, checks: Checks, clock: VirtualClock, *, is_one_of_several: bool
    ) -> None:
        self.name = settings.desk
        self.settings = settings
        self.scene = scene
        self.checks = checks
        self.broker: DayBroker | RestDayBroker | None = None
        self.quotes: DayQuotes | None = None
        self.vendor = DayVendor(scene, clock) if scene.plan.broker == TASTYTRADE else None
        self._clock = clock
        self._is_one_of_several = is_one_of_several
        self._hand_n = self._commands = 0
        checks.is_reachable = lambda: self.broker is not None and self.broker.is_reachable

    @property
    def runtime(self) -> DayRuntime | None:
        """The runtime of the process that runs now."""
        return self.scene.runtime

    # -- lives ------------------------------------------------------------------------------------

    def begin_life(self, runtime: DayRuntime) -> tuple[Any, ...]:
        """Make the ports for a process that starts."""
        settings, scene = self.settings, self.scene
        owner = f"ibkr:{self.name}"
        if self.vendor is None:
            self.broker = DayBroker(owner, runtime, scene, self.checks, self._login())
        else:
            self.broker = RestDayBroker(owner, runtime, scene, self.checks, self.vendor, settings)
        self.quotes = DayQuotes(f"quotes:{self.name}", runtime, scene, strikes_around(settings.connection))
        return self.broker, self.quotes

    def _login(self) -> Login:
        broker, is_live = self.settings.broker, self.settings.trading_mode == "live"
        return Login(port=broker.live_port, account_class=AccountClass.LIVE) if is_live else PAPER

    def end_life(self) -> None:
        """Let the ports go with their process."""
        if self.broker is not None:
            self.broker.close()
        self.broker = self.quotes = None

    def next_due(self, now: Utc) -> Utc | None:
        """Return when the broker's books can change next; `None`: never by themselves."""
        return (self.vendor or self.scene.exchange).next_due(now)

    def step_alone(self, now: Utc) -> None:
        """Let the broker go on while no process runs."""
        if self.vendor is None:
            self.scene.exchange.step(now)
        else:
            self.vendor.desk.step()

    def turn(self) -> None:
        """Begin another session at the broker, after the scene has."""
        if self.broker is not None and self.quotes is not None:
            self.broker.turn()
            self.quotes.turn()
        elif self.vendor is not None:
            self.vendor.turn(self.scene.market, self.scene.exchange)

    def trades(self, strategy: str) -> bool:
        """Return whether the desk takes signals of a strategy now, as far as it knows."""
        if not self._is_one_of_several:
            return True
        cell = self.scene.cell(f"risk:{self.name}")
        return cell is not None and cell.state is not None and strategy in (cell.state.traded or ())

    @property
    def is_latched(self) -> bool:
        """Whether a process that runs lets no entry of this desk pass until it is started again."""
        runtime = self.runtime
        return runtime is not None and (bool(runtime.latched) or self.name in runtime.latched_groups)

    # -- faults -----------------------------------------------------------------------------------

    def strike(self, fault: PlannedFault) -> None:
        """Let a fault of this desk happen."""
        scene, now, kind = self.scene, self._clock.now_utc(), fault.kind
        if kind not in TRIED_AGAIN:
            scene.disturb(now, fault.until_utc)
        match kind:
            case _ if kind in OF_LINK:
                if self.broker is not None:
                    self.broker.strike(fault)
            case Fault.QUOTES_RESET | Fault.QUOTES_CUT:
                if self.quotes is not None:
                    self.quotes.strike(fault)
            case Fault.ACTOR_CRASHED | Fault.SESSION_GIVEN_UP:
                self._crash(fault)
            case Fault.ACTOR_STALLED:
                self._stall(fault)
            case Fault.HALT:
                scene.coverage.fault(kind)
                scene.exchange.halt_until(fault.subject, fault.until_utc)
                if self.quotes is not None and self.runtime is not None:
                    self.quotes.halt(fault.subject, True)
                    self.runtime.call_at(fault.until_utc, partial(self._end_halt, fault.subject))
            case Fault.READ_GROUP_FAILED | Fault.READ_FAILED | Fault.READ_SILENT:
                if isinstance(self.broker, RestDayBroker):
                    self.broker.strike(fault)
                    return
                scene.read_faults.append(fault)
                if self.broker is not None:
                    self.broker.strike(PlannedFault(Fault.LINK_RESET, now, SECOND))
            case Fault.STOPPED | Fault.FLATTENED | Fault.RESUMED:
                scene.coverage.fault(kind)
                self.command(kind)
            case Fault.VANISHED:
                if self.broker is None or not self.broker.vanish():
                    self._strike_later(fault)
                else:
                    scene.coverage.fault(kind)
                    scene.disturb(now, fault.until_utc)
            case Fault.FOREIGN_POSITION | Fault.FOREIGN_ORDER | Fault.MANUAL_CLOSE | Fault.LIQUIDATED:
                self._trade_by_hand(fault)
            case _:
                pass  # it is in force by itself from now on: whoever meets it asks the scene

    def _strike_later(self, fault: PlannedFault) -> None:
        """Try again a little later what finds nothing to strike."""
        if self.runtime is not None:
            self.runtime.call_at(self._clock.now_utc() + RETRY_NS, partial(self.strike, fault))

    def _end_halt(self, ticker: str) -> None:
        if self.quotes is not None:
            self.quotes.halt(ticker, False)

    def command(self, kind: Fault) -> None:
        """Have a person stop, flatten or resume this desk; some of the first two are meant for every desk."""
        runtime, now = self.runtime, self._clock.now_utc()
        if runtime is None:
            return
        self._commands += 1
        command_id = f"days-{self._commands}"
        common: dict[str, Any] = {
            "command_id": command_id, "reply_to": EDGE, "by": "people", "reason": "drawn",
            "expires_utc": now + 60 * SECOND,
        }  # fmt: skip
        if self._is_one_of_several:
            draw = self.scene.plan.drawn("for every desk", self.name, command_id)
            is_for_all = kind is not Fault.RESUMED and self.is_first and draw.random() < FOR_EVERY_DESK
            common |= {"command_id": f"days-{self.name}-{self._commands}", "desk": "" if is_for_all else self.name}
        match kind:
            case Fault.STOPPED:
                runtime.post("operator", operator.Kill(level=KillLevel.NO_ENTRIES, **common), EDGE)
            case Fault.FLATTENED:
                runtime.post("operator", operator.Flatten(**common), EDGE)
            case _:
                runtime.post("operator", operator.Resume(level=KillLevel.RUNNING, **common), EDGE)

    @property
    def is_first(self) -> bool:
        """Whether it is the desk of `desk`."""
        return self.name not in self.settings.desks

    def _struck(self, fault: PlannedFault) -> Cell | None:
        """Return the actor that a fault strikes; `None` where there is none of that kind."""
        runtime, desk, subject = self.runtime, self.name, fault.subject
        if runtime is None:
            return None
        prefix = {"position": f"position:{desk}:", "lane": "lane:", "structure": f"structure:{desk}:"}.get(subject)
        names = [n for n in runtime.cells if (n.startswith(prefix) if prefix else n in (subject, f"{subject}:{desk}"))]
        return runtime.cells[self.scene.plan.drawn("struck", fault.at_utc).choice(sorted(names))] if names else None

    def _crash(self, fault: PlannedFault) -> None:
        cell = self._struck(fault)
        if cell is None:
            return
        self.scene.coverage.fault(fault.kind)
        self.scene.injected_crashes.add(cell.name)
        is_given_up = fault.kind is Fault.SESSION_GIVEN_UP
        spared = 0 if is_given_up else self.scene.plan.drawn("spared", fault.at_utc).choice((0, 0, 0, 1, 2, 3, 5))
        plant_crashes(cell, fault.n, spared=spared, with_started=is_given_up)

    def _stall(self, fault: PlannedFault) -> None:
        cell = self._struck(fault)
        if cell is None or self.runtime is None or not cell.is_up:
            return
        self.scene.coverage.fault(fault.kind)
        if cell.name.startswith("ibkr:"):
            self.checks.order_session_stalled(fault.until_utc)
        self.runtime.stall(cell, fault.until_utc)

    def _trade_by_hand(self, fault: PlannedFault) -> None:
        scene, now = self.scene, self._clock.now_utc()
        if not scene.market.open_utc <= now < scene.market.close_utc or self.broker is None:
            return
        ours, is_short_leg = self.checks.ours(), self.checks.structures.is_short_leg
        held = [p for p in scene.exchange.positions() if p.con_id in ours and (p.qty > 0 or is_short_leg(p.con_id))]
        draw = scene.plan.drawn("hand", fault.at_utc)
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
        scene.coverage.fault(fault.kind)
        scene.disturb(now, fault.until_utc)
        self._hand_n += 1
        order = Order(
            con_id=con_id, side=side, qty=qty, type=order_type, client_id=HAND_CLIENT_ID, order_id=self._hand_n,
            limit_ticks=limit,
        )  # fmt: skip
        self.broker.trade_by_hand(order)
        if side is Side.SELL and draw.random() < FLATTEN_TOO and self.runtime is not None:
            scene.coverage.fault(Fault.FLATTENED)
            soon_utc = now + draw.randrange(1, 8_000) * MS
            self.runtime.call_at(soon_utc, partial(self.command, Fault.FLATTENED))


def watchers_of(desks: tuple[DayDesk, ...]) -> dict[type[Message], Watcher]:
    """Return who looks at a message that is taken from a mailbox: the checks of the desk that it concerns."""
    if len(desks) == 1:
        return desks[0].checks.watched
    of_desk: Mapping[str, DayDesk] = {desk.name: desk for desk in desks}

    def watcher(kind: type[Message]) -> Watcher:
        def watch(to: str, message: Any, at_utc: Utc) -> None:
            name = desk_of(to, of_desk)
            match message:
                case risk.KillRaised() | risk.KillLowered():
                    name = message.desk
                case lifecycle.ActorCrashed() | lifecycle.MessageDeadLettered():
                    name = desk_of(message.name, of_desk)
                case _:
                    pass
            is_every_ones = issubclass(kind, lifecycle.ActorCrashed | lifecycle.MessageDeadLettered)
            for desk in (of_desk[name],) if name else desks if is_every_ones else ():
                desk.checks.watched[kind](to, message, at_utc)

        return watch

    return {kind: watcher(kind) for kind in desks[0].checks.watched}


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
            name = "handle" if isinstance(actor, IoActor) else "decide"
            setattr(actor, name, raising(getattr(actor, name)))
        return actor

    cell.spec = dataclasses.replace(cell.spec, make=made)
    cell.decide = raising(cell.decide)
