"""`main.py dashboard`: shows a session in the browser from its records, read-only, without a supervisor."""

from __future__ import annotations

import signal
import threading
from argparse import Namespace
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec

from actors.notifier import SHARED
from commands.cli import CommandError
from commands.dashboard import PORTS_TRIED, listener_of
from commands.folder import DataFolder, settings_of
from commands.serve import ask_of
from config.settings import Settings, SettingsError, from_json
from domain.units import Utc
from messages.base import Message
from messages.envelope import Envelope, decode
from storage.queries import LedgerReader
from storage.sqlite_file import LedgerRefusedError
from storage.warehouse_reader import WarehouseReader
from supervision.trace import TraceError, TraceReader, lines_of
from web.curve import CurveMaker
from web.desks import Desks, desks_of
from web.ending import show_record
from web.feed import is_loopback, url_of
from web.ledgers import ledgers_of
from web.serve import serve_finished

_TO_THE_SCREEN = b'"to":"web'  # `web`, or `web:<desk>` and `web:shared` of several
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
    shown = desks_on_record(folder, settings, session)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with listener_of("web", web.host, arguments.port or web.port, PORTS_TRIED) as listener:
        print(f"{session}: {url_of(listener)} (read-only; Ctrl-C ends it)", flush=True)
        serve_finished(shown, listener, ask_of(settings, folder.root), stop.is_set)
    return 0


def desks_on_record(folder: DataFolder, settings: Settings, session: date) -> Desks:
    """Return what a session left on record of every desk, with the settings that its last run had.

    Raises:
        LedgerRefusedError: the first desk's ledger cannot be read.
    """
    paths = [path for path in reversed(folder.traces_newest_first()) if path.parent.name == session.isoformat()]
    known = _recorded(paths, settings)
    desks, makers = desks_of(known, folder.root, len(paths), None), dict[str, CurveMaker]()
    for view in desks:
        view.show(session)
        try:
            view.ledgers = ledgers_of(LedgerReader(folder.ledgers, view.settings.desk), session)
        except LedgerRefusedError as error:
            if view is desks.first:
                raise
            view.ledgers.trouble = str(error)  # of one of several the page says it, and shows the others
        if view.day is not None:
            makers[view.settings.desk] = CurveMaker(view.day, view.ledgers.today())
    try:
        for at_utc, fact, name in _facts(paths):
            desks.take(at_utc, fact, name)
            maker = makers.get(name or desks.first.settings.desk)
            if maker is not None:
                maker.take(at_utc, fact)
    except TraceError as error:
        print(f"Prices and alarms are missing: {error}", flush=True)
    for view in desks:
        if view.settings.desk in makers:
            view.curve = makers[view.settings.desk].finish(view.now_utc)
    show_record(desks)
    return desks


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


def _facts(paths: list[Path]) -> Iterator[tuple[Utc, Message, str]]:
    """Return what the screen was told, in order, each with its desk (empty: of none, or of the only one).

    Raises:
        TraceError: a trace is damaged.
    """
    for path in paths:
        for line in lines_of(path):
            if _TO_THE_SCREEN not in line[:_HEAD]:
                continue
            try:
                taken = _ENVELOPE.decode(line)
                name = taken.to.partition(":")[2]
                yield taken.at_utc, decode(taken.message), "" if name == SHARED else name
            except (
                msgspec.DecodeError,
                UnicodeDecodeError,
            ):  # a torn last line, or a message that this version does not know
                continue
