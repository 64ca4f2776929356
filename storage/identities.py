"""Identities that hold in the vendor's data: a row that breaks one is kept and counted.

Source: the identities of `gexbot.md` §3. Sums stand in 1/1000 and their terms in 1/100, each rounded on its own, so an
identity may be off by half a unit per term.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from domain.options.profile import Shape

_TOTALS = (
    ("agg_dex", "agg_call_dex", "agg_put_dex"),
    ("one_agg_dex", "one_agg_call_dex", "one_agg_put_dex"),
    ("net_dex", "net_call_dex", "net_put_dex"),
    ("one_net_dex", "one_net_call_dex", "one_net_put_dex"),
)


def violations_in(table: pa.Table, shape: Shape) -> Counter[str]:
    """Return how many rows of a table of one shape (`bucket_file.table_of`) break each identity, by its name."""
    broken: dict[str, NDArray[np.bool_]] = {}
    if shape is Shape.GEX:
        broken = {name: _sum_is_off(table, name) for name in ("gex_vol", "gex_oi")}
    if shape is Shape.ORDERFLOW:
        broken = {
            total: np.abs(_ints(table, total) - _ints(table, call) - _ints(table, put)) > 1
            for total, call, put in _TOTALS
        }
    return Counter({name: int(rows.sum()) for name, rows in broken.items() if rows.any()})


def _sum_is_off(table: pa.Table, name: str) -> NDArray[np.bool_]:
    lists = table[name].combine_chunks()
    offsets = lists.offsets.to_numpy()
    upto = np.concatenate([[0], np.cumsum(lists.values.to_numpy(), dtype=np.int64)])
    totals = 10 * (upto[offsets[1:]] - upto[offsets[:-1]])
    off: NDArray[np.bool_] = np.abs(totals - _ints(table, f"sum_{name}")) > 5 * (np.diff(offsets) + 1)
    return off


def _ints(table: pa.Table, name: str) -> NDArray[Any]:
    found: NDArray[Any] = table[name].to_numpy().astype(np.int64)
    return found
