"""What no page, answer or log of the dashboard may hold: account numbers."""

from __future__ import annotations

import re

# Interactive Brokers: paper DU and DF, live U and F, then digits. The text may be JSON, in which a line end before the
# number is written with a letter.
_ACCOUNT = re.compile(rb"(\b|_|\\[bfnrt]|\\u[0-9A-Fa-f]{4})(DU|DF|U|F)\d{3,7}(\d{2})(?=\b|_)")


def masked(raw: bytes) -> bytes:
    """Return the text with every account number reduced to its letters and its last two digits."""
    return _ACCOUNT.sub(rb"\1\2***\3", raw)


def masked_text(text: str | None) -> str | None:
    """Return a text likewise; `None` stays."""
    return None if text is None else masked(text.encode()).decode()
