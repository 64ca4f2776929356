"""What the warehouse's writer finds at its start: it puts a day's folder in order and touches only our own names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from itertools import count
from pathlib import Path

import msgspec
import pyarrow as pa

from domain.units import Utc
from storage import bucket_file, bucket_log, manifest, plain_names
from storage.aside import written_aside
from storage.bucket_file import is_whole_file
from storage.manifest import (
    FILE,
    LATEST,
    PARTS,
    Damaged,
    DamagedManifestError,
    LoggedPart,
    Manifest,
    Part,
    damaged_name,
)
from storage.rebuild import UNREADABLE, data_files, look, rebuilt
from storage.recovery import recovered

_OURS = re.compile(
    r"(?:hot|sealed|whole|live)-.+\.parquet(?:\.tmp)?|(?:hot|sealed|empty|damaged)-.+\.part(?:\.tmp)?"
    r"|manifest\.json(?:\.tmp)?|latest\.arrow(?:\.tmp)?|log-\d{6}\.log"
)
_KEPT = re.compile(r"manifest\.json\.damaged-\d+|damaged-.+\.(?:part|parquet|log)|unnamed-.+\.(?:part|parquet)")
_SEALED = re.compile(r"(?:sealed|whole)-.+\.(?:part|parquet)")
_NAMED_MAX = 3


def put_in_order(root: Path, session: date) -> tuple[Manifest, tuple[str, ...]]:
    """Delete what a crash or a seal left over, set aside what is damaged, show what there is; return what was found.

    Raises:
        OSError: the folder cannot be read or written.
        WarehouseRefusedError: its manifest is of a newer version.
    """
    folder = manifest.folder_of(root, session)
    said: list[str] = []
    before = _manifest(root, session, said)
    base = msgspec.structs.replace(before, retired=())
    logged = {one.part.name: one for one in manifest.logged_parts(folder, base.log_n)}
    lost = remake(folder, [one for name, one in logged.items() if damaged_name(name) not in base.named()])
    lost += [Damaged(part, why) for part in base.parts if (why := _why_damaged(folder / part.name)) is not None]
    if lost:
        base = without_damaged(base, tuple(set_aside(folder, damaged) for damaged in lost), lost)
        said.append(damaged_text(session, tuple(lost)))
    again = recovered(folder, base, manifest.with_log(folder, base))
    base = again.manifest
    said += [*_damaged_logs(folder, base.log_n), *again.said]
    if (base != before or not (folder / FILE).exists()) and (_has_anything(base) or logged):
        manifest.swap(root, base)
    found = manifest.load(root, session)
    logs = {f"{PARTS}/{path.name}" for _, path in manifest.logs_of(folder, found.log_n)}
    named = found.named() | {FILE, LATEST} | logs
    strangers: list[str] = []
    unnamed: list[str] = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name in named or _KEPT.fullmatch(path.name):
            continue
        if _SEALED.fullmatch(path.name) and _holds_more(folder, path, found):
            unnamed.append(_kept_unnamed(folder, path))
        elif _OURS.fullmatch(path.name):
            if not path.name.startswith("live-") or path.suffix == ".tmp":
                path.unlink(missing_ok=True)
        else:
            strangers.append(name)
    if unnamed:
        said.append(
            f"{len(unnamed)} sealed files of {session} hold rows that its manifest does not know, as in a copy that was"
            f" made while it was sealed; they are kept in {folder / PARTS} ({', '.join(unnamed[:_NAMED_MAX])}): take"
            " the day from another backup."
        )
    strangers += sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != PARTS)
    if strangers:
        more = f" and {len(strangers) - _NAMED_MAX} more" if len(strangers) > _NAMED_MAX else ""
        said.append(
            f"{folder} holds what is not the warehouse's ({', '.join(strangers[:_NAMED_MAX])}{more}); "
            "it is left alone: move it elsewhere, a plain glob may read it."
        )
    plain_names.show(folder, found)
    return found, tuple(said)


def _holds_more(folder: Path, path: Path, found: Manifest) -> bool:
    """Return whether a sealed file that no manifest names holds rows that no named file holds, or may hold some.

    A seal that a crash broke off leaves files whose rows the log still has: those hold no more.
    """
    if not is_whole_file(path):
        return False
    try:
        one = look(path, path.name)
    except UNREADABLE:
        return True
    held: set[tuple[Utc, int]] = set()
    for part in found.parts:
        if (part.hub, part.shape) == (one.part.hub, one.part.shape):
            with suppress(*UNREADABLE):
                held |= look(folder / part.name, part.name).keys if part.is_sealed else {(part.first_utc, part.store_n)}
    return not one.keys <= held


def _kept_unnamed(folder: Path, path: Path) -> str:
    """Move a file that no manifest names to where no glob looks, and return its new name.

    Raises:
        OSError: the folder cannot be written.
    """
    (folder / PARTS).mkdir(exist_ok=True)
    names = (f"unnamed-{n}-{path.name}" for n in count(1))
    name = next(name for name in names if not (folder / PARTS / name).exists())
    path.rename(folder / PARTS / name)
    return name


def remake(folder: Path, logged: Iterable[LoggedPart]) -> list[Damaged]:
    """Make the hot files that are missing or were cut from the log again; return those of which nothing is left.

    Raises:
        OSError: the folder cannot be written.
    """
    lost = []
    for one in logged:
        path = folder / one.part.name
        if _why_damaged(path) is not None:
            raw = bucket_log.body(one.path, one.record, one.body_n)
            if raw is None:
                lost.append(Damaged(one.part, "neither its file nor the log can be read"))
                continue
            write_hot(folder, one.part, bucket_file.from_bytes(raw, one.part.shape))
    return lost


def write_hot(folder: Path, part: Part, table: pa.Table) -> None:
    """Write a hot file for those who query; the log holds its rows, so nothing waits for the disk.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / part.name
    with written_aside(path) as aside:
        bucket_file.write_table(table, part.shape, aside)


def _damaged_logs(folder: Path, first_n: int) -> list[str]:
    """Name the files of the log that are damaged inside and keep a copy of each."""
    said = []
    for _, path in manifest.logs_of(folder, first_n):
        scan = bucket_log.scan(path)
        bytes_n = sum(until - start for start, until in scan.damaged)
        bytes_n += path.stat().st_size - scan.end if scan.is_tail_damaged else 0
        kept = folder / damaged_name(path.name)
        if bytes_n and not kept.exists():
            shutil.copyfile(path, kept)
            said.append(
                f"{path} is damaged: {bytes_n} bytes of it cannot be read (a copy is kept as {kept.name}); look at the"
                " disk."
            )
    return said


def set_aside(folder: Path, damaged: Damaged) -> Damaged:
    """Move a file that cannot be read to where no glob looks, and return it under its new name.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / damaged.part.name
    name = damaged_name(path.name)
    (folder / PARTS).mkdir(exist_ok=True)
    with suppress(FileNotFoundError):
        path.rename(folder / name)
    return Damaged(msgspec.structs.replace(damaged.part, name=name), damaged.why)


def without_damaged(found: Manifest, aside: tuple[Damaged, ...], damaged: Iterable[Damaged]) -> Manifest:
    """Return the manifest without the damaged files, which are on record as set `aside`."""
    gone = {lost.part.name for lost in damaged}
    parts = tuple(part for part in found.parts if part.name not in gone)
    return msgspec.structs.replace(found, parts=parts, damaged=(*found.damaged, *aside))


def _why_damaged(path: Path) -> str | None:
    try:
        return None if is_whole_file(path) else f"{path.stat().st_size} bytes, which are no whole file"
    except FileNotFoundError:
        return "it is missing"


def _has_anything(found: Manifest) -> bool:
    return bool(found.parts or found.buckets or found.damaged or found.gaps)


def _manifest(root: Path, session: date, said: list[str]) -> Manifest:
    """Return what a day's `manifest.json` says, made anew from the files where it is lost or cannot be read."""
    folder = manifest.folder_of(root, session)
    try:
        found = manifest.load_base(root, session)
        if (folder / FILE).exists() or not (data_files(folder) or manifest.logs_of(folder)):
            return found
        what = "is missing"
    except DamagedManifestError:
        n = next(n for n in range(1, 1_000) if not (folder / f"{FILE}.damaged-{n}").exists())
        (folder / FILE).rename(folder / f"{FILE}.damaged-{n}")
        what = f"could not be read (kept as {FILE}.damaged-{n})"
    made = rebuilt(root, session)
    made = msgspec.structs.replace(made, damaged=tuple(set_aside(folder, lost) for lost in made.damaged))
    logged = [one.part for one in manifest.logged_parts(folder, made.log_n)]
    held = (*made.parts, *logged)
    rows_n = sum(part.rows for part in held)
    said.append(
        f"The manifest of {session} {what} and was made anew from {len(held)} files with {rows_n} rows; "
        "its gaps and counts are lost, restore it from a copy if you need them."
    )
    if made.damaged:
        said.append(damaged_text(session, made.damaged))
    return made


def damaged_text(session: date, damaged: tuple[Damaged, ...]) -> str:
    """Return in one sentence that files of a day could not be read."""
    names = ", ".join(lost.part.name.rpartition("/")[2] for lost in damaged[:_NAMED_MAX])
    rows_n = sum(lost.part.rows for lost in damaged)
    return (
        f"{len(damaged)} file{'s' * (len(damaged) != 1)} of {session} cannot be read ({names}: {damaged[0].why}), "
        f"{rows_n} rows are lost and on record; look at the disk."
    )


def _files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / PARTS):
        if place.is_dir():
            yield from sorted(path for path in place.iterdir() if path.is_file())
