"""Messages of every type, drawn from their field types."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from domain.options.profile import Rows

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    str: _TEXT,
    type(None): st.none(),
    msgspec.UnsetType: st.just(msgspec.UNSET),
    date: st.dates(),
    Rows: st.builds(lambda ref, digest: Rows(ref, (), digest), _TEXT, st.text("0123456789abcdef", min_size=1)),
}


@cache
def strategy(wanted: Any) -> st.SearchStrategy[Any]:
    """Return values of a field's type (frozen structs, tuples, unions, enums, literals and plain values)."""
    if wanted in _PLAIN:
        return _PLAIN[wanted]
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(strategy(part) for part in arguments))
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return st.lists(strategy(arguments[0]), max_size=3).map(tuple)
        return st.tuples(*(strategy(part) for part in arguments))
    if origin is Mapping:
        return st.dictionaries(*(strategy(part) for part in arguments), max_size=3)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return st.sampled_from(list(wanted))
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        hints = typing.get_type_hints(wanted)
        return st.builds(wanted, **{name: strategy(hints[name]) for name in wanted.__struct_fields__})
    if isinstance(wanted, type) and issubclass(wanted, tuple):  # a NamedTuple
        return st.builds(wanted, *(strategy(part) for part in typing.get_type_hints(wanted).values()))
    raise TypeError(f"a message may not hold {wanted!r}")


def one_of(wanted: Any) -> Any:
    """Return one plain value of a type, always the same."""
    if wanted in _PLAIN:
        return {int: 1, float: 0.5, bool: False, str: "x", date: date(2026, 11, 20)}.get(wanted)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return None if type(None) in arguments else one_of(arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return () if arguments[-1] is Ellipsis else tuple(one_of(part) for part in arguments)
    if origin is Mapping:
        return {}
    if issubclass(wanted, enum.Enum):
        return next(iter(wanted))
    hints = typing.get_type_hints(wanted)
    if issubclass(wanted, tuple):
        return wanted(*(one_of(part) for part in hints.values()))
    return wanted(**{name: one_of(hints[name]) for name in wanted.__struct_fields__})
