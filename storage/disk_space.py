"""Telling that a disk is full from its other faults, in one sentence with the remedy."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FOREIGN: Final = re.compile(r"os error (\d+)|\[Errno (\d+)\]")


def is_full(error: BaseException) -> bool:
    """Return whether an operation failed for want of room."""
    return isinstance(error, OSError) and error.errno in _FULL


def as_os_error(error: Exception, path: Path) -> OSError:
    """Return the error of the system that a library told in words only."""
    found = _FOREIGN.search(str(error))
    number = int(found[1] or found[2]) if found is not None else errno.EIO
    return OSError(number, os.strerror(number), str(path))


def disk_text(error: OSError, place: Path | str) -> str:
    """Return what became of a write to `place`: the disk is full, or why else it failed."""
    if is_full(error):
        return f"The disk of {place} is full, and nothing half written was left; free some space, then again."
    return f"{place} cannot be read or written ({error.strerror or error}); look at its disk and permissions."
