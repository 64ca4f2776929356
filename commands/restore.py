"""`main.py restore --from TARGET`: the newest encrypted backup becomes the data folder, at kill level 1."""

from __future__ import annotations

import time
from argparse import Namespace

from commands.cli import CommandError
from commands.folder import settings_of
from domain.instants import exchange_clock, session_of
from storage.backup import BackupError, identity_of, restore
from storage.targets import Target, TargetError


def act(arguments: Namespace) -> int:
    """Bring a backup back; nothing is written over, and what cannot be brought back whole is not there at all."""
    root = settings_of(arguments).data_dir
    began_s = time.monotonic()
    try:
        index = restore(Target(arguments.source), identity_of(), root, arguments.backup, print)
    except (BackupError, TargetError) as error:
        raise CommandError(str(error), 3) from None
    except OSError as error:
        raise CommandError(f"{root} cannot be written ({error.strerror}); name another folder with --data.") from None
    size = sum(file.size for file in index.files) / 1e6
    made = f"{session_of(index.made_utc)} {exchange_clock(index.made_utc)} New York"
    print(f"{len(index.files)} files ({size:.1f} MB) of {made} are in {root}, in {time.monotonic() - began_s:.1f} s.")
    print(
        "The kill level is 1: `main.py run` reads the broker back and reconciles; compare `main.py report` with the"
        " broker, then `main.py resume --reason ...`."
    )
    return 0
