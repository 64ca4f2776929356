"""Reconciliation: the broker's truth against a desk's ledger, in one transaction.

Only what was read is compared: a group that failed proves nothing, neither that an order is unknown nor that a contract
is not held.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from domain.instants import SECOND, session_of
from domain.instruments import Side
from domain.orders.references import is_direct, is_exit_ref, is_of_desk
from domain.position.cycle import EndReason, PositionState
from domain.units import Qty, Ticks, Utc
from messages import orders, session
from messages.broker import BrokerOrder, BrokerPosition, BrokerRead, Execution, ReadGroup
from storage import adopted, combo_shares, fills, order_rows, rows
from storage.desk_restore import RESERVATION_COLUMNS, ReservationRow
from storage.ledger_schema import IS_TRADE, LIVE

_EXPIRED: Final = frozenset(
    end.value for end in (EndReason.EXPIRED, EndReason.EXPIRED_UNPRICED, EndReason.SETTLED, EndReason.ASSIGNED)
)


# The legs of a combination share its number, and the broker knows them by the first one's reference.
_OF_NUMBER: Final = "SELECT DISTINCT ifnull(combo_ref, order_ref) FROM orders WHERE perm_id = ?"


class _Reading(msgspec.Struct, frozen=True):
    """One reading of the broker, and which of it is this desk's."""

    read: BrokerRead
    own: tuple[BrokerOrder, ...]
    positions: tuple[BrokerPosition, ...]
    allowed_con_ids: frozenset[int]

    @property
    def own_refs(self) -> list[str]:
        """The references of this desk's orders."""
        return [order.order_ref for order in self.own]

    def has(self, *groups: ReadGroup) -> bool:
        """Return whether these groups were read whole."""
        return not any(failure.group in groups for failure in self.read.failed)


def reconcile(
    db: sqlite3.Connection, message: session.Reconcile, desk: str, run_n: int, now: Utc,
    foreign_allowed: Collection[str] = (),
) -> tuple[fills.Fact | session.Reconciled, ...]:  # fmt: skip
    """Adopt what is ours, name what is not; return the fills first and `Reconciled` last.

    What was recorded since the broker was read counts as adopted: it may be this message's own first delivery, whose
    answer was lost after its COMMIT. Executions are adopted before positions are compared, so that a fill of the same
    read does not look foreign. `foreign_allowed`: symbols and contract ids of holdings that may stay though not ours.
    """
    if message.account_key:
        _keep_account(db, message.account_key)
    named = _refs_of_nameless(db, message.read)
    read = combo_shares.read_of_legs(db, message.read.with_refs(named))
    reading = _reading_of(db, read, desk, foreign_allowed)
    facts, adopted_n, strangers = _adopt(db, reading, desk, run_n, now)
    for order in read.orders:
        order_rows.record_ids(db, order.order_ref, order.perm_id, order.status.value, now, order.limit_ticks)
    taken = _take_over(db, reading, desk, run_n, now)
    unexplained = _adopt_unexplained(db, reading, desk, run_n, now)
    taken_back, unwatched = _take_back(db, reading, run_n, now)
    foreign, differing = _compare_positions(db, reading)
    of_others = _exits_of_others(db, reading)
    reconciled = session.Reconciled(
        session_epoch=message.session_epoch,
        read_n=read.read_n,
        adopted_fills=adopted_n + sum(isinstance(fact, orders.FillRecorded) for fact in (*taken, *unexplained)),
        cancel_refs=tuple(
            o.order_ref
            for o in reading.own
            if o.is_working and _is_unwanted(db, o, run_n) and o.order_ref not in of_others
        ),
        foreign_positions=foreign,
        foreign_orders=_foreign_orders(reading, desk, of_others),
        unverified=_unverified(db, reading),
        mismatches=(
            *(_stranger(execution, desk) for execution in strangers if fills.is_foreign(db, execution)),
            *(_adoption(fill) for fill in unexplained if isinstance(fill, orders.FillRecorded)),
            *_short_counts(db, reading),
            *unwatched,
            *differing,
        ),
        taken_back=taken_back,
        named=tuple(sorted(named.items())),
        combos=combo_shares.unrecorded(db, message.read.with_refs(named), desk),
    )
    return (*facts, *taken, *unexplained, reconciled)


def _keep_account(db: sqlite3.Connection, account_key: str) -> None:
    db.execute(
        "INSERT INTO meta VALUES ('account', ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        " WHERE value <> excluded.value",
        (account_key,),
    )


def _refs_of_nameless(db: sqlite3.Connection, read: BrokerRead) -> dict[int, str]:
    """Return by perm id the references of rows that bear none, as far as the ledger has one order of that number."""
    found = {perm_id: [ref for (ref,) in db.execute(_OF_NUMBER, (perm_id,))] for perm_id in read.nameless}
    return {perm_id: refs[0] for perm_id, refs in found.items() if len(refs) == 1}


def _reading_of(db: sqlite3.Connection, read: BrokerRead, desk: str, foreign_allowed: Collection[str]) -> _Reading:
    """Set aside the holdings that may stay, but for contracts that the desk holds or has reserved itself."""
    ours = {con_id for (con_id,) in db.execute(f"SELECT con_id FROM reservations WHERE {LIVE}")}
    stays = allowed_con_ids(read, foreign_allowed) - ours
    allowed = {con_id for con_id in stays if not fills.net_of_contract(db, con_id)}
    return _Reading(
        read=read,
        own=tuple(order for order in read.orders if is_of_desk(order.order_ref, desk)),
        positions=tuple(p for p in read.positions if p.contract.con_id not in allowed),
        allowed_con_ids=frozenset(allowed),
    )


def allowed_con_ids(read: BrokerRead | None, foreign_allowed: Collection[str]) -> frozenset[int]:
    """Return the contracts of holdings that may stay: those named, and those that a reading shows of a named symbol."""
    positions = () if read is None else read.positions
    of_symbols = {p.contract.con_id for p in positions if p.contract.ticker in foreign_allowed}
    return frozenset(of_symbols | {int(one) for one in foreign_allowed if one.isdigit()})


def _foreign_orders(reading: _Reading, desk: str, of_others: frozenset[str]) -> tuple[str, ...]:
    return tuple(
        order.order_ref or (f"perm:{order.perm_id}" if order.perm_id else f"without a reference on {order.con_id}")
        for order in reading.read.orders
        if order.is_working
        and (not is_of_desk(order.order_ref, desk) or order.order_ref in of_others)
        and order.con_id not in reading.allowed_con_ids
    )


def _exits_of_others(db: sqlite3.Connection, reading: _Reading) -> frozenset[str]:
    """Return the exits that bear this desk's name, but are another data folder's: they close what is held and not ours.

    Nobody else would close that, so they stay, in the order in which they were read, while they close no more in all
    than is held: what is left of any further one could only open a position the other way. The broker answers with
    open orders first and with executions last, so that what filled in between is counted by these.
    """
    if not reading.has(ReadGroup.POSITIONS):
        return frozenset()
    held = {position.contract.con_id: position.qty for position in reading.positions}
    closing: defaultdict[tuple[int, Side], int] = defaultdict(int)
    kept: set[str] = set()
    for order in reading.own:
        if not order.is_working or not is_exit_ref(order.order_ref) or _is_known(db, order.order_ref):
            continue
        if rows.exists(db, f"SELECT 1 FROM reservations WHERE con_id = ? AND {LIVE}", (order.con_id,)):
            continue  # an exit of ours that went out without its record
        rest = held.get(order.con_id, 0) - fills.net_of_contract(db, order.con_id)
        left_qty = order.qty - max(order.filled_qty, _executed(reading.read, order.order_ref))
        more = closing[order.con_id, order.side] + left_qty
        if more <= -_signed(order.side, Qty(rest)):
            closing[order.con_id, order.side] = more
            kept.add(order.order_ref)
    return frozenset(kept)


def _executed(read: BrokerRead, order_ref: str) -> int:
    """Return how much of an order the executions of a reading show as filled."""
    newest = {e.exec_id: e.qty for e in sorted(read.executions, key=lambda e: e.revision) if e.order_ref == order_ref}
    return sum(newest.values())


def _adopt(
    db: sqlite3.Connection, reading: _Reading, desk: str, run_n: int, now: Utc
) -> tuple[tuple[fills.Fact, ...], int, tuple[Execution, ...]]:
    facts: list[fills.Fact] = []
    strangers: list[Execution] = []
    adopted_n, read = 0, reading.read
    known = fills.said_before(db, read.executions, read.read_utc)  # most of a day's, each time
    news = [execution for execution in read.executions if fills.said(execution) not in known]
    for execution in sorted(news, key=lambda e: (e.at_utc, e.exec_id, e.revision)):
        if fills.is_recorded_before(db, execution, read.read_utc):
            continue
        told = fills.record_execution(db, execution, desk, run_n, now, reading.allowed_con_ids)
        facts.extend(told)
        if any(isinstance(fact, orders.FillRecorded) for fact in told):
            adopted_n += 1
        elif execution.con_id not in reading.allowed_con_ids and fills.is_foreign(db, execution):
            strangers.append(execution)
    return tuple(facts), adopted_n, tuple(strangers)


def _stranger(execution: Execution, desk: str) -> str:
    if is_direct(execution.order_ref):
        return fills.stranger_text(execution, desk)
    return f"Execution {execution.exec_id} of {execution.order_ref or 'no reference'} belongs to no order of ours."


class _Entered(rows.Row, frozen=True):
    """A leg that is pending or held: the side that it was opened by, and since when it can have been."""

    con_id: int
    side: Side
    reserved_utc: Utc


def _take_over(db: sqlite3.Connection, reading: _Reading, desk: str, run_n: int, now: Utc) -> tuple[fills.Fact, ...]:
    """Book executions that were kept as foreign and closed what we hold after all: their entry was read behind them.

    Only where they explain what the broker holds of the contract to the last one, and came after its reservation.
    """
    if not reading.has(ReadGroup.POSITIONS):
        return ()
    held = {position.contract.con_id: position.qty for position in reading.positions}
    facts: list[fills.Fact] = []
    for leg in rows.all_rows(db, _Entered, f"SELECT {rows.columns_of(_Entered)} FROM reservations WHERE {LIVE}"):
        net, broker = fills.net_of_contract(db, leg.con_id), held.get(leg.con_id, 0)
        closes = [
            execution
            for execution in sorted(reading.read.executions, key=lambda e: (e.at_utc, e.exec_id, e.revision))
            if execution.con_id == leg.con_id
            and execution.side is not leg.side
            and (execution.is_time_uncertain or execution.at_utc >= leg.reserved_utc - SECOND)  # told in whole seconds
            and not is_of_desk(execution.order_ref, desk)
            and fills.is_foreign(db, execution)
        ]
        if closes and net + sum(_signed(execution.side, execution.qty) for execution in closes) == broker:
            for execution in closes:
                fills.forget_foreign(db, execution)
                facts += fills.record_execution(db, execution, desk, run_n, now)
    return tuple(facts)


# -- what the broker holds and no execution explains ------------------------------------------------


class _Missing(msgspec.Struct, frozen=True):
    """How much of an own order is filled at the broker without an execution; `claimed_qty` is filled in all."""

    order_ref: str
    con_id: int
    side: Side
    qty: Qty
    claimed_qty: Qty
    limit_ticks: Ticks | None


def _adopt_unexplained(
    db: sqlite3.Connection, reading: _Reading, desk: str, run_n: int, now: Utc
) -> tuple[fills.Fact, ...]:
    """Make the executions that are missing where the broker's position and the filled status of own orders agree.

    Where neither executions nor completed orders could be read, a position of a contract that exactly one own entry
    can explain is taken for that entry's: open orders and positions are enough for an exit.
    """
    if not reading.has(ReadGroup.POSITIONS):
        return ()
    found: defaultdict[int, list[_Missing]] = defaultdict(list)
    filled = fills.filled_of(db, reading.own_refs)
    for order in reading.own:
        recorded = filled.get(order.order_ref, Qty(0))
        if order.filled_qty > recorded and (is_exit_ref(order.order_ref) or _is_known(db, order.order_ref)):
            found[order.con_id].append(
                _Missing(
                    order.order_ref, order.con_id, order.side, Qty(order.filled_qty - recorded), order.filled_qty,
                    order.limit_ticks,
                )
            )  # fmt: skip
    if not reading.has(ReadGroup.EXECUTIONS) and not reading.has(ReadGroup.COMPLETED):
        _add_entries_without_a_status(db, reading, found)
    held = {position.contract.con_id: position for position in reading.positions}
    facts: list[fills.Fact] = []
    for execution in adopted.made_since(db, reading.read.read_utc):
        facts += fills.record_execution(db, execution, desk, run_n, now)  # the first answer may have been lost
    for con_id, missing in found.items():
        position = held.get(con_id)
        broker = 0 if position is None else position.qty
        explained = fills.net_of_contract(db, con_id) + sum(_signed(one.side, one.qty) for one in missing)
        if explained != broker:
            continue
        for one in missing:
            execution = adopted.execution_of(
                db, one.order_ref, con_id, one.side, one.qty, _price_of(db, one, position), reading.read.read_utc
            )
            facts += fills.record_execution(db, execution, desk, run_n, now)
            adopted.claim(db, execution, one.claimed_qty)
    return tuple(facts)


class _Entry(rows.Row, frozen=True):
    """An entry order of ours that may have filled."""

    order_ref: str
    side: Side
    qty: Qty


def _add_entries_without_a_status(
    db: sqlite3.Connection, reading: _Reading, found: defaultdict[int, list[_Missing]]
) -> None:
    read_refs = set(reading.own_refs)
    for position in reading.positions:
        con_id, more = position.contract.con_id, position.qty - fills.net_of_contract(db, position.contract.con_id)
        candidates = [
            entry
            for entry in rows.all_rows(
                db, _Entry,
                "SELECT o.order_ref, o.side, o.qty FROM orders o WHERE o.con_id = ? AND NOT o.is_exit"
                " AND o.status NOT IN ('cancelled', 'inactive')",
                (con_id,),
            )
            if entry.order_ref not in read_refs
            and 0 < _signed(entry.side, Qty(more)) <= entry.qty - fills.totals_of(db, entry.order_ref)[0]
        ]  # fmt: skip
        if con_id not in found and len(candidates) == 1:
            entry = candidates[0]
            qty = Qty(abs(more))
            claimed = Qty(qty + fills.totals_of(db, entry.order_ref)[0])
            found[con_id].append(_Missing(entry.order_ref, con_id, entry.side, qty, claimed, None))


def _is_known(db: sqlite3.Connection, order_ref: str) -> bool:
    return rows.exists(db, "SELECT 1 FROM orders WHERE order_ref = ?", (order_ref,))


def _signed(side: Side, qty: Qty) -> int:
    return qty if side is Side.BUY else -qty


def _price_of(db: sqlite3.Connection, missing: _Missing, position: BrokerPosition | None) -> Ticks:
    """Return the price at which a missing fill is booked: the broker's average cost, else the limit, else our cost.

    The average cost is that of all that is held, in cents per contract with its multiplier: it says nothing of what an
    exit was filled at. That is booked at the worst there can have been, its limit or for a sale nothing at all, so that
    the day's stop sees the loss before the execution comes.
    """
    is_exit = is_exit_ref(missing.order_ref)
    if (
        not is_exit
        and position is not None
        and position.qty
        and position.avg_cost_cents > 0
        and position.contract.multiplier > 0
    ):
        return Ticks(round(position.avg_cost_cents / position.contract.multiplier))
    if missing.limit_ticks is not None and missing.limit_ticks > 0:
        return missing.limit_ticks
    if is_exit and missing.side is Side.SELL:
        return Ticks(0)
    (average,) = db.execute(
        "SELECT sum(qty * price_ticks) * 1.0 / sum(qty) FROM executions WHERE con_id = ? AND is_current AND side <> ?",
        (missing.con_id, missing.side.value),
    ).fetchone()
    return Ticks(round(average or 0))


def _adoption(fill: orders.FillRecorded) -> str:
    return (
        f"Order {fill.order_ref} is filled at the broker without an execution: {fill.qty} of contract {fill.con_id}"
        f" adopted at {fill.price_ticks / 100:.2f}, the true price is not known yet."
    )


# -- orders and positions ---------------------------------------------------------------------------


class _Holder(rows.Row, frozen=True):
    """Whose order it is: the run that reserved it, and whether the order is an exit."""

    run_n: int
    is_exit: bool


def _is_unwanted(db: sqlite3.Connection, order: BrokerOrder, run_n: int) -> bool:
    """Return whether an own working order has to go: its holder is gone, or it is an entry of an earlier run."""
    holder = rows.first_row(
        db,
        _Holder,
        f"SELECT r.run_n, o.is_exit FROM orders o JOIN reservations r USING (intent_id, leg)"
        f" WHERE o.order_ref = ? AND r.{LIVE}",
        (order.order_ref,),
    )
    if holder is not None:
        return not holder.is_exit and holder.run_n < run_n
    if is_exit_ref(order.order_ref):  # an exit that went out without its record
        return not rows.exists(db, f"SELECT 1 FROM reservations WHERE con_id = ? AND {LIVE}", (order.con_id,))
    return True


class _Traded(rows.Row, frozen=True):
    """A leg that was traded and is over, and how its position ended."""

    intent_id: str
    leg: int
    run_n: int
    end: str | None


def _take_back(
    db: sqlite3.Connection, reading: _Reading, run_n: int, now: Utc
) -> tuple[tuple[BrokerPosition, ...], tuple[str, ...]]:
    """Open the newest reservation of what is held, ours, and nobody's by the ledger; return it, and what people read.

    Held and ours: our executions make exactly what the broker holds (a damaged ledger, an end booked at an estimate
    that was none) and nobody else has traded the contract, or it is short in a contract that an earlier run has traded,
    and nobody else's executions say why. What has expired is left to its settlement. What no reservation explains, or
    may be somebody else's, can only be told. What was taken back is said again until its position has recorded itself.
    """
    if not reading.has(ReadGroup.POSITIONS):
        return (), ()
    taken: list[BrokerPosition] = []
    texts: list[str] = []
    for position in reading.positions:
        con_id, label = position.contract.con_id, position.contract.label
        net = fills.net_of_contract(db, con_id)
        is_explained = net == position.qty
        is_open = rows.exists(db, f"SELECT 1 FROM reservations WHERE con_id = ? AND {LIVE}", (con_id,))
        if is_open and is_explained and position.qty and _is_unheard(db, con_id):
            taken.append(position)  # the first answer may have been lost after its COMMIT
        is_short_of_nobody = (
            position.qty < 0
            and reading.has(ReadGroup.EXECUTIONS)  # else somebody else's may say why
            and net + fills.foreign_net_of_contract(db, con_id) != position.qty
        )
        is_nothing = position.qty == 0 or position.contract.expiry < session_of(now)
        if is_nothing or is_open or not (is_explained or is_short_of_nobody):
            continue
        traded = rows.first_row(
            db, _Traded,
            "SELECT r.intent_id, r.leg, r.run_n, (SELECT end FROM positions p WHERE p.intent_id = r.intent_id"
            " AND p.con_id = r.con_id ORDER BY p.changed_utc DESC LIMIT 1) FROM reservations r"
            f" WHERE r.con_id = ? AND {IS_TRADE} ORDER BY r.reserved_utc DESC LIMIT 1",
            (con_id,),
        )  # fmt: skip
        if traded is None:
            if is_explained:
                texts.append(
                    f"The broker holds {position.qty:+d} of {label}, which our executions made and nobody watches:"
                    " close it (`main.py flatten --direct --force`)."
                )
        elif traded.end not in _EXPIRED and is_explained and (doubt := _doubt(db, reading, con_id)):
            texts.append(
                f"The broker holds {position.qty:+d} of {label}, which nobody watches, and {doubt}: if it is not"
                " somebody else's, close it (`main.py flatten --direct --force`)."
            )
        elif traded.end not in _EXPIRED and (is_explained or traded.run_n < run_n):
            fills.open_again(db, traded.intent_id, traded.leg)
            taken.append(position)
            bought = ", and is bought back" if position.qty < 0 else ""
            texts.append(
                f"The broker holds {position.qty:+d} of {label}, which is ours and nobody watched: it is watched"
                f" again{bought}."
            )
    return tuple(taken), tuple(texts)


def _is_unheard(db: sqlite3.Connection, con_id: int) -> bool:
    """Return whether the holder of a contract was opened again, and its position has recorded nothing since its end."""
    return rows.exists(
        db,
        "SELECT 1 FROM positions p JOIN reservations r USING (intent_id, con_id)"
        f" WHERE con_id = ? AND r.{LIVE} AND p.state = ? AND p.closed_utc IS NOT NULL",
        (con_id, PositionState.FLAT.value),
    )


def _doubt(db: sqlite3.Connection, reading: _Reading, con_id: int) -> str:
    """Return why what our executions make may be somebody else's all the same; empty where nothing says so."""
    if not reading.has(ReadGroup.EXECUTIONS):
        return "the executions that would say whose it is cannot be read"
    return "somebody else has traded it, too" if fills.is_traded_by_others(db, con_id) else ""


def _compare_positions(db: sqlite3.Connection, reading: _Reading) -> tuple[tuple[BrokerPosition, ...], tuple[str, ...]]:
    """Find positions that our executions do not explain, nor an own order that may be filling right now."""
    if not reading.has(ReadGroup.POSITIONS):
        return (), ()
    below: defaultdict[int, int] = defaultdict(int)
    above: defaultdict[int, int] = defaultdict(int)
    for con_id, side, pending in _pending(db, reading):
        (above if side is Side.BUY else below)[con_id] += max(0, pending)
    foreign: list[BrokerPosition] = []
    differing: list[str] = []
    held = {position.contract.con_id: position for position in reading.positions if position.qty}
    for con_id, position in held.items():
        net = fills.net_of_contract(db, con_id)
        if net == position.qty:
            continue
        label = position.contract.label
        differing.append(f"The broker holds {position.qty} of {label}, our executions make {net}.")
        if not net - below[con_id] <= position.qty <= net + above[con_id]:
            foreign.append(position)
    for (con_id,) in db.execute(f"SELECT con_id FROM reservations WHERE {LIVE} ORDER BY con_id").fetchall():
        net = fills.net_of_contract(db, con_id)
        if net and con_id not in held:
            differing.append(f"The broker holds none of contract {con_id}, our executions make {net}.")
    return tuple(foreign), tuple(differing)


class _Live(rows.Row, frozen=True):
    """An order of a live leg as the ledger knows it."""

    order_ref: str
    con_id: int
    side: Side
    qty: Qty


def _pending(db: sqlite3.Connection, reading: _Reading) -> Iterable[tuple[int, Side, int]]:
    """Return (contract, side, contracts) that own orders may be filling right now.

    Where open orders were not read, every order of a live leg may be.
    """
    filled = fills.filled_of(db, reading.own_refs)
    for order in reading.own:
        expected = order.qty if order.is_working else order.filled_qty
        yield order.con_id, order.side, expected - filled.get(order.order_ref, Qty(0))
    if reading.has(ReadGroup.ORDERS):
        return
    read_refs = set(reading.own_refs)
    for live in rows.all_rows(
        db, _Live,
        "SELECT o.order_ref, o.con_id, o.side, o.qty FROM orders o JOIN reservations r USING (intent_id, leg)"
        f" WHERE r.{LIVE} AND o.status NOT IN ('filled', 'cancelled', 'inactive')",
    ):  # fmt: skip
        if live.order_ref not in read_refs:
            yield live.con_id, live.side, live.qty - fills.totals_of(db, live.order_ref)[0]


def _short_counts(db: sqlite3.Connection, reading: _Reading) -> tuple[str, ...]:
    if not reading.has(ReadGroup.EXECUTIONS):
        return ()
    filled = fills.filled_of(db, reading.own_refs)
    found = ((order, filled.get(order.order_ref, Qty(0))) for order in reading.own)
    return tuple(
        f"Order {order.order_ref} is filled {order.filled_qty} at the broker, {qty} in our executions."
        for order, qty in found
        if order.filled_qty != qty
    )


def _unverified(db: sqlite3.Connection, reading: _Reading) -> tuple[session.Unverified, ...]:
    """Return the reserved entries that the broker knows nothing of, where all that could say so was read."""
    if not reading.has(ReadGroup.ORDERS, ReadGroup.EXECUTIONS, ReadGroup.COMPLETED):
        return ()
    read = reading.read
    known = {order.order_ref for order in read.orders} | {execution.order_ref for execution in read.executions}
    found = rows.all_rows(
        db, ReservationRow,
        f"SELECT {RESERVATION_COLUMNS} FROM reservations WHERE state = 'PENDING_ENTRY'"
        " ORDER BY reserved_utc, intent_id, leg",
    )  # fmt: skip
    return tuple(
        session.Unverified(
            intent_id=row.intent_id, order_ref=row.order_ref, contract=row.contract, deadline_utc=row.deadline_utc
        )
        for row in found
        if row.order_ref not in known
    )
