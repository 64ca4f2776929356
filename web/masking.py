"""What no page, answer or log of the dashboard may hold: account numbers."""

from __future__ import annotations

import re

from domain.accounts import BEFORE, NUMBER

_ACCOUNT = re.compile(rf"{BEFORE}{NUMBER}(?=\b|_)".encode())


def masked(raw: bytes) -> bytes:
    """Return the text with every account number reduced to its letters and its last two digits."""
    return _ACCOUNT.sub(rb"\1\2***\3", raw)


def masked_text(text: str | None) -> str | None:
    """Return a text likewise; `None` stays."""
    return None if text is None else masked(text.encode()).decode()
