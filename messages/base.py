"""The base of every message: frozen, keyword-only, tagged `<conversation>.<Name>` in the trace."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What one actor says to another; every field is immutable all the way down."""
