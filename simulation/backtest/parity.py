"""A recorded day beside its backtest: what alerts, gates and orders differ in, and why.

A cause is given only where the records show it. What they do not explain stays unexplained, and is a finding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any, Final

import msgspec

from domain.instants import MS, SECOND, exchange_clock
from domain.risk.reject import EXPLAINED, RejectCode
from domain.signals import spread
from domain.units import Utc
from simulation.backtest.ports import DamagedBucket
from simulation.backtest.recorded import RecordedDay
from storage.queries import LedgerReader

R = RejectCode
# What the backtest does not repeat: kill levels, the broker's session, how late a message came, a desk's account.
NOT_REPEATED: Final = frozenset(
    {
        R.KILL_SWITCH_L1, R.KILL_SWITCH_L2, R.LIVE_NOT_ENABLED, R.NOT_PAPER_PORT, R.NOT_PAPER_ACCOUNT, R.NOT_LIVE_PORT,
        R.ACCOUNT_MISMATCH, R.MODE_DATA_ONLY, R.MODE_DEGRADED, R.MODE_WARMUP, R.HALTED, R.STALE_SIGNAL,
        R.ATTEMPT_INTERRUPTED, R.EXIT_HALTED, R.PERMIT_EXPIRED, R.PERMIT_KILLED, R.PERMIT_SESSION, R.DEADLINE_PASSED,
        R.NOT_CONNECTED, R.BROKER_REJECTED,
    }
)  # fmt: skip
# What depends on what was traded before.
FOLLOWS: Final = frozenset(
    {
        R.DAY_LOCKED, R.COOLDOWN, R.DUPLICATE_ALERT, R.DAILY_LOSS, R.LOSS_STREAK, R.MAX_TRADES, R.DAY_TRADES,
        R.ADD_TO_LOSER, R.REVERSE_WITHOUT_FLAT, R.ONE_POSITION_ONLY, R.MAX_POSITIONS, R.TICKER_LIMIT, R.BAD_SIZE,
        R.CONCENTRATION, R.BUYING_POWER, R.DUPLICATE_POSITION,
    }
)  # fmt: skip
# What depends on a quote or a price.
OF_QUOTES: Final = frozenset(
    {
        R.STALE_QUOTE, R.EMPTY_MARKET, R.SPREAD_TOO_WIDE, R.CROSSED_MARKET, R.ILLIQUID, R.PREMIUM_BOUNDS,
        R.QUOTE_DRIFT, R.NO_CONTRACT, R.RISK_OVERLAY, R.BAD_SIZE, R.DELAYED_DATA,
    }
)  # fmt: skip
_ALL_DAY: Final = "*"
_ACKNOWLEDGED_NS: Final = 100 * MS  # from the quote that an order was changed on to the record of its change


class What(StrEnum):
    """What is compared."""

    ALERT = "alert"
    GATE = "gate"
    ORDER = "order"
    FILL = "fill"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, said so that two that are equal say the same; `code` is that of a refusal.

    `changed_utc` are the instants at which an order was recorded and its terms were changed.
    """

    what: What
    key: str
    ticker: str
    at_utc: Utc
    says: str
    code: str | None = None
    con_id: int | None = None
    bucket_utc: Utc = Utc(0)
    is_shadow: bool = False
    changed_utc: tuple[Utc, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same in both: what was said then and in the backtest, `None` where it did not happen.

    `cause` is `None` where the records show none.
    """

    what: What
    key: str
    at_utc: Utc
    then: str | None
    here: str | None
    cause: str | None


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """A day beside its backtest: how many of each were the same, and what was not; `is_heard` as in `Records`."""

    session: date
    same: dict[str, int]
    differences: tuple[Difference, ...]
    is_heard: bool = False

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """The differences without a cause."""
        return tuple(one for one in self.differences if one.cause is None)


class Records(msgspec.Struct, frozen=True):
    """What is on record of the day besides the ledger.

    `readings` is what each reading lacked when it was made, by (ticker, bucket); `last_utc` the last instant of which
    anything is; `promoted_utc` are the instants of words on promotions within the session; `foreign` counts executions
    that the desk did not order; `damaged` are buckets that could not be read. `is_heard`: the backtest heard of markets
    what the desk heard, at the same instants, and not samples of it.
    """

    readings: Mapping[tuple[str, int], tuple[str, ...]]
    recorded: RecordedDay
    last_utc: Utc
    promoted_utc: tuple[Utc, ...] = ()
    foreign: int = 0
    damaged: tuple[DamagedBucket, ...] = ()
    is_heard: bool = False


def items_of(reader: LedgerReader, session: date) -> tuple[Item, ...]:
    """Return what a ledger has of a session, each with its key."""
    attempts = reader.attempts(session)
    intents = dict.fromkeys(row["intent_id"] for row in attempts if row["intent_id"])
    orders = [order for intent in intents for ref in reader.orders_of(intent) if (order := reader.order(ref))]
    return (
        *map(_alert, reader.alerts(session)), *_gates(attempts),
        *(_order(order, reader.order_events(order["order_ref"])) for order in orders),
        *(_fill(order) for order in orders if order["executions"]),
    )  # fmt: skip


def _alert(row: Mapping[str, Any]) -> Item:
    shadow = ", a shadow" if row["is_shadow"] else ""
    return Item(
        what=What.ALERT, key=row["alert_id"], ticker=row["ticker"], at_utc=Utc(row["raised_utc"]),
        says=f"{'up' if row['direction'] > 0 else 'down'}{shadow}", bucket_utc=Utc(row["bucket_utc"]),
        is_shadow=bool(row["is_shadow"]),
    )  # fmt: skip


def _gates(attempts: Iterable[Mapping[str, Any]]) -> Iterable[Item]:
    seen: dict[str, int] = {}
    for row in attempts:
        n = seen[row["alert_id"]] = seen.get(row["alert_id"], 0) + 1
        code = row["code"] or row["amended_code"]
        yield Item(
            what=What.GATE, key=row["alert_id"] if n == 1 else f"{row['alert_id']} (attempt {n})",
            ticker=row["ticker"], at_utc=Utc(row["decided_utc"]), says="passed" if code is None else f"refused: {code}",
            code=code,
        )  # fmt: skip


def _order(row: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Item:
    limit = "the market" if row["limit_ticks"] is None else f"{row['limit_ticks'] / 100:.2f}"
    contract = f"{row['trading_class']} {row['strike_ticks'] / 100:g}{row['right']}"
    why = f", {row['exit_reason']}" if row["is_exit"] else ""
    return Item(
        what=What.ORDER, key=row["order_ref"], ticker=row["ticker"], at_utc=Utc(row["at_utc"]), con_id=row["con_id"],
        says=f"{row['side']} {row['qty']} {contract} at {limit}{why}",
        changed_utc=tuple(Utc(event["at_utc"]) for event in events if event["event"] in ("intended", "changed")),
    )  # fmt: skip


def _fill(row: Mapping[str, Any]) -> Item:
    qty = sum(e["qty"] for e in row["executions"])
    mean = sum(e["qty"] * e["price_ticks"] for e in row["executions"]) / qty / 100
    return Item(
        what=What.FILL, key=row["order_ref"], ticker=row["ticker"], at_utc=Utc(row["executions"][0]["at_utc"]),
        says=f"{qty} at {mean:.4g}", con_id=row["con_id"],
    )  # fmt: skip


def compare(session: date, then: Sequence[Item], here: Sequence[Item], records: Records) -> Parity:
    """Return what is the same and what is not, with its cause, in the order of the day."""
    before, after = ({(item.what, item.key): item for item in items} for items in (then, here))
    same = {what.value: 0 for what in What}
    found: list[Difference] = []
    differs: dict[str, str] = {}  # by ticker, and of all: the first that differs
    keys = sorted({**before, **after}, key=lambda key: _when(before.get(key), after.get(key)))
    for key in keys:
        one, other = before.get(key), after.get(key)
        if one is not None and other is not None and one.says == other.says:
            same[key[0]] += 1
            continue
        item = one or other
        assert item is not None  # the key is from one of them
        cause = _cause(one, other, records, differs)
        found.append(
            Difference(
                what=item.what, key=item.key, at_utc=item.at_utc, then=None if one is None else one.says,
                here=None if other is None else other.says, cause=cause,
            )
        )  # fmt: skip
        for of in (item.ticker, _ALL_DAY):
            differs.setdefault(of, f"the {item.what} {item.key}")
    return Parity(session=session, same=same, differences=tuple(found), is_heard=records.is_heard)


def _when(one: Item | None, other: Item | None) -> tuple[int, int, str]:
    items = [item for item in (one, other) if item is not None]
    return min(item.at_utc for item in items), list(What).index(items[0].what), items[0].key


def _cause(one: Item | None, other: Item | None, records: Records, differs: Mapping[str, str]) -> str | None:
    """Return what the records show as the cause; `None`: nothing."""
    item = one or other
    assert item is not None  # one of them happened
    if one is None and item.at_utc > records.last_utc:
        return "after the end of the recording: nothing ran then"
    match item.what:
        case What.ALERT:
            return _of_alert(one, other, records, differs)
        case What.GATE:
            return _of_gate(one, other, records, differs)
        case What.ORDER | What.FILL:
            earlier = differs.get(item.ticker)
            if one is None or other is None:
                return None if earlier is None else f"follows from {earlier}"
            of_quote = _of_pace(one, other, records) if records.is_heard else _of_quote(item, records)
            return of_quote or (None if earlier is None else f"follows from {earlier}")


def _of_alert(one: Item | None, other: Item | None, records: Records, differs: Mapping[str, str]) -> str | None:
    item = one or other
    assert item is not None  # one of them happened
    if one is not None and other is not None:
        is_of_promotions = one.is_shadow != other.is_shadow and records.promoted_utc
        return "promotions were changed in the session" if is_of_promotions else None
    earlier = differs.get(item.ticker)
    return _of_reading(item, records) or (None if earlier is None else f"follows from {earlier}")


def _of_reading(item: Item, records: Records) -> str | None:
    """Return what the lane of an alert had before it then and has not here, or the other way round.

    A spread's lane reads prices and quotes, and no bucket.
    """
    if item.ticker == spread.PAIR:
        return None if records.is_heard else "quotes are on record as samples: the lane looked at others"
    reading = records.readings.get((item.ticker, item.bucket_utc))
    if reading is None:
        return "no reading of the bucket is on record: nobody ran, or it was not stored"
    if reading:
        return f"the reading lacked {', '.join(reading)} then; what came later is in the warehouse"
    seen = [one for one in records.damaged if one.bucket_utc <= item.bucket_utc and item.ticker in one.tickers]
    return f"buckets are damaged: {max(seen, key=lambda one: one.bucket_utc).why}" if seen else None


def _of_gate(one: Item | None, other: Item | None, records: Records, differs: Mapping[str, str]) -> str | None:
    codes = {RejectCode(item.code) for item in (one, other) if item is not None and item.code is not None}
    if one is not None and one.code is not None and (code := RejectCode(one.code)) in NOT_REPEATED:
        return f"not repeated here: {EXPLAINED[code].meaning}"
    item = one or other
    assert item is not None  # one of them was decided
    if R.SHADOW_SIGNAL in codes and records.promoted_utc:
        return "promotions were changed in the session"
    earlier = differs.get(item.ticker) or (differs.get(_ALL_DAY) if codes & FOLLOWS else None)
    if earlier is not None:
        return f"follows from {earlier}"
    if codes & FOLLOWS and records.foreign:
        return f"{records.foreign} executions that the desk did not order are not repeated"
    if codes & OF_QUOTES and records.is_heard:
        return None if one is None or other is None else _of_pace(one, other, records)
    if codes & OF_QUOTES:
        return "quotes are on record as samples: the gate looked at others"
    return None


def _of_pace(one: Item, other: Item, records: Records) -> str | None:
    """Return that a quote came between the instants of then and here; a desk takes time to work, its backtest none.

    A change of then that was not made here would have been as much earlier or later as the order itself.
    """
    ahead_ns = one.at_utc - other.at_utc
    spans = [(one.at_utc, other.at_utc)]
    for n, changed_utc in enumerate(one.changed_utc):
        is_here = n < len(other.changed_utc)
        spans.append((changed_utc, other.changed_utc[n] if is_here else changed_utc - ahead_ns - _ACKNOWLEDGED_NS))
    for then_utc, here_utc in spans:
        quoted_utc = _quoted_between(one, min(then_utc, here_utc), max(then_utc, here_utc), records)
        if quoted_utc is not None and ahead_ns:
            word = "earlier" if ahead_ns > 0 else "later"
            return (
                f"{abs(ahead_ns) / MS:.0f} ms {word} here (a desk takes time to work, its backtest none), and the quote"
                f" of {exchange_clock(quoted_utc)} lies between"
            )
    return None


def _quoted_between(item: Item, after_utc: int, until_utc: int, records: Records) -> Utc | None:
    """Return the instant of a quote that was heard in a span, of the item's contract or else of its ticker's."""
    day = records.recorded
    mine = [item.con_id] if item.con_id is not None else [c.con_id for c in day.contracts if c.ticker == item.ticker]
    for con_id in mine:
        at_utc = day.columns[con_id].at_utc if con_id in day.columns else ()
        n = bisect_right(at_utc, until_utc)
        if n and at_utc[n - 1] > after_utc:
            return Utc(at_utc[n - 1])
    return None


def _of_quote(item: Item, records: Records) -> str | None:
    """Return how old the newest recorded quote was, where it was not of that very instant."""
    column = None if item.con_id is None else records.recorded.columns.get(item.con_id)
    if column is None:
        return "no quote of the contract is on record"
    earlier = [at for at in column.at_utc if at <= item.at_utc]
    if not earlier:
        return "no quote of the contract was on record yet"
    age_s = (item.at_utc - earlier[-1]) / SECOND
    return f"the newest quote on record was {age_s:.1f} s old" if age_s else None
