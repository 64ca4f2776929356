"""How brokers write account numbers, for whatever must not show one."""

from __future__ import annotations

from typing import Final

# What may stand before a number: a text may be JSON, in which a line end before it is written with a letter.
BEFORE: Final = r"(\b|_|\\[bfnrt]|\\u[0-9A-Fa-f]{4})"
# Letters and last two digits as groups, which stay. Interactive Brokers: paper DU and DF, live U and F, newer ones with
# one more letter (DUM, DUN); Tastytrade: a digit and two letters (5WT).
NUMBER: Final = r"(D?[UF][A-Z]?|\d[A-Z]{2})\d{3,7}(\d{2})"
