"""`main.py restore --from TARGET`: the newest encrypted backup becomes the data folder, at kill level 1."""

from __future__ import annotations

import time
from argparse import Namespace

from commands.cli import CommandError
from commands.folder import settings_of
from domain.instants import exchange_clock, session_of
from storage.backup_keys import BackupError, identity_of
from storage.disk_space import disk_text
from storage.restore import restore
from storage.sqlite_file import LedgerRefusedError
from storage.targets import Target, TargetError

_LOST_SHOWN = 10


def act(arguments: Namespace) -> int:
    """Bring a backup back, written over nothing; 1 where market files of it are lost, which are named."""
    root = settings_of(arguments).data_dir
    began_s = time.monotonic()
    try:
        restored = restore(Target(arguments.source), identity_of(), root, arguments.backup, print)
    except (BackupError, TargetError, LedgerRefusedError) as error:
        raise CommandError(str(error), 3) from None
    except OSError as error:
        raise CommandError(disk_text(error, root), 3) from None
    index, lost = restored.index, dict(restored.lost)
    came = [file for file in index.files if file.name not in lost]
    size = sum(file.size for file in came) / 1e6
    made = f"{session_of(index.made_utc)} {exchange_clock(index.made_utc)} New York"
    print(f"{len(came)} files ({size:.1f} MB) of {made} are in {root}, in {time.monotonic() - began_s:.1f} s.")
    print(
        "The kill level is 1: `main.py run` reads the broker back and reconciles; compare `main.py report` with the"
        " broker, then `main.py resume --reason ...`."
    )
    for name, why in restored.lost[:_LOST_SHOWN]:
        print(f"Lost: {name} ({why}).")
    if lost:
        more = f", {len(lost) - _LOST_SHOWN} more than shown" if len(lost) > _LOST_SHOWN else ""
        print(f"{len(lost)} files did not come back{more}; an older backup may hold them: --backup NAME.")
    return 1 if lost else 0
