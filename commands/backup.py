"""`main.py backup`: what the backups do not hold yet is shipped to every target; `--new-key` makes the key."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace

from commands.cli import CommandError
from commands.folder import settings_of
from commands.sql import existing
from domain.units import Utc
from storage.backup import back_up
from storage.backup_keys import BackupError, new_key, recipient_of
from storage.backup_objects import DAMAGED
from storage.disk_space import disk_text
from storage.sqlite_file import LedgerRefusedError
from storage.targets import Target, TargetError


def act(arguments: Namespace) -> int:
    """Back up to the targets of the call or of the settings; 3 where one of them failed, after the others."""
    try:
        if arguments.new_key is not None:
            recipient = new_key(arguments.new_key)
            print(f"The identity is in {arguments.new_key}: keep it where the backups are not; it opens them all.")
            print(f"ZEROHOUR_BACKUP_RECIPIENT={recipient}")
            return 0
        targets = arguments.to or list(settings_of(arguments).backup.targets)
        if not targets:
            raise CommandError("No target is named: give --to FOLDER (or s3://…), or set backup.targets.")
        recipient_key = recipient_of()
    except BackupError as error:
        raise CommandError(str(error)) from None
    root, failed = existing(arguments), []
    for address in targets:
        try:
            made = back_up(root, Target(address), recipient_key, Utc(time.time_ns()))
        except (BackupError, TargetError, LedgerRefusedError) as error:
            failed.append(f"{address}: {error}")
            continue
        except OSError as error:
            failed.append(f"{address}: {disk_text(error, error.filename or tempfile.gettempdir())}")
            continue
        print(
            f"{address}: {made.name} holds {made.files_n} files ({made.bytes_n / 1e6:.1f} MB), {made.shipped_n} of them"
            f" new; {made.verified_n} older objects were read back, {made.healed_n} damaged ones shipped again."
        )
        if made.lost:
            failed.append(
                f"{address}: {len(made.lost)} objects of older backups were damaged, and this disk does not hold their"
                f" files any more (moved to {DAMAGED}/); look at the disk of the target."
            )
    if failed:
        raise CommandError("\n".join(failed), 3)
    return 0
