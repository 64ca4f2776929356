"""What a turn sends out, as the trace knows it: the bytes of each message, and one digest of all effects."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from messages.envelope import encode
from supervision.effects import Effect, Publish, Tell

_BETWEEN = b"\0"  # stands in no name and no JSON


def outbox(effects: Sequence[Effect]) -> tuple[bytes, list[bytes]]:
    """Return an outbox encoded, whole and effect by effect (of one that sends a message, that is its message alone).

    In the whole a told message counts with its role and an event with `*`, not with the addresses that these mean at
    the moment, so that replay needs neither routes nor subscribers.
    """
    if not effects:
        return b"", []
    parts: list[bytes] = []
    raws: list[bytes] = []
    for effect in effects:
        if type(effect) is Tell:
            raw = encode(effect.message)
            parts.append(effect.to.encode())
        elif type(effect) is Publish:
            raw = encode(effect.event)
            parts.append(b"*")
        else:
            raw = encode(effect)
        parts.append(raw)
        raws.append(raw)
    return _BETWEEN.join(parts), raws


def digest(whole: bytes) -> str:
    """Return the digest of an encoded outbox (blake2b, 8 bytes, hexadecimal; empty for an empty one)."""
    return blake2b(whole, digest_size=8).hexdigest() if whole else ""
