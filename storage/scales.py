"""The scales of the wire's integers (`gexbot.md` §3 of the reference): hundredths, and a few thousandths."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from domain.options.profile import CLIPPED, SCALARS, THOUSANDTHS

PRICES = frozenset(
    name for names in SCALARS.values() for name in names if name.startswith(("major_", "max_strike_", "zero_", "one_m"))
) | {"spot", "z_mlgamma", "z_msgamma", "o_mlgamma", "o_msgamma"}


def sql_in_units(value: str, name: str) -> str:
    """Return SQL that turns an integer of a column (`value`, an expression) into units; a clipped one is `NULL`."""
    if name not in THOUSANDTHS:
        return f"{value} / 100.0"
    return f"nullif(nullif({value}, {CLIPPED}), -{CLIPPED}) / 1000.0"


def in_units(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a column's integers in units; a price of 0 is none, and neither is a clipped value."""
    if name in PRICES:
        column = pc.if_else(pc.equal(column, 0), pa.scalar(None, column.type), column)
    if name in THOUSANDTHS:
        is_clipped = pc.is_in(column, pa.array([-CLIPPED, CLIPPED], column.type))
        column = pc.if_else(is_clipped, pa.scalar(None, column.type), column)
    return pc.divide(pc.cast(column, pa.float64()), 1000.0 if name in THOUSANDTHS else 100.0)
