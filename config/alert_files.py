"""Alert kinds of one's own: Python files that the settings name (`alert_files`), each read once a process.

A file that cannot be taken is one sentence with the file, the line and what to do; nothing of it counts.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from glob import glob
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from config.layers import merged
from domain.signals.evaluator import AlertRules
from domain.signals.kit import (
    ConditionRules,
    Kind,
    KindError,
    fault_of,
    odd_thresholds,
    own_kind,
    put_to_trial,
    table_of,
)

NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")


class AlertFileError(ValueError):
    """A file of alert kinds cannot be used; one sentence with the remedy."""


def found_files(names: Iterable[object], folder: Path) -> list[str]:
    """Return the files that names stand for: `~` and `*` as in a shell, relative ones below a folder, each once.

    Raises:
        AlertFileError: a name of nothing.
    """
    found: list[str] = []
    for name in names:
        if not isinstance(name, str | Path) or not str(name):
            raise AlertFileError(f"alert_files: {name!r} is no file; give a list of files, as [strategies/*.py].")
        path = str(folder / Path(name).expanduser())
        files = sorted(glob(path)) if glob(path) else [path]
        found += [str(Path(file).resolve()) for file in files]
    return list(dict.fromkeys(found))


def own_kinds(files: Iterable[Path], known: Iterable[str]) -> dict[str, Kind]:
    """Return the kinds of these files, in their order.

    Args:
        files: whole paths.
        known: the names that kinds have already.

    Raises:
        AlertFileError: a file that cannot be taken, or a name that exists.
    """
    kinds: dict[str, Kind] = {}
    taken = dict.fromkeys(known, "this version of Zerohour")
    for file in files:
        for kind in _kinds_of(file):
            if kind.name in taken:
                raise AlertFileError(f"{file} names a kind {kind.name}, which is one of {taken[kind.name]}; rename it.")
            taken[kind.name] = kind.path
            kinds[kind.name] = kind
    return kinds


@cache
def _kinds_of(file: Path) -> tuple[Kind, ...]:
    """Return the kinds of a file as it was when it was first asked for: a desk's rules never change under it."""
    module = _loaded(file)
    path = str(file)
    try:
        table = table_of(getattr(module, "KINDS", None), path)
        made = []
        for name, (condition, rules) in table.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise AlertFileError(f"{path} names a kind {name!r}; take capitals, digits and _, as MY_KIND.")
            if odd := odd_thresholds(rules):
                raise AlertFileError(f"{path}: {', '.join(odd)} of {name} must be finite numbers.")
            made.append(own_kind(name, path, condition, rules))
    except KindError as error:
        raise AlertFileError(str(error)) from None
    return tuple(made)


def _loaded(file: Path) -> ModuleType:
    # A name of its own: two folders may hold files of one name, and types are looked up by the module's name.
    name = f"zerohour_alerts_{file.stem}_{blake2b(str(file).encode(), digest_size=4).hexdigest()}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise AlertFileError(
            f"alert_files: there is no Python file {file}; `main.py new-alert NAME` writes a template, or take the"
            " name out."
        )
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise AlertFileError(
            f"The alert file does not load: {fault_of(error, str(file))} Mend it, or take it out of alert_files."
        ) from None
    return module


def trials_of(kind: Kind, given: object) -> tuple[AlertRules, ...]:
    """Return the thresholds of a kind's versions on trial, each over those of its file.

    Raises:
        AlertFileError: not a list of tables of its thresholds.
    """
    if not isinstance(given, list | tuple):
        raise AlertFileError(f"alert_trials.{kind.name} must be a list of versions, as `[{{version: 2}}]`.")
    return tuple(rules_of(kind, one, f"alert_trials.{kind.name}.{n}") for n, one in enumerate(given))


def rules_of(kind: Kind, given: object, place: str | None = None) -> AlertRules:
    """Return the thresholds of a kind: those of its file, and over them those of the settings.

    Args:
        kind: a kind of a file.
        given: what the settings say of it.
        place: where they say it; `None`: among `alert_rules`.

    Raises:
        AlertFileError: not a table of its thresholds.
    """
    place = place or f"alert_rules.{kind.name}"
    if dataclasses.is_dataclass(given):
        given = dataclasses.asdict(given)  # type: ignore[arg-type]
    if not isinstance(given, Mapping):
        raise AlertFileError(f"{place} must be thresholds of {kind.path}, as `version: 2`.")
    told: Mapping[str, Any] = given
    try:
        rules: AlertRules = TypeAdapter(type(kind.rules)).validate_python(merged(dataclasses.asdict(kind.rules), told))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (place, *first["loc"])))
        raise AlertFileError(
            f"{where}: {first['msg'][0].lower()}{first['msg'][1:]} (the kind is in {kind.path})."
        ) from None
    assert isinstance(rules, ConditionRules)
    if odd := odd_thresholds(rules):
        raise AlertFileError(f"{place}.{odd[0]} must be a finite number.")
    try:  # under these thresholds it has not been tried yet
        put_to_trial(kind.name, kind.path, kind.evaluator.condition, rules)
    except KindError as error:
        raise AlertFileError(f"Under {place}: {error}") from None
    return rules
