"""A day whose manifest was lost: made anew from its files, of which nothing is deleted that another does not hold.

Each file says what it holds by its columns; only the hub's name of a damaged file is read from its name. The log says
itself what it holds, gaps and counts included. What neither knows is lost: gaps, counts, and buckets in which a hub was
silent, all of before the last seal.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from domain.options.profile import SCALARS, Row, Shape, content_hash_of
from domain.units import Utc
from storage import bucket_file, manifest
from storage.manifest import PARTS, Bucket, Damaged, HubCounts, LoggedPart, Manifest, Part
from storage.plain_names import free_slot

_OURS = re.compile(r"(hot|sealed|whole)-(.+)\.(parquet|part)")
_KIND = {"whole": 0, "sealed": 1, "hot": 2}

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError)  # of a file that `look` takes none for ours

_Key = tuple[Utc, int]


class Found(msgspec.Struct):
    """A file as it lies there: its part and the (bucket, store) pairs that it holds."""

    part: Part
    keys: set[_Key]


def data_files(folder: Path) -> list[Path]:
    """Return the files that hold rows, by their names."""
    places = (folder, folder / PARTS)
    return sorted(path for place in places if place.is_dir() for path in place.iterdir() if _OURS.fullmatch(path.name))


def rebuilt(root: Path, session: date) -> Manifest:
    """Return what `manifest.json` must say of the files of a session beside its log.

    A file whose rows another one holds is left out, and so is a hot file of the log.
    """
    folder = manifest.folder_of(root, session)
    logged = manifest.logged_parts(folder, 0)
    hot = {one.part.name for one in logged}
    found: list[Found] = []
    damaged: list[Damaged] = []
    for path in data_files(folder):
        name = path.relative_to(folder).as_posix()
        if name in hot:
            continue
        try:
            found.append(look(path, name))
        except UNREADABLE as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            damaged.append(Damaged(_part_of_name(name), why))
    # What was sealed comes before what it was sealed from, the larger before the smaller.
    found.sort(key=lambda file: (_kind(file.part), -len(file.keys), file.part.name))
    held: defaultdict[tuple[str, Shape], set[_Key]] = defaultdict(set)
    parts: list[Part] = []
    for file in found:
        part, known = file.part, held[file.part.hub, file.part.shape]
        if not file.keys <= known:
            known |= file.keys
            parts.append(part)
    log_n = _first_log(folder, logged, held)
    shown = [one.part for one in manifest.logged_parts(folder, log_n)]
    for k, part in enumerate(parts):
        if part.name.startswith(PARTS):
            parts[k] = msgspec.structs.replace(part, slot=free_slot((*shown, *parts), part.hub, part.shape))
    buckets = buckets_of(folder, parts)
    hubs = {hub: HubCounts(rows=sum(p.rows for p in parts if p.hub == hub)) for hub in buckets}
    return Manifest(session, tuple(parts), buckets, hubs=hubs, damaged=tuple(damaged), log_n=log_n)


def _first_log(folder: Path, logged: list[LoggedPart], held: dict[tuple[str, Shape], set[_Key]]) -> int:
    """Return the first file of the log that no sealed file holds yet: a seal takes whole files of it."""
    sealed = {
        one.path for one in logged
        if (one.part.first_utc, one.part.store_n) in held.get((one.part.hub, one.part.shape), ())
    }  # fmt: skip
    return max((n + 1 for n, path in manifest.logs_of(folder) if path in sealed), default=0)


def _kind(part: Part) -> int:
    return _KIND[part.name.rpartition("/")[2].partition("-")[0]]


def look(path: Path, name: str) -> Found:
    """Return what a file holds, by its columns.

    Raises:
        pa.ArrowException, OSError, ValueError, KeyError, IndexError: it is none of ours, or cannot be read.
    """
    file = pq.ParquetFile(path)
    shape = _shape_of(file.schema_arrow.names)
    table = file.read(columns=["hub", "bucket_utc", "store_n"], use_threads=False)
    utcs = [Utc(utc) for utc in table["bucket_utc"].to_pylist()]
    keys = set(zip(utcs, table["store_n"].to_pylist(), strict=True))
    is_sealed = not path.name.startswith("hot-")
    hub = str(table["hub"][0].as_py())
    part = Part(name, hub, shape, min(utcs), max(utcs), table.num_rows, is_sealed=is_sealed)
    if not is_sealed:
        part = msgspec.structs.replace(part, store_n=min(keys)[1])
    return Found(part, keys)


def _shape_of(names: list[str]) -> Shape:
    """Return the shape whose scalars a file has, of whatever version of the columns it is."""
    known = {shape: len(set(SCALARS[shape]) & set(names)) for shape in Shape}
    shape = max(known, key=lambda one: known[one])
    if not known[shape] or not set(bucket_file.HEAD_NAMES) <= set(names):
        raise ValueError("its columns are none of ours")
    return shape


def _part_of_name(name: str) -> Part:
    words = name.rpartition("/")[2].rpartition(".")[0].split("-")
    shapes = [shape for shape in Shape if shape.value in words[2:]]
    return Part(name, words[1], shapes[0] if shapes else Shape.GEX, Utc(0), Utc(0), 0)


def buckets_of(folder: Path, parts: list[Part]) -> dict[str, tuple[Bucket, ...]]:
    """Return what the hubs' buckets are, each with the hash of all its rows, read from the files.

    Raises:
        pa.ArrowException, OSError: a file cannot be read.
    """
    rows: defaultdict[tuple[str, Utc, int], list[tuple[int, Row]]] = defaultdict(list)
    for part in parts:
        table = pq.ParquetFile(folder / part.name).read(use_threads=False)
        keys = zip(table["bucket_utc"].to_pylist(), table["store_n"].to_pylist(), strict=True)
        for (bucket_utc, store_n), numbered in zip(keys, bucket_file.rows_of(table, part.shape), strict=True):
            rows[part.hub, Utc(bucket_utc), store_n].append(numbered)
    found: defaultdict[str, list[Bucket]] = defaultdict(list)
    for (hub, bucket_utc, store_n), numbered_rows in sorted(rows.items(), key=lambda item: item[0]):
        in_order = tuple(row for _, row in sorted(numbered_rows, key=lambda pair: pair[0]))
        found[hub].append(Bucket(bucket_utc, store_n, content_hash_of(in_order)))
    return {hub: tuple(buckets) for hub, buckets in found.items()}
