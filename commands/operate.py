"""`main.py kill|resume|flatten|switch|promote|demote|memberships`: people's commands to a running supervisor."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from commands.cli import CommandError
from commands.control import SWITCH_WAIT_S, request
from commands.folder import DataFolder, at_desk, settings_of
from config.desks import desk_names
from config.settings import Settings
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
            what["desk"] = _desk_of(arguments, settings)
        case "kill":
            what |= {"level": arguments.level, "desk": _desk_of(arguments, settings)}
        case "resume":
            desk = _desk_of(arguments, settings)
            what |= {
                "desk": desk,
                **_seen_level(arguments, folder, desk or settings.desk, is_one_of_several=bool(desk)),
            }
        case "switch":
            what |= {
                "strategy": arguments.strategy,
                "from_desk": arguments.from_desk or "",
                "to_desk": arguments.to_desk,
            }
        case "memberships":
            what["hubs"] = settings.feed.hubs
        case _:
            what |= _promotion(arguments)
    is_slow = arguments.command in ("switch", "memberships")  # others are asked first
    answered = request(folder.control, what, timeout_s=SWITCH_WAIT_S + 2 if is_slow else 6.0)
    if "done" in answered:
        print(answered["done"])
        return 0
    raise CommandError(answered.get("detail") or answered.get("error") or str(answered), 1)


def _desk_of(arguments: Namespace, settings: Settings) -> str:
    """Return the desk that a command is for; empty: every desk's, or the only one's.

    Raises:
        CommandError: there is no such desk, or a resume names none of several.
    """
    named = at_desk(settings, arguments.desk).desk if arguments.desk else ""
    if not named and settings.desks and arguments.command == "resume":
        known = ", ".join(desk_names(settings))
        raise CommandError(f"Each desk has a kill level of its own: name one with --desk; there are: {known}.")
    return named if settings.desks else ""


def _seen_level(
    arguments: Namespace, folder: DataFolder, desk: str, *, is_one_of_several: bool = False
) -> dict[str, Any]:
    """Return the level to lower to, with the epoch that the person has seen, and show it.

    That is the level in force as the supervisor says: what a rule raised a moment ago is on record later.
    """
    what: dict[str, Any] = {"level": arguments.level}
    told = request(folder.control, {"do": "status"})
    in_force = told.get("kills", {}).get(f"kill:{desk}") if is_one_of_several else told.get("kill")
    seen = in_force or LedgerReader(folder.ledgers, desk).kill()
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
