"""What goes wrong at the simulated provider, as switches that a test or a script turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ProviderFaults:
    """Switches of a running server.

    `refuses_keys`: no key is accepted by the streams; `is_full`: another connection uses the key; `is_mute`: it never
    answers a key; `is_silent`: streams say nothing; `repeats`, `reverses`: every message comes with each event twice,
    in the wrong order. `statuses`: answers (status, Retry-After in s) to the next REST requests; `foreign_page`: where
    the next page of a chain is said to be; `has_no_prices`: chains come without the price of their underlying.
    """

    refuses_keys: bool = False
    is_full: bool = False
    is_mute: bool = False
    is_silent: bool = False
    repeats: bool = False
    reverses: bool = False
    statuses: list[tuple[int, int]] = field(default_factory=list)
    foreign_page: str | None = None
    has_no_prices: bool = False

    def spoiled(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return events as they are sent."""
        told = [event for event in events for _ in range(2 if self.repeats else 1)]
        return told[::-1] if self.reverses else told
