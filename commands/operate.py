"""`main.py kill|resume|flatten`: people's commands to a running supervisor; the kill file is their way without one."""

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
    if arguments.command == "flatten" and arguments.direct:
        raise CommandError("flatten --direct is not built yet: use the broker's own screen, or start the supervisor.")
    if arguments.command != "flatten":
        what["level"] = arguments.level
    if arguments.command == "resume":
        seen = LedgerReader(folder.ledgers, settings.desk).kill()
        if seen is not None and seen["level"] > arguments.level:
            print(f"Lowering kill level {seen['level']}, raised by {seen['by']}: {seen['reason']}")
            what["expected_epoch"] = seen["kill_epoch"]
    answered = request(folder.control, what, timeout_s=6.0)
    if "done" in answered:
        print(answered["done"])
        return 0
    raise CommandError(answered.get("detail") or answered.get("error") or str(answered), 1)
