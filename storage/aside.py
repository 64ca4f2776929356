"""Writing a file so that nobody ever sees half of it: aside, then renamed; what fails leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_aside(path: Path, *, is_durable: bool = False) -> Iterator[Path]:
    """Give a name beside `path` to write to, and put what was written in its place.

    `is_durable`: the content is durable before the rename (the rename is once the folder is synced).

    Raises:
        OSError: nothing changed.
    """
    aside = path.with_name(f"{path.name}.tmp")
    try:
        yield aside
        if is_durable:
            with aside.open("rb") as file:
                os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
