"""The anchored market's day of seed 7: for tests that aim at instants at which something is known to happen on it.

Its prices lead across the levels (docs/reference/simulated-market.md), and QQQ alone is looked at by the advisor, as
when the tests were aimed. A test that needs only *a* day takes the demo's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from config.layers import merged

SEED: Final = 7
_ANCHORED: Final[Mapping[str, Any]] = {
    "market": {"kind": "anchored"}, "demo": {"seed": SEED}, "lanes": {"gexwatch": ["SPX"], "advisor": ["QQQ"]}
}  # fmt: skip
# The same for the processes that a test starts.
ANCHORED_ENVIRONMENT: Final[Mapping[str, str]] = {
    "ZEROHOUR_MARKET__KIND": "anchored",
    "ZEROHOUR_DEMO__SEED": str(SEED),
    "ZEROHOUR_LANES__ADVISOR": '["QQQ"]',
    "ZEROHOUR_TICKERS": '["SPX", "QQQ"]',  # the prices of a ticker are the same whichever others there are
}


def anchored(overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return settings to lay over those of profile demo: the anchored day, with what a test changes above it."""
    return merged(_ANCHORED, overrides or {})
