"""What the actors ask of the outside world, as Protocols; main.py injects the implementations.

A store takes messages of the conversations as they are and returns facts: the store owns the transaction, the actor the
addresses. `domain` knows no messages, so the Protocols are generic in what is taken and what is answered.
"""

from __future__ import annotations

from datetime import date
from typing import Protocol, TypeVar

from domain.units import Utc

Input_contra = TypeVar("Input_contra", contravariant=True)
Fact_co = TypeVar("Fact_co", covariant=True)


class Clock(Protocol):
    """The market's clock: real time, or a demo's time at `rate` market seconds per real second."""

    @property
    def rate(self) -> float:
        """Market seconds per real second."""

    def now_utc(self) -> Utc:
        """Return the market instant."""


class LedgerStore(Protocol[Input_contra, Fact_co]):
    """A ledger: what `apply` returns happened durably (its COMMIT returned)."""

    def open(self) -> None:
        """Open the file and migrate it to this version.

        Raises:
            Exception: the file is unreadable, of a newer version or another desk's; one sentence with the remedy.
        """

    def apply(self, message: Input_contra, now: Utc) -> tuple[Fact_co, ...]:
        """Carry out one message at the instant `now` in one transaction; return the facts to be told, in order."""

    def close(self) -> None:
        """Release the file."""


class WarehouseStore(Protocol[Input_contra, Fact_co]):
    """The writer of market data: buckets are taken in hand one by one and made durable together."""

    def open(self) -> None:
        """Take the writer's lock and delete what no manifest names.

        Raises:
            Exception: another writer is at work or a manifest is unreadable; one sentence with the remedy.
        """

    @property
    def in_hand(self) -> int:
        """Buckets taken but neither stored nor given up."""

    def take(self, message: Input_contra) -> None:
        """Take one bucket in hand."""

    def flush(self) -> tuple[Fact_co, ...]:
        """Make everything in hand durable; return one fact per bucket, what became of it."""

    def disk_fault(self) -> str | None:
        """Return in one sentence that the disk is nearly full; `None` while it is not."""

    def start_seal(self, session: date | None = None) -> bool:
        """Start a child process that seals the hot files of the newest session; return whether there is work.

        With `session`, everything of that day is sealed into one file per hub (the day is over).
        """

    def poll_seal(self) -> str | None:
        """Take over what the child sealed; `None` while it runs, `""` when done, else why it failed in one sentence."""

    def close(self) -> None:
        """Stop a running child and release the lock; what is in hand stays in hand."""
