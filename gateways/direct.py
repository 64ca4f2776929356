"""The flatten that needs no actor, whoever the broker is: with the supervisor dead, or minutes before the close.

It believes the broker: what works is cancelled, what is held is sold at market, never more than both the broker and our
own ledgers say. What our ledgers sold to open is bought back first, and what covers it is not sold before. Running it
again does no harm: what an earlier run sold is looked up at the broker and counted.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping, Set
from typing import Final, NamedTuple, TypeVar

import msgspec

from domain.instants import MS, SECOND, exchange_clock, session_of
from domain.instruments import Contract, OrderType, Side
from domain.limits import ConnectionRules
from domain.orders.references import DIRECT, exit_ref, is_direct, is_ours, position_id
from domain.orders.request import OrderRequest
from domain.orders.table import OrderStatus
from domain.ports import Clock
from domain.session import calendar
from domain.structure.rules import COVER
from domain.units import Qty, Utc
from gateways.contract_book import ID_FLOOR, ContractBook
from gateways.port_thread import Tell
from messages import broker
from messages.base import Message

T = TypeVar("T", bound=Message)
Say = Callable[[str], None]

WAIT_S: Final = 10.0  # real: for the broker to carry out a cancel, or to fill an order at market
LOOK_EVERY_S: Final = 0.5
ORDER_LIFE_NS: Final = 5 * SECOND


class Outcome(msgspec.Struct, frozen=True):
    """What became of a flatten: what was sold, bought back and left of ours, by contract id, and what still works."""

    sold: dict[int, Qty]
    left: dict[int, Qty]
    working: tuple[str, ...]
    why: str = ""
    bought: dict[int, Qty] = {}

    @property
    def is_flat(self) -> bool:
        """Whether nothing of ours is held and nothing works any more."""
        return not self.why and not self.left and not self.working


class DirectError(Exception):
    """The flatten could not be carried out; the text is one sentence with the remedy."""


class Way(NamedTuple):
    """How a flatten speaks to a broker.

    Args:
        make: makes the order port that it has for itself, not yet started.
        rules: of the connection.
        dials_n: how many dials are tried, each at the next gateway where there are several.
        tries: how often what a broker did not do is asked for (a reading, a cancel, a whole round of closing): more
            than once where one request may fail and the next one not.
        wait_s: real seconds for the broker to carry out each step.
        look_s: real seconds between two readings of the broker.
        contracts: whose contract a symbol is; `None` where the broker has contract ids of its own.
        whom: who answers, in sentences for people.
        remedy: what to do where nobody does.
    """

    make: Callable[[Tell], broker.BrokerPort]
    rules: ConnectionRules
    dials_n: int
    tries: int = 1
    wait_s: float = WAIT_S
    look_s: float = LOOK_EVERY_S
    contracts: ContractBook | None = None
    whom: str = "gateway"
    remedy: str = "start one"


def flatten(
    way: Way, owned: Mapping[int, Qty], *, booked: Set[str] = frozenset(), clock: Clock, say: Say = print
) -> Outcome:
    """Cancel every order of ours and sell at market what our ledgers own, at the broker, without the supervisor.

    Args:
        way: to the broker.
        owned: contract id and quantity, the sum of what all our ledgers hold, negative where it was sold to open; what
            stands in none is left alone.
        booked: ids of the executions that the ledgers know: what an earlier run of today has sold is not in `owned` any
            more once it stands there.
        clock: the market's clock; where the broker's differs, the broker's counts.
        say: takes one line for people for each thing that was done.

    Nobody else may sell meanwhile: where the supervisor lives, its order session has to be stopped before.
    Where an order of ours works, whatever the account has working is cancelled, foreign orders too. Outside regular
    hours nothing is sold: a market order would wait for the open.

    Returns:
        What was sold and what is left.

    Raises:
        DirectError: nobody answers, the account is not ours, or the broker cannot be read.
    """
    line = _Line(way, clock)
    try:
        line.connect()
        return _without_symbol(_in_rounds(line, _Ours(owned, booked), say), way, owned, say)
    finally:
        line.close()


def _without_symbol(outcome: Outcome, way: Way, owned: Mapping[int, Qty], say: Say) -> Outcome:
    """Count as left what the ledgers own of contracts whose symbol is not known: at the broker nobody can find it."""
    if way.contracts is None:
        return outcome
    known = {contract.con_id for contract in way.contracts.all()}  # an id that was made from a symbol needs none
    unknown = {con_id: qty for con_id, qty in owned.items() if con_id not in known and con_id < ID_FLOOR}
    for con_id, qty in unknown.items():
        say(f"contract {con_id}: {qty:+d} by our ledgers, and nothing says which symbol that is: look at the broker")
    return msgspec.structs.replace(outcome, left=outcome.left | unknown)


class _Ours(NamedTuple):
    """What our ledgers own, by contract id, negative where it was sold to open; the executions that they know."""

    owned: Mapping[int, Qty]
    booked: Set[str]

    def qty(self, con_id: int) -> Qty:
        """Return how much of a contract the ledgers own."""
        return self.owned.get(con_id, Qty(0))


def _in_rounds(line: _Line, owned: _Ours, say: Say) -> Outcome:
    """Read, cancel and close until nothing of ours is left; each round begins with what the broker shows then.

    So an order without an answer is sent again only after it was looked for, and what works of it is cancelled first.
    """
    outcome = _flatten(line, owned, say)
    for _ in range(line.way.tries - 1):
        if outcome.is_flat or (outcome.why and not outcome.working):  # the exchange is closed: no round opens it
            break
        say("not flat yet: reading the broker again")
        then = _flatten(line, owned, say)
        sold, bought = _sum(outcome.sold, then.sold), _sum(outcome.bought, then.bought)
        outcome = msgspec.structs.replace(then, sold=sold, bought=bought)
    return outcome


def _sum(one: Mapping[int, Qty], other: Mapping[int, Qty]) -> dict[int, Qty]:
    return {key: Qty(one.get(key, 0) + other.get(key, 0)) for key in one.keys() | other.keys()}


def _flatten(line: _Line, owned: _Ours, say: Say) -> Outcome:
    read = _cancel_all(line, say)
    back, plan = _to_buy_back(read, owned), _to_sell(read, owned)
    beyond = _beyond(read, owned, _left_of(plan, back), say)
    working = tuple(order.order_ref for order in read.orders if order.is_working and is_ours(order.order_ref))
    for position in read.positions:
        if position.qty < 0 and owned.qty(position.contract.con_id) > 0:
            say(f"{position.contract.label}: short {-position.qty}, left alone; buy it back by hand")
    if not plan and not back:
        if not beyond:
            say("nothing of ours is held" if not working else "nothing is sold while orders of ours still work")
        return Outcome({}, beyond, working)
    if working:
        say(f"{len(working)} orders of ours still work; selling beside them could sell twice: look at the broker")
        return Outcome({}, beyond | _left_of(plan, back), working, "orders still work")
    closed = _closed_because(line.now_utc())
    if closed:
        say(f"{closed}: orders are cancelled, nothing is sold")
        return Outcome({}, beyond | _left_of(plan, back), (), closed)
    shorts = _buy_back(line, owned, back, say)
    open_shorts = {con_id for con_id, qty in (beyond | shorts).items() if qty < 0}
    if open_shorts:
        rights = {p.contract.right for p in read.positions if p.contract.con_id in open_shorts}
        kept = [(c, qty) for c, qty in plan if c.ticker == COVER and c.right in rights]
        labels = ", ".join(contract.label for contract, _ in kept) or "nothing"
        say(f"shorts are left: what may cover them is kept ({labels}); buy them back by hand")
        plan = [step for step in plan if step not in kept]
    for contract, qty in plan:
        say(f"{contract.label}: selling {qty} at market")
        line.trade(contract, Side.SELL, qty)
    outcome = _outcome(line, owned, plan, say)
    bought = {contract.con_id: Qty(qty + shorts.get(contract.con_id, 0)) for contract, qty in back}
    return msgspec.structs.replace(
        outcome, left=beyond | outcome.left | shorts, bought={con_id: qty for con_id, qty in bought.items() if qty}
    )


def _beyond(read: broker.BrokerRead, owned: _Ours, planned: Mapping[int, Qty], say: Say) -> dict[int, Qty]:
    """Return what the ledgers own, the broker holds and will not be closed: an earlier run has closed as much before.

    The ledgers do not know of that run yet, so it may have been bought again, or be a stranger's: somebody has to look.
    """
    found = {}
    for position in read.positions:
        con_id, sign = position.contract.con_id, 1 if position.qty > 0 else -1
        ours = min(abs(position.qty), sign * owned.qty(con_id))
        rest = Qty(sign * (ours - abs(planned.get(con_id, 0))))
        if sign * rest > 0:
            found[con_id] = rest
            say(f"{position.contract.label}: {rest:+d} at the broker beyond what an earlier flatten closed; look there")
    return found


def _left_of(plan: list[tuple[Contract, Qty]], back: list[tuple[Contract, Qty]]) -> dict[int, Qty]:
    """Return what is left, by contract; what is short is negative."""
    return {c.con_id: qty for c, qty in plan} | {c.con_id: Qty(-qty) for c, qty in back}


def _to_buy_back(read: broker.BrokerRead, owned: _Ours) -> list[tuple[Contract, Qty]]:
    """Return what to buy back of each option: no more than the broker is short, nor than our ledgers have sold.

    What runs of today have bought back is gone at the broker, or it would be bought twice.
    """
    bought = _done_directly(read, Side.BUY, owned.booked)
    plan = []
    for position in read.positions:
        con_id = position.contract.con_id
        qty = Qty(min(-position.qty, -owned.qty(con_id) - bought.get(con_id, Qty(0))))
        if qty > 0:
            plan.append((position.contract, qty))
    return plan


def _buy_back(line: _Line, owned: _Ours, back: list[tuple[Contract, Qty]], say: Say) -> dict[int, Qty]:
    """Buy shorts back and wait until the broker says that they are gone; return what is left of them, negative."""
    if not back:
        return {}
    for contract, qty in back:
        say(f"{contract.label}: buying {qty} back at market")
        line.trade(contract, Side.BUY, qty)
    until_s = time.monotonic() + line.way.wait_s
    while True:
        read = line.read()
        left = _left_of([], _to_buy_back(read, owned))
        if not left or time.monotonic() >= until_s:
            break
        time.sleep(line.way.look_s)
    for contract, qty in back:
        rest = -left.get(contract.con_id, 0)
        at = _price_text(line, read, contract)
        say(f"{contract.label}: bought back {qty - rest}{at}" + (f", {rest} still short: look there" if rest else ""))
    return left


def _price_text(line: _Line, read: broker.BrokerRead, contract: Contract) -> str:
    """Return at which average price this run's order of a contract was filled, as ` at 4.90`; empty where none was."""
    ref = line.sent.get(contract.con_id)
    fills = [execution for execution in read.executions if execution.order_ref == ref]
    qty = sum(execution.qty for execution in fills)
    return f" at {sum(e.qty * e.price_ticks for e in fills) / qty / 100:.2f}" if qty else ""


def _cancel_all(line: _Line, say: Say) -> broker.BrokerRead:
    """Cancel what works of ours and return the broker's truth when nothing does any more, or time is over."""
    read = line.read()
    works = [order for order in read.orders if order.is_working and is_ours(order.order_ref)]
    if not works:
        say("no order of ours works")
        return read
    others = sum(order.is_working and not is_ours(order.order_ref) for order in read.orders)
    say(f"cancelling {len(works)} orders of ours" + (f" and, with them, {others} foreign ones" if others else ""))
    line.cancel_everything()
    cancels_n = 1
    until_s = time.monotonic() + line.way.wait_s
    while True:
        read = line.read()
        works = [order for order in read.orders if order.is_working and is_ours(order.order_ref)]
        if not works or time.monotonic() >= until_s:
            return read
        if cancels_n < line.way.tries and any(order.status is not OrderStatus.CANCELLING for order in works):
            line.cancel_everything()
            cancels_n += 1
        time.sleep(line.way.look_s)


def _to_sell(read: broker.BrokerRead, owned: _Ours) -> list[tuple[Contract, Qty]]:
    """Return what to sell of each option: no more than the broker holds, nor than our ledgers own and is not sold."""
    sold = _done_directly(read, Side.SELL, owned.booked)
    plan = []
    for position in read.positions:
        contract = position.contract
        qty = min(position.qty, owned.qty(contract.con_id) - sold.get(contract.con_id, Qty(0)))
        if qty > 0:
            plan.append((contract, qty))
    return plan


def _done_directly(read: broker.BrokerRead, side: Side, booked: Set[str]) -> dict[int, Qty]:
    """Return what runs of today have sold (or bought back) already and the ledgers do not know of yet, by contract."""
    done: dict[int, Qty] = {}
    for execution in read.executions:
        is_new = execution.exec_id not in booked
        if is_new and is_direct(execution.order_ref) and execution.side is side:
            done[execution.con_id] = done.get(execution.con_id, Qty(0)) + execution.qty
    return done


def _outcome(line: _Line, owned: _Ours, plan: list[tuple[Contract, Qty]], say: Say) -> Outcome:
    before = {contract.con_id: qty for contract, qty in plan}
    until_s = time.monotonic() + line.way.wait_s
    while True:
        read = line.read()
        left = {contract.con_id: qty for contract, qty in _to_sell(read, owned)}
        if not left or time.monotonic() >= until_s:
            break
        time.sleep(line.way.look_s)
    sold = {con_id: Qty(qty - left.get(con_id, 0)) for con_id, qty in before.items()}
    for contract, qty in plan:
        rest = left.get(contract.con_id, 0)
        at = _price_text(line, read, contract)
        say(f"{contract.label}: sold {qty - rest}{at}" + (f", {rest} still held: look at the broker" if rest else ""))
    for why in line.refusals():
        say(f"the broker says: {why}")
    working = tuple(order.order_ref for order in read.orders if order.is_working and is_ours(order.order_ref))
    return Outcome({con_id: qty for con_id, qty in sold.items() if qty}, left, working)


def _closed_because(now: Utc) -> str:
    """Return why a market order would not be carried out now; empty in regular hours."""
    day = calendar.day(session_of(now))
    if day is None:
        return "the exchange is closed today"
    if not day.open_utc <= now < day.close_utc:
        return f"it is {exchange_clock(now)} in New York, outside regular hours"
    return ""


class _Line:
    """A link of its own to the broker, spoken to one question at a time."""

    def __init__(self, way: Way, clock: Clock) -> None:
        self.way = way
        self._rules = way.rules
        self._clock = clock
        self._heard: queue.Queue[Message] = queue.Queue()
        self._refusals: list[str] = []
        self._offset_ns = 0
        self._epoch = 0
        self._read_n = 0
        self._known_refs: set[str] = set()
        self.sent: dict[int, str] = {}  # the reference of the order that was sent, by contract
        self._port = way.make(lambda _, message: self._heard.put(message))

    def connect(self) -> None:
        """Dial until somebody answers, and learn how late it is there.

        Raises:
            DirectError: none does, or it is not our account.
        """
        self._port.start()
        whys: list[str] = []
        for gateway_n in range(self.way.dials_n):
            if whys and self.way.tries > 1:
                time.sleep(self.way.look_s)
            self._epoch += 1
            self._port.post(broker.Dial(session_epoch=self._epoch, gateway_n=gateway_n))
            answer = self._wait(broker.LinkUp, broker.LinkFailed, self._rules.connect_timeout_ms)
            if isinstance(answer, broker.LinkUp):
                if not answer.account_matches:
                    raise DirectError(
                        f"the {self.way.whom} is logged in to an account that is not the configured one, or not that of"
                        " our ledgers; log it in to that one"
                    )
                self._learn_time()
                return
            whys.append(answer.why if isinstance(answer, broker.LinkFailed) else "no answer")
        why = "; ".join(whys if self.way.tries == 1 else dict.fromkeys(whys))
        raise DirectError(f"no {self.way.whom} answers ({why}); {self.way.remedy}, or close the positions by hand")

    def close(self) -> None:
        """End the link."""
        self._port.close()

    def now_utc(self) -> Utc:
        """Return the instant by the broker's clock."""
        return Utc(self._clock.now_utc() + self._offset_ns)

    def refusals(self) -> list[str]:
        """Return what was refused since this was asked last, in the words of whoever refused it."""
        found, self._refusals = list(dict.fromkeys(self._refusals)), []
        return found

    def read(self) -> broker.BrokerRead:
        """Return the broker's truth; what cannot be read is asked for again where that may help.

        Raises:
            DirectError: open orders, positions or executions cannot be read.
        """
        for _ in range(self.way.tries - 1):
            try:
                return self._read_once()
            except DirectError:
                time.sleep(self.way.look_s)
        return self._read_once()

    def _read_once(self) -> broker.BrokerRead:
        self._read_n += 1
        self._port.post(broker.ReadBack(session_epoch=self._epoch, read_n=self._read_n))
        answer = self._wait(broker.BrokerRead, broker.BrokerReadFailed, 2 * self._rules.read_back_ms, self._read_n)
        if not isinstance(answer, broker.BrokerRead):
            why = answer.why if isinstance(answer, broker.BrokerReadFailed) else "no answer"
            whom = self.way.whom
            raise DirectError(f"the broker cannot be read ({why}); look at the {whom}, or close the positions by hand")
        needed = (broker.ReadGroup.ORDERS, broker.ReadGroup.POSITIONS, broker.ReadGroup.EXECUTIONS)
        failed = [failure for failure in answer.failed if failure.group in needed]
        if failed:
            raise DirectError(
                f"the broker's {failed[0].group} cannot be read ({failed[0].why}); close the positions by hand"
            )
        self._known_refs |= {order.order_ref for order in answer.orders}
        self._known_refs |= {execution.order_ref for execution in answer.executions}
        return answer

    def cancel_everything(self) -> None:
        """Send the broker's global cancel."""
        self._port.post(broker.CancelEverything(session_epoch=self._epoch))

    def trade(self, contract: Contract, side: Side, qty: Qty) -> None:
        """Send one market order that closes."""
        now = self._clock.now_utc()
        self.sent[contract.con_id] = order_ref = self._new_ref(contract)
        order = OrderRequest(
            order_ref=order_ref, contract=contract, side=side, qty=qty, order_type=OrderType.MARKET,
            limit_ticks=None, is_exit=True, deadline_utc=Utc(now + ORDER_LIFE_NS),
        )  # fmt: skip
        self._port.post(broker.PlaceOrder(order=order, session_epoch=self._epoch, kill_epoch=0))

    def _new_ref(self, contract: Contract) -> str:
        """Return a reference that no order of today has."""
        stem = position_id(DIRECT, f"{contract.con_id}/{session_of(self.now_utc())}")
        n = 1
        while exit_ref(stem, n) in self._known_refs:
            n += 1
        ref = exit_ref(stem, n)
        self._known_refs.add(ref)
        return ref

    def _learn_time(self) -> None:
        read = self._wait(broker.ClockRead, broker.LinkLost, self._rules.connect_timeout_ms)
        if isinstance(read, broker.ClockRead) and not read.least_ms <= 0 <= read.most_ms:
            self._offset_ns = (read.least_ms + read.most_ms) // 2 * MS

    def _wait(self, wanted: type[T], failure: type[Message], within_ms: int, read_n: int = 0) -> T | Message | None:
        """Return the next message of either kind; `None` where none comes. Refusals on the way are kept.

        An answer to an older reading than `read_n` came too late for that one, and is none to this one.
        """
        until_s = time.monotonic() + within_ms / 1000 + 1.0
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                message = self._heard.get(timeout=left_s)
            except queue.Empty:
                return None
            if isinstance(message, wanted | failure) and getattr(message, "read_n", read_n) == read_n:
                return message
            if isinstance(message, broker.OrderDenied):
                self._refusals.append(message.why)
            elif isinstance(message, broker.ErrorReported) and message.order_ref is not None:
                self._refusals.append(f"{message.vendor_code}: {message.text}")
        return None
