"""What the actors ask of the outside world, as Protocols; main.py injects the implementations.

A store takes messages of the conversations as they are and returns facts: the store owns the transaction, the actor the
addresses. `domain` knows no messages, so the Protocols are generic in what is taken and what is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Protocol, TypeVar

import msgspec

from domain.options.profile import Profile
from domain.signals.evaluator import Reading
from domain.units import Ticks, Utc

Input = TypeVar("Input")
Input_contra = TypeVar("Input_contra", contravariant=True)
Fact_co = TypeVar("Fact_co", covariant=True)


class Clock(Protocol):
    """The market's clock; what it tells never decreases."""

    def now_utc(self) -> Utc:
        """Return the market instant."""


class Capability(StrEnum):
    """What a source of market data can do: deliver while the session runs, hand out days that are over, tell bars."""

    STREAM = "stream"
    HISTORY = "history"
    BARS = "bars"


class Feed(Protocol[Input_contra]):
    """A source of market data behind one hub: takes the hub's commands under its address and never blocks.

    What it hears becomes messages to `hub:<name>`, the first of market data a sealed bucket.
    """

    @property
    def name(self) -> str:
        """The address, `port:hub:<name>`."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the source can do."""

    def start(self) -> None:
        """Start the thread."""

    def post(self, command: Input_contra, /) -> None:
        """Take a command."""

    def close(self) -> None:
        """End the sessions and the thread."""


class History(Protocol):
    """A source that hands out days that are over."""

    def history(self, ticker: str, category: str, session: date) -> Iterator[Profile]:
        """Yield a session's profiles in the order of their instants, read as they come (a day is large).

        Raises:
            Exception: there is no such day, or it may not be had; one sentence with the remedy.
        """


class Outage(msgspec.Struct, frozen=True):
    """A ledger that cannot be written for now: messages wait, in order, and a copy in memory answers where it can.

    `why` is one sentence with the remedy; `is_lock`: another program writes, which passes by itself; `tries` counts the
    attempts to go on, `waiting_n` the messages that are not durable yet.
    """

    why: str
    is_lock: bool
    since_utc: Utc
    tries: int
    waiting_n: int


class SetAside(msgspec.Struct, frozen=True):
    """A message that no ledger can keep (a bug); of it nothing happened."""

    name: str
    why: str


class LedgerStore(Protocol[Input, Fact_co]):
    """A ledger: what `apply` returns happened durably (its COMMIT returned), or says that it is not durable yet.

    No fault of the disk or of a message is raised: the first is an `outage`, the second a message set aside.
    """

    @property
    def outage(self) -> Outage | None:
        """Why the ledger cannot be written now; `None` while it can."""

    def open(self) -> None:
        """Open the file and migrate it to this version.

        Raises:
            Exception: the file is unreadable, of a newer version or another desk's; one sentence with the remedy.
        """

    def apply(self, message: Input, now: Utc) -> tuple[Fact_co, ...]:
        """Carry out one message at the instant `now` in one transaction; return the facts to be told, in order."""

    def retry(self, now: Utc) -> tuple[tuple[Input, Fact_co], ...]:
        """Try to record what waits, in order; return what can be told now, each with the message that it answers."""

    def take_set_aside(self) -> tuple[SetAside, ...]:
        """Return the messages that were set aside since the last call."""

    def close(self) -> None:
        """Release the file."""


class WarehouseStore(Protocol[Input_contra, Fact_co]):
    """The writer of market data: buckets are taken in hand one by one and made durable together."""

    def open(self) -> None:
        """Take the writer's lock and put what lies there in order.

        Raises:
            Exception: another writer is at work or a manifest is of a newer version; one sentence with the remedy.
        """

    def take_findings(self) -> tuple[str, ...]:
        """Return what `open` found that people should know of, in sentences, once."""

    @property
    def in_hand(self) -> int:
        """Buckets taken but neither stored nor given up."""

    def take(self, message: Input_contra) -> None:
        """Take one bucket in hand."""

    def flush(self) -> tuple[Fact_co, ...]:
        """Make everything in hand durable; return one fact per bucket, what became of it."""

    def show(self) -> None:
        """Let other processes query what was stored; what fails is made up for at the next call."""

    def disk_fault(self) -> str | None:
        """Return in one sentence that the disk is nearly full; `None` while it is not."""

    def end_day(self, session: date) -> None:
        """Put what a day that is over lacks up to its close on record; once is enough."""

    def start_seal(self, session: date | None = None) -> bool:
        """Start a child process that seals hot files; return whether there is work.

        With `session`, everything of that day is sealed into one file per hub (the day is over); without it, a day
        before the newest that is not sealed whole yet, else the newest.
        """

    def tidy(self) -> None:
        """Take away what only readers of before a day was sealed whole may still look for."""

    def poll_seal(self) -> str | None:
        """Take over what the child sealed; `None` while it runs, `""` when done, else why it failed in one sentence."""

    def close(self) -> None:
        """Stop a running child and release the lock; what is in hand stays in hand."""


class SeriesStore(Protocol[Input_contra, Fact_co]):
    """The writer of readings, quotes and chains; no fault of the disk is raised."""

    def take_findings(self) -> tuple[str, ...]:
        """Return what is wrong with what lies there and what was done about it, in sentences."""

    @property
    def in_hand(self) -> int:
        """Lines taken but not written yet."""

    def take(self, message: Input_contra) -> None:
        """Take a message's lines in hand; beyond a bound the oldest are given up and counted."""

    def flush(self) -> str | None:
        """Write everything in hand; return in one sentence why that cannot be done now, `None` when it is done."""

    def restored(self, ticker: str, session: date, until_utc: Utc) -> Fact_co | None:
        """Return the window of a ticker's readings of a session up to an instant; `None` where there are none."""

    def readings(self, ticker: str, session: date, until_utc: Utc) -> tuple[Reading, ...]:
        """Return the same readings as evaluators see them, ascending."""

    def spots(self, ticker: str, session: date, until_utc: Utc) -> tuple[tuple[Utc, Ticks | None], ...]:
        """Return bucket and spot of all stored readings of a ticker in a session up to an instant, ascending."""

    def start_seal(self, until: date) -> bool:
        """Start a child process that seals a finished day up to `until`; return whether there is one."""

    def poll_seal(self) -> str | None:
        """Return `None` while the child runs, `""` when it is done, else why it failed in one sentence."""

    def close(self) -> None:
        """Stop a running child and write what is in hand."""


class ContextStore(Protocol[Fact_co]):
    """What stored minute bars say of a session, worked out beside the process."""

    def start(self, session: date, at_utc: Utc) -> bool:
        """Begin to work it out; one that is under way goes on. Return whether there will be something to poll."""

    def poll(self) -> Fact_co | str | None:
        """Return it once; `None` while it is not ready, a sentence where it failed."""

    def close(self) -> None:
        """Stop what is under way."""


class Screen(Protocol):
    """What people look at: takes facts for a screen and never blocks, fails or waits for anybody who looks."""

    def show(self, slot: str, at_utc: Utc, fact: msgspec.Struct, desk: str = "") -> None:
        """Show a fact of an instant; a newer one of the same slot and desk replaces it.

        `desk` is whose it is where there are several; empty: of none, or of the only one.
        """
