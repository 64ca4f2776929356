"""Which underlyings are indices, said once: they have no shares, and their options are settled in cash."""

from __future__ import annotations

from typing import Final

VOLATILITY_TERMS: Final = ("VIX1D", "VIX9D", "VIX3M", "VIX6M")  # VIX itself is that of 30 days
INDICES: Final = frozenset({"SPX", "NDX", "RUT", "VIX", *VOLATILITY_TERMS})

# Option classes under Cboe's rules for SPX: their price increments and their customer fee.
SPX_CLASSES: Final = frozenset({"SPX", "SPXW"})
