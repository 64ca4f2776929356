"""`main.py kill|resume|flatten|promote|demote`: people's commands to a running supervisor."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from commands.cli import CommandError
from commands.control import request
from commands.folder import DataFolder, settings_of
from storage.queries import LedgerReader


def act(arguments: Namespace) -> int:
    """Send the command and print its outcome."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    what: dict[str, Any] = {"do": arguments.command, "by": arguments.by, "reason": arguments.reason}
    match arguments.command:
        case "flatten":
            if arguments.direct:
                from commands.direct import flatten  # noqa: PLC0415 - the broker's library, which no other needs

                return flatten(arguments, settings, folder)
            if arguments.force or arguments.yes:
                raise CommandError("--force and --yes belong to `flatten --direct`.")
        case "kill":
            what["level"] = arguments.level
        case "resume":
            what |= _seen_level(arguments, folder, settings.desk)
        case _:
            what |= _promotion(arguments)
    answered = request(folder.control, what, timeout_s=6.0)
    if "done" in answered:
        print(answered["done"])
        return 0
    raise CommandError(answered.get("detail") or answered.get("error") or str(answered), 1)


def _seen_level(arguments: Namespace, folder: DataFolder, desk: str) -> dict[str, Any]:
    """Return the level to lower to, with the epoch that the person has seen, and show it.

    That is the level in force as the supervisor says: what a rule raised a moment ago is on record later.
    """
    what: dict[str, Any] = {"level": arguments.level}
    seen = request(folder.control, {"do": "status"}).get("kill") or LedgerReader(folder.ledgers, desk).kill()
    if seen is not None:
        what["expected_epoch"] = seen["kill_epoch"]
        if seen["level"] > arguments.level:
            print(f"Lowering kill level {seen['level']}, raised by {seen['by']}: {seen['reason']}")
    if folder.kill_file.exists():
        print(f"{folder.kill_file} is still there: the next start raises the level again; remove it.")
    return what


def _promotion(arguments: Namespace) -> dict[str, Any]:
    """Return the alerts that a promotion names, `KIND-VERSION`.

    Raises:
        CommandError: it is no such name.
    """
    kind, _, version = arguments.kind.rpartition("-")
    if not kind or not version.isascii() or not version.isdigit():
        raise CommandError(f"{arguments.kind!r} names no alerts; write KIND-VERSION, as GAMMA_FLIP-1.")
    named = {"source": arguments.source, "kind": kind, "version": int(version)}
    return named | ({"is_unproven": True} if arguments.command == "promote" and arguments.unproven else {})
