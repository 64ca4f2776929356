"""The tree as data: who is started, in which order, where each one's state comes back from, and what a crash means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from supervision.actor import AnyActor
from supervision.effects import Tell
from supervision.subscriptions import Route, Subscribers


@dataclass(frozen=True, slots=True)
class Policy:
    """What failures of an actor mean beyond its restart.

    `latch_on_crash`: each crash sets the process latch, so that no port adds risk until the process is started again.
    `end_on_spent_budget`: when it has crashed too often, the process ends (and is started again by whoever started
    it), unless an actor that was made on demand lives: then something may be held, and the process that watches it
    stays. Whoever is not ended is started again after a pause that grows. Entries stop either way.

    `group`: the latch is that of this group's ports alone, and what else the crash means is told as theirs; empty: the
    process's.

    `gives_way`: before it takes a message it waits a moment for the actors with `end_on_spent_budget`, and for those
    that `goes_first` says, to be done with theirs (live runtime only). `goes_last`: for those that give way, too.
    """

    latch_on_crash: bool = False
    end_on_spent_budget: bool = False
    gives_way: bool = False
    goes_first: bool = False
    goes_last: bool = False
    group: str = ""

    @property
    def is_given_way(self) -> bool:
        """Whether those that give way do so for it."""
        return self.goes_first or self.end_on_spent_budget


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One actor of the tree; `restore_from` is the ledger that is asked for its state before each start, if any."""

    name: str
    make: Callable[[], AnyActor]
    restore_from: str | None = None
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True)
class Template:
    """Actors made on demand: any address that starts with `prefix`."""

    prefix: str
    make: Callable[[str], AnyActor]
    restore_from: str | None = None
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True)
class Halt:
    """Why trading must stop: `is_vital_loss` when a message was lost that could cost money.

    `is_stop_lost` when that message would have closed everything that is open. `subject` is the actor that failed.
    """

    by: str
    reason: str
    is_vital_loss: bool = False
    is_stop_lost: bool = False
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """The whole tree.

    `route` maps (sender, role) to addresses; it raises `KeyError` for a role that nobody declared. `on_halt` says what
    is told when trading must stop. `rosters` are (ledger address, name) pairs: at the start each ledger is asked for
    the addresses of the template actors that it knows something live of, and those are started at once.
    """

    children: tuple[ChildSpec, ...]
    templates: tuple[Template, ...]
    route: Route
    subscribers: Subscribers
    on_halt: Callable[[Halt], tuple[Tell, ...]]
    rosters: tuple[tuple[str, str], ...] = field(default=())

    def is_on_demand(self, name: str) -> bool:
        """Return whether a template makes this actor."""
        return all(spec.name != name for spec in self.children) and any(
            name.startswith(template.prefix) for template in self.templates
        )

    def child(self, name: str) -> ChildSpec:
        """Return the spec of a name, made from a template where one fits.

        Raises:
            KeyError: no child and no template of that name.
        """
        for spec in self.children:
            if spec.name == name:
                return spec
        for template in self.templates:
            if name.startswith(template.prefix):
                return ChildSpec(name, partial(template.make, name), template.restore_from, template.policy)
        raise KeyError(name)
