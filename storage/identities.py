"""Identities that hold in the vendor's data: a row that breaks one is kept and counted.

Source: the identities of `gexbot.md` §3. Sums stand in 1/1000 and their terms in 1/100, each rounded on its own, so an
identity may be off by half a unit per term.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from domain.options.profile import Shape
from storage.bucket_columns import Columns

_TOTALS = (
    ("agg_dex", "agg_call_dex", "agg_put_dex"),
    ("one_agg_dex", "one_agg_call_dex", "one_agg_put_dex"),
    ("net_dex", "net_call_dex", "net_put_dex"),
    ("one_net_dex", "one_net_call_dex", "one_net_put_dex"),
)


_SUMMED = ("gex_vol", "gex_oi")  # their scalar is `sum_` and the name


def violations_in(columns: Columns, shape: Shape) -> Counter[str]:
    """Return how many rows of one shape break each identity, by its name."""
    broken: dict[str, NDArray[np.bool_]] = {}
    if shape is Shape.GEX:
        broken = _sums_that_are_off(columns)
    if shape is Shape.ORDERFLOW:
        broken = {
            total: np.abs(_wide(columns, total) - _wide(columns, call) - _wide(columns, put)) > 1
            for total, call, put in _TOTALS
        }
    return Counter({name: int(rows.sum()) for name, rows in broken.items() if rows.any()})


def _sums_that_are_off(columns: Columns) -> dict[str, NDArray[np.bool_]]:
    names, strikes_n = columns.about.values, columns.heads["strikes_n"]
    totals = np.zeros((columns.about.rows_n, len(names)), np.int64)
    has_strikes = strikes_n > 0
    if has_strikes.any():
        begins = columns.offsets()[:-1][has_strikes]
        totals[has_strikes] = 10 * np.add.reduceat(columns.values, begins, axis=0, dtype=np.int64)
    rounding = 5 * (strikes_n + 1)
    return {
        name: np.abs(totals[:, k] - _wide(columns, f"sum_{name}")) > rounding
        for k, name in enumerate(names) if name in _SUMMED
    }  # fmt: skip


def _wide(columns: Columns, name: str) -> NDArray[np.int64]:
    return columns.scalar(name).astype(np.int64)
