"""One bucket's rows of one shape as columns: what the log keeps, and what the tables of files are made of.

Rows are packed in one pass, which refuses what no column can hold, so whatever is in the log can become a file. A body
of the log names its own columns: what an earlier version wrote is read with those that it knew.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Ints, Row, Shape
from domain.units import Utc

MAGIC: Final = b"ZHBCOLS2"  # what was written before are Arrow streams, which begin otherwise
_LENGTH: Final = struct.Struct("<I")
# The fastest there is: a stronger one takes longer than the disk takes for what it would save.
_CODEC: Final = pa.Codec("zstd", compression_level=-100)
_INT32: Final = np.dtype("<i4")
_INTS: Final = ("row_n", "frames", "spot", "strikes_n")
_WORDS: Final = ("hub", "category", "ticker", "mode")  # places in `About.words`
_LONGS: Final = ("source_utc", "first_utc", "last_utc", "latency_ms", "sequence")


class About(msgspec.Struct, frozen=True, array_like=True):
    """What is the same for all rows of a body: their number and that of their strikes, bucket, names of columns.

    `words` are all hubs, categories, tickers and modes; `sizes` the bytes of the compressed pieces.
    """

    rows_n: int
    strikes_n: int
    session: date
    bucket_utc: Utc
    store_n: int
    words: tuple[str, ...]
    scalars: tuple[str, ...]
    values: tuple[str, ...]
    priors_n: int
    sizes: tuple[int, ...] = ()

    @property
    def lists(self) -> tuple[str, ...]:
        """The per-strike columns."""
        return _list_columns(self.values, self.priors_n)


class Columns(msgspec.Struct, frozen=True):
    """Rows of one bucket and shape, one below the other.

    `heads` is (rows,) records of integers, places in `about.words`, and scalars; `strikes` (n,), `values` and `priors`
    (n, columns) are the rows' own, one behind the other.
    """

    about: About
    heads: NDArray[Any]
    strikes: Ints
    values: Ints
    priors: Ints

    def offsets(self) -> NDArray[np.int32]:
        """Return where the strikes of each row begin, and where the last ones end."""
        offsets = np.zeros(self.about.rows_n + 1, np.int32)
        np.cumsum(self.heads["strikes_n"], out=offsets[1:])
        return offsets

    def scalar(self, name: str) -> Ints:
        """Return one scalar of all rows, in wire integers."""
        found: Ints = self.heads["scalars"][:, self.about.scalars.index(name)]
        return found


def list_columns(shape: Shape) -> tuple[str, ...]:
    """Return the per-strike columns of a shape: strikes, values, priors (`prior_0` is the most recent)."""
    return _list_columns(VALUE_COLUMNS[shape], PRIORS[shape])


def _list_columns(values: tuple[str, ...], priors_n: int) -> tuple[str, ...]:
    return ("strikes", *values, *(f"prior_{n}" for n in range(priors_n)))


@lru_cache(maxsize=64)
def _head_of(scalars_n: int) -> tuple[struct.Struct, np.dtype[Any]]:
    """Return how the head of a row with so many scalars is packed, and read."""
    ints = [(name, "<i4") for name in (*_INTS, *_WORDS)]
    kind = np.dtype([*ints, *((name, "<i8") for name in _LONGS), ("scalars", "<i4", (scalars_n,))])
    return struct.Struct(f"<{len(ints)}i{len(_LONGS)}q{scalars_n}i"), kind


def columns_of(shape: Shape, rows: Sequence[tuple[int, Row]], session: date, bucket_utc: Utc, store_n: int) -> Columns:
    """Return one stored bucket's rows of one shape as columns; each row comes with its number in the bucket.

    Raises:
        OverflowError, TypeError, ValueError: a row has what no column can hold.
    """
    values_n, priors_n = len(VALUE_COLUMNS[shape]), PRIORS[shape]
    head, kind = _head_of(len(SCALARS[shape]))
    words: dict[str, int] = {}
    place, heads = words.setdefault, bytearray()
    for row_n, row in rows:
        own = row.profile
        n = len(own.strikes)
        if (own.strikes.shape, own.values.shape, own.priors.shape) != ((n,), (n, values_n), (n, priors_n)):
            raise ValueError(f"the per-strike columns of {own.ticker} {own.category} do not fit together")
        try:
            heads += head.pack(
                row_n, row.frames, own.spot, n,
                place(row.hub, len(words)), place(own.category, len(words)), place(own.ticker, len(words)),
                place(row.mode, len(words)),
                own.source_utc, row.first_utc, row.last_utc, row.latency_ms, row.sequence, *own.scalars,
            )  # fmt: skip
        except struct.error as error:
            raise OverflowError(f"a scalar of {row.hub} does not fit its column: {error}") from error
    "".join(words).encode()  # one that is no text, or cannot be written, is refused here
    profiles = [row.profile for _, row in rows]
    strikes = _joined([own.strikes for own in profiles])
    about = About(
        len(profiles), len(strikes), session, bucket_utc, store_n, tuple(words), SCALARS[shape], VALUE_COLUMNS[shape],
        priors_n,
    )  # fmt: skip
    values, priors = _joined([own.values for own in profiles]), _joined([own.priors for own in profiles])
    return _shaped(about, np.frombuffer(heads, kind), strikes, values, priors)


def _joined(arrays: list[Any]) -> Ints:
    """Return the integers of arrays, one behind the other: numpy's way takes three times as long."""
    if not {array.dtype for array in arrays} <= {_INT32}:
        raise TypeError("a per-strike column is not of 32-bit integers")
    try:
        raw = b"".join(arrays)
    except TypeError:  # one is a view that does not lie in one piece
        raw = b"".join(array.tobytes() for array in arrays)
    return np.frombuffer(raw, _INT32)


def _shaped(about: About, heads: NDArray[Any], strikes: Ints, values: Ints, priors: Ints) -> Columns:
    n = about.strikes_n
    return Columns(about, heads, strikes, values.reshape(n, len(about.values)), priors.reshape(n, about.priors_n))


def to_bytes(columns: Columns) -> bytes:
    """Return columns as the log keeps them."""
    pieces = [
        _CODEC.compress(piece, asbytes=True)
        for piece in (columns.heads.view(np.uint8), columns.strikes, columns.values, columns.priors)
    ]
    about = msgspec.json.encode(msgspec.structs.replace(columns.about, sizes=tuple(map(len, pieces))))
    return b"".join((MAGIC, _LENGTH.pack(len(about)), about, *pieces))


def from_bytes(raw: bytes) -> Columns:
    """Return what `to_bytes` was given.

    Raises:
        ValueError, OSError, msgspec.MsgspecError, struct.error: it is none.
    """
    (about_n,) = _LENGTH.unpack_from(raw, len(MAGIC))
    at = len(MAGIC) + _LENGTH.size + about_n
    about = msgspec.json.decode(raw[at - about_n : at], type=About)
    kind = _head_of(len(about.scalars))[1]
    wide = _INT32.itemsize * about.strikes_n
    plain = []
    for size, bytes_n in zip(
        about.sizes, (kind.itemsize * about.rows_n, wide, wide * len(about.values), wide * about.priors_n), strict=True
    ):
        plain.append(_CODEC.decompress(raw[at : at + size], bytes_n))
        at += size
    heads, *blocks = plain
    strikes, values, priors = (np.frombuffer(block, _INT32) for block in blocks)
    return _shaped(about, np.frombuffer(heads, kind), strikes, values, priors)
