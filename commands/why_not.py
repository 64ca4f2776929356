"""`main.py why-not SIGNAL`: which gate refused a signal and what it had measured, or why there was no signal at all."""

from __future__ import annotations

import re
from argparse import Namespace
from datetime import date, time
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from commands.cli import CommandError
from commands.folder import DataFolder, at_desk, settings_of
from commands.held import contract_of
from commands.lanes import LANE_OF_SPREAD, looked_for, spreads_on_record
from commands.lines import wrapped
from commands.traces import UNREADABLE, enveloped, records
from commands.why_lines import levels_text, verdict_lines
from config.settings import Settings
from domain.instants import at_exchange, bucket_of, exchange_clock
from domain.instruments import Side
from domain.reports.alerts import found_text
from domain.reports.refusals import code_text, refused_measure
from domain.risk.gates.sequence import number_of
from domain.signals import spread
from domain.signals.alert import AlertKey
from storage.queries import Found, LedgerReader

_FORMS: Final = (
    "write an alert id (`main.py report` lists them), LANE KIND TIME, as gexwatch:SPX GAMMA_FLIP 10:12:30, or a date"
)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Answer(msgspec.Struct, kw_only=True):
    """Why no trade came of a bucket, one kind and one lane: its attempts, what the lane said, and one conclusion."""

    key: AlertKey
    alert: Found | None
    attempts: list[Found]
    not_evaluated: list[str]
    reading: dict[str, Any] | None
    damaged: list[str]
    orders: list[Found]

    @property
    def conclusion(self) -> str:
        """Return it in one sentence."""
        if self.attempts:
            return _of_attempt(self.attempts[-1], self.orders)
        if self.alert is not None:
            what = "a shadow: its kind is not promoted" if self.alert["is_shadow"] else "no shadow"
            return (
                f"The alert is on record ({what}), but nobody decided on it: the desk was stopped, or it came too late."
            )
        if self.not_evaluated:
            return f"No alert: {self.not_evaluated[-1]}."
        if self.key.source == spread.SOURCE:
            return (
                "The spread's lane said nothing of this bucket: it looks in its window of the day alone, and while no"
                " supervisor runs or the spread is switched off (spread.is_on) nobody looks."
            )
        if self.reading is not None:
            return "The lane judged this reading, and what the kind looks for was not there."
        return "No lane read this bucket: the feed was silent, or no supervisor ran (`main.py report` has the gaps)."


def act(arguments: Namespace) -> int:
    """Find the bucket and say what became of it; 1 where nothing at all is known of it."""
    settings = at_desk(settings_of(arguments), arguments.desk)
    folder = DataFolder(settings.data_dir)
    ledger = LedgerReader(folder.ledgers, settings.desk)
    arguments.signal = [word for words in arguments.signal for word in words.split()]  # quoted as one, or not
    day = _day_of(arguments, folder, ledger)
    if day is not None:
        from commands.why_not_day import show  # noqa: PLC0415 - Arrow, which the answer about one signal never needs

        return show(day, settings, folder, ledger, is_json=arguments.json)
    key = _key_of(arguments, settings, folder, ledger)
    try:
        answer = answer_of(key, folder, ledger)
        shown = "\n".join(_lines(answer))
    except UNREADABLE as error:
        raise CommandError(
            f"A record of {key.alert_id} cannot be read ({type(error).__name__}: {error}); restore ledger and trace"
            " from a copy.",
            3,
        ) from None
    if arguments.json:
        plain = msgspec.to_builtins(answer) | {"conclusion": answer.conclusion, "alert_id": key.alert_id}
        print(orjson.dumps(plain, option=orjson.OPT_INDENT_2, default=str).decode())
    else:
        print(shown)
    is_known = answer.attempts or answer.alert or answer.not_evaluated or answer.reading
    return 0 if is_known else 1


def _day_of(arguments: Namespace, folder: DataFolder, ledger: LedgerReader) -> date | None:
    """Return the session that is asked about as a whole; `None` where one signal is."""
    match arguments.signal:
        case []:
            return _session(arguments.session, folder, ledger)
        case [text] if _DATE.fullmatch(text):
            return _session(text, folder, ledger)
        case _:
            return None


def _key_of(arguments: Namespace, settings: Settings, folder: DataFolder, ledger: LedgerReader) -> AlertKey:
    match arguments.signal:
        case [alert_id]:
            try:
                return AlertKey.parse(alert_id)
            except ValueError:
                raise CommandError(f"{alert_id!r} is no alert id; {_FORMS}.") from None
        case [lane, kind, clock]:
            lane = lane.removeprefix("lane:")
            source, _, ticker = lane.partition(":")
            looked = looked_for(settings)
            session = _session(arguments.session, folder, ledger)
            if source == spread.SOURCE:
                looked += spreads_on_record((*ledger.attempts(session), *ledger.alerts(session)), looked)
            kinds = {one.kind: one.version for one in looked if one.lane == lane}
            if not kinds:
                lanes = ", ".join(dict.fromkeys(one.lane for one in looked))
                off = " The spread is switched off (spread.is_on)." if lane == LANE_OF_SPREAD else ""
                raise CommandError(f"There is no lane {lane!r}; there are: {lanes}.{off}")
            kind, _, version = kind.partition("-")
            if kind not in kinds:
                raise CommandError(f"{source} does not look for {kind!r}; it looks for: {', '.join(kinds)}.")
            known = kinds[kind]
            if version and not version.isdigit():
                raise CommandError(f"{version!r} is no version of {kind}; write {kind} or {kind}-{known}.")
            bucket = bucket_of(at_exchange(session, _time(clock)))
            return AlertKey(source, ticker, kind, int(version) if version else known, bucket)
        case _:
            raise CommandError(f"{' '.join(arguments.signal)!r} names no signal; {_FORMS}.")


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no time; write it as 10:12:30, New York's clock.") from None


def _session(text: str | None, folder: DataFolder, ledger: LedgerReader) -> date:
    try:
        if text is not None:
            return date.fromisoformat(text)
        known = {path.parent.name for path in folder.traces_newest_first()} | {str(day) for day in ledger.sessions()}
        if known:
            return date.fromisoformat(max(known))
    except ValueError:
        raise CommandError(f"{text or max(known)!r} is not a date; write it as 2026-11-20.") from None
    raise CommandError(f"No session was run in {folder.root} yet.", 1)


def answer_of(key: AlertKey, folder: DataFolder, ledger: LedgerReader) -> Answer:
    """Collect what the ledgers and the traces of its session know of a bucket.

    Raises:
        LedgerRefusedError: a ledger cannot be used.
    """
    attempts = ledger.attempts(key=key.alert_id)
    alert = next((row for row in ledger.alerts(key.session) if row["alert_id"] == key.alert_id), None)
    refs = [ref for row in attempts if row["intent_id"] for ref in ledger.orders_of(row["intent_id"])]
    orders = [order for ref in dict.fromkeys(refs) if (order := ledger.order(ref)) is not None]
    answer = Answer(
        key=key, alert=alert, attempts=attempts, not_evaluated=[], reading=None, damaged=[], orders=orders
    )  # fmt: skip
    of_session = [p for p in folder.traces_newest_first() if p.parent.name == key.session.isoformat()]
    for path in reversed(of_session):
        try:
            _read_trace(path, key, answer)
        except CommandError as error:
            answer.damaged.append(str(error))
    return answer


def _read_trace(path: Path, key: AlertKey, answer: Answer) -> None:
    bucket = str(key.bucket_utc).encode()
    for line in records(path):
        if bucket not in line:
            continue
        found = enveloped(line)
        if found is None:
            continue
        record, message = found
        if (message.get("ticker"), message.get("bucket_utc")) != (key.ticker, key.bucket_utc):
            continue
        if message["type"] == "signals.NotEvaluated":
            if (message.get("source"), message.get("kind")) == (key.source, key.kind):
                why = str(message.get("why"))
                if why not in answer.not_evaluated:
                    answer.not_evaluated.append(why)
        elif message["type"] == "signals.FeaturesComputed" and record["to"] == f"lane:{key.source}:{key.ticker}":
            answer.reading = message


def _of_attempt(row: Found, orders: list[Found]) -> str:
    if row["code"] is not None:
        measure = refused_measure(row)
        measured = f": {measure}" if measure else ""
        where = "" if row["gate"] is None else f" by gate {number_of(row['gate'])} ({row['gate']})"
        return f"Refused{where}, {code_text(row)}{measured}."
    if row["amended_code"] is not None:
        return f"Approved, but it came to nothing: {row['amended_code']} ({row['amended_words']})."
    entries = [order for order in orders if not order["is_exit"]]
    filled = [sum(fill["qty"] for fill in order["executions"]) for order in entries]
    refs = ", ".join(order["order_ref"] for order in entries)
    if any(filled):
        qty = (
            " and ".join(
                f"{Side(order['side']).sign * qty} {contract_of(order)}"
                for order, qty in zip(entries, filled, strict=True)
            )
            if len({order["con_id"] for order in entries}) > 1
            else f"{sum(filled)}"
        )
        return f"It was traded: {qty} filled; `main.py why {entries[0]['order_ref']}` has the whole story."
    return f"Approved and sent, without a fill ({refs or 'no order is on record'})."


def _lines(answer: Answer) -> list[str]:
    key = answer.key
    clock = exchange_clock(key.bucket_utc)
    lines = wrapped(f"{key.alert_id}: {key.kind} of {key.source} on {key.ticker}, bucket {clock} New York")
    reading = answer.reading
    if reading is not None:
        silent = f"; silent: {', '.join(reading['missing'])}" if reading["missing"] else ""
        lines += wrapped(f"reading: {levels_text(reading['spot'], reading['zero_gamma'])}{silent}", 2)
    lines += [line for why in answer.not_evaluated for line in wrapped(f"not judged: {why}", 2)]
    if answer.alert is not None:
        shadow = "a shadow" if answer.alert["is_shadow"] else "may trade"
        lines += wrapped(f"alert: {found_text(answer.alert)}, {shadow}", 2)
    for row in answer.attempts:
        lines.append(f"  decided {exchange_clock(row['decided_utc'])}: {row['code'] or 'approved'}")
        lines += verdict_lines(row["verdicts"])
        if row["amended_code"] is not None:
            at = exchange_clock(row["amended_utc"])
            lines += wrapped(f"amended {at}: {row['amended_code']}, {row['amended_words']}", 2)
    for order in answer.orders:
        if not order["is_exit"]:
            qty = Side(order["side"]).sign * order["qty"]
            lines.append(f"  order {order['order_ref']}: {qty} {contract_of(order)}, {order['status']}")
    lines += [line for text in answer.damaged for line in wrapped(f"damaged: {text}", 2)]
    return [*lines, *wrapped(answer.conclusion)]
