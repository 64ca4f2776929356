"""The causal chain of a trade or an attempt as a timeline of a few steps, from the ledgers alone.

The whole chain, message by message, is in the trace (`main.py why`); here stand the steps that a trader asks about.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from domain.instants import BUCKET_NS
from domain.orders.references import parse_order_ref, position_of
from domain.reports.alerts import found_text
from domain.reports.refusals import code_text, refused_measure
from domain.reports.trades import closing_text, exit_reasons
from domain.signals.alert import AlertKey
from domain.signals.spread import SOURCE
from domain.units import Utc
from domain.wording import measure_text, reason_text
from storage.queries import Found, LedgerReader
from web.models import Story, StoryStep
from web.times import iso_of

Steps = list[tuple[Utc, str, str]]
_SHOWN_EVENTS = {
    "refused": "refused", "cancelled": "order", "rejected": "refused", "passed over": "order", "slices ended": "order",
}  # fmt: skip


def story_of(ask: LedgerReader, ref: str) -> Story | None:
    """Return the timeline of an alert id, an order reference or a position id; `None` where nobody knows it.

    Gaps are seconds since the step before.
    """
    alert_id = _alert_id(ask, ref)
    if alert_id is None:
        return None
    key = AlertKey.parse(alert_id)
    session = date.fromisoformat(f"{alert_id[:4]}-{alert_id[4:6]}-{alert_id[6:8]}")
    steps = [*_of_alert(ask, key, session)]
    for attempt in ask.attempts(key=alert_id):
        steps += _of_attempt(attempt)
        if attempt["intent_id"] is not None:
            steps += _of_orders(ask, attempt["intent_id"])
    steps += _of_closing(ask, alert_id, session)
    steps.sort(key=lambda step: step[0])
    before = steps[0][0] if steps else Utc(0)
    shown = []
    for at_utc, kind, text in steps:
        shown.append(StoryStep(at=iso_of(at_utc), gap_s=round((at_utc - before) / 1e9, 1), kind=kind, text=text))
        before = at_utc
    return Story(ref=ref, alert_id=alert_id, title=f"{key.ticker} {_words(key.kind)}", steps=shown)


def _alert_id(ask: LedgerReader, ref: str) -> str | None:
    try:
        return AlertKey.parse(ref).alert_id
    except ValueError:
        pass
    order = ask.order(f"{position_of(ref) if parse_order_ref(ref) is not None else ref}-e")
    return None if order is None else str(order["alert_id"])


def _of_alert(ask: LedgerReader, key: AlertKey, session: date) -> Steps:
    found = next((row for row in ask.alerts(session) if row["alert_id"] == key.alert_id), None)
    if found is None:
        return []
    known = [f"{f['name']} {_signed(f['score'])}" for f in found["forces"] if f["confidence"]]
    forces = f"; forces {', '.join(known)}" if known else ""
    reading = f"{key.ticker} at {_usd(found['entry_ticks'])}{forces}"
    way = "up" if found["direction"] > 0 else "down"
    alert = f"{_words(key.kind)}, {way}; target {_usd(found['target_ticks'])}, stop {_usd(found['stop_ticks'])}"
    if key.source == SOURCE:  # a spread has no way and no levels of its own
        reading, alert = f"SPX at {_usd(found['entry_ticks'])}", f"{_words(key.kind)}: {found_text(found)}"
    return [
        (Utc(found["bucket_utc"] + BUCKET_NS), "reading", reading),
        (Utc(found["raised_utc"]), "alert", f"{alert} (shadow)" if found["is_shadow"] else alert),
    ]


def _of_attempt(row: Found) -> Steps:
    at_utc, gates = Utc(row["decided_utc"]), {verdict["gate"] for verdict in row["verdicts"]}
    steps: Steps = []
    if row["code"] is None:
        steps.append((at_utc, "gates", f"{len(gates)} passed{_closest(row['verdicts'])}"))
    else:
        why = f"{_words(code_text(row) or '')} at gate {_words(row['gate'] or '')}"
        steps.append((at_utc, "refused", f"{why}{_measured(row)}"))
    if row["amended_code"] is not None:
        steps.append((Utc(row["amended_utc"]), "refused", f"{_words(row['amended_code'])}: {row['amended_words']}"))
    return steps


def _measured(row: Found) -> str:
    if row["measured"] is None or row["limit_value"] is None:
        return f" ({row['looked_at']})" if row["looked_at"] else ""
    return f": {refused_measure(row)}"


def _closest(verdicts: Iterable[dict[str, Any]]) -> str:
    """Return which gate came nearest to its limit, of those whose measure may not exceed one."""
    found = [
        (finding["measured"] / finding["limit"], verdict["gate"], finding)
        for verdict in verdicts
        if (finding := verdict["finding"])["unit"] in ("ms", "ticks", "share", "cents")
        and (finding["measured"] or 0) > 0 and (finding["limit"] or 0) > 0
        and finding["measured"] <= finding["limit"]
    ]  # fmt: skip
    if not found:
        return ""
    _, gate, finding = max(found, key=lambda item: item[0])
    return f", closest {_words(gate)}: {measure_text(finding['measured'], finding['limit'], finding['unit'])}"


def _of_orders(ask: LedgerReader, intent_id: str) -> Steps:
    steps: Steps = []
    for order_ref in ask.orders_of(intent_id):
        order = ask.order(order_ref)
        if order is None:
            continue
        contract = f"{order['trading_class']} {order['strike_ticks'] / 100:g}{order['right']}"
        at_utc = Utc(0)
        for event in ask.order_events(order_ref):
            at_utc = max(at_utc, Utc(event["at_utc"]))  # the broker tells fills to the second, so some seem too early
            step = _of_event(order, event, contract)
            if step is not None:
                steps.append((at_utc, *step))
    return steps


def _of_event(order: Found, event: Found, contract: str) -> tuple[str, str] | None:
    what = event["event"]
    if what == "intended":
        limit = f" at {_usd(event['price_ticks'])}" if event["price_ticks"] is not None else ""
        said = reason_text(event["words"]) if order["is_exit"] else _words(event["words"])
        why = f"{said}: " if said else ""
        how = " at market" if event["order_type"] == "MKT" else limit
        return ("exit" if order["is_exit"] else "order"), f"{why}{order['side'].lower()} {event['qty']} {contract}{how}"
    if what in ("fill", "adopted", "correction"):
        note = "" if what == "fill" else f" ({what})"
        raised = (
            f"; its limit of {_usd(order['limit_ticks'])} was raised while it worked"
            if _is_raised(order, event)
            else ""
        )
        return "fill", f"{event['qty']} at {_usd(event['price_ticks'])}{note}{raised}"
    if what in _SHOWN_EVENTS:
        return _SHOWN_EVENTS[what], f"{_words(what)} {event['words']}".strip()
    return None


def _is_raised(order: Found, event: Found) -> bool:
    """Return whether an entry was bought above the limit that it began with; the ledger keeps no later one.

    No broker fills above the limit in force, so it had been raised; the legs of a structure have their own terms.
    """
    if order["is_exit"] or order["side"] != "BUY" or order["structure_id"] is not None:
        return False
    limit, price = order["limit_ticks"], event["price_ticks"]
    return limit is not None and price is not None and price > limit


def _of_closing(ask: LedgerReader, alert_id: str, session: date) -> Steps:
    executions = ask.executions(session)
    return [
        (
            Utc(row["closed_utc"]), "won" if row["realised_cents"] > 0 else "lost",
            f"{closing_text(row, exit_reasons(executions, row))}, {_signed(row['realised_cents'] / 100)} net"
            f" of {row['fees_cents'] / 100:.2f} fees",
        )
        for row in ask.trades(session)
        if row["alert_id"] == alert_id
    ]  # fmt: skip


def _words(code: str) -> str:
    return code.replace("_", " ").lower()


def _usd(ticks: int | None) -> str:
    return "an unknown price" if ticks is None else f"{ticks / 100:,.2f}"


def _signed(value: float) -> str:
    return f"{value:+,.2f}".replace("-", "\N{MINUS SIGN}")
