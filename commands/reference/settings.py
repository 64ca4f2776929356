"""The settings page: values and comments of `config/defaults.yaml`, types and ranges from the settings tree."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from config import settings as tree
from config.settings import Settings
from domain.ranges import Checked, Form, Range

_CONFIG = Path(tree.__file__).parent
_KEY = re.compile(r"^( *)([A-Za-z0-9_]+):(.*)$")
_UNITS = {
    "_ms": "ms", "_ticks": "1/100 USD", "_cents": "cents", "_bps": "bps", "_usd": "USD", "_s": "s", "_mb": "MB",
    "_bytes_max": "bytes", "_nav": "share of NAV", "_share": "share", "_share_max": "share",
}  # fmt: skip
Table = Callable[..., list[str]]


def settings_page(table: Table) -> list[str]:
    """List every setting with its default, type, unit and meaning."""
    values = yaml.safe_load((_CONFIG / "defaults.yaml").read_text(encoding="utf-8"))
    notes = dict(comments((_CONFIG / "defaults.yaml").read_text(encoding="utf-8").splitlines()))
    lines = [
        "# Settings", "",
        "Every setting of `config/defaults.yaml`. A file of your own (`--config FILE`) names only what it changes;"
        " profile files come below it and the environment above it: `ZEROHOUR_` and the path with `__` between levels,"
        " such as `ZEROHOUR_ENTRY__POSITIONS_MAX=2`. An unknown name, a wrong type, a value that is not allowed and a"
        " name that stands twice are refused before a run begins.", "",
        "Durations are market time and the same in every profile; [real] marks what the ports and the runtime do for"
        " themselves, in real time.", "",
    ]  # fmt: skip
    hints = get_type_hints(Settings, include_extras=True)
    top = [(name, values[name]) for name in values if not isinstance(values[name], dict)]
    lines += ["## General", "", *_flat(table, (), top, hints, notes)]
    for name, section in values.items():
        if isinstance(section, dict):
            lines += _section(table, (name,), section, hints[name], notes)
    return [*lines, *_profiles(table)]


def _section(
    table: Table, path: tuple[str, ...], values: dict[str, Any], hint: Any, notes: dict[str, str]
) -> list[str]:
    title = ["## " + ".".join(path), ""]
    if notes.get(".".join(path)):
        title += [notes[".".join(path)], ""]
    if get_origin(hint) is dict:
        item = get_args(hint)[1]
        if not dataclasses.is_dataclass(item):
            return [*title, *table(("name", "value"), ((f"`{k}`", _value(v)) for k, v in values.items()))]
        hints = get_type_hints(item, include_extras=True)
        rows = (
            (
                f"`{f.name}`",
                _unit(f.name),
                _allowed(hints[f.name]),
                *(_value(row.get(f.name, f.default)) for row in values.values()),
            )
            for f in dataclasses.fields(item)
        )
        return [*title, *table(("name", "unit", "allowed", *values), rows)]
    hints = get_type_hints(hint, include_extras=True)
    flat = [(k, v) for k, v in values.items() if not _is_section(hints.get(k))]
    lines = [*title, *_flat(table, path, flat, hints, notes)]
    for name, value in values.items():
        if _is_section(hints.get(name)):
            lines += _section(table, (*path, name), value, hints[name], notes)
    return lines


def _is_section(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or get_origin(hint) is dict


def _flat(
    table: Table, path: tuple[str, ...], items: list[tuple[str, Any]], hints: dict[str, Any], notes: dict[str, str]
) -> list[str]:
    rows = []
    for name, value in items:
        hint = hints.get(name)
        note = notes.get(".".join((*path, name)), "")
        rows.append((f"`{name}`", _value(value), _type(hint), _allowed(hint), _unit(name), note))
    return table(("name", "default", "type", "allowed", "unit", "meaning"), rows) if rows else []


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    return "none" if value is None else str(value)


def _type(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return _type(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(_type(part) for part in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(str(member.value) for member in hint)
    if get_origin(hint) is tuple:
        return f"list of {_type(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return "table"
    return {"str": "text", "float": "number", "int": "whole number", "bool": "true or false", "NoneType": "none"}.get(
        getattr(hint, "__name__", ""), getattr(hint, "__name__", "").lower()
    )


def _unit(name: str) -> str:
    return next(
        (unit for ending, unit in sorted(_UNITS.items(), key=lambda u: -len(u[0])) if name.endswith(ending)), ""
    )


def _allowed(hint: Any) -> str:
    """Say what a leaf (or each item of a list) may hold, beyond its type."""
    marks: list[str] = []

    def collect(part: Any) -> None:
        if get_origin(part) is Annotated:
            marks.extend(str(m) for m in get_args(part)[1:] if isinstance(m, Range | Form))
            marks.extend(m.why for m in get_args(part)[1:] if isinstance(m, Checked))
        for inner in get_args(part) if get_origin(part) is not Literal else ():
            collect(inner)

    collect(hint)
    return "; ".join(dict.fromkeys(marks))


def comments(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Return (path, comment) of every key: the comment lines right above it, and the one behind it."""
    above: list[str] = []
    path: list[tuple[int, str]] = []
    for line in lines:
        if line.strip().startswith("#"):
            above.append(line.strip().lstrip("#").strip())
            continue
        found = _KEY.match(line)
        if found is None:
            above = []
            continue
        depth, name, rest = len(found[1]), found[2], found[3]
        path = [(d, n) for d, n in path if d < depth] + [(depth, name)]
        behind = rest.partition(" # ")[2] if " # " in rest else ""
        yield ".".join(n for _, n in path), " ".join((*above, behind)).strip()
        above = []


def _profiles(table: Table) -> list[str]:
    lines = ["## What the profiles change", ""]
    for file in sorted((_CONFIG / "profiles").glob("*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        rows = [(f"`{path}`", _value(value)) for path, value in _leaves(content)]
        lines += [f"### {file.stem}", "", *table(("name", "value"), rows)]
    return lines


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
