"""What the actors ask of the outside world, as Protocols; main.py injects the implementations.

A store takes the messages of the conversations as they are and gives facts back: the store owns the transaction, the
actor the addresses. Messages are `Any` here because `domain` knows no messages; the implementations name their types.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Protocol


class Clock(Protocol):
    """The market's clock: real time, or a demo's time at `rate` market seconds per real second."""

    @property
    def rate(self) -> float:
        """Market seconds per real second."""

    def now_utc(self) -> int:
        """Give the market instant, UTC ns."""


class LedgerStore(Protocol):
    """A ledger: what `apply` returns happened durably (its COMMIT returned)."""

    def open(self) -> None:
        """Open the file and migrate it to this version.

        Raises:
            Exception: the file is unreadable, of a newer version or another desk's; one sentence with the remedy.
        """

    def apply(self, message: Any, now: int) -> tuple[Any, ...]:
        """Carry out one message at the instant `now` (UTC ns) in one transaction and give the facts to be told.

        Raises:
            TypeError: no message for this ledger.
        """

    def close(self) -> None:
        """Release the file."""


class WarehouseStore(Protocol):
    """The writer of market data: buckets are taken in hand one by one and made durable together."""

    def open(self) -> None:
        """Take the writer's lock and delete what no manifest names.

        Raises:
            Exception: another writer is at work or a manifest is unreadable; one sentence with the remedy.
        """

    @property
    def in_hand(self) -> int:
        """Buckets taken but neither stored nor given up."""

    def take(self, message: Any) -> None:
        """Take one `market.StoreBucket` in hand."""

    def flush(self) -> tuple[Any, ...]:
        """Make everything in hand durable; one `market.BucketStored` or `market.BucketNotStored` per bucket."""

    def disk_fault(self) -> str | None:
        """Say in one sentence that the disk is nearly full; `None` while it is not."""

    def start_seal(self, session: date | None = None) -> bool:
        """Start a child process that seals the hot files of the newest session; False where there is nothing to do.

        With `session`, everything of that day is sealed into one file per hub (the day is over).
        """

    def poll_seal(self) -> str | None:
        """Take over what the child sealed; `None` while it runs, `""` when done, else why it failed in one sentence."""

    def close(self) -> None:
        """Stop a running child and release the lock; what is in hand stays in hand."""
