"""The chain of an order in lines for people: New York's clock, the time since the step before, prices in dollars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from commands.lines import wrapped
from commands.traces import UNREADABLE
from commands.why_forces import force_lines
from domain.instants import MS, exchange_clock
from domain.instruments import Side
from domain.orders.tiers import Tier
from domain.position.cycle import ExitReason
from domain.position.exits import SEVERITY
from domain.reports.alerts import found_text
from domain.risk.gates.sequence import number_of
from domain.signals.alert import AlertKey
from domain.wording import duration_text, measure_text, reason_text, usd_text

# What belongs to the chain of an order: message type to the name of the step.
STEPS: Final = {
    "signals.FeaturesComputed": "reading",
    "signals.RecordAlert": "alert",
    "signals.SignalRaised": "signal",
    "market.ContractsOffered": "offered",
    "entries.RecordDenial": "refused",
    "entries.ReserveEntry": "gates",
    "entries.EntryReserved": "reserved",
    "entries.EntryRefused": "refused",
    "orders.WhatIfRead": "margin",
    "structures.OpenStructure": "all legs",
    "structures.StructureChanged": "structure",
    "structures.StructureClosed": "all closed",
    "entries.OpenPosition": "handed over",
    "orders.SubmitOrder": "submit",
    "orders.ModifyOrder": "modify",
    "orders.CancelOrder": "cancel",
    "broker.PlaceOrder": "to the port",
    "broker.AmendOrder": "to the port",
    "broker.OrderSent": "on the wire",
    "broker.OrderDenied": "denied",
    "orders.BrokerRefused": "refused",
    "operator.Alarm": "alarm",
    "broker.OrderStatusReported": "status",
    "broker.ErrorReported": "error",
    "broker.ExecutionReported": "execution",
    "orders.FillRecorded": "fill",
    "entries.SliceRefused": "slice",
    "orders.RecordSlice": "slice",
    "orders.SliceNoted": "slices",
    "orders.RecordExitIntent": "exit",
    "positions.PositionOpened": "opened",
    "positions.PositionClosed": "closed",
    "positions.EntryAbandoned": "abandoned",
}
_INDENT = 34  # of what a step says
_OFFERS_SHOWN = 3
_SEVEREST = max(SEVERITY.values())
_TIERS: Final = {Tier.NONE: "not priced", Tier.MID: "at mid", Tier.BID: "at the bid", Tier.MARKET: "at market"}


def lines_of(chain: list[dict[str, Any]]) -> list[str]:
    """Return the chain for people; the same news twice in a row is one line."""
    lines: list[str] = []
    before, last = chain[0]["at_utc"], ""
    for record in chain:
        try:
            message = record["message"]
            step, text = STEPS[message["type"]], _told(message)
            below = verdict_lines(message.get("verdicts", ())) + force_lines(message)
        except (*UNREADABLE, msgspec.ValidationError):
            step, text, below = "damaged", "a record that cannot be read; restore the trace from a copy", []
        if step == "status" and text == last:
            continue
        last = text
        since = duration_text((record["at_utc"] - before) / MS)
        before = record["at_utc"]
        head = f"{exchange_clock(record['at_utc'])} {'+' + since:>11}  {step}"
        lines += wrapped(text, _INDENT, first=f"{head:<{_INDENT - 1}} ")
        lines += below
    return lines


def _told(message: dict[str, Any]) -> str:
    return _SAID.get(message["type"], _plain)(message)


def _reading(message: dict[str, Any]) -> str:
    levels = levels_text(message["spot"], message["zero_gamma"])
    told = f"{message['ticker']} bucket {exchange_clock(message['bucket_utc'])}: {levels}"
    if message.get("evidence") is not None:
        return told  # the forces follow, a line each
    forces = ", ".join(f"{f['name']} {f['score']:+.2f}" for f in message.get("forces", ()))
    return f"{told}; forces {forces or 'none'}"


def levels_text(spot_ticks: int | None, zero_gamma_ticks: int | None) -> str:
    """Return spot and zero gamma in dollars, and how far the one is from the other in basis points of spot."""
    away = ""
    if spot_ticks and zero_gamma_ticks is not None:
        away = f" ({(zero_gamma_ticks - spot_ticks) / spot_ticks * 10_000:+.1f} bps)"
    return f"spot {_price(spot_ticks)}, zero gamma {_price(zero_gamma_ticks)}{away}"


def _alert(message: dict[str, Any]) -> str:
    alert = message["alert"]
    key = msgspec.convert(alert["key"], AlertKey)
    told = alert | {"source": key.source, "thresholds": message.get("thresholds")}
    return f"{key.alert_id}: {found_text(told, has_levels=True)}"


def _signal(message: dict[str, Any]) -> str:
    intent = message["intent"]
    legs = ", ".join(_planned(leg) for leg in intent["plan"]["legs"])
    return f"{intent['strategy']}: {legs}{' (shadow)' if intent['is_shadow'] else ''}"


def _planned(leg: dict[str, Any]) -> str:
    """Return a leg of a plan; one that its strategy names with size, underlying and strike."""
    if leg.get("strike_ticks") is None:
        return f"{leg['side']} {leg['right']}"
    return f"{leg['side']} {leg['ratio']} {leg['ticker']} {leg['strike_ticks'] / 100:g}{leg['right']}"


def _terms(message: dict[str, Any]) -> str:
    terms = message["terms"]
    credit, gap = terms["credit_cents"], terms["gap_cents"]
    return (
        f"credit {usd_text(credit)} net of fees {usd_text(terms['fees_cents'])}, gap of the strikes {usd_text(gap)},"
        f" edge {usd_text(credit - gap)}, {_index_or_ratio(terms)}"
    )


def _index_or_ratio(terms: dict[str, Any]) -> str:
    """Return what else its terms say: at two underlyings their ratio, at one the strikes of all legs."""
    if terms["ratio"] != 1:
        return f"SPX/SPY {terms['ratio']:.4f}"
    calls, *puts = (
        f"{pair['short_strike_ticks'] / 100:g}/{pair['cover_strike_ticks'] / 100:g}"
        for pair in (terms, *terms.get("further", ()))
    )
    return f"sold/bought calls {calls}" + "".join(f", puts {put}" for put in puts)


def _structure(message: dict[str, Any]) -> str:
    pnl = message.get("pnl_cents")
    told = f"{message['state']}: {message['cover_qty']} of the cover, {message['short_qty']} short"
    why = "" if message.get("reason") is None else f", out because of {reason_text(message['reason'])}"
    return f"{told}{why}{'' if pnl is None else f', by its marks {usd_text(pnl)}'}"


def _structure_closed(message: dict[str, Any]) -> str:
    why = "no exit of its own" if message.get("reason") is None else reason_text(message["reason"])
    return (
        f"{why}: cover bought at {_average(message['cover_ticks'])}, shorts sold at {_average(message['short_ticks'])};"
        f" {usd_text(message['realised_cents'])} net of fees {usd_text(message['fees_cents'])}"
    )


def _average(ticks: float | None) -> str:
    return "no price" if ticks is None else f"{ticks / 100:.2f}"


def _margin(message: dict[str, Any]) -> str:
    change = message.get("init_margin_change_cents")
    return f"not known: {message['why']}" if change is None else f"the short leg needs {usd_text(change)} more"


def _offered(message: dict[str, Any]) -> str:
    if not message["quotes"]:
        return f"no contract: {message['why']}"
    shown = []
    for contract, quote in message["quotes"][:_OFFERS_SHOWN]:
        greeks = quote.get("greeks")
        delta = "" if greeks is None else f" delta {greeks['delta']:+.2f}"
        shown.append(f"{_contract(contract)} {_price(quote['bid_ticks'])}/{_price(quote['ask_ticks'])}{delta}")
    more = len(message["quotes"]) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _reserve(message: dict[str, Any]) -> str:
    return "; ".join(_reserved(leg) for leg in message["legs"])


def _reserved(leg: dict[str, Any]) -> str:
    seen = leg.get("decision") or {}
    quote = f" (quoted {_price(seen['bid_ticks'])}/{_price(seen['ask_ticks'])}" if seen else ""
    spot = f", spot {_price(seen['spot_ticks'])}" if seen and seen.get("spot_ticks") is not None else ""
    price = _price(leg["limit_ticks"])
    return f"{leg['side']} {leg['qty']} {_contract(leg['contract'])} at {price}{quote}{spot}{')' if quote else ''}"


def _sliced(message: dict[str, Any]) -> str:
    twap = message.get("twap")
    return "" if twap is None else f" of {twap['total_qty']} in {twap['slices']} slices"


def _exit(message: dict[str, Any]) -> str:
    severity = SEVERITY[ExitReason(message["reason"])]
    how = _TIERS[Tier(message["tier"])]
    part = " of a part" if message["kind"] == "take_part" else ""
    return f"{reason_text(message['reason'])} (severity {severity} of {_SEVEREST}){part}: {message['qty']} {how}"


def _opened(message: dict[str, Any]) -> str:
    ref = message["ref"]
    done = "sold" if ref.get("side") == Side.SELL else "bought"
    return f"{done} {message['qty']} {_contract(ref['contract'])} for {usd_text(message['cost_cents'])}"


def _closed(message: dict[str, Any]) -> str:
    cents = message["realised_cents"]
    reason = reason_text(message["reason"] or message["end"])
    first = "take profit, then " if message.get("took_part") and message["reason"] != "take_profit" else ""
    sign = "+" if cents >= 0 else ""
    return f"{first}{reason}: {sign}{usd_text(cents)} net of {usd_text(message['fees_cents'])} fees"


def _fill(fill: dict[str, Any]) -> str:
    return f"{fill['side']} {fill['qty']} at {_price(fill['price_ticks'])} ({fill['exec_id']})"


def _status(message: dict[str, Any]) -> str:
    return f"{message['status']}, {message['filled_qty']} of {message['qty']} filled"


def _plain(message: dict[str, Any]) -> str:
    keys = ("order_ref", "side", "qty", "order_type", "limit_ticks", "code", "why", "reason")
    told = ((key, message[key]) for key in keys if message.get(key) is not None)
    return " ".join(_price(value) if key == "limit_ticks" else str(value) for key, value in told)


_SAID: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "signals.FeaturesComputed": _reading,
    "signals.RecordAlert": _alert,
    "signals.SignalRaised": _signal,
    "market.ContractsOffered": _offered,
    "entries.RecordDenial": lambda message: str(message["code"]),
    "entries.ReserveEntry": _reserve,
    "entries.OpenPosition": lambda m: f"{m['order_ref']} {m['qty']}{_sliced(m)} at {_price(m['limit_ticks'])}",
    "entries.SliceRefused": lambda m: _plain({**m, **m["verdict"]["finding"], "why": m["verdict"]["gate"]}),
    "orders.RecordSlice": lambda m: (
        f"{m['n']} of {m['slices']}: {m['order_ref']} {m['qty']} at {_price(m['limit_ticks'])}"
    ),
    "orders.SliceNoted": lambda m: f"{m['event']}: {m['why']}",
    "orders.SubmitOrder": lambda message: _plain(message["order"]),
    "broker.PlaceOrder": lambda message: _plain(message["order"]),
    "orders.ModifyOrder": lambda message: _plain(message["change"]),
    "broker.AmendOrder": lambda message: _plain(message["change"]),
    "broker.OrderStatusReported": _status,
    "broker.ErrorReported": lambda message: f"{message['vendor_code']} {message['text']}",
    "orders.BrokerRefused": lambda message: f"{message['order_ref']}: {message['vendor_code']} {message['text']}",
    "operator.Alarm": lambda message: f"{message['severity'].upper()} [{message['key']}] {message['text']}",
    "broker.ExecutionReported": lambda message: _fill(message["execution"]),
    "orders.FillRecorded": _fill,
    "orders.RecordExitIntent": _exit,
    "positions.PositionOpened": _opened,
    "positions.PositionClosed": _closed,
    "orders.WhatIfRead": _margin,
    "structures.OpenStructure": _terms,
    "structures.StructureChanged": _structure,
    "structures.StructureClosed": _structure_closed,
}


def verdict_lines(verdicts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the gates, one a line; of the last look only what did not simply pass again."""
    lines, again = [], 0
    for verdict in verdicts:
        is_again = verdict.get("note") == "last look"
        if is_again and verdict["finding"]["outcome"] != "reject":
            again += 1
            continue
        if is_again:
            lines.append(f"    last look: {again} gates passed again, then one refused")
            again = 0
        lines += _verdict(verdict)
    if again:
        lines.append(f"    last look: all {again} gates passed again")
    return lines


def _verdict(verdict: Mapping[str, Any]) -> list[str]:
    finding = verdict["finding"]
    is_refused = finding["outcome"] == "reject"
    measure = measure_text(finding["measured"], finding["limit"], finding["unit"])
    said = ", ".join(text for text in (finding["code"] or "", measure, finding.get("looked_at") or "") if text)
    head = f"    {number_of(verdict['gate']):>2} {verdict['gate']:<20} {'REFUSED' if is_refused else 'pass':<8}"
    return wrapped(said, len(head), first=head)


def _contract(contract: dict[str, Any]) -> str:
    return f"{contract['trading_class']} {contract['strike_ticks'] / 100:g}{contract['right']}"


def _price(ticks: int | None) -> str:
    return "none" if ticks is None else f"{ticks / 100:.2f}"
