"""The tree as data: who is started, in which order, and from where each one's state comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from supervision.actor import Actor, IoActor

AnyActor = Actor[Any] | IoActor


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One actor of the tree.

    `restore_from` is the address of the ledger that is asked for its state before each start (`None`: nothing to
    restore). A vital actor's crash latches entries off; its spent budget ends the process.
    """

    name: str
    make: Callable[[], AnyActor]
    restore_from: str | None = None
    is_vital: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """Actors made on demand: any address that starts with `prefix`."""

    prefix: str
    make: Callable[[str], AnyActor]
    restore_from: str | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """The whole tree.

    `route` maps (sender, role) to addresses; it raises `KeyError` for a role that nobody declared. `seeds` are
    (ledger address, state name) pairs whose `DaySoFar` answers name the template actors to start at once.
    """

    children: tuple[ChildSpec, ...]
    templates: tuple[Template, ...]
    route: Callable[[str, str], tuple[str, ...]]
    seeds: tuple[tuple[str, str], ...] = ()

    def child(self, name: str) -> ChildSpec:
        """Give the spec of a name, made from a template where one fits.

        Raises:
            KeyError: no child and no template of that name.
        """
        for spec in self.children:
            if spec.name == name:
                return spec
        for template in self.templates:
            if name.startswith(template.prefix):
                return ChildSpec(name, partial(template.make, name), template.restore_from)
        raise KeyError(name)
