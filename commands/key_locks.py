"""One running supervisor a vendor key: a negotiate ends every other session of its key, so two would throw each other
out for ever.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from commands.cli import CommandError


class KeyLocks:
    """Locks on keys, held by this process for whatever data folder it uses; they go with the process."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def take(self, keys: Mapping[str, str]) -> None:
        """Take the lock of each key; `keys` maps the name of its variable to the key.

        Raises:
            CommandError: another supervisor of this user holds one.
        """
        for name, key in keys.items():
            fd = os.open(_path_of(key), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._fds.append(fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
                self.release()
                raise CommandError(
                    f"Another supervisor (pid {holder}) uses the vendor key in {name}, and a key serves one client;"
                    " stop it, or give this one another key under feed.keys.",
                    3,
                ) from None
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give the locks back."""
        while self._fds:
            os.close(self._fds.pop())


def _path_of(key: str) -> Path:
    """Return the lock's file, named by a digest: the key itself stands nowhere."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return Path(folder) / f"zerohour-{os.getuid()}-{digest}.lock"
