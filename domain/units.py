"""Units as types: what is an instant, a price, money or a quantity, so that a type checker sees two of them swapped.

At run time each of them is `int` itself and costs nothing. To the type checker (`units.pyi`) they are kinds of `int`
that keep their unit under `+`, `-` and `//`; a product has another unit, so whoever knows it says which
(`Cents(qty * ticks * multiplier)`). Durations are plain integers whose name ends in their unit (`_ns`, `_ms`).
"""

from __future__ import annotations

Utc = int
Ticks = int
Cents = int
Qty = int
