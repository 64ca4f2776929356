"""File systems of a few MB, which a test may fill."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size_mb: int) -> Iterator[Path]:
    """Mount a small file system; the test is skipped where this host does not let it."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("not in this checkout: mounting a small file system needs root")
    tmpfs = [mount, "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    done = subprocess.run(tmpfs, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not in this checkout: this host does not let a small file system be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int = 0) -> Path:
    """Fill a file system but for `left` bytes, and return the file that does it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(b"x" * 4_096)
    if left:
        os.truncate(ballast, ballast.stat().st_size - left)
    return ballast
