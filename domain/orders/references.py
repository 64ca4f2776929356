"""The grammar of order references, in one place: `ZH-<desk>-<12 base32 characters of sha256(intent)>-<e|eN|xN>`.

A reference is a function of the intent, so a repeated decision gives the same one; at most 32 ASCII characters. `eN`
is the n-th slice of an entry, from 2 (its first is `e`). Where the number of an exit has more digits than there is room
for behind a long desk name, the numbers go on in base 62 with a letter in front: 99, a0, a1 and so on.
"""

from __future__ import annotations

import base64
import hashlib
import re
import string
from functools import lru_cache

import msgspec

ORDER_REF_MAX = 32  # what the broker keeps of a reference without cutting it
PREFIX = "ZH-"
DIRECT = "direct"  # stands for the desk in the references of the flatten that needs no actor
_BROKERS = "broker:"  # and the broker's own id of the order
_OUTSIDE = (_BROKERS, f"{PREFIX}{DIRECT}-")
_ORDER_REF = re.compile(r"ZH-(?P<desk>[^-]+)-(?P<digest>[A-Z2-7]{12})-(?:e\d*|x(?P<exit_n>\d+|[A-Za-z][0-9A-Za-z]*))")
_DIGITS = string.digits + string.ascii_letters
_LETTERS_FROM = len(string.digits)


class OrderName(msgspec.Struct, frozen=True):
    """What an order reference says; `exit_n` is `None` for an entry, counted from 1 for exits."""

    desk: str
    digest: str
    exit_n: int | None


def is_ours(order_ref: str) -> bool:
    """Return whether an order bears a reference of ours (of any desk)."""
    return order_ref.startswith(PREFIX)


def is_brokers_close(order_ref: str) -> bool:
    """Return whether a reference is the ledger's name for an order of somebody else that closed what we held."""
    return order_ref.startswith(_BROKERS)


def is_direct(order_ref: str) -> bool:
    """Return whether a reference is that of a direct flatten: ours, whatever position it closed."""
    return is_of_desk(order_ref, DIRECT)


def is_from_outside(order_ref: str) -> bool:
    """Return whether an order closed a position without being its own: somebody else's, or our direct flatten's."""
    return order_ref.startswith(_OUTSIDE)


def is_of_desk(order_ref: str, desk: str) -> bool:
    """Return whether an order bears a reference of this desk."""
    return order_ref.startswith(f"{PREFIX}{desk}-")


def is_exit_ref(order_ref: str) -> bool:
    """Return whether a reference of ours names an exit (`...-xN`)."""
    return order_ref.rpartition("-")[2].startswith("x")


def intent_id(alert_id: str, strategy: str, leg: int = 0) -> str:
    """Return the name of what a strategy wants to do about an alert; `leg` counts the legs of a structure from 0."""
    return f"{alert_id}/{strategy}/{leg}"


@lru_cache(maxsize=256)
def position_id(desk: str, intent: str) -> str:
    """Return the stem of all order references of the position that an intent opens.

    Raises:
        ValueError: the desk's name makes a reference too long or unreadable.
    """
    first = hashlib.sha256(intent.encode()).digest()[:10]  # sixteen letters; each further byte costs as much again
    digest = base64.b32encode(first).decode("ascii")[:12]
    stem = f"{PREFIX}{desk}-{digest}"
    if "-" in desk or not stem.isascii() or len(stem) + len("-x99") > ORDER_REF_MAX:
        raise ValueError(f"{stem!r} is no order reference: at most {ORDER_REF_MAX} ASCII characters, no hyphen in desk")
    return stem


def structure_key(order_ref: str) -> str:
    """Return what a structure's address ends in: the digest in the references of its cover's orders."""
    return position_of(order_ref).rpartition("-")[2]


def entry_ref(position: str) -> str:
    """Return the reference of a position's entry order."""
    return f"{position}-e"


def slice_ref(position: str, n: int) -> str:
    """Return the reference of the n-th order (from 1) of an entry in slices; the first is the entry's own.

    Raises:
        ValueError: `n` < 1, or the reference would be too long.
    """
    ref = entry_ref(position) if n == 1 else f"{position}-e{n}"
    if n < 1 or len(ref) > ORDER_REF_MAX:
        raise ValueError(f"{ref!r} is no order reference: slices count from 1, {ORDER_REF_MAX} characters at most")
    return ref


def slice_n(order_ref: str) -> int | None:
    """Return which slice of its entry our reference names, from 2 (`...-eN`); `None`: the first, or no entry's."""
    kind = order_ref.rpartition("-")[2]
    return int(kind[1:]) if kind.startswith("e") and kind[1:].isdecimal() else None


def is_slice_ref(order_ref: str) -> bool:
    """Return whether a reference of ours names a slice after an entry's first."""
    return slice_n(order_ref) is not None


def exit_ref(position: str, exit_n: int) -> str:
    """Return the reference of a position's n-th exit order, from 1.

    Raises:
        ValueError: `exit_n` < 1, or the reference would be too long.
    """
    ref = f"{position}-x{exit_n}"
    if len(ref) > ORDER_REF_MAX:
        ref = f"{position}-x{_in_letters(exit_n, ORDER_REF_MAX - len(position) - len('-x'))}"
    if exit_n < 1 or len(ref) > ORDER_REF_MAX:
        raise ValueError(f"{ref!r} is no order reference: exits are counted from 1, {ORDER_REF_MAX} characters at most")
    return ref


def _in_letters(number: int, room: int) -> str:
    """Return a number with more decimal digits than `room` in base 62, counted from the first such one.

    The first of its digits is a letter; it has more than `room` where even they do not reach.
    """
    base = len(_DIGITS)
    rest, text = int(number - 10**room + _LETTERS_FROM * base ** (room - 1)), ""
    while rest:
        rest, digit = divmod(rest, base)
        text = _DIGITS[digit] + text
    return text


def _number_of(text: str) -> int:
    """Return the number of an exit that stands in its reference."""
    if text.isdecimal():
        return int(text)
    base, number = len(_DIGITS), 0
    for digit in text:
        number = number * base + _DIGITS.index(digit)
    return int(number - _LETTERS_FROM * base ** (len(text) - 1) + 10 ** len(text))


def position_of(order_ref: str) -> str:
    """Return the stem of an order reference of ours."""
    return order_ref.rpartition("-")[0]


def share_ref(combo_ref: str, leg_entry_ref: str) -> str:
    """Return under which reference a position knows its leg of a combination's order: its own stem, the same suffix.

    So a leg's part of an order can be told from the broker's reference and the contract alone.
    """
    return f"{position_of(leg_entry_ref)}-{combo_ref.rpartition('-')[2]}"


def parse_order_ref(text: str) -> OrderName | None:
    """Return what an order reference says; `None` for one that is not ours."""
    match = _ORDER_REF.fullmatch(text)
    if match is None:
        return None
    exit_n = match["exit_n"]
    return OrderName(match["desk"], match["digest"], None if exit_n is None else _number_of(exit_n))
