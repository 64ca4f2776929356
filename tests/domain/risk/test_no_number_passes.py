"""A number that is none (NaN) passes no gate: wherever a gate looks at a number, it refuses it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec
import pytest

from domain.risk.gates import sequence as gates
from domain.risk.gates.types import Finding, Gate, Outcome, Snapshot
from domain.risk.measured import is_over, is_under
from tests.testkit.desk_world import (
    NOW,
    QQQ_CALL,
    SETTINGS,
    decided,
    holding,
    intent,
    lost,
    pending,
    quote,
    rules,
    snapshot,
)

NAN, FAR = float("nan"), 10**15

WIDE = rules(limits=dataclasses.replace(SETTINGS.entry, positions_per_ticker_max=9, positions_max=9))
BESIDE = pending(cost_cents=5)
HELD = holding("a", contract=QQQ_CALL, unrealised_cents=7)
SEEN = (
    snapshot(closed=(lost(1, 5),), quote=msgspec.structs.replace(quote(), volume=500, open_interest=500)),
    snapshot(holdings=(HELD,), beside=(BESIDE,), decisions=(decided(code=None, at=NOW - 10**12),)),
    snapshot(holdings=(msgspec.structs.replace(HELD, is_pending=True),)),
    snapshot(holdings=(holding("b", unrealised_cents=7),), rules=WIDE),
)
# Gates that compare no number of the snapshot: names, flags, levels, the alert's own bucket.
UNMEASURED = {
    "kill_level", "live_flag", "shadow_check", "broker_mode", "watermark", "no_reverse", "one_position", "long_only",
}  # fmt: skip


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every number in a value, below structs, dataclasses, mappings and tuples."""
    if isinstance(value, bool | Enum | str) or value is None:
        return
    if isinstance(value, int | float):
        yield path
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from numbers(getattr(value, name), (*path, name))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from numbers(below, (*path, key))
    elif isinstance(value, tuple):
        for n, below in enumerate(value):
            yield from numbers(below, (*path, n))


def changed(value: Any, path: tuple[Any, ...], number: float) -> Any:
    """Return a copy of a value with another number at a path."""
    if not path:
        return number
    head, rest = path[0], path[1:]
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{head: changed(getattr(value, head), rest, number)})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{head: changed(getattr(value, head), rest, number)})
    if isinstance(value, Mapping):
        return {**value, head: changed(value[head], rest, number)}
    return tuple(changed(item, rest, number) if n == head else item for n, item in enumerate(value))


def asked(gate: Gate, seen: Snapshot) -> Finding | None:
    """Return what a gate finds; `None` where a number that is none cannot even be computed with."""
    try:
        return gate.check(intent(), seen)
    except (ValueError, OverflowError, KeyError):
        return None


@pytest.mark.parametrize("gate", gates.GATES, ids=lambda gate: gate.name)
def test_a_gate_that_can_refuse_a_number_refuses_what_is_none(gate: Gate) -> None:
    looked_at = set()
    for seen in SEEN:
        if gate.check(intent(), seen).outcome is not Outcome.PASS:
            continue
        for path in numbers(seen):
            found = [asked(gate, changed(seen, path, number)) for number in (FAR, -FAR)]
            if any(one is not None and one.outcome is Outcome.REJECT for one in found):
                looked_at.add(path)
                none = asked(gate, changed(seen, path, NAN))
                assert none is None or none.outcome is Outcome.REJECT, ".".join(map(str, path))
    assert bool(looked_at) == (gate.name not in UNMEASURED), "this test must be able to fail"


def test_what_cannot_be_compared_is_over_and_under() -> None:
    assert [is_over(NAN, 1), is_over(1, NAN), is_under(NAN, 1), is_under(1, NAN)] == [True] * 4
    assert [is_over(1, 1), is_over(2, 1), is_under(1, 1), is_under(0, 1)] == [False, True, False, True]
