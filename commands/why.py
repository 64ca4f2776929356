"""`main.py why REF`: the causal chain of an order or a signal in the trace, from the bucket to the last fill."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.traces import UNREADABLE, check_schema, enveloped, records
from domain.instants import exchange_clock
from domain.orders.references import parse_order_ref, position_of
from domain.risk.gates.sequence import number_of
from domain.signals.alert import AlertKey

# What belongs to the chain of an order: message type to the name of the step.
_STEPS = {
    "signals.FeaturesComputed": "reading",
    "signals.RecordAlert": "alert",
    "signals.SignalRaised": "signal",
    "entries.RecordDenial": "refused",
    "entries.ReserveEntry": "gates",
    "entries.EntryReserved": "reserved",
    "entries.EntryRefused": "refused",
    "entries.OpenPosition": "handed over",
    "orders.SubmitOrder": "submit",
    "orders.ModifyOrder": "modify",
    "orders.CancelOrder": "cancel",
    "broker.PlaceOrder": "to the port",
    "broker.AmendOrder": "to the port",
    "broker.OrderSent": "on the wire",
    "broker.OrderDenied": "denied",
    "broker.OrderStatusReported": "status",
    "broker.ErrorReported": "error",
    "broker.ExecutionReported": "execution",
    "orders.FillRecorded": "fill",
    "orders.RecordExitIntent": "exit",
    "positions.PositionOpened": "opened",
    "positions.PositionClosed": "closed",
    "positions.EntryAbandoned": "abandoned",
}
# Of what several hear, the receiver whose copy is shown.
_SHOWN_TO = {
    "positions.PositionOpened": "risk", "positions.PositionClosed": "risk", "positions.EntryAbandoned": "risk",
    "broker.OrderSent": "ibkr", "broker.OrderDenied": "ibkr", "signals.FeaturesComputed": "lane",
}  # fmt: skip


def act(arguments: Namespace) -> int:
    """Find the ref in the newest trace that knows it and print its chain."""
    folder = DataFolder(settings_of(arguments).data_dir)
    traces = [arguments.trace] if arguments.trace else folder.traces_newest_first()
    found = _found(traces, arguments.ref)
    if found is not None:
        of_session, chain = found
        if arguments.json:
            print(orjson.dumps(chain, option=orjson.OPT_INDENT_2).decode())
        else:
            print(f"{arguments.ref} in {', '.join(path.name for path in of_session)}")
            print("\n".join(lines_of(chain)))
        return 0
    previous = folder.root / "previous"
    if arguments.trace is None and _found(DataFolder(previous).traces_newest_first(), arguments.ref) is not None:
        raise CommandError(
            f"{arguments.ref} is of a day that is kept in {previous}: `main.py --data {previous} why {arguments.ref}`.",
            1,
        )
    raise CommandError(
        f"No trace knows {arguments.ref!r}; `main.py report` lists the order refs and alert ids of a session.", 1
    )


def _found(traces: list[Path], ref: str) -> tuple[list[Path], list[dict[str, Any]]] | None:
    """Return the traces of the newest session that knows a ref, and its chain; `None` where none does."""
    for session in dict.fromkeys(path.parent for path in traces):
        # A day that was resumed has a trace per start: the chain goes through all of them.
        of_session = [path for path in reversed(traces) if path.parent == session]
        for path in of_session:
            check_schema(path)
        chain = chain_of(of_session, ref)
        if chain:
            return of_session, chain
    return None


def chain_of(paths: list[Path], ref: str) -> list[dict[str, Any]]:
    """Return everything that names the ref's alert, intent or orders, in the order of the traces."""
    subject = _subject_of(paths, ref)
    if subject is None:
        return []
    chain = []
    for line in (line for path in paths for line in records(path)):
        is_reading = b'"signals.FeaturesComputed"' in line
        if not is_reading and not any(needle in line for needle in subject.needles):
            continue
        found = enveloped(line)
        if found is not None and _belongs(found[0], subject):
            chain.append(found[0])
    return chain


class _Subject:
    """What a chain is about: the alerts' keys, and the texts by which lines of a trace are found."""

    def __init__(self, alerts: set[AlertKey], texts: set[str]) -> None:
        self.buckets = {(key.ticker, key.bucket_utc) for key in alerts}
        ids = {key.alert_id for key in alerts}
        self.needles = tuple(sorted({*(text.encode() for text in texts | ids), *map(msgspec.json.encode, alerts)}))


def _belongs(record: dict[str, Any], subject: _Subject) -> bool:
    message = record["message"]
    tag = message["type"]
    if tag not in _STEPS or not record["to"].startswith(_SHOWN_TO.get(tag, "")):
        return False
    if tag == "signals.FeaturesComputed":
        return (message["ticker"], message["bucket_utc"]) in subject.buckets
    return True


def _subject_of(paths: list[Path], ref: str) -> _Subject | None:
    """Return the alerts and order references that a ref is tied to; `None` where no trace knows it."""
    stem = position_of(ref) if parse_order_ref(ref) is not None else ref
    alerts: set[AlertKey] = set()
    with contextlib.suppress(ValueError):
        alerts.add(AlertKey.parse(ref))
    needles = {stem.encode(), *map(msgspec.json.encode, alerts)}
    texts: set[str] = set()
    for line in (line for path in paths for line in records(path)):
        if not any(needle in line for needle in needles):
            continue
        found = enveloped(line)
        if found is None:
            continue
        texts.add(stem)
        with contextlib.suppress(*UNREADABLE, msgspec.ValidationError):  # damaged: the rest of the chain is shown
            _tie(found[1], alerts, texts)
    return _Subject(alerts, texts) if texts else None


def _tie(message: dict[str, Any], alerts: set[AlertKey], texts: set[str]) -> None:
    """Add what a message ties to the ref."""
    what = message.get("intent") or message.get("ref")
    if isinstance(what, dict):
        texts.add(str(what["intent_id"]))
        key = msgspec.convert(what["key"], AlertKey)
        if key.alert_id:  # a damaged one has none
            alerts.add(key)
    if message["type"] == "entries.ReserveEntry":
        texts.update(position_of(leg["order_ref"]) for leg in message["legs"])


def lines_of(chain: list[dict[str, Any]]) -> list[str]:
    """Return the chain for people: clock, time since the step before, what happened."""
    lines = []
    before = chain[0]["at_utc"]
    for record in chain:
        gap_ms = (record["at_utc"] - before) / 1e6
        before = record["at_utc"]
        try:
            message = record["message"]
            head = f"{exchange_clock(record['at_utc'])} {gap_ms:+12.1f} ms  {_STEPS[message['type']]:<12}"
            told = [f"{head} {_told(message)}"]
            told += [f"{'':36}{text}" for text in verdict_lines(message.get("verdicts", ()))]
        except (*UNREADABLE, msgspec.ValidationError):
            told = ["(a record that is damaged; restore the trace from a copy)"]
        lines += told
    return lines


def _told(message: dict[str, Any]) -> str:
    match message["type"]:
        case "signals.FeaturesComputed":
            forces = ", ".join(f"{f['name']} {f['score']:+.2f}" for f in message["forces"])
            bucket = exchange_clock(message["bucket_utc"])
            return f"{message['ticker']} bucket {bucket}: spot {_usd(message['spot'])}, zero gamma " + (
                f"{_usd(message['zero_gamma'])}; forces {forces or 'none'}"
            )
        case "signals.RecordAlert":
            alert = message["alert"]
            way = "up" if alert["direction"] > 0 else "down"
            return f"{msgspec.convert(alert['key'], AlertKey).alert_id}: {way} at {_usd(alert['entry_ticks'])}"
        case "signals.SignalRaised":
            legs = ", ".join(f"{leg['side']} {leg['right']}" for leg in message["intent"]["plan"]["legs"])
            return f"{message['intent']['strategy']}: {legs}{' (shadow)' if message['intent']['is_shadow'] else ''}"
        case "entries.RecordDenial":
            return f"{message['code']}"
        case "entries.ReserveEntry":
            leg = message["legs"][0]
            return f"{leg['side']} {leg['qty']} {_contract(leg['contract'])} at {_usd(leg['limit_ticks'])}"
        case "broker.OrderStatusReported":
            return f"{message['status']}, filled {message['filled_qty']} of {message['qty']}"
        case "broker.ErrorReported":
            return f"{message['vendor_code']} {message['text']}"
        case "broker.ExecutionReported":
            return _fill(message["execution"])
        case "orders.FillRecorded":
            return _fill(message)
        case "entries.OpenPosition":
            return f"{message['order_ref']} {message['qty']} at {_usd(message['limit_ticks'])}"
        case "orders.SubmitOrder" | "broker.PlaceOrder":
            return _plain(message["order"])
        case "orders.ModifyOrder" | "broker.AmendOrder":
            return _plain(message["change"])
        case "orders.RecordExitIntent":
            return f"{message['reason']} ({message['kind']}), {message['qty']} by tier {message['tier']}"
        case "positions.PositionClosed":
            return f"{message['reason'] or message['end']}: {message['realised_cents'] / 100:+,.2f} net"
        case "positions.PositionOpened":
            return f"{message['qty']} {_contract(message['ref']['contract'])} for {message['cost_cents'] / 100:,.2f}"
        case _:
            return _plain(message)


def _fill(fill: dict[str, Any]) -> str:
    return f"{fill['side']} {fill['qty']} at {_usd(fill['price_ticks'])} ({fill['exec_id']})"


def _plain(message: dict[str, Any]) -> str:
    shown = []
    for key in ("order_ref", "side", "qty", "order_type", "limit_ticks", "code", "why", "reason"):
        if message.get(key) is not None:
            value = _usd(message[key]) if key == "limit_ticks" else message[key]
            shown.append(f"{value}")
    return " ".join(shown)


def verdict_lines(verdicts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the gates, one a line; of the second round only what did not simply pass again."""
    lines, seen, again = [], set(), 0
    for verdict in verdicts:
        if verdict["gate"] in seen and verdict["finding"]["outcome"] != "reject":
            again += 1
            continue
        seen.add(verdict["gate"])
        lines.append(_verdict(verdict))
    if again:
        lines.append(f"   last look: {again} gates again, none refused")
    return lines


def _verdict(verdict: Mapping[str, Any]) -> str:
    finding = verdict["finding"]
    text = f"{number_of(verdict['gate']):>2} {verdict['gate']:<24} {finding['outcome']:<8}"
    if finding["measured"] is not None:
        text += f" {finding['measured']:g}"
        if finding["limit"] is not None:
            text += f" against {finding['limit']:g} {finding['unit']}"
    return f"{text}  {finding['code'] or ''}".rstrip()


def _contract(contract: dict[str, Any]) -> str:
    return f"{contract['trading_class']} {contract['strike_ticks'] / 100:g}{contract['right']}"


def _usd(ticks: int | None) -> str:
    return "none" if ticks is None else f"{ticks / 100:.2f}"
