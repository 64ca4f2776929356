"""How the supervisor and the dashboard's process talk: JSON lines over a socket pair that both inherit or hold.

The supervisor writes `Hello` first, then facts (and a `Fact` again when a newer one replaces it), and `Bye` where it
ends as it should. The process writes a `Beat` every second. Whoever reads the end of the file knows that the other is
gone, also after `kill -9`.
"""

from __future__ import annotations

import msgspec

from domain.units import Utc
from messages.base import Message
from messages.envelope import decode, encode

BEAT_EVERY_S = 1.0
LINE_MAX = 4_000_000


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """What the process must know first: the whole settings, this run's token, where ledgers and market data lie.

    `account` is masked; `accounts` are those of the desks beside, by desk, likewise.
    """

    settings: msgspec.Raw
    data_dir: str
    token: str
    run_n: int
    account: str | None = None
    accounts: dict[str, str | None] = {}


class Fact(msgspec.Struct, frozen=True, tag="fact", omit_defaults=True):
    """A fact of an instant; `message` as the trace writes it, `desk` as in `domain.ports.Screen`."""

    slot: str
    at_utc: Utc
    message: msgspec.Raw
    desk: str = ""


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """The supervisor ends; `why` is its trouble, `None` where it has none."""

    why: str | None = None


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The process lives; `clients` follow it now."""

    clients: int


_LINE = msgspec.json.Decoder(Hello | Fact | Bye)
_BEAT = msgspec.json.Decoder(Beat)
_ENCODER = msgspec.json.Encoder()


def line_of(said: Hello | Fact | Bye | Beat) -> bytes:
    """Return what is said as a line."""
    return _ENCODER.encode(said) + b"\n"


def fact_line(slot: str, at_utc: Utc, message: msgspec.Struct, desk: str = "") -> bytes:
    """Return a fact as a line."""
    return line_of(Fact(slot, at_utc, msgspec.Raw(encode(message)), desk))


def heard(line: bytes) -> Hello | Fact | Bye:
    """Return what the supervisor said.

    Raises:
        msgspec.DecodeError: nothing of this version.
    """
    said: Hello | Fact | Bye = _LINE.decode(line)
    return said


def message_of(fact: Fact) -> Message:
    """Return the message of a fact.

    Raises:
        msgspec.DecodeError: no message of this version.
    """
    return decode(fact.message)


def beat_of(line: bytes) -> Beat:
    """Return what the process said.

    Raises:
        msgspec.DecodeError: no beat.
    """
    return _BEAT.decode(line)
