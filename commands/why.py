"""`main.py why REF`: the causal chain of an order or a signal in the trace, from the bucket to the last fill."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.traces import parsed, records
from domain.identifiers import parse_alert_id
from domain.instants import exchange_clock

# What belongs to the chain of an order, by message type: (receiver that counts, what is said of it).
_STEPS = {
    "signals.FeaturesComputed": "reading",
    "signals.RecordAlert": "alert",
    "signals.SignalRaised": "signal",
    "orders.RecordDenial": "refused",
    "orders.ReserveEntry": "gates",
    "orders.EntryReserved": "reserved",
    "orders.EntryRefused": "refused",
    "orders.OpenPosition": "handed over",
    "orders.SubmitOrder": "submit",
    "orders.ModifyOrder": "modify",
    "orders.CancelOrder": "cancel",
    "orders.PlaceOrder": "to the port",
    "orders.AmendOrder": "to the port",
    "orders.OrderSent": "on the wire",
    "orders.OrderDenied": "denied",
    "orders.StatusHeard": "broker says",
    "orders.ErrorHeard": "broker says",
    "orders.ExecutionHeard": "execution",
    "orders.FillRecorded": "fill booked",
    "orders.RecordExitIntent": "exit wanted",
    "positions.PositionOpened": "opened",
    "positions.PositionClosed": "closed",
    "positions.EntryAbandoned": "abandoned",
}
_ONCE_TO = {
    "positions.PositionOpened": "risk", "positions.PositionClosed": "risk", "positions.EntryAbandoned": "risk",
    "orders.OrderSent": "ibkr", "orders.OrderDenied": "ibkr", "signals.FeaturesComputed": "lane",
    "orders.ExecutionHeard": "ibkr", "orders.StatusHeard": "ibkr",
}  # fmt: skip


def act(arguments: Namespace) -> int:
    """Find the ref in the newest trace that knows it and print its chain."""
    folder = DataFolder(settings_of(arguments).data_dir)
    traces = [arguments.trace] if arguments.trace else folder.traces_newest_first()
    for session in dict.fromkeys(path.parent for path in traces):
        # A day that was resumed has a trace per start: the chain goes through all of them.
        of_session = [path for path in reversed(traces) if path.parent == session]
        chain = chain_of(of_session, arguments.ref)
        if chain:
            if arguments.json:
                print(orjson.dumps(chain, option=orjson.OPT_INDENT_2).decode())
            else:
                print(f"{arguments.ref} in {', '.join(path.name for path in of_session)}")
                print("\n".join(lines_of(chain)))
            return 0
    raise CommandError(
        f"No trace knows {arguments.ref!r}; `main.py report` lists the order refs and alert ids of a session.", 1
    )


def chain_of(paths: list[Path], ref: str) -> list[dict[str, Any]]:
    """Collect the chain: everything that names the ref's alert, intent or orders, in the order of the traces."""
    names = {name for path in paths for name in _names(path, ref)}
    if not names:
        return []
    needles = tuple(name.encode() for name in sorted(names))
    buckets = {key for name in names if (key := _bucket_of(name)) is not None}
    chain = []
    for line in (line for path in paths for line in records(path)):
        if b'"kind":"envelope"' not in line[:20]:
            continue
        is_reading = buckets and b'"signals.FeaturesComputed"' in line
        if not is_reading and not any(needle in line for needle in needles):
            continue
        record = parsed(line)
        if record is None or not _belongs(record, buckets):
            continue
        chain.append(record)
    return chain


def _belongs(record: dict[str, Any], buckets: set[tuple[str, int]]) -> bool:
    message = record["message"]
    tag = message["type"]
    if tag not in _STEPS or not record["to"].startswith(_ONCE_TO.get(tag, "")):
        return False
    if tag == "signals.FeaturesComputed":
        return (message["ticker"], message["bucket_utc"]) in buckets
    return True


def _bucket_of(name: str) -> tuple[str, int] | None:
    """Give (ticker, bucket) of an alert id; `None` for any other name."""
    try:
        alert = parse_alert_id(name)
    except ValueError:
        return None
    return alert.ticker, alert.bucket_utc


def _names(path: Path, ref: str) -> set[str]:
    """Give the ref with the alert, intent and order refs that it is tied to."""
    stem = _stem(ref)
    found: set[str] = set()
    for line in records(path):
        if stem.encode() not in line:
            continue
        record = parsed(line)
        if record is None or record.get("kind") != "envelope":
            continue
        found.add(stem)
        message = record["message"]
        if message["type"] in ("orders.ReserveEntry", "orders.OpenPosition", "orders.RecordDenial"):
            found.update(str(message[key]) for key in ("alert_id", "intent_id", "signal_id") if message.get(key))
            if message.get("order_ref"):
                found.add(_stem(message["order_ref"]))
            found.update(_stem(leg["order_ref"]) for leg in message.get("legs", ()))
    return found


def _stem(ref: str) -> str:
    """Cut an order ref to what its entry and all its exits share."""
    return ref.rsplit("-", 1)[0] if ref.startswith("ZH-") and ref.count("-") == 3 else ref


def lines_of(chain: list[dict[str, Any]]) -> list[str]:
    """Write the chain for people: clock, time since the step before, what happened."""
    lines = []
    before = chain[0]["at_utc"]
    for record in chain:
        gap_ms = (record["at_utc"] - before) / 1e6
        before = record["at_utc"]
        message = record["message"]
        head = f"{exchange_clock(record['at_utc'])} {gap_ms:+12.1f} ms  {_STEPS[message['type']]:<12}"
        lines.append(f"{head} {_said(message)}")
        lines += [f"{'':36}{text}" for text in _verdicts(message.get("verdicts", ()))]
    return lines


def _said(message: dict[str, Any]) -> str:
    match message["type"]:
        case "signals.FeaturesComputed":
            forces = ", ".join(f"{f['name']} {f['score']:+.2f}" for f in message["forces"])
            bucket = exchange_clock(message["bucket_utc"])
            return f"{message['ticker']} bucket {bucket}: spot {_usd(message['spot'])}, zero gamma " + (
                f"{_usd(message['zero_gamma'])}; forces {forces or 'none'}"
            )
        case "signals.RecordAlert":
            way = "up" if message["direction"] > 0 else "down"
            return f"{message['alert_id']}: {way} at {_usd(message['entry_ticks'])}"
        case "orders.RecordDenial":
            return f"{message['code']}"
        case "orders.ReserveEntry":
            leg = message["legs"][0]
            return f"{leg['side']} {leg['qty']} {_contract(leg['contract'])} at {_usd(leg['limit_ticks'])}"
        case "orders.StatusHeard":
            return f"{message['status']}, filled {message['filled_qty']} of {message['qty']}"
        case "orders.ErrorHeard":
            return f"{message['vendor_code']} {message['text']}"
        case "orders.ExecutionHeard" | "orders.FillRecorded":
            return f"{message['side']} {message['qty']} at {_usd(message['price_ticks'])} ({message['exec_id']})"
        case "orders.RecordExitIntent":
            return f"{message['reason']} ({message['kind']}), {message['qty']} by tier {message['tier']}"
        case "positions.PositionClosed":
            return f"{message['reason'] or message['end']}: {message['realised_cents'] / 100:+,.2f} net"
        case "positions.PositionOpened":
            return f"{message['qty']} {_contract(message['contract'])} for {message['cost_cents'] / 100:,.2f}"
        case _:
            return _plain(message)


def _plain(message: dict[str, Any]) -> str:
    shown = []
    for key in ("order_ref", "side", "qty", "order_type", "limit_ticks", "code", "why", "reason"):
        if message.get(key) is not None:
            value = _usd(message[key]) if key == "limit_ticks" else message[key]
            shown.append(f"{value}")
    return " ".join(shown)


def _verdicts(verdicts: list[dict[str, Any]]) -> list[str]:
    """Write the gates one a line; of the second round only what did not simply pass again."""
    lines, seen, again = [], set(), 0
    for verdict in verdicts:
        if verdict["gate"] in seen and verdict["outcome"] != "reject":
            again += 1
            continue
        seen.add(verdict["gate"])
        lines.append(_verdict(verdict))
    if again:
        lines.append(f"   last look: {again} gates again, none refused")
    return lines


def _verdict(verdict: dict[str, Any]) -> str:
    text = f"{verdict['gate']:>2} {verdict['name']:<24} {verdict['outcome']:<8}"
    if verdict.get("measured") is not None:
        text += f" {verdict['measured']:g}"
        if verdict.get("limit") is not None:
            text += f" against {verdict['limit']:g} {verdict['unit']}"
    return f"{text}  {verdict['code'] or ''}".rstrip()


def _contract(contract: dict[str, Any]) -> str:
    return f"{contract['trading_class']} {contract['strike_ticks'] / 100:g}{contract['right']}"


def _usd(ticks: int | None) -> str:
    return "none" if ticks is None else f"{ticks / 100:.2f}"
