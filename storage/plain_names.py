"""What a plain `read_parquet('warehouse/date=*/*.parquet')` sees: each stored row of a finished day once.

The files that the manifest names lie under `_parts`, where a glob does not look, and come and go. Beside the manifest
each of them is shown under a plain name (`live-<hub>-<shape>-<slot>.parquet`, a second link to the same file) that is
only ever replaced by rename while the day runs: by an empty file when its rows are sealed elsewhere, by the next part
after that. So a glob beside the writer always finds the files that it listed, whole. When the day is over each hub and
shape has one file; the plain names of before show nothing then, and are gone a while later.

Plain names are derived: the manifest is the truth, and `show` makes them right after a crash.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from domain.options.profile import Shape
from storage import bucket_file
from storage.aside import written_aside
from storage.manifest import PARTS, Manifest, Part


def free_slot(parts: Iterable[Part], hub: str, shape: Shape) -> int:
    """Return the lowest slot of a hub and shape that no part has."""
    taken = {part.slot for part in parts if part.hub == hub and part.shape is shape}
    return next(n for n in range(len(taken) + 1) if n not in taken)


def plain_name(part: Part) -> str:
    """Return the name under which a part with a slot is shown."""
    return f"live-{part.hub}-{part.shape.value}-{part.slot:04d}.parquet"


def show(folder: Path, found: Manifest) -> None:
    """Make the plain names of a day exactly those of its manifest.

    Raises:
        OSError: the folder cannot be written.
    """
    wanted = {plain_name(part): part for part in found.parts if part.slot is not None}
    for path in folder.glob("live-*"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    for name, part in wanted.items():
        plain = folder / name
        if not (plain.exists() and plain.samefile(folder / part.name)):
            _link(folder / part.name, plain)


def show_parts(folder: Path, parts: Iterable[Part]) -> None:
    """Show new parts.

    Raises:
        OSError: the folder cannot be written.
    """
    for part in parts:
        if part.slot is not None:
            _link(folder / part.name, folder / plain_name(part))


def empty_slots(folder: Path, parts: Iterable[Part]) -> None:
    """Let the plain names of parts show no rows, so that a glob which listed them finds them.

    Raises:
        OSError: the folder cannot be written.
    """
    for part in parts:
        if part.slot is not None:
            _link(_empty(folder, part.shape), folder / plain_name(part))


def drop_empty(folder: Path, found: Manifest) -> None:
    """Remove the plain names that show nothing any more (the day is over)."""
    wanted = {plain_name(part) for part in found.parts if part.slot is not None}
    for path in folder.glob("live-*"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    if not wanted:
        for path in (folder / PARTS).glob("empty-*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # what was damaged is kept there
            (folder / PARTS).rmdir()


def _empty(folder: Path, shape: Shape) -> Path:
    path = folder / PARTS / f"empty-{shape.value}.part"
    if not path.exists():
        with written_aside(path) as aside:
            bucket_file.write_table(bucket_file.schema_of(shape).empty_table(), shape, aside)
    return path


def _link(source: Path, plain: Path) -> None:
    """Put a second name of a file in force; where the file system knows no links, a copy."""
    aside = plain.with_name(f"{plain.name}.tmp")
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, aside)
    aside.replace(plain)
    aside.unlink(missing_ok=True)  # a rename onto another link of the same file leaves both
