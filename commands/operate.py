"""`main.py kill|resume|flatten`: people's commands to a running supervisor; the kill file is their way without one."""

from __future__ import annotations

from argparse import Namespace

from commands.cli import CommandError
from commands.control import request
from commands.folder import DataFolder, settings_of


def act(arguments: Namespace) -> int:
    """Send the command and print its outcome."""
    folder = DataFolder(settings_of(arguments).data_dir)
    what = {"do": arguments.command, "by": arguments.by, "reason": arguments.reason}
    if arguments.command == "flatten" and arguments.direct:
        raise CommandError("flatten --direct is not built yet: use the broker's own screen, or start the supervisor.")
    if arguments.command != "flatten":
        what["level"] = arguments.level
    answered = request(folder.control, what, timeout_s=6.0)
    if "done" in answered:
        print(answered["done"])
        return 0
    raise CommandError(answered.get("detail") or answered.get("error") or str(answered), 1)
