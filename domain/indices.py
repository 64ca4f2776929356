"""Which underlyings are indices, said once: they have no shares, and their options are settled in cash."""

from __future__ import annotations

from typing import Final

INDICES: Final = frozenset({"SPX", "NDX", "RUT", "VIX"})

# Option classes under Cboe's rules for SPX: their price increments and their customer fee.
SPX_CLASSES: Final = frozenset({"SPX", "SPXW"})
