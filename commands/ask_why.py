"""Why a trade was made or closed, and why none was, in plain language: from ledgers and traces, with their records."""

from __future__ import annotations

from datetime import date, time
from typing import Any, Final

from commands.ask_facts import Desk, closed_by, refusal_text
from commands.cli import CommandError
from commands.held import contract_of
from commands.lanes import is_about, looked_for
from commands.why import chain_of
from commands.why_lines import STEPS
from commands.why_not import answer_of
from commands.why_not_day import kinds_of, lines_of
from domain.ask.answer import Answer, Citation, cited
from domain.ask.question import Question
from domain.instants import MS, SECOND, at_exchange, bucket_of, exchange_clock
from domain.instruments import Side
from domain.orders.references import parse_order_ref, position_of
from domain.orders.tiers import Tier
from domain.reports.alerts import found_text
from domain.signals.alert import AlertKey
from domain.units import Utc
from domain.wording import usd_text
from storage.queries import Found

_NEAR_NS: Final = 10 * 60 * SECOND  # what people mean by a time of the day
# The steps of a chain that an answer names; the whole of it is `main.py why`.
_NAMED: Final = frozenset(("reading", "alert", "signal", "gates", "refused", "fill", "exit", "closed", "abandoned"))


def why(desk: Desk, asked: Question) -> Answer:
    """Say what a trade came from, what it passed and how it ended; of several that fit, the newest."""
    if asked.ref is not None:
        return _why_ref(desk, asked)
    days = desk.asked(asked.when)[1] if asked.when is not None else desk.sessions()[::-1]
    for day in reversed(days):
        found = [order for order in _entries(desk, day) if _fits(order, asked)]
        if found:
            filled = [order for order in found if order["executions"]] or found
            chosen = _nearest(filled, asked.clock, day)
            answer = _told(desk, chosen, day, asked)
            others = [order["order_ref"] for order in found if order is not chosen]
            also = f"\nAlso on that day: {', '.join(others)}." if others else ""
            return Answer(text=answer.text + also, citations=answer.citations)
        if any(_is_refused(row, asked, day) for row in desk.ledger.attempts(day)):
            return why_not(desk, asked)
    names = sorted({contract_of(order) for day in days for order in _entries(desk, day)})
    known = f" Contracts on record: {', '.join(names)}." if names else ""
    return Answer(
        text=f"No trade like that is on record.{known}", is_known=False,
        citations=cited(f"{desk.own} orders", [f"session {day}" for day in days]),
    )  # fmt: skip


def why_not(desk: Desk, asked: Question) -> Answer:
    """Say which gate refused, or why there was nothing to refuse; of a time, what was near it."""
    if asked.ref is not None:
        return _why_ref(desk, asked)
    day = desk.asked(asked.when)[1][-1]
    if asked.clock is None:
        return _why_not_day(desk, asked, day)
    lines, sources = _of_time(desk, asked, day, asked.clock)
    if not lines:
        tickers = sorted({ticker for on in desk.settings.lanes.values() for ticker in on})
        return Answer(
            text=f"No lane watches {asked.ticker or 'anything'}, so nothing could come of it; lanes watch:"
            f" {', '.join(tickers)}.",
            citations=cited("settings", ["lanes"]),
        )  # fmt: skip
    return Answer(text="\n".join([f"Session {day}, {asked.clock:%H:%M} New York:", *lines]), citations=tuple(sources))


# -- why -------------------------------------------------------------------------------------------


def _why_ref(desk: Desk, asked: Question) -> Answer:
    ref = asked.ref or ""
    if parse_order_ref(ref) is not None or ref.startswith("ZH-"):
        stem = position_of(ref) if parse_order_ref(ref) is not None else ref
        for known in (desk, *(other for other in desk.each() if other is not desk)):
            order = known.ledger.order(f"{stem}-e")
            if order is not None:
                return _told(known, order, _session_of(order), asked)
        return Answer(text=f"No order {ref} is on record; `what did we trade?` lists the trades.", is_known=False)
    try:
        key = AlertKey.parse(ref)
    except ValueError:
        return Answer(text=f"{ref} is no order reference and no alert id.", is_known=False)
    for row in desk.ledger.attempts(key=key.alert_id):
        refs = desk.ledger.orders_of(row["intent_id"]) if row["intent_id"] else []
        order = desk.ledger.order(refs[0]) if refs else None
        if order is not None:
            return _told(desk, order, key.session, asked)
    lines, sources = _of_key(desk, key)
    return Answer(text="\n".join(lines), citations=tuple(sources))


def _session_of(order: Found) -> date:
    return AlertKey.parse(order["alert_id"]).session


def _entries(desk: Desk, day: date) -> list[Found]:
    """Return the entry orders of a session, one a contract, each with its origin and fills."""
    found: dict[tuple[str, int], Found] = {}
    for row in desk.ledger.attempts(day):
        for ref in desk.ledger.orders_of(row["intent_id"]) if row["intent_id"] else ():
            order = desk.ledger.order(ref)
            if order is not None and not order["is_exit"]:
                found.setdefault((order["intent_id"], order["con_id"]), order)
    return list(found.values())


def _fits(order: Found, asked: Question) -> bool:
    return (
        is_about(order["ticker"], asked.ticker)
        and asked.strike_ticks in (None, order["strike_ticks"])
        and asked.right in (None, order["right"])
    )


def _nearest(orders: list[Found], clock: time | None, day: date) -> Found:
    if clock is None:
        return orders[-1]
    at_utc = at_exchange(day, clock)
    return min(orders, key=lambda order: abs(order["decided_utc"] - at_utc))


def _is_refused(row: Found, asked: Question, day: date) -> bool:
    """Return whether a question without a contract is about an attempt that was refused."""
    if asked.strike_ticks is not None or asked.right is not None or asked.clock is None or row["code"] is None:
        return False
    is_near = abs(row["decided_utc"] - at_exchange(day, asked.clock)) <= _NEAR_NS
    return is_near and is_about(row["ticker"], asked.ticker)


def _told(desk: Desk, order: Found, day: date, asked: Question) -> Answer:
    """Return what an entry came from and came to."""
    alert_id, ledger = order["alert_id"], desk.ledger
    attempt = next((row for row in ledger.attempts(key=alert_id) if row["intent_id"] == order["intent_id"]), None)
    alert = next((row for row in ledger.alerts(day) if row["alert_id"] == alert_id), None)
    of_intent = [row for row in ledger.trades(day) if row["intent_id"] == order["intent_id"]]
    trade = next((row for row in of_intent if row["con_id"] == order["con_id"]), None)
    refs = ledger.orders_of(order["intent_id"])
    entry = [_bought(order, day)]
    if alert is not None:
        entry.append(_because(alert))
    if attempt is not None:
        n = len({verdict["gate"] for verdict in attempt["verdicts"]})
        entry.append(f"All {n} gates passed at {exchange_clock(attempt['decided_utc'])}.")
    closed = [] if trade is None else [_closed(desk, trade)]
    told, chain = _chain(desk, order["order_ref"], day)
    if len(of_intent) > 1:
        cents = sum(row["realised_cents"] for row in of_intent)
        closed.append(f"Its {len(of_intent)} legs together made {_signed(cents)}.")
    lines = [*closed, *entry] if _is_of_exit(asked, order) else [*entry, *closed]
    if trade is None and order["executions"]:
        lines.append("It is still held.")
    lines.append(told or f"The whole chain: `main.py why {order['order_ref']}`.")
    sources = (
        *cited(f"{desk.own} orders", refs),
        *cited(f"{desk.own} executions", [fill["exec_id"] for fill in order["executions"]]),
        *(cited(f"{desk.own} positions", [trade["position_id"]]) if trade is not None else ()),
        *(cited(f"{desk.own} gate_log", [f"n {attempt['n']}"]) if attempt is not None else ()),
        *(cited(f"{desk.shared} alerts", [alert_id]) if alert is not None else ()),
        *chain,
    )
    return Answer(text="\n".join(lines), citations=sources)


def _is_of_exit(asked: Question, order: Found) -> bool:
    """Return whether a question is about how a trade was closed: of what was sold to open, that was bought back."""
    if order["side"] == Side.SELL and asked.side is not None:
        return asked.side is Side.BUY
    return asked.is_exit


def _bought(order: Found, day: date) -> str:
    fills = order["executions"]
    qty = sum(fill["qty"] for fill in fills)
    verb = {"BUY": "Bought", "SELL": "Sold"}.get(order["side"], order["side"])
    is_market = order["limit_ticks"] is None or order["tier"] == Tier.MARKET
    limit = "market" if is_market else f"a limit of {order['limit_ticks'] / 100:.2f}"
    name = f"{contract_of(order)} ({order['strategy']}, {order['order_ref']})"
    if not qty:
        at = exchange_clock(Utc(order["at_utc"]))
        return f"{order['qty']} {name}: ordered at {limit} on {day} {at} New York, never filled ({order['status']})."
    priced = [fill for fill in fills if fill["price_ticks"]]
    mean = sum(fill["qty"] * fill["price_ticks"] for fill in priced) / qty / 100 if len(priced) == len(fills) else None
    price = "at an unknown price" if mean is None else f"at {mean:.2f}"
    at = exchange_clock(Utc(fills[0]["at_utc"]))
    return f"{verb} {qty} {name} {price} on {day} {at} New York, last with {limit}."


def _because(alert: Found) -> str:
    known = [f"{force['name']} {force['score']:+.2f}" for force in alert["forces"] if force["confidence"]]
    forces = f"; forces {', '.join(known)}" if known else ""
    bucket = exchange_clock(alert["bucket_utc"])
    return (
        f"Because {alert['source']} found {alert['kind']} on {alert['ticker']} in the bucket of {bucket}:"
        f" {found_text(alert, has_levels=True)}{forces} ({alert['alert_id']})."
    )


def _signed(cents: int) -> str:
    return f"{'+' if cents >= 0 else ''}{usd_text(cents)}"


def _closed(desk: Desk, trade: Found) -> str:
    return (
        f"Closed at {exchange_clock(trade['closed_utc'])} because of: {closed_by(desk, trade)};"
        f" {_signed(trade['realised_cents'])} net of {usd_text(trade['fees_cents'] or 0)} fees."
    )


def _chain(desk: Desk, ref: str, day: date) -> tuple[str, list[Citation]]:
    """Return the records of a chain that are named, and a sentence where the traces do not have it."""
    paths = [path for path in reversed(desk.folder.traces_newest_first()) if path.parent.name == day.isoformat()]
    try:
        chain = chain_of(paths, ref)
    except CommandError as error:
        return f"Its trace cannot be read: {error}", []
    if not chain:
        return "The trace of that day is not in this folder any more; the ledgers are what is left.", []
    return "", [_record(record, day) for record in chain if STEPS[record["message"]["type"]] in _NAMED]


def _record(record: dict[str, Any], day: date) -> Citation:
    run_n = str(record.get("message_id", "")).partition("/")[0]
    return Citation(f"traces/{day}/run-{run_n}", f"seq {record.get('seq')} ({STEPS[record['message']['type']]})")


# -- why not ---------------------------------------------------------------------------------------


def _why_not_day(desk: Desk, asked: Question, day: date) -> Answer:
    kinds = kinds_of(day, desk.settings, desk.folder, desk.ledger)
    found = [kind for kind in kinds if is_about(kind.lane.partition(":")[2], asked.ticker)]
    if not found:
        watched = ", ".join(sorted({kind.lane for kind in kinds})) or "none"
        return Answer(
            text=f"No lane watches {asked.ticker}; the lanes are: {watched}.", citations=cited("settings", ["lanes"])
        )
    rows = [row for row in desk.ledger.attempts(day) if is_about(row["ticker"], asked.ticker)]
    return Answer(
        text="\n".join(lines_of(day, found)),
        citations=(*cited(f"{desk.own} gate_log", [f"n {row['n']}" for row in rows]),
                   *cited("series readings", [f"session {day}"])),
    )  # fmt: skip


def _of_time(desk: Desk, asked: Question, day: date, clock: time) -> tuple[list[str], list[Citation]]:
    """Return what each lane said at a time, and what was tried around it."""
    at_utc = at_exchange(day, clock)
    lines: list[str] = []
    sources: list[Citation] = []
    for row in desk.ledger.attempts(day):
        if is_about(row["ticker"], asked.ticker) and abs(row["decided_utc"] - at_utc) <= _NEAR_NS:
            is_refused = row["code"] is not None or row["amended_code"] is not None
            what = (
                refusal_text(row) if is_refused else f"{exchange_clock(row['decided_utc'])} {row['ticker']}: approved"
            )
            lines.append(f"  {what} ({row['alert_id']})")
            sources += cited(f"{desk.own} gate_log", [f"n {row['n']}"])
    for one in looked_for(desk.settings):
        if is_about(one.ticker, asked.ticker):
            said, cites = _of_key(desk, AlertKey(one.source, one.ticker, one.kind, one.version, bucket_of(at_utc)))
            lines += [f"  {one.lane} {one.kind}: {said[-1]}"]
            sources += cites
    return lines, sources


def _of_key(desk: Desk, key: AlertKey) -> tuple[list[str], list[Citation]]:
    """Return why no trade came of a bucket and kind."""
    found = answer_of(key, desk.folder, desk.ledger)
    sources = [*cited(f"{desk.own} gate_log", [f"n {row['n']}" for row in found.attempts])]
    if found.alert is not None:
        sources += cited(f"{desk.shared} alerts", [key.alert_id])
    if found.reading is not None or found.not_evaluated:
        at_ms = exchange_clock(Utc(key.bucket_utc // MS * MS))
        sources += cited(f"traces/{key.session}", [f"{key.ticker} bucket {at_ms}"])
    if not sources:
        sources += cited(f"{desk.own} gate_log", [f"none of {key.alert_id}"])
    return [key.alert_id, found.conclusion], sources
