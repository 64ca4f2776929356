"""What a backtest takes for granted about fills; every report says it."""

from __future__ import annotations

from typing import Final

import msgspec

STALE_MS: Final = 10_000  # two samples of the recorded quotes (`warehouse.quotes_every_ms`)


class FillModel(msgspec.Struct, frozen=True, kw_only=True):
    """How orders fill.

    `latency_ms` from the port to the book; `stale_ms` for which a quote stands after its last tick; `crossing` is the
    share of half the spread that each leg pays from the mid on: 1 is the touch; with more, every quote counts as that
    much wider.

    Raises:
        ValueError: a share under 1 (better than the touch), or a negative duration.
    """

    latency_ms: int = 100
    stale_ms: int = STALE_MS
    crossing: float = 1.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.crossing <= 10.0:
            raise ValueError(f"{self.crossing:g} of half the spread is better than the touch or absurd; give 1 to 10")
        if self.latency_ms < 0 or self.stale_ms <= 0:
            raise ValueError("a latency is 0 ms or more, and a quote stands for more than 0 ms")

    def assumptions(self) -> tuple[str, ...]:
        """Return what is taken for granted, in sentences."""
        beyond = (
            "never better than the touch: a purchase pays the ask, a sale gets the bid"
            if self.crossing == 1.0
            else f"{self.crossing:g} times half the spread from the mid on each leg, so worse than the touch; a limit"
            " that does not reach so far waits until the market has moved"
        )
        return (
            f"Fills: {beyond}.",
            "A resting limit order fills at its limit, and only when the market trades through it or crosses it.",
            "No more fills than the quote shows; a size that is not known fills nothing.",
            f"A quote stands for {self.stale_ms / 1000:g} s after its last tick; without one nothing fills. Nor does"
            " anything fill on a quote without a bid, or whose bid is not below its ask.",
            "A combination fills all its legs at once, each as an order of its own would.",
            f"An order reaches the book {self.latency_ms} ms after it was sent, and is matched at whole seconds.",
            "Orders move no market, and nobody stands before them in the queue.",
            "What expires is settled in cash at one price per root and expiry: the underlying's last one recorded at or"
            " before the close.",
            "Fees are those of the fee tables; nothing is known of halts that were not recorded.",
        )
