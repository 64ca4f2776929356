"""What a sweep has reached: faults, edges of every state machine, codes of the gates; and who covers the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import msgspec

from domain.fsm import Machine
from domain.orders.live_order import LEG_STAGES
from domain.orders.table import ORDERS
from domain.orders.twap import TWAP
from domain.position.cycle import CYCLE
from domain.risk.entry_stages import ENTRY
from domain.risk.reject import RejectCode
from domain.risk.structure_attempt import STAGES
from domain.session.desk_switch import SWITCHES
from domain.session.dialling import LINKS
from domain.session.modes import MODES
from domain.structure.saga import SAGA, SagaEvent, SagaState
from simulation.days.elsewhere import CODES_ELSEWHERE, EDGES_ELSEWHERE, FAULTS_ELSEWHERE
from simulation.days.faults import OF_LOST_PERMITS, OF_REST, OF_SLOW_READS, Fault

MACHINES: Final[dict[str, Machine[Any, Any]]] = {
    "MODES": MODES, "LINKS": LINKS, "ORDERS": ORDERS, "LEG_STAGES": LEG_STAGES, "CYCLE": CYCLE, "ENTRY": ENTRY,
}  # fmt: skip
OF_SPREADS: Final[dict[str, Machine[Any, Any]]] = {"SAGA": SAGA, "ATTEMPT": STAGES}  # on days that have some
OF_SLICES: Final[dict[str, Machine[Any, Any]]] = {"TWAP": TWAP}  # on days whose entries are sliced
OF_DESKS: Final[dict[str, Machine[Any, Any]]] = {"SWITCHES": SWITCHES}  # on days with a second desk


def edge_name(machine: str, pair: tuple[Enum, Enum]) -> str:
    """Return an edge as people read it: `MODES WARMUP -> lost`."""
    return f"{machine} {pair[0].value} -> {pair[1].value}"


def _edges_of(machines: dict[str, Machine[Any, Any]]) -> tuple[str, ...]:
    return tuple(edge_name(name, pair) for name, machine in machines.items() for pair in machine.transitions)


EDGES: Final = _edges_of(MACHINES)
OF_ONE_ORDER: Final = tuple(  # on days that have spreads whose legs go out as one
    edge_name("SAGA", pair)
    for pair, after in SAGA.transitions.items()
    if not {pair[0], after}.isdisjoint((SagaState.ENTERING, SagaState.LEAVING))
    or pair == (SagaState.BUYING_BACK, SagaEvent.COVER_FAILED)
)
EDGES_OF_SPREADS: Final = tuple(name for name in _edges_of(OF_SPREADS) if name not in OF_ONE_ORDER)
EDGES_OF_SLICES: Final = _edges_of(OF_SLICES)
EDGES_OF_DESKS: Final = _edges_of(OF_DESKS)


class _Recorded(dict[Any, Any]):
    """A table of transitions that counts which of them are taken."""

    def __init__(self, name: str, table: Iterable[tuple[Any, Any]], counts: Counter[str]) -> None:
        super().__init__(table)
        self._names = {pair: edge_name(name, pair) for pair in self}
        self._counts = counts

    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key, default)
        if found is not None:
            self._counts[self._names[key]] += 1
        return found


_EDGES_TAKEN: Counter[str] = Counter()


def count_edges() -> Counter[str]:
    """Have every machine count the edges that it takes from now on, in this process; return the counts."""
    for name, machine in {**MACHINES, **OF_SPREADS, **OF_SLICES, **OF_DESKS}.items():
        if not isinstance(machine.transitions, _Recorded):
            machine.transitions = _Recorded(name, machine.transitions.items(), _EDGES_TAKEN)
    return _EDGES_TAKEN


class Coverage(msgspec.Struct):
    """Counts of a day or of a sweep: by fault, by edge, by code, by what else is worth knowing."""

    faults: dict[str, int] = {}
    edges: dict[str, int] = {}
    codes: dict[str, int] = {}
    others: dict[str, int] = {}

    def fault(self, kind: Fault) -> None:
        """Count a fault that was injected."""
        self.faults[kind.name] = self.faults.get(kind.name, 0) + 1

    def code(self, code: str) -> None:
        """Count a code with which an entry was refused."""
        self.codes[code] = self.codes.get(code, 0) + 1

    def other(self, name: str, count: int = 1) -> None:
        """Count anything else."""
        self.others[name] = self.others.get(name, 0) + count

    def add(self, more: Coverage) -> None:
        """Add another day's counts."""
        for mine, theirs in (
            (self.faults, more.faults), (self.edges, more.edges), (self.codes, more.codes), (self.others, more.others),
        ):  # fmt: skip
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count


class Judged(msgspec.Struct, frozen=True):
    """What a sweep reached of one kind, and what it did not: with the test that covers it, or without any."""

    title: str
    reached: dict[str, int]
    elsewhere: dict[str, str]
    missing: tuple[str, ...]


def judged(
    coverage: Coverage, *, has_spreads: bool = False, has_slices: bool = False, has_desks: bool = False,
    has_rest: bool = False, has_slow_reads: bool = False, has_combos: bool = False,
    has_lost_permits: bool = False,
) -> tuple[Judged, ...]:  # fmt: skip
    """Return the verdict on faults, edges and codes; those of what only some days have, where days have some."""
    absent = (frozenset() if has_rest else OF_REST) | (frozenset() if has_slow_reads else OF_SLOW_READS)
    absent |= frozenset() if has_lost_permits else OF_LOST_PERMITS
    faults = {fault.name: 0 for fault in Fault if fault not in absent}
    more = (
        *(EDGES_OF_SPREADS if has_spreads else ()), *(EDGES_OF_SLICES if has_slices else ()),
        *(EDGES_OF_DESKS if has_desks else ()), *(OF_ONE_ORDER if has_combos else ()),
    )  # fmt: skip
    edges = dict.fromkeys((*EDGES, *more), 0)
    codes = {code.value: 0 for code in RejectCode}
    return (
        _judged("faults injected", faults, coverage.faults, FAULTS_ELSEWHERE),
        _judged("state edges taken", edges, coverage.edges, EDGES_ELSEWHERE),
        _judged("codes with which orders were refused", codes, coverage.codes, CODES_ELSEWHERE),
    )


def _judged(title: str, all_names: dict[str, int], counts: dict[str, int], elsewhere: dict[str, str]) -> Judged:
    reached = {name: counts[name] for name in all_names if counts.get(name)}
    absent = [name for name in all_names if name not in reached]
    return Judged(
        title=title,
        reached=reached,
        elsewhere={name: elsewhere[name] for name in absent if name in elsewhere},
        missing=tuple(name for name in absent if name not in elsewhere),
    )
