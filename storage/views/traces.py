"""Traces as sources of views: the readings in them, and every line for DuckDB's own JSON reader.

A segment that is being written is read up to its last whole line. What was read of it is kept, so that the next look
reads only what came since.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import zstandard

from domain.instants import session_of
from domain.units import Utc

_NEEDLE = b'"signals.FeaturesComputed"'
_FORCE = pa.struct([("name", pa.string()), ("score", pa.float64()), ("confidence", pa.float64())])
READINGS = pa.schema([
    ("session", pa.date32()), ("ticker", pa.string()), ("bucket_utc", pa.int64()), ("reading_n", pa.int64()),
    ("spot", pa.int64()), ("zero_gamma", pa.int64()), ("alignment", pa.float64()), ("is_complete", pa.bool_()),
    ("missing", pa.list_(pa.string())), ("forces", pa.list_(_FORCE)), ("features", pa.list_(pa.float64())),
    ("run_n", pa.int64()),
])  # fmt: skip
# The columns of a line, for DuckDB's JSON reader.
LINE = {
    "kind": "VARCHAR", "seq": "BIGINT", "at_utc": "BIGINT", "to": "VARCHAR", "from": "VARCHAR", "incarnation": "BIGINT",
    "cause_seq": "BIGINT", "sent_utc": "BIGINT", "message": "JSON",
}  # fmt: skip
LINE_BYTES_MAX = 16 << 20


class _Evidence(msgspec.Struct):
    """All features and the forces made of them; without it those beside it count, as an older trace has them."""

    features: list[float | None]
    forces: list[dict[str, Any]]
    alignment: float | None


class _Reading(msgspec.Struct):
    """A reading as a trace has it; fields that a newer trace adds are passed over."""

    type: str
    ticker: str
    bucket_utc: int
    reading_n: int
    missing: list[str]
    spot: int | None
    zero_gamma: int | None
    is_complete: bool
    evidence: _Evidence | None = None
    features: list[float | None] = []
    forces: list[dict[str, Any]] = []
    alignment: float | None = None


class _Line(msgspec.Struct):
    kind: str
    message: _Reading


_DECODER = msgspec.json.Decoder(_Line)


def segments(folder: Path) -> tuple[Path, ...]:
    """Return the segments of all runs, oldest first; one that is being sealed, and so there twice, once."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.glob("????-??-??/run-*.jsonl*")):
        if path.name.endswith((".jsonl", ".jsonl.zst")):
            found[path.parent.name, path.name.removesuffix(".zst")] = path
    return tuple(found[key] for key in sorted(found, key=lambda key: (key[0], _run_n(key[1]))))


def _run_n(name: str) -> int:
    number = name.removeprefix("run-").partition(".")[0]
    return int(number) if number.isdigit() else 0


class TraceReadings:
    """The readings in traces; a segment is read on from where the last look stopped."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], tuple[Path, int, dict[tuple[str, int], dict[str, Any]]]] = {}

    def table(self, paths: Iterable[Path]) -> pa.Table:
        """Return every reading once: several lanes hear it, and a run that was resumed computes some again."""
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        for path in paths:
            for key, row in self._of(path).items():
                rows.setdefault(key, row)
        return pa.Table.from_pylist(list(rows.values()), schema=READINGS)

    def _of(self, path: Path) -> dict[tuple[str, int], dict[str, Any]]:
        key = path.parent.name, path.name.removesuffix(".zst")
        known = self._read.get(key)
        if known is not None and known[0] == path and path.suffix == ".zst":
            return known[2]
        at, rows = (known[1], known[2]) if known is not None and known[0] == path else (0, {})
        run_n = _run_n(path.name)
        for at_after, line in _lines(path, at):
            at = at_after
            if _NEEDLE not in line:
                continue
            try:
                found = _DECODER.decode(line).message
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # another message that quotes the type, or a line of an older schema
            rows.setdefault((found.ticker, found.bucket_utc), _row(found, run_n))
        self._read[key] = path, at, rows
        return rows


def _row(found: _Reading, run_n: int) -> dict[str, Any]:
    seen = found.evidence or found
    return {
        "session": session_of(Utc(found.bucket_utc)), "ticker": found.ticker, "bucket_utc": found.bucket_utc,
        "reading_n": found.reading_n, "spot": found.spot, "zero_gamma": found.zero_gamma, "alignment": seen.alignment,
        "is_complete": found.is_complete, "missing": found.missing, "forces": seen.forces, "features": seen.features,
        "run_n": run_n,
    }  # fmt: skip


def _lines(path: Path, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of a segment from a position on, each with the position after it.

    Raises:
        FileNotFoundError: it was sealed meanwhile.
    """
    with path.open("rb") as raw:
        if path.suffix != ".zst":
            raw.seek(at)
            for line in raw:
                if not line.endswith(b"\n"):
                    return
                at += len(line)
                yield at, line
            return
        with zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            for line in io.BufferedReader(stream, 1 << 20):
                at += len(line)
                yield at, line
