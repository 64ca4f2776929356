"""A value as what it must be, where its type alone leaves more open: anything else fails the test at that place."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def known(value: T | None) -> T:
    """Return a value that must be there."""
    assert value is not None
    return value


def of_class(kind: type[T], value: object) -> T:
    """Return a value that must be of a class."""
    assert isinstance(value, kind), value
    return value
