"""`main.py replay`: drives today's actors with a recorded day and names the first thing that comes out otherwise."""

from __future__ import annotations

import multiprocessing
import os
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from itertools import repeat
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.lines import wrapped
from commands.replay_difference import Difference, Sent, differences, outbox_lines, sent_of
from config.settings import Settings, from_json, overlaid
from domain.instants import exchange_clock
from domain.options.profile import Rows, content_hash_of
from main import Stores, build_tree, desks_beside
from messages import market
from messages.base import Message
from messages.envelope import Envelope, decode
from storage.warehouse_reader import WarehouseReader
from supervision.actor import Actor
from supervision.effects import Effect, Publish, Tell
from supervision.replay import Divergence, ReplayReport, UnresolvedError, joined, replay
from supervision.trace import SIMULATED, Header, RunReader, TraceError, TraceReader, segments_of

_BUCKETS_KEPT = 16
_SHARES = (("hub:", "reading:"), ())  # who is driven by which process: those that need rows, and the rest
_SMALL_BYTES = 1 << 20  # a smaller trace is replayed before a second process has started


def act(arguments: Namespace) -> int:
    """Replay a trace; 0 when nothing diverges, 1 when something does. `--what-if` trades its day anew instead."""
    folder = DataFolder(settings_of(arguments).data_dir)
    path = arguments.trace or next(iter(folder.traces_newest_first()), None)
    if path is None:
        raise CommandError(f"There is no trace in {folder.traces}; run a day first.", 1)
    if arguments.what_if:
        return _what_if(folder, path, arguments)
    try:
        report, missing = _replayed(path, arguments.settings, folder.warehouse)
        changed = [] if arguments.settings is None else _changed(path, arguments.settings)
    except TraceError as error:
        raise CommandError(str(error)) from None
    if arguments.json:
        plain = _plain(report, missing) | {"settings": [found._asdict() for found in changed]}
        print(msgspec.json.format(msgspec.json.encode(plain)).decode())
    else:
        print("\n".join((*_settings_lines(arguments.settings, changed), *_lines(report, missing))))
    return 1 if report.divergence is not None else 0


def _what_if(folder: DataFolder, path: Path, arguments: Namespace) -> int:
    """Trade the day of a trace with its settings and with those of a file; 1 when an actor crashed."""
    if arguments.settings is None:
        raise CommandError("--what-if asks for --settings FILE: with which settings the day is to be traded.")
    from commands.what_if import lines_of, model_of, what_if  # noqa: PLC0415 - the whole simulator

    try:
        header = read_header(segments_of(path)[0])
        changed = _changed(path, arguments.settings)
        session = date.fromisoformat(path.resolve().parent.name)
    except TraceError as error:
        raise CommandError(str(error)) from None
    except ValueError:
        raise CommandError(f"{path} lies in no folder of a session (YYYY-MM-DD), so its day is not known.") from None
    recorded, wanted = (_settings(header, file) for file in (None, arguments.settings))
    found = what_if(folder, session, recorded, wanted, model_of(arguments))
    if arguments.json:
        told = msgspec.to_builtins(found) | {"settings": [one._asdict() for one in changed]}
        print(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        print("\n".join((*_settings_lines(arguments.settings, changed), *lines_of(found, arguments.settings))))
    return 1 if found.then.crashed or found.here.crashed else 0


def _replayed(path: Path, override: Path | None, warehouse: Path) -> tuple[ReplayReport, int]:
    """Replay a run up to the end of a segment, in several processes where there are cores for it.

    Returns the report, and how many messages refer to rows that are no longer there.
    """
    segments = segments_of(path)
    header = read_header(segments[0])
    if header.first_seq != 1:
        raise TraceError(f"{segments[0]} begins in the middle of its run; restore the segments of the days before.")
    settings = _settings(header, override)
    shares = min(os.cpu_count() or 1, len(_SHARES)) if path.stat().st_size > _SMALL_BYTES else 1
    with Console(stderr=True).status(f"replaying {path.name}"):
        if shares == 1:
            parts = [replay_share(segments, settings.to_json(), warehouse, 0, 1)]
        else:
            spawned = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(shares, mp_context=spawned) as pool:
                raw = settings.to_json()
                shared = repeat(segments), repeat(raw), repeat(warehouse)
                try:
                    parts = list(pool.map(replay_share, *shared, range(shares), repeat(shares)))
                except KeyboardInterrupt:
                    for child in multiprocessing.active_children():  # the pool would wait until each is done
                        child.terminate()
                    raise
    return joined([part for part, _ in parts]), sum(missing for _, missing in parts)


def replay_share(
    segments: tuple[Path, ...], settings: bytes, warehouse: Path, share: int, shares: int
) -> tuple[ReplayReport, int]:
    """Replay one share of a run's actors: hubs and readings (which need the rows) are one, everybody else another."""
    chosen = from_json(settings, is_judged=False)
    values = Values(WarehouseReader(warehouse))

    def is_mine(address: str) -> bool:
        return shares == 1 or address.startswith(_SHARES[0]) == (share == 0)

    is_simulated = read_header(segments[0]).session == SIMULATED
    report = replay(RunReader(segments), maker(chosen, is_simulated=is_simulated), values.fill, is_mine=is_mine)
    return report, values.missing


def read_header(path: Path) -> Header:
    """Return the header of a trace.

    Raises:
        TraceError: the file is no trace.
    """
    first = next(iter(TraceReader(path)))
    if not isinstance(first, Header):
        raise TraceError(f"{path} does not begin with a header; it is not a whole trace.")
    return first


def _changed(path: Path, override: Path) -> list[Difference]:
    """Return in which settings a file differs from those of the run."""
    header = read_header(segments_of(path)[0])
    recorded, wanted = (_settings(header, file).model_dump(mode="json") for file in (None, override))
    return differences(recorded, wanted)


def _settings_lines(override: Path | None, changed: list[Difference]) -> list[str]:
    if override is None:
        return []
    if not changed:
        return [f"{override} changes nothing: the run had these settings."]
    return [f"Settings of {override} against those of the run:", *(f"  {found}" for found in changed), ""]


def _settings(header: Header, override: Path | None) -> Settings:
    recorded = bytes(header.settings)
    settings = from_json(recorded, is_judged=False)  # says it where the run's own settings are of another version
    return settings if override is None else overlaid(recorded, override)


class _NoStore:
    """Stands where a replayed tree would have a store; I/O actors are not driven."""

    in_hand = 0


def maker(settings: Settings, *, is_simulated: bool = False) -> Callable[[str], Actor[Any, Any] | None]:
    """Return what makes the pure actors of a tree by name; `None` for everybody else.

    `is_simulated`: the tree is that of a simulated day, which has no actor `series` and none `web`.
    """
    nothing: Any = _NoStore()
    screen = nothing if settings.web.is_on else None  # the supervisor starts the dashboard's actor only where it is on
    stores = Stores(nothing, nothing, nothing) if is_simulated else Stores(nothing, nothing, nothing, nothing, screen)
    tree = build_tree(settings, stores, tuple, beside=desks_beside(settings, nothing))

    def make(name: str) -> Actor[Any, Any] | None:
        try:
            actor = tree.child(name).make()
        except KeyError:
            return None
        return actor if isinstance(actor, Actor) else None

    return make


class Values:
    """Fills the values of rows into messages that carry their reference; `missing` counts what no longer is there."""

    def __init__(self, reader: WarehouseReader) -> None:
        self._reader = reader
        self._kept: OrderedDict[str, Rows] = OrderedDict()
        self.missing = 0

    def fill(self, message: Message) -> Message:
        """Return the message with its values."""
        rows = getattr(message, "rows", None)
        if not isinstance(rows, Rows):
            return message
        filled: dict[str, Any] = {"rows": self._filled(rows)}
        if isinstance(message, market.BucketSealed):
            filled["late"] = tuple(self._filled(late) for late in message.late)
        return msgspec.structs.replace(message, **filled)

    def _filled(self, rows: Rows) -> Rows:
        if rows.content_hash == content_hash_of(()):
            return rows
        found = self._rows(rows)
        if found is None:
            self.missing += 1
            raise UnresolvedError(rows.ref)
        return found

    def _rows(self, wanted: Rows) -> Rows | None:
        words = wanted.ref.split("/")
        bucket = "/".join(words[:2])
        if len(words) == 3 and words[2] != "late":  # a ticker's rows may come before those of its whole bucket
            whole = self._kept.get(bucket) or self._keep(bucket, self._reader.resolve(bucket))
            part = None if whole is None else whole.of(words[2])
            if part is not None and part.content_hash == wanted.content_hash:
                return part
        found = self._reader.resolve(wanted.ref, wanted.content_hash)
        if found is None:
            return None
        found = Rows(wanted.ref, found.rows, wanted.content_hash)
        return self._keep(bucket, found) if len(words) == 2 else found

    def _keep(self, bucket: str, found: Rows | None) -> Rows | None:
        """Keep a bucket for the tickers that follow; the oldest ones go."""
        if found is not None:
            self._kept[bucket] = found
            if len(self._kept) > _BUCKETS_KEPT:
                self._kept.popitem(last=False)
        return found


def _plain(report: ReplayReport, missing: int) -> dict[str, Any]:
    found = report.divergence
    return {
        "envelopes": report.envelopes, "compared": report.compared, "skipped": report.skipped,
        "fenced": report.fenced, "in_hand": len(report.in_hand), "torn": report.torn, "rows_missing": missing,
        "divergence": None if found is None else {
            "why": found.why, "seq": found.envelope.seq, "to": found.envelope.to, "message": found.envelope.message,
            "recorded": [e.message for e in found.recorded],
            "computed": None if found.computed is None else [repr(effect) for effect in found.computed],
            "difference": _difference(found),
            "causes": [e.seq for e in found.causes],
        },
    }  # fmt: skip


def _lines(report: ReplayReport, missing: int) -> list[str]:
    lines = [
        f"{report.envelopes:,} envelopes: {report.compared:,} handled again, {report.skipped:,} of ports and I/O,"
        f" {report.fenced} fenced, {len(report.in_hand)} in hand at the end"
    ]
    if report.torn:
        lines.append("The last record was torn (the process was killed while writing it) and is left out.")
    if missing:
        lines.append(
            f"{missing} messages refer to rows that were not stored yet when the process was killed;"
            " their actors are not driven beyond that."
        )
    if report.divergence is None:
        lines.append("No divergence: today's code and settings do what was recorded.")
    else:
        lines += _divergence(report.divergence)
    return lines


def _divergence(found: Divergence) -> list[str]:
    """Return the first divergence: where, what differs field by field (recorded -> computed), and what led to it."""
    lines = ["", *wrapped(f"First divergence: {found.why}"), *_envelope(found.envelope)]
    lines += ["", "What differs (recorded -> computed)"]
    told = ["  it raised: nothing was sent"] if found.computed is None else [f"  {text}" for text in _difference(found)]
    lines += told or ["  the fields agree: timers, or what nobody received, differ"]
    lines += ["", "Causes, the latest first"]
    return [*lines, *([line for e in found.causes for line in _envelope(e)] or ["  it came from outside"])]


def _difference(found: Divergence) -> list[str]:
    recorded = [sent_of(envelope.to, decode(envelope.message)) for envelope in found.recorded]
    computed = [sent for effect in found.computed or () if (sent := _sent(effect)) is not None]
    return outbox_lines(recorded, computed)


def _sent(effect: Effect) -> Sent | None:
    match effect:
        case Tell():
            return sent_of(effect.to, effect.message)
        case Publish():
            return sent_of("", effect.event)
        case _:
            return None


def _envelope(envelope: Envelope) -> list[str]:
    text = str(decode(envelope.message))
    head = f"seq {envelope.seq} {exchange_clock(envelope.at_utc)} {envelope.sender} -> {envelope.to}"
    return wrapped(f"{head} {text[:300]}{'...' if len(text) > 300 else ''}", 2)
