"""Replay: drives every pure actor with its recorded inbox and compares its outbox with what the trace says it was.

Ports, edges and actors that do I/O are not driven: what they said stands in the trace as the inbox of the others.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from messages.base import Message
from messages.envelope import Envelope, Handled, HandlingOutcome, decode
from supervision.actor import Actor
from supervision.effects import Effect
from supervision.outbox import digest, outbox
from supervision.post import sentence
from supervision.trace import Header, Record, TraceError
from supervision.turn import Turn

_PROGRESS_EVERY = 10_000


class UnresolvedError(Exception):
    """What a message refers to is no longer there (a killed process had not stored it yet)."""


class Divergence(msgspec.Struct, frozen=True):
    """The first message whose handling came out otherwise than recorded.

    `recorded` are the envelopes that the recorded handling led to (timers and starts leave none); `computed` is what
    the replayed one sent out, `None` where it raised. `causes` leads from this envelope's cause up to the first one.
    """

    why: str
    envelope: Envelope
    handled: Handled
    recorded: tuple[Envelope, ...]
    computed: tuple[Effect, ...] | None
    causes: tuple[Envelope, ...]


class ReplayReport(msgspec.Struct, frozen=True):
    """What a replay came to.

    Of `envelopes` records, `compared` were handled again; the others went to ports, edges and I/O actors (`skipped`),
    belonged to an incarnation that was fenced (`fenced`), or were in hand when the recording ended (`in_hand`).
    """

    envelopes: int
    compared: int
    skipped: int
    fenced: int
    in_hand: tuple[Envelope, ...]
    torn: bool
    divergence: Divergence | None


class _Driven:
    """One incarnation of an actor under replay."""

    def __init__(self, incarnation: int, actor: Actor[Any, Any] | None) -> None:
        self.incarnation = incarnation
        self.actor = actor
        self.state: Any = None if actor is None else actor.initial()


class _Replay:
    def __init__(
        self, make_actor: Callable[[str], Actor[Any, Any] | None], resolve: Callable[[Message], Message],
        is_mine: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._make_actor = make_actor
        self._is_mine = is_mine
        self._resolve = resolve
        self._driven: dict[str, _Driven] = {}
        self.open: dict[int, Envelope] = {}
        self.causes = array("q", (0,))  # by seq
        self.envelopes = self.compared = self.skipped = self.fenced = 0

    def receive(self, envelope: Envelope) -> None:
        if envelope.seq != len(self.causes):
            raise TraceError(f"The trace lacks the records before seq {envelope.seq}; a part of it was cut out.")
        self.causes.append(envelope.cause_seq)
        self.envelopes += 1
        if not self._is_mine(envelope.to):
            return
        if envelope.incarnation == 0 or self._driven_for(envelope).actor is None:
            self.skipped += 1
        else:
            self.open[envelope.seq] = envelope

    def _driven_for(self, envelope: Envelope) -> _Driven:
        driven = self._driven.get(envelope.to)
        if driven is None or driven.incarnation != envelope.incarnation:
            driven = self._driven[envelope.to] = _Driven(envelope.incarnation, self._make_actor(envelope.to))
        return driven

    def compare(self, handled: Handled) -> tuple[str, Envelope, tuple[Effect, ...] | None] | None:
        """Handle an envelope again; return how it came out otherwise, `None` where it did not."""
        envelope = self.open.pop(handled.seq, None)
        if envelope is None:
            return None
        if handled.outcome is HandlingOutcome.FENCED:
            self.fenced += 1
            return None
        driven = self._driven[envelope.to]
        actor = driven.actor
        if actor is None:
            self.skipped += 1
            return None
        try:
            message = self._resolve(_decoded(envelope))
        except UnresolvedError:
            # From here on nobody can know what this incarnation knew.
            self.skipped += 1
            driven.actor = driven.state = None
            return None
        self.compared += 1
        try:
            turn: Turn[Any] = Turn(envelope.to, driven.state.__copy__(), envelope.at_utc)
            actor.decide(turn, message)
            sent = digest(outbox(turn.effects)[0])
        except (Exception, SystemExit) as error:
            if handled.outcome is HandlingOutcome.OK:
                return f"it was handled then and raises now ({sentence(error)})", envelope, None
            return None
        effects = tuple(turn.effects)
        if handled.outcome is not HandlingOutcome.OK:
            return "it raised then and is handled now", envelope, effects
        if (len(effects), sent) != (handled.outbox_n, handled.outbox_digest):
            return "its outbox is not the recorded one", envelope, effects
        driven.state = turn.state
        return None


class Recording(Protocol):
    """A recorded run: its records, as often as they are asked for."""

    @property
    def torn(self) -> bool:
        """Whether, after reading, an unfinished last line was cut."""

    def __iter__(self) -> Iterator[Record]:
        """Return the records in order."""


def replay(
    reader: Recording,
    make_actor: Callable[[str], Actor[Any, Any] | None],
    resolve: Callable[[Message], Message] = lambda message: message,
    progress: Callable[[int], None] = lambda envelopes: None,
    is_mine: Callable[[str], bool] = lambda address: True,
) -> ReplayReport:
    """Replay a trace up to its end or its first divergence.

    Actors do not meet in a replay, so several processes can share it: each drives those that `is_mine` names, and
    counts no others (but every envelope).

    Args:
        reader: the recorded run.
        make_actor: makes the actor of an address; `None` for what is not to be driven.
        resolve: fills in what a trace keeps as reference only (the values of `Rows`); it raises `UnresolvedError` where
            they are gone, and the actor is not driven any further.
        progress: is told the count of envelopes read, now and then.
        is_mine: whether an address is this process's part.

    Raises:
        TraceError: not a trace of this schema, or a part is missing.
    """
    run = _Replay(make_actor, resolve, is_mine)
    found: Divergence | None = None
    for record in reader:
        if isinstance(record, Header):
            continue
        if isinstance(record, Envelope):
            run.receive(record)
            if run.envelopes % _PROGRESS_EVERY == 0:
                progress(run.envelopes)
            continue
        difference = run.compare(record)
        if difference is not None:
            found = _explained(reader, run.causes, record, *difference)
            break
    progress(run.envelopes)
    in_hand = () if found is not None else tuple(run.open.values())
    return ReplayReport(run.envelopes, run.compared, run.skipped, run.fenced, in_hand, reader.torn, found)


def _explained(
    reader: Recording,
    causes: array[int],
    handled: Handled,
    why: str,
    envelope: Envelope,
    computed: tuple[Effect, ...] | None,
) -> Divergence:
    """Read the trace once more for the envelopes that say where this one came from and what it led to."""
    chain: list[int] = []
    seq = envelope.cause_seq
    while seq:
        chain.append(seq)
        seq = causes[seq]
    wanted = set(chain)
    run_n = envelope.message_id.partition("/")[0]
    prefix = f"{run_n}/{envelope.to}/{envelope.incarnation}/{envelope.inbox_n}/"
    by_seq: dict[int, Envelope] = {}
    recorded: list[Envelope] = []
    for record in reader:
        if isinstance(record, Envelope):
            if record.seq in wanted:
                by_seq[record.seq] = record
            if record.message_id.startswith(prefix):
                recorded.append(record)
    return Divergence(why, envelope, handled, tuple(recorded), computed, tuple(by_seq[seq] for seq in chain))


def joined(parts: Sequence[ReplayReport]) -> ReplayReport:
    """Return the report of a replay that several processes shared; of several divergences the first in the trace."""
    found = [part.divergence for part in parts if part.divergence is not None]
    first = min(found, key=lambda divergence: divergence.envelope.seq, default=None)
    return ReplayReport(
        max(part.envelopes for part in parts),
        sum(part.compared for part in parts),
        sum(part.skipped for part in parts),
        sum(part.fenced for part in parts),
        tuple(envelope for part in parts for envelope in part.in_hand) if first is None else (),
        parts[0].torn,
        first,
    )


def _decoded(envelope: Envelope) -> Message:
    try:
        return decode(envelope.message)
    except msgspec.DecodeError as error:
        raise TraceError(
            f"The message of seq {envelope.seq} is not of this version ({error}); "
            "replay it with the code version that its header names."
        ) from None
