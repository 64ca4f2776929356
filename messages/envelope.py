"""The envelope and its encoding: one JSON line per message taken from a mailbox, one per handling."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from domain.options.profile import Rows
from domain.units import Utc
from messages import (
    broker,
    desks,
    entries,
    lifecycle,
    market,
    operator,
    orders,
    positions,
    risk,
    session,
    signals,
    structures,
)  # fmt: skip
from messages.base import SCHEMA, Message

CONVERSATIONS = (
    broker, desks, entries, lifecycle, market, operator, orders, positions, risk, session, signals, structures,
)  # fmt: skip


def _message_types() -> tuple[type[Message], ...]:
    found: dict[str, type[Message]] = {}
    for module in CONVERSATIONS:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Message) and value is not Message:
                tag = value.__struct_config__.tag
                if isinstance(tag, str) and not value.__name__.startswith("_"):
                    found[tag] = value
    return tuple(found[tag] for tag in sorted(found))


MESSAGE_TYPES = _message_types()
AnyMessage: Any = None
for _type in MESSAGE_TYPES:
    AnyMessage = _type if AnyMessage is None else AnyMessage | _type


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Rows):
        return value.to_reference()
    raise NotImplementedError(f"{type(value).__name__} cannot stand in a message")


def _decode_hook(wanted: type, value: Any) -> Any:
    if wanted is Rows:
        return Rows(value["ref"], (), value["hash"])
    raise NotImplementedError(f"{wanted.__name__} cannot stand in a message")


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_hook)
_DECODER = msgspec.json.Decoder(AnyMessage, dec_hook=_decode_hook)


def encode(message: msgspec.Struct) -> bytes:
    """Return a message (or an effect) as the trace writes it (JSON; rows as reference and hash)."""
    return _ENCODER.encode(message)


def decode(raw: bytes | msgspec.Raw) -> Message:
    """Return a message read back; rows come without their values.

    Raises:
        msgspec.DecodeError: not a message of this schema.
    """
    try:
        message: Message = _DECODER.decode(raw)
    except UnicodeDecodeError as error:  # a damaged byte inside a text
        raise msgspec.DecodeError(str(error)) from None
    return message


def tag_of(message: Message) -> str:
    """Return the name of a message's type in the trace (`orders.SubmitOrder`)."""
    return str(type(message).__struct_config__.tag)


class Envelope(msgspec.Struct, frozen=True, gc=False, tag="envelope", tag_field="kind"):
    """A message as taken from a mailbox. `seq` and `at_utc` are stamped together at dequeue; `cause_seq` < `seq`."""

    seq: int
    at_utc: Utc
    to: str
    incarnation: int
    inbox_n: int
    sender: str = msgspec.field(name="from")
    message_id: str
    cause_seq: int
    sent_utc: Utc
    message: msgspec.Raw
    schema: int = SCHEMA


class HandlingOutcome(StrEnum):
    """How a handling ended; of all but `OK` neither state nor effects happened.

    `CRASHED`: it comes again, or was a `Started`. `FENCED`: the incarnation was ended with the message in hand.
    """

    OK = "ok"
    CRASHED = "crashed"
    DEAD_LETTERED = "dead_lettered"
    FENCED = "fenced"


class Handled(msgspec.Struct, frozen=True, gc=False, tag="handled", tag_field="kind"):
    """What became of an envelope, and the digest of what its handling sent out."""

    seq: int
    outcome: HandlingOutcome
    outbox_n: int
    outbox_digest: str
