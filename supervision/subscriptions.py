"""Who hears which event: a table of event class to roles, some of them keyed by a field of the event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from messages.base import Event

Subscribers = Mapping[type[Event], tuple[str, ...]]
Route = Callable[[str, str], tuple[str, ...]]

_FIELD = re.compile(r"\{([\w.]+)\}")


def fields_of(role: str) -> tuple[str, ...]:
    """Return the fields of the event that a role is keyed by (`lane:{key.source}:{ticker}`: key.source, ticker)."""
    return tuple(_FIELD.findall(role))


class Subscriptions:
    """Resolves a published event to addresses.

    Args:
        subscribers: event class to roles; a role may hold fields of the event in braces (`lanes:{ticker}`).
        route: maps (sender, role) to addresses, each once; for one sender and role it gives the same while the
            addresses that there are stay the same.
    """

    def __init__(self, subscribers: Subscribers, route: Route) -> None:
        self._route = route
        self._roles = {
            event: tuple((role, _role_of(role) if fields_of(role) else None) for role in roles)
            for event, roles in subscribers.items()
        }
        self._keys = {event: _key_of(roles) for event, roles in subscribers.items()}
        self._known: tuple[object, dict[tuple[str, type[Event], object], tuple[str, ...]]] = (None, {})

    def addresses(self, sender: str, event: Event, there: object) -> tuple[str, ...]:
        """Return who hears this event now, each address once, in the order of the table; nobody is an empty tuple.

        `there` is the object that says which addresses there are: while it is the same one, an event of the same sender
        and key is not looked up again. Whoever looks up beside its change finds what is newer than `there`.

        Raises:
            KeyError: a role that nobody declared.
        """
        kind = type(event)
        key_of = self._keys.get(kind)
        key = None if key_of is None else key_of(event)
        known = self._known
        if known[0] is not there:
            known = self._known = there, {}
        found = known[1].get((sender, kind, key))
        if found is None:
            found = known[1][sender, kind, key] = self._looked_up(sender, event)
        return found

    def _looked_up(self, sender: str, event: Event) -> tuple[str, ...]:
        found: tuple[str, ...] = ()
        for role, keyed in self._roles.get(type(event), ()):
            more = self._route(sender, role if keyed is None else keyed(event))
            found = tuple(dict.fromkeys(found + more)) if found and more else found or more
        return found


def _key_of(roles: Iterable[str]) -> Callable[[Event], object] | None:
    """Return what gives the fields that the roles of an event are keyed by; `None` where none is."""
    fields = sorted({field for role in roles for field in fields_of(role)})
    return attrgetter(*fields) if fields else None


def _role_of(template: str) -> Callable[[Event], str]:
    getters = tuple(attrgetter(field) for field in fields_of(template))
    pattern = _FIELD.sub("%s", template)
    return lambda event: pattern % tuple(get(event) for get in getters)
