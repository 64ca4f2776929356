"""Two trees or two outboxes beside each other: what differs, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from domain.instants import exchange_clock
from domain.units import Utc

_ABSENT: Final = object()
_VALUE_MAX: Final = 60


class Difference(NamedTuple):
    """A field, by its path, with both values as text; `-` where it is absent."""

    path: str
    recorded: str
    computed: str

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.path}: {self.recorded} -> {self.computed}"


def differences(recorded: object, computed: object, path: str = "") -> list[Difference]:
    """Return the leaves in which two trees of plain values differ, in the order of the first."""
    if recorded == computed and type(recorded) is type(computed):
        return []
    if isinstance(recorded, dict) and isinstance(computed, dict):
        names = [*recorded, *(name for name in computed if name not in recorded)]
        pairs: Iterable[tuple[str, object, object]] = (
            (f"{path}.{name}" if path else str(name), recorded.get(name, _ABSENT), computed.get(name, _ABSENT))
            for name in names
        )
    elif isinstance(recorded, list | tuple) and isinstance(computed, list | tuple):
        n = max(len(recorded), len(computed))
        pairs = ((f"{path}[{k}]", _at(recorded, k), _at(computed, k)) for k in range(n))
    else:
        is_same = recorded == computed  # 1 and 1.0, say
        return [] if is_same else [Difference(path or "value", text_of(path, recorded), text_of(path, computed))]
    return [found for name, one, other in pairs for found in differences(one, other, name)]


def text_of(path: str, value: object) -> str:
    """Return a value as people read it: instants as New York's clock, what is long cut."""
    if value is _ABSENT:
        return "-"
    if path.endswith("_utc") and isinstance(value, int) and value > 0:
        return exchange_clock(Utc(value))
    text = "none" if value is None else str(value)
    return text if len(text) <= _VALUE_MAX else f"{text[: _VALUE_MAX - 1]}…"


def _at(values: Sequence[Any], n: int) -> object:
    return values[n] if n < len(values) else _ABSENT


class Sent(NamedTuple):
    """A message of an outbox: whom it was for ("" where it was published), its type and its fields."""

    to: str
    tag: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        """Return it in short."""
        return f"{self.tag}{f' to {self.to}' if self.to else ''}"


def sent_of(to: str, message: msgspec.Struct) -> Sent:
    """Return a message in plain values."""
    fields = msgspec.to_builtins(message)
    return Sent(to, str(fields.pop("type", type(message).__name__)), fields)


def outbox_lines(recorded: Sequence[Sent], computed: Sequence[Sent]) -> list[str]:
    """Return what differs between two outboxes; messages of a type are compared in their order.

    A published message stands in a record once for each that heard it: of those that are alike, one counts.
    """
    lines: list[str] = []
    left = _once(recorded)
    for message in _once(computed):
        other = next((found for found in left if found.tag == message.tag and _fits(found, message)), None)
        if other is None:
            lines.append(f"now sent as well: {message}")
            lines += [f"  {name}: {text_of(name, value)}" for name, value in message.fields.items()]
            continue
        left.remove(other)
        found = differences(other.fields, message.fields)
        if found:
            lines += [f"{message}", *(f"  {difference}" for difference in found)]
    for message in left:
        lines.append(f"no longer sent: {message}")
        lines += [f"  {name}: {text_of(name, value)}" for name, value in message.fields.items()]
    return lines


def _fits(recorded: Sent, computed: Sent) -> bool:
    """Return whether a computed message may be the recorded one: a published one has no receiver."""
    return not computed.to or not recorded.to or computed.to == recorded.to


def _once(sent: Sequence[Sent]) -> list[Sent]:
    out: list[Sent] = []
    for message in sent:
        if not any(message.tag == other.tag and message.fields == other.fields for other in out):
            out.append(message)
    return out
