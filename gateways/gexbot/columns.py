"""The per-strike part of a payload, decoded as columns: touching each nested message from Python costs twice as much.

Every byte of an element is part of a varint (tags, lengths and values alike), so all are found in one pass; then a
cursor per element walks the fields in their canonical order, absent zeros included. Elements in any other legal
order or shape are not this module's: `None`, and the caller parses them one by one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.options.profile import Ints

_VARINT_BYTES_MAX: Final = 5  # of 32-bit fields
_PADDING: Final = 4  # zeros are no tag: a cursor that ran into them stays, and is seen to be beyond its element


class Layout(NamedTuple):
    """Fields of an element: one-byte tags of the scalars (the first `unsigned_n` are uint32, the others sint32)
    and of the packed priors, which `is_nested` puts into a message of their own (as its field 1)."""

    tags: tuple[int, ...]
    unsigned_n: int
    priors_tag: int
    priors_n: int
    is_nested: bool


STRIKE: Final = Layout((0x08, 0x10, 0x18), 1, 0x22, 5, is_nested=True)
MINI_CONTRACT: Final = Layout((0x08, 0x10, 0x18, 0x20), 3, 0x2A, 3, is_nested=False)
_NESTED_TAG: Final = 0x0A


def table_of(elements: list[bytes], layout: Layout) -> Ints | None:
    """Return one row an element: its scalars, then its priors; `None` when the elements are not in canonical shape.

    Raises:
        ValueError: an unsigned value is beyond 31 bits.
    """
    columns_n = len(layout.tags)
    width = columns_n + layout.priors_n
    if not elements:
        return np.empty((0, width), dtype=np.int32)
    lengths = np.fromiter(map(len, elements), np.int64, len(elements))
    found = _varints(b"".join(elements))
    if found is None or not lengths.all():
        return None
    values, ends = found
    last_bytes = np.cumsum(lengths) - 1
    lasts = np.searchsorted(ends, last_bytes)
    if lasts[-1] >= ends.size or (ends[lasts] != last_bytes).any():
        return None
    cursor = np.empty_like(lasts)
    cursor[0] = 0
    cursor[1:] = lasts[:-1] + 1
    table = np.empty((len(elements), width), dtype=np.uint32)
    for column, tag in enumerate(layout.tags):
        is_there = values[cursor] == tag
        table[:, column] = np.where(is_there, values[cursor + 1], 0)
        cursor += 2 * is_there
    head_n = 4 if layout.is_nested else 2
    if not _are_priors(layout, values, ends, cursor, lasts, head_n):
        return None
    at = cursor[:, None] + np.arange(head_n, head_n + layout.priors_n)
    table[:, columns_n:] = values[at]
    if (table[:, : layout.unsigned_n] >> 31).any():
        raise ValueError("a price is beyond 31 bits")
    signed = table[:, layout.unsigned_n :]
    table[:, layout.unsigned_n :] = (signed >> 1) ^ -(signed & 1)  # zig-zag
    return table.view(np.int32)


def _varints(data: bytes) -> tuple[NDArray[np.uint32], NDArray[np.int64]] | None:
    """Decode all varints, cut to 32 bits as protobuf does; return them (padded) and where each ends."""
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if not ends.size:
        return None
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    more_n = ends - starts
    if more_n.max() >= _VARINT_BYTES_MAX:
        return None
    low = (raw & 0x7F).astype(np.uint32)
    goes_on = (raw >= 0x80).view(np.uint8)[:-1]
    whole = low.copy()
    for _ in range(int(more_n.max())):  # each byte takes in what follows it, one byte further a round
        whole[:-1] = low[:-1] | ((whole[1:] << np.uint32(7)) * goes_on)
    values = np.zeros(ends.size + _PADDING, dtype=np.uint32)
    values[: ends.size] = whole[starts]
    return values, ends


def _are_priors(
    layout: Layout,
    values: NDArray[np.uint32],
    ends: NDArray[np.int64],
    cursor: NDArray[np.int64],
    lasts: NDArray[np.int64],
    head_n: int,
) -> bool:
    """Return whether the priors, and nothing else, fill each element from its cursor to its end."""
    if (lasts - cursor != head_n + layout.priors_n - 1).any():
        return False
    if (values[cursor] != layout.priors_tag).any():
        return False
    if layout.is_nested:
        if (values[cursor + 2] != _NESTED_TAG).any():
            return False
        if (values[cursor + 1] != ends[lasts] - ends[cursor + 1]).any():
            return False
    inner = cursor + head_n - 1
    return bool((values[inner] == ends[lasts] - ends[inner]).all())
