"""`main.py why REF`: the causal chain of an order or a signal in the trace, from the bucket to the last fill."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from pathlib import Path
from typing import Any

import msgspec
import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.traces import UNREADABLE, check_schema, enveloped, records
from commands.wash import note_on_chain
from commands.why_alert import alert_lines
from commands.why_lines import STEPS, lines_of
from domain.orders.references import parse_order_ref, position_of
from domain.signals.alert import AlertKey
from storage.queries import LedgerReader

# Of what several hear, the receiver whose copy is shown.
_SHOWN_TO = {
    "positions.PositionOpened": "risk", "positions.PositionClosed": "risk", "positions.EntryAbandoned": "risk",
    "broker.OrderSent": "ibkr", "broker.OrderDenied": "ibkr", "signals.FeaturesComputed": "lane",
    "market.ContractsOffered": "risk", "orders.BrokerRefused": "notifier", "operator.Alarm": "notifier",
    "structures.StructureChanged": "ledger", "structures.StructureClosed": "ledger",
}  # fmt: skip


def act(arguments: Namespace) -> int:
    """Find the ref in the newest trace that knows it and print its chain."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    traces = [arguments.trace] if arguments.trace else folder.traces_newest_first()
    found = _found(traces, arguments.ref)
    if found is not None:
        of_session, chain = found
        if arguments.json:
            print(orjson.dumps(chain, option=orjson.OPT_INDENT_2).decode())
        else:
            print(f"{arguments.ref} in {', '.join(path.name for path in of_session)}, New York's clock")
            print("\n".join(lines_of(chain)))
            if (note := note_on_chain(settings, chain)) is not None:
                print(note)
        return 0
    known = alert_lines(LedgerReader(folder.ledgers, settings.desk), arguments.ref) if arguments.trace is None else None
    if known is not None:
        print(f"{arguments.ref} as the ledger keeps it (no trace knows it any more), New York's clock")
        print("\n".join(known))
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
    if tag not in STEPS or not record["to"].startswith(_SHOWN_TO.get(tag, "")):
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
