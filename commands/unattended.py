"""Whether a desk may hold something: then no start is given up for what is missing around it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Final

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.held import desks_of, holdings
from config.settings import SettingsError
from domain.desks import DeskKind
from storage.desk_kinds import kinds
from storage.queries import LedgerReader
from storage.sqlite_file import LedgerRefusedError

WRONG_CALL: Final = 2  # the exit code after which a service manager does not start again
_DATA: Final = Path(__file__).parent.parent / "data"


def may_hold(ledgers: Path, desk: str) -> bool:
    """Return whether a desk holds or awaits anything, or its ledger cannot say."""
    try:
        return bool(holdings(LedgerReader(ledgers, desk)))
    except LedgerRefusedError:
        return True


def real_desks(ledgers: Path) -> list[str]:
    """Return the desks that have a ledger and are not known to be simulated: what they hold is held at a broker."""
    desks = desks_of(ledgers)
    try:
        simulated = {desk for desk, kind in kinds(ledgers).items() if kind is DeskKind.SIM}
    except LedgerRefusedError:
        simulated = set()
    return [desk for desk in desks if desk not in simulated]


def tried_again(error: Exception, arguments: Namespace) -> Exception:
    """Return what ends a start: where a desk of the folder may hold something, never with "do not start again"."""
    if getattr(error, "code", WRONG_CALL) != WRONG_CALL or not _is_anything_held(_root_of(arguments)):
        return error
    text = (
        f"{error} A position may be open, so that the exit code is 3 (start again); `main.py flatten --direct` closes"
        " it without the supervisor."
    )
    return CommandError(text, 3)


def _root_of(arguments: Namespace) -> Path:
    try:
        return settings_of(arguments).data_dir
    except (CommandError, SettingsError):  # perhaps the very reason: the folder is the call's, or the usual one
        return arguments.data or _DATA


def _is_anything_held(root: Path) -> bool:
    ledgers = DataFolder(root).ledgers
    return any(may_hold(ledgers, desk) for desk in real_desks(ledgers))
