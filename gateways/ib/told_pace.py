"""When the news of one line may be told: at its pace, but a price that moved at once, as long as that stays rare."""

from __future__ import annotations

from typing import Final

MOVES_AT_ONCE: Final = 5  # so many in a row; a line that moves on and on falls back to its pace


class ToldPace:
    """The pace of one line: one telling a batch, and moves of its price on credit that comes back at that pace.

    What has not moved since it was told crosses no stop and waits for its batch. Instants are of one clock that never
    goes back, s; `batch_s` may change between two calls.
    """

    __slots__ = ("_paid_s", "told_s")

    def __init__(self) -> None:
        self.told_s = 0.0
        self._paid_s = 0.0  # when the moves told so far are paid for, each with a batch

    def due_s(self, batch_s: float, *, is_moved: bool) -> float:
        """Return from when on the news may be told; an instant that has passed means at once."""
        return self._paid_s - (MOVES_AT_ONCE - 1) * batch_s if is_moved else self.told_s + batch_s

    def tell(self, now_s: float, batch_s: float, *, is_moved: bool) -> None:
        """Note that the news was told now, be it along with that of others and before it was due."""
        self.told_s = now_s
        if is_moved:
            self._paid_s = min(max(self._paid_s, now_s) + batch_s, now_s + MOVES_AT_ONCE * batch_s)
