"""The state of an actor holds immutable values only: a turn works on a shallow copy, and a raise must leave nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, time
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest

from commands.reference.conversations import actor_classes
from domain.features.frames import NO_WINDOW, Window, appended
from domain.keyed import Keyed
from domain.options.profile import Profile
from domain.risk.kill import KillLevel
from domain.signals.snapshot import Snapshot
from domain.units import Ticks, Utc
from supervision.actor import Actor

SCALARS = (int, float, str, bool, bytes, date, time, NoneType)
# Their interface changes nothing, so the type checker refuses an assignment into one: mappings are replaced as a whole.
CONTAINERS = (Union, UnionType, tuple, frozenset, Mapping)
# Classes that are values although no declaration says so, with the reason.
VALUES: dict[type[Any], str] = {
    Profile: "its arrays are locked when it is made (see the test below)",
    Window: "and so is its array",
    Keyed: "a change gives another one (tests/domain/test_keyed.py)",
}


def state_of(actor: type[Any]) -> type[msgspec.Struct] | None:
    """Return the class of an actor's state; `None` for one without (an I/O actor)."""
    for base in getattr(actor, "__orig_bases__", ()):
        if get_origin(base) is Actor:
            state: type[msgspec.Struct] = get_args(base)[0]
            return state
    return None


STATES = {name: state for name, actor in actor_classes().items() if (state := state_of(actor)) is not None}


def faults_of(state: type[msgspec.Struct]) -> list[str]:
    """Return each field of a state, and below it, that holds what can be changed in place."""
    hints = get_type_hints(state, include_extras=True).items()
    return [fault for name, hint in hints for fault in mutable_in(hint, f"{state.__name__}.{name}", frozenset())]


def mutable_in(kind: Any, path: str, above: frozenset[Any]) -> Iterator[str]:
    """Yield `path: type` for everything mutable in a type; `above` are the classes that are being walked."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is ClassVar or kind in above:
        return
    if origin is Annotated:
        yield from mutable_in(parts[0], path, above)
    elif origin in CONTAINERS or origin in VALUES:
        for part in parts:
            if part is not Ellipsis:
                yield from mutable_in(part, path, above)
    elif isinstance(kind, type) and (kind in SCALARS or kind in VALUES or issubclass(kind, Enum)):
        return
    elif is_frozen(kind):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            yield from mutable_in(hint, f"{path}.{name}", above | {kind})
    else:
        yield f"{path}: {getattr(kind, '__name__', kind)}"


def is_frozen(kind: Any) -> bool:
    """Return whether a class is a frozen struct or a frozen dataclass."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind.__struct_config__.frozen
    made = getattr(kind, "__dataclass_params__", None)
    return made is not None and bool(made.frozen)


@pytest.mark.parametrize("name", STATES)
def test_a_state_holds_values_and_is_assigned_in_place(name: str) -> None:
    state = STATES[name]
    assert not state.__struct_config__.frozen
    assert faults_of(state) == [], "use a tuple, a frozenset, a Mapping or a frozen struct"


def test_every_actor_that_decides_has_a_state() -> None:
    without = {name for name, actor in actor_classes().items() if name not in STATES}
    assert without == {"ledger", "desk_ledger", "warehouse", "series", "web"}


class Open(msgspec.Struct):
    """Can be changed in place."""

    n: int = 0


class Closed(msgspec.Struct, frozen=True):
    """Holds something that can be changed in place, and itself."""

    names: list[str]
    by_name: Mapping[str, set[int]]
    next: Closed | None = None
    KIND: ClassVar[list[int]] = []


class Odd(msgspec.Struct):
    """A state with one of each fault."""

    sound: tuple[tuple[Ticks, KillLevel | None], ...] = ()
    read_utc: Utc = Utc(0)
    table: dict[str, int] = {}
    inner: tuple[Open, ...] = ()
    deeper: Closed | None = None
    anything: Any = None


def test_each_kind_of_mutable_value_is_named() -> None:
    assert faults_of(Odd) == [
        "Odd.table: dict", "Odd.inner: Open", "Odd.deeper.names: list", "Odd.deeper.by_name: set", "Odd.anything: Any",
    ]  # fmt: skip


def test_the_arrays_of_a_profile_cannot_be_written() -> None:
    arrays = [np.zeros(shape, np.int32) for shape in (2, (2, 2), (2, 5))]
    made = Profile("SPX", "classic_gex_zero", Utc(0), Ticks(0), (), *arrays)
    for array in (made.strikes, made.values, made.priors):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_array_of_a_window_cannot_be_written() -> None:
    for window in (NO_WINDOW, appended(NO_WINDOW, None, Snapshot(Utc(0)))):
        with pytest.raises(ValueError, match="read-only"):
            window.values[0, 0] = 1.0
