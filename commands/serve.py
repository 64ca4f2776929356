"""The dashboard's process, as the supervisor starts it: `python -m commands.serve --feed FD --listen FD`."""

from __future__ import annotations

import argparse
import signal
import socket
from functools import partial
from pathlib import Path

from commands.cli import CommandError
from commands.control import request
from commands.folder import DataFolder
from config.settings import Settings
from domain.ask.answer import Answer
from storage.manifest import WarehouseRefusedError
from storage.sqlite_file import LedgerRefusedError
from web.app import Control
from web.questions import Ask
from web.serve import serve


def main() -> None:
    """Serve on the sockets that were handed down, until the supervisor is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feed", type=int, required=True)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--public", type=int)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the supervisor's terminal is the supervisor's to answer
    public = None if given.public is None else socket.socket(fileno=given.public)
    serve(socket.socket(fileno=given.feed), socket.socket(fileno=given.listen), control_of, ask_of, public)


def control_of(data_dir: Path) -> Control:
    """Return the way to the supervisor of a data folder."""
    return partial(request, DataFolder(data_dir).control)


def ask_of(settings: Settings, data_dir: Path) -> Ask:
    """Return who answers questions about a data folder; what cannot be read is an answer that says so."""
    return partial(_answer, settings, DataFolder(data_dir))


def _answer(settings: Settings, folder: DataFolder, text: str, desk: str) -> Answer:
    from commands.ask import answer_to  # noqa: PLC0415 - a page that nobody asks anything need not wait for it

    try:
        return answer_to(text, settings, folder, desk=desk or None)
    except (CommandError, LedgerRefusedError, WarehouseRefusedError) as error:
        return Answer(text=str(error), is_known=False)


if __name__ == "__main__":
    main()
