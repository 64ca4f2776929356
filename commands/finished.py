"""`main.py dashboard`: shows a session in the browser from its records, read-only, without a supervisor."""

from __future__ import annotations

import signal
import threading
from argparse import Namespace
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec

from commands.cli import CommandError
from commands.dashboard import PORTS_TRIED, listener_of
from commands.folder import DataFolder, settings_of
from commands.serve import ask_of
from config.settings import Settings, SettingsError, from_json
from domain.units import Utc
from messages.base import Message
from messages.envelope import Envelope, decode
from storage.queries import LedgerReader
from storage.warehouse_reader import WarehouseReader
from supervision.trace import TraceError, TraceReader, lines_of
from web.curve import CurveMaker
from web.ending import show_record
from web.feed import is_loopback, url_of
from web.ledgers import ledgers_of
from web.serve import serve_finished
from web.view import View

_TO_THE_SCREEN = b'"to":"web"'
_HEAD = 200  # bytes of a line in which its address stands
_ENVELOPE = msgspec.json.Decoder(Envelope)


def act(arguments: Namespace) -> int:
    """Read what the session left, and serve it until Ctrl-C."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    if folder.is_supervised():
        raise CommandError(f"A supervisor runs on {folder.root}: open the address that `main.py run` printed there.")
    web = settings.web
    if not is_loopback(web.host):
        raise CommandError(f"web.host is {web.host}: a finished day is shown on this machine alone; take 127.0.0.1.")
    session = _session(arguments, folder, settings)
    shown = view_of(folder, settings, session)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with listener_of("web", web.host, arguments.port or web.port, PORTS_TRIED) as listener:
        print(f"{session}: {url_of(listener)} (read-only; Ctrl-C ends it)", flush=True)
        serve_finished(shown, listener, ask_of(settings, folder.root), stop.is_set)
    return 0


def view_of(folder: DataFolder, settings: Settings, session: date) -> View:
    """Return what a session left on record, with the settings that its last run had.

    Raises:
        LedgerRefusedError: a ledger cannot be read.
    """
    paths = [path for path in reversed(folder.traces_newest_first()) if path.parent.name == session.isoformat()]
    known = _recorded(paths, settings)
    view = View(known, folder.root, len(paths), None)
    view.show(session)
    view.ledgers = ledgers_of(LedgerReader(folder.ledgers, known.desk), session)
    maker = None if view.day is None else CurveMaker(view.day, view.ledgers.today())
    try:
        for at_utc, fact in _facts(paths):
            view.take(at_utc, fact)
            if maker is not None:
                maker.take(at_utc, fact)
    except TraceError as error:
        print(f"Prices and alarms are missing: {error}", flush=True)
    if maker is not None:
        view.curve = maker.finish(view.now_utc)
    show_record(view)
    return view


def _session(arguments: Namespace, folder: DataFolder, settings: Settings) -> date:
    known = {*LedgerReader(folder.ledgers, settings.desk).sessions(), *WarehouseReader(folder.warehouse).sessions()}
    if not known:
        raise CommandError(f"{folder.root} holds no session yet; `main.py run` plays one, or name its --data.")
    if arguments.session is None:
        return max(known)
    try:
        wanted = date.fromisoformat(arguments.session)
    except ValueError:
        raise CommandError(f"{arguments.session!r} is no date; write it as {max(known)}.") from None
    if wanted not in known:
        raise CommandError(f"{folder.root} holds nothing of {wanted}; the newest session there is {max(known)}.")
    return wanted


def _recorded(paths: list[Path], settings: Settings) -> Settings:
    """Return the settings of the last run, on the data and at the address of today; where none can be read, today's."""
    try:
        found = from_json(bytes(TraceReader(paths[-1]).header().settings))
    except (IndexError, TraceError, SettingsError):  # no trace, or one of a version that had other settings
        return settings
    return found.model_copy(update={"web": settings.web, "data_dir": settings.data_dir})


def _facts(paths: list[Path]) -> Iterator[tuple[Utc, Message]]:
    """Return what the screen was told, in order.

    Raises:
        TraceError: a trace is damaged.
    """
    for path in paths:
        for line in lines_of(path):
            if _TO_THE_SCREEN not in line[:_HEAD]:
                continue
            try:
                taken = _ENVELOPE.decode(line)
                yield taken.at_utc, decode(taken.message)
            except (
                msgspec.DecodeError,
                UnicodeDecodeError,
            ):  # a torn last line, or a message that this version does not know
                continue
