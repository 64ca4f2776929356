"""The REST broker of a faulty day: the real port over virtual time, and the vendor with what goes wrong there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import orjson

from config.settings import Settings
from domain.instants import MS, SECOND
from domain.instruments import Side
from domain.orders.references import is_ours
from domain.units import Ticks, Utc
from gateways.contract_book import ContractBook
from gateways.tastytrade.orders_port import Placed
from gateways.tastytrade.session import Session
from messages import broker
from messages.base import Message
from simulation.broker.orders import Order
from simulation.days.checks import Checks
from simulation.days.exchange import grid_after, grid_from
from simulation.days.faults import AT_REST, Fault
from simulation.days.plan import PlannedFault
from simulation.days.runtime import EXCHANGE_FIRST, DayRuntime, every
from simulation.days.scene import Scene
from simulation.inprocess.tastytrade import SECRETS, SteppedTastytrade
from simulation.tastytrade.faults import Request, Trouble
from simulation.tastytrade.orders import CLIENT_ID, RefusedError
from simulation.tastytrade.service import Answered, Asked, Target, TastytradeService
from supervision.stepped import VirtualClock

CANCELS_AT_FAULT: Final = 3  # of one order; those after it are taken as they are
UNANSWERED_S: Final = 40.0  # longer than the port waits for anything
SPOILED_ROWS: Final = 3
_LISTS: Final = frozenset({Request.ORDERS, Request.POSITIONS, Request.ACCOUNTS, Request.TRANSACTIONS})
_TROUBLES: Final[Mapping[Fault, tuple[int | None, bool, bool]]] = {  # status, is_cut, is_done
    Fault.REST_REFUSED: (422, False, False),
    Fault.REST_BUSY: (429, False, False),
    Fault.REST_TOKEN_OLD: (401, False, False),
    Fault.REST_FAILED: (503, False, False),
    Fault.REST_TAKEN: (502, False, True),
    Fault.REST_CUT: (None, True, False),
    Fault.REST_CUT_TAKEN: (None, True, True),
    Fault.REST_LATE: (None, False, True),
    Fault.REST_HIDDEN: (502, False, True),
}
_WHAT: Final = {Request.PLACE: "new", Request.REPLACE: "change", Request.CANCEL: "cancel"}


class DayVendor(TastytradeService):
    """The account at the vendor; it outlives the process that trades it. What is wrong lasts until an instant each."""

    def __init__(self, scene: Scene, clock: VirtualClock) -> None:
        self._scene = scene
        self._until: dict[Fault, Utc] = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        super().__init__(scene.market, scene.exchange, clock, SECRETS, now_s=lambda: clock.now_utc() / SECOND)

    def strike(self, kind: Fault, until_utc: Utc) -> None:
        """Let something be wrong until an instant."""
        self._until[kind] = max(until_utc, self._until.get(kind, Utc(0)))
        if kind in (Fault.REST_TOKENS_EXPIRED, Fault.REST_LOGIN_REFUSED):
            self.expire_tokens()
        if kind is Fault.REST_ROWS_SPOILED:
            self.faults.spoils_rows = SPOILED_ROWS
        self._follow()

    def is_on(self, kind: Fault) -> bool:
        """Return whether this is wrong now."""
        return self._clock.now_utc() < self._until.get(kind, Utc(0))

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong that keeps the port from knowing or doing anything."""
        return not any(map(self.is_on, self._until))

    def _follow(self) -> None:
        faults, is_shuffled = self.faults, self.is_on(Fault.STREAM_SHUFFLED)
        faults.is_silent = self.is_on(Fault.STREAM_SILENT)
        faults.is_mute = self.is_on(Fault.STREAM_MUTE) or self.is_on(Fault.REST_UNANSWERED)
        faults.repeats = self.is_on(Fault.STREAM_TWICE)
        faults.shuffles, faults.delay_s = is_shuffled, 1.5 if is_shuffled else 0.0
        faults.hides_s = faults.replace_s = 0.0

    # -- when it acts -----------------------------------------------------------------------------

    def next_due(self, now: Utc) -> Utc | None:
        """Return the next whole second after now at which a step could change anything; `None` where none could."""
        waiting = [grid_from(p.due_utc) for p in self.desk.placed.values() if p.due_utc is not None]
        found = [self._scene.exchange.next_due(now), *(max(at_utc, grid_after(now)) for at_utc in waiting)]
        return min((at_utc for at_utc in found if at_utc is not None), default=None)

    # -- what is told and answered ----------------------------------------------------------------

    def take_news(self) -> list[dict[str, Any]]:
        """Return the notifications since the last call, as they are sent."""
        self._follow()
        return super().take_news()

    def hear(self, accounts: set[str], said: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what a session of the stream is told to a message."""
        self._follow()
        return super().hear(accounts, said)

    def _on_news(self, what: Any) -> None:
        self.faults.is_silent = self.is_on(Fault.STREAM_SILENT)
        super()._on_news(what)

    def _balances(self, target: Target, asked: Asked, body: Any) -> Answered:
        status, answer = super()._balances(target, asked, body)
        fault = self._scene.active(Fault.ACCOUNT_BAD, self._clock.now_utc())
        if fault is not None:
            row = {1: {"net-liquidating-value": "a lot"}, 2: {"net-liquidating-value": "0.0"}}.get(fault.n, {})
            answer = {"data": answer["data"] | {"derivative-buying-power": "-50.0"} | row}
        return status, answer

    # -- what goes wrong with a request -----------------------------------------------------------

    def trouble_of(self, target: Target, body: bytes) -> Trouble | None:
        """Return what happens to a request that arrives now; `None`: nothing."""
        self._follow()
        kind = target.request
        if self.is_on(Fault.REST_UNANSWERED):
            return Trouble(kind, is_cut=True, after_s=UNANSWERED_S)
        if kind in _LISTS and self.is_on(Fault.REST_LISTS_FAIL):
            return Trouble(kind, 503)
        if kind is Request.POSITIONS and self.is_on(Fault.REST_POSITIONS_FAIL):
            return Trouble(kind, 503)
        if kind is Request.TOKEN and self.is_on(Fault.REST_LOGIN_REFUSED):
            return Trouble(kind, 503)
        return self._trouble_of_order(target, body) if kind in _WHAT else None

    def _trouble_of_order(self, target: Target, body: bytes) -> Trouble | None:
        plan, what = self._scene.plan, _WHAT[target.request]
        placed = self.desk.placed.get(int(target.order_id or 0))
        ref = placed.ref if placed is not None else str(orjson.loads(body).get("external-identifier")) if body else ""
        self._asked[what, ref] += 1
        n = self._asked[what, ref] if what != "new" else 0
        fault = plan.fault_of(what, ref, n) if is_ours(ref) else None
        if fault is None or (what == "cancel" and n > CANCELS_AT_FAULT):
            return None
        draw = plan.drawn("rest", what, ref, n)
        if placed is not None and fault in (Fault.REST_CHANGE_CROSSED, Fault.REST_CANCEL_CROSSED):
            self._count(fault)
            self.desk.take(self._scene.exchange.fill_now(CLIENT_ID, placed.order_id, self._clock.now_utc()))
            return None
        if fault is Fault.REST_CHANGE_WAITS:
            self._count(fault)
            self.faults.replace_s = draw.uniform(0.5, 9.0)
        known = _TROUBLES.get(fault)
        if known is None:
            return None
        self._count(fault)
        status, is_cut, is_done = known
        if fault is Fault.REST_HIDDEN:
            self.faults.hides_s = draw.uniform(1.0, 30.0)
        after_s = draw.uniform(1.0, 25.0) if fault is Fault.REST_LATE else draw.choice((0.0, 0.0, 3.0))
        return Trouble(target.request, status, is_cut, is_done, after_s)

    def _count(self, fault: Fault) -> None:
        self._scene.coverage.fault(fault)
        self._scene.disturb(self._clock.now_utc())


class RestDayBroker(SteppedTastytrade):
    """The order session's port of a faulty day whose orders go to the REST broker."""

    beat_s = 30.0  # each beat is a request and what the desk is told of it, all day long

    def __init__(
        self, owner: str, runtime: DayRuntime, scene: Scene, checks: Checks, vendor: DayVendor, settings: Settings
    ) -> None:
        self._day_runtime = runtime
        self._scene = scene
        self._checks = checks
        self._vendor = vendor
        self._taken: set[str] = set()
        self._is_late = False
        self._planned_utc: Utc | None = None
        self._corrected: set[str] = set()
        market = scene.market
        every_one = (contract for ticker in market.tickers for contract in market.contracts(ticker))
        super().__init__(
            owner, runtime, vendor, settings.connection, settings.broker.paper_port, ContractBook(every_one)
        )

    @property
    def is_reachable(self) -> bool:
        """Whether what is sent reaches the broker, and what happens there the desk."""
        session = self.session
        return session is not None and session.is_up and self.is_streaming and self._vendor.is_well

    # -- when it acts -----------------------------------------------------------------------------

    def begin_steps(self) -> None:
        """Have the exchange match each second, or whenever anything can change."""
        if self._scene.is_dense:
            every(self._day_runtime, SECOND, EXCHANGE_FIRST, self.step, self._scene.market)
        self._plan_step()

    def _plan_step(self) -> None:
        if self._scene.is_dense:
            return
        at_utc = self._vendor.next_due(self._clock.now_utc())
        if at_utc is not None and at_utc != self._planned_utc:
            self._planned_utc = at_utc
            self._day_runtime.call_first_at(at_utc, EXCHANGE_FIRST, lambda: self._due(at_utc))

    def _due(self, at_utc: Utc) -> None:
        if self._planned_utc == at_utc:
            self._planned_utc = None
            self.step()
            self._plan_step()

    def turn(self) -> None:
        """Begin another session."""
        market = self._scene.market
        self._vendor.turn(market, self._scene.exchange)
        for ticker in market.tickers:
            self._contracts.note(market.contracts(ticker))
        self._plan_step()

    # -- the link ---------------------------------------------------------------------------------

    def strike(self, fault: PlannedFault) -> None:
        """Let a fault of the link happen now, as it is at this broker."""
        kind, until_utc = AT_REST[fault.kind], fault.until_utc
        self._scene.coverage.fault(kind)
        self._scene.disturb(self._clock.now_utc(), until_utc)
        self._vendor.strike(kind, until_utc)
        if kind in (Fault.REST_DOWN, Fault.STREAM_DROPPED):
            self.drop_stream()

    def is_down(self) -> bool:
        """Return whether nobody answers at all."""
        return self._vendor.is_on(Fault.REST_DOWN)

    def date_of(self, now: Utc) -> int:
        """Return the second that the vendor says it is."""
        fault = self._scene.active(Fault.CLOCK_OFF, now)
        return super().date_of(now if fault is None else Utc(now + fault.n * MS))

    def trouble_of(self, target: Target, body: bytes) -> Trouble | None:
        """Return what happens to a request that has arrived."""
        return self._vendor.trouble_of(target, body)

    def look_after_request(self) -> None:
        """Have what it has brought about told, and matched by the first second at which it can be."""
        super().look_after_request()
        self._plan_step()

    async def _served(self, asked: Asked, body: bytes) -> Answered | None:
        answer = await super()._served(asked, body)
        self._plan_step()
        return answer

    # -- commands ---------------------------------------------------------------------------------

    def post(self, command: broker.BrokerCommand) -> None:
        """Take a command, or have it wait in its order while the port gets no turn."""
        now = self._clock.now_utc()
        fault = self._scene.active(Fault.PORT_SLOW, now)
        if fault is None:
            super().post(command)
            return
        self._scene.disturb(now, fault.until_utc)
        self._day_runtime.call_at(fault.until_utc, lambda: self.take_soon(self._take_late, command))

    def _take_late(self, command: broker.BrokerCommand) -> None:
        self._is_late = True
        try:
            self._take(command)
        finally:
            self._is_late = False

    def _take(self, command: broker.BrokerCommand) -> None:
        if isinstance(command, broker.LatchKill):
            self._checks.on_latch(command)
        super()._take(command)

    def _check(self, session: Session, command: Placed) -> None:
        super()._check(session, command)
        if not isinstance(command, broker.PlaceOrder):
            return
        ref, now = command.order.order_ref, self._clock.now_utc()
        if ref in self._taken:  # its connection stands, and its bytes leave now
            self._checks.on_handed_over(command, session.epoch, now, is_late=True)
        else:
            self._taken.add(ref)
            self._checks.on_taken(command, now, is_late=self._is_late)

    # -- what it tells ----------------------------------------------------------------------------

    def report(self, fact: Message) -> None:
        """Tell the owner; what a fault has not brought about and dies here is a finding."""
        if isinstance(fact, broker.PortFaulted) and not fact.what.startswith(("reading", "renew the login")):
            self._scene.breaks(f"the port failed to {fact.what}: {fact.why[:200]}")
        if isinstance(fact, broker.ExecutionReported):
            self._correct_later(fact.execution)
        super().report(fact)

    def _correct_later(self, execution: broker.Execution) -> None:
        plan, ref = self._scene.plan, execution.order_ref
        if execution.exec_id in self._corrected or not is_ours(ref):
            return
        if plan.fault_of("new", ref) is Fault.CORRECTED:
            self._corrected.add(execution.exec_id)
            wait_s = plan.drawn("correct", execution.exec_id).uniform(0.3, 30.0)
            self.loop.call_later(wait_s, self._correct, execution)

    def _correct(self, execution: broker.Execution) -> None:
        is_known = any(e.exec_id.startswith(execution.exec_id) for e, _ in self._scene.exchange.executions())
        if is_known:  # of this session
            self._scene.coverage.fault(Fault.CORRECTED)
            self._vendor.desk.correct(execution.exec_id, Ticks(5 if execution.side is Side.BUY else -5))
            self.tell_news()

    # -- what is done by hand ---------------------------------------------------------------------

    def vanish(self) -> bool:
        """Let the newest live order of ours vanish from the broker's books, without a word."""
        live = [s.order for s in self._scene.exchange.open_orders() if is_ours(s.order.order_ref) and not s.filled_qty]
        if not live:
            return False
        self._scene.exchange.forget(live[-1], self._clock.now_utc())
        self._vendor.desk.placed.pop(live[-1].order_id)
        return True

    def trade_by_hand(self, order: Order) -> None:
        """Place an order of somebody else in the same account."""
        action = "Buy to Open" if order.side is Side.BUY else "Sell to Close"
        try:
            self._vendor.desk.place(order, "", action, is_strict=False)
        except RefusedError:
            self._scene.coverage.other("rest: orders by hand that were refused")
        self.tell_news()
        self._plan_step()
