"""What a decision sends out, as the trace knows it: each told message's bytes, and one digest of all effects."""

from __future__ import annotations

from hashlib import blake2b

from messages.envelope import encode
from supervision.effects import Effects, Tell


def outbox(effects: Effects) -> tuple[str, list[bytes]]:
    """Give the digest of an outbox (blake2b, 8 bytes, hexadecimal; empty for none) and each told message's encoding.

    A `Tell` counts with its role, not with the addresses that the role means, so that replay needs no routes.
    """
    if not effects:
        return "", []
    parts: list[bytes] = []
    raws: list[bytes] = []
    for effect in effects:
        if type(effect) is Tell:
            raw = encode(effect.message)
            parts.append(effect.to.encode())
            parts.append(raw)
            raws.append(raw)
        else:
            parts.append(encode(effect))
            raws.append(b"")
    return blake2b(b"\0".join(parts), digest_size=8).hexdigest(), raws
