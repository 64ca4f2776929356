"""`main.py sweep FROM TO SETTING=VALUES …`: recorded days under every combination of some settings."""

from __future__ import annotations

import fcntl
import itertools
import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from commands.backtest import day_of, missing_of, model_of, nav_of, promotions_of, sessions_between
from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.interrupted import kept
from commands.pages import tell, try_page
from commands.progress import Progress
from commands.session_market import told_of
from commands.sweep_report import report_of
from config.settings import Settings
from simulation.backtest.model import FillModel
from simulation.backtest.sweep import RESULT, SweepError, Unit, sweep

_FILLS: Final = "fills."
_COMBINATIONS_MAX: Final = 10_000
# What the call says of its own accord, and with which option: a value of a sweep would change nothing.
_OF_THE_CALL: Final[Mapping[str, Callable[[Namespace], str]]] = {
    "data_dir": lambda _: "name the folder with --data",
    "profile": lambda _: "name it in the settings file",
    "demo.nav_usd": lambda arguments: "leave --nav out" if arguments.nav else "",
}
PARTS, TABLE = "parts", "sweep.parquet"

Combination = dict[str, Any]  # values by setting


def act(arguments: Namespace) -> int:
    """Run what has no result yet, and report; 1 when an actor crashed or a position was left.

    Raises:
        CommandError: a setting, value, date or number cannot be, nothing of these days is stored, or a process died.
    """
    settings, combinations = settings_of(arguments), combinations_of(arguments.values)
    folder = DataFolder(settings.data_dir)
    first, last = day_of(arguments.first), day_of(arguments.last)
    units_of = [_unit_of(arguments, folder, n, values) for n, values in enumerate(combinations)]
    _refuse_equal(units_of, combinations)
    sessions = sessions_between(folder, first, last, settings)
    # Day by day, so that what is recorded of a day is read while it is in the memory of the machine.
    units = [msgspec.structs.replace(unit, session=day) for day in sessions for unit in units_of]
    try_page(arguments.html)
    with _alone(arguments.out):
        rows = _run(units, arguments.out / PARTS, arguments.workers or os.cpu_count() or 1, arguments.address)
        _write(arguments.out / TABLE, combinations, rows)
    report = report_of(
        first, last, settings.desk, combinations, rows, missing_of(first, last, settings, sessions),
        nav_of(arguments, settings), model_of(arguments), told_of(folder, sessions),
    )  # fmt: skip
    table = str(arguments.out / TABLE)
    tell(
        arguments, report, {"combinations": combinations, "table": table},
        "", f"A row a combination and session: {table}",
    )  # fmt: skip
    return 1 if any(row["crashed"] or row["held"] for _, row in rows) else 0


def combinations_of(given: Sequence[str]) -> list[Combination]:
    """Return every combination of `SETTING=VALUE,VALUE,…`, the first setting changing slowest.

    Raises:
        CommandError: one is not of this form, is said twice, or there are too many combinations.
    """
    values: dict[str, list[Any]] = {}
    for text in given:
        name, _, said = text.partition("=")
        try:
            found = yaml.safe_load(f"[{said}]")
        except yaml.YAMLError:
            found = []
        if not name or not found:
            raise CommandError(f"{text!r} is no setting with values; write it as exits.premium_stop=0.3,0.4,0.5.")
        if name in values:
            raise CommandError(f"{name} is said twice; give all its values at once.")
        if len({repr(value) for value in found}) < len(found):
            raise CommandError(f"{name} has a value twice; give each once.")
        values[name] = found
    for name in values:
        whole = next((other for other in values if name.startswith(f"{other}.")), None)
        if whole is not None:
            raise CommandError(f"{whole} holds {name}, so one would replace the other; give one of them.")
    made = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    if len(made) > _COMBINATIONS_MAX:
        raise CommandError(f"These are {len(made):,} combinations; give fewer values (at most {_COMBINATIONS_MAX:,}).")
    return made


def _unit_of(arguments: Namespace, folder: DataFolder, n: int, values: Combination) -> Unit:
    """Return a combination, its session still that of the first day."""
    of_settings = {name: value for name, value in values.items() if not name.startswith(_FILLS)}
    of_fills = {name.removeprefix(_FILLS): value for name, value in values.items() if name.startswith(_FILLS)}
    settings = _settled(arguments, of_settings)
    return Unit(
        combination=n, session=day_of(arguments.first), settings=settings.to_json(),
        model=_filled(model_of(arguments), of_fills), promotions=promotions_of(folder, settings, arguments.promote),
        nav_cents=nav_of(arguments, settings), series=str(folder.series), warehouse=str(folder.warehouse),
    )  # fmt: skip


def _settled(arguments: Namespace, values: Combination) -> Settings:
    """Return the settings with these values, and see that each is in force: the table names it.

    Raises:
        CommandError: one is no setting, is given by the call, or comes out as something else.
    """
    for name, instead in _OF_THE_CALL.items():
        if name in values and instead(arguments):
            raise CommandError(f"{name} is given by the call, so it cannot be swept; {instead(arguments)}.")
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *sections, leaf = name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    settings = settings_of(arguments, **tree)
    told = orjson.loads(settings.to_json())
    for name, value in values.items():
        found, said = told, orjson.loads(orjson.dumps(value))
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                raise CommandError(f"{name} is not a setting; config/defaults.yaml has every name.")
            found = found[part]
        if not _agree(said, found):
            raise CommandError(
                f"{name}={value!r} comes out as {found!r}: the environment or another setting says so; take that away,"
                f" or do not sweep {name}."
            )
    return settings


def _agree(said: Any, found: Any) -> bool:
    """Return whether what was said is what is in force; of a section what it does not name may be anything."""
    if isinstance(said, dict):
        return isinstance(found, dict) and all(name in found and _agree(said[name], found[name]) for name in said)
    if isinstance(said, list):
        return isinstance(found, list) and len(said) == len(found) and all(map(_agree, said, found))
    return isinstance(said, bool) == isinstance(found, bool) and bool(said == found)


def _refuse_equal(units: Sequence[Unit], combinations: Sequence[Combination]) -> None:
    """Refuse two combinations that are the same one: they would count twice.

    Raises:
        CommandError: there are two.
    """
    first: dict[bytes, int] = {}
    for n, unit in enumerate(units):
        same = first.setdefault(msgspec.json.encode(msgspec.structs.replace(unit, combination=0)), n)
        if same != n:
            told = " and ".join(orjson.dumps(combinations[one]).decode() for one in (same, n))
            raise CommandError(f"{told} are the same settings; give each value once.")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder of the results for this process.

    Raises:
        CommandError: another sweep writes to it, or it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CommandError(f"{out} cannot be written ({error.strerror}); name another folder.", 3) from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another sweep writes to {out}; wait for it, or name another folder with --out."
            ) from None
        yield
    finally:
        os.close(held)


def _filled(model: FillModel, given: Mapping[str, Any]) -> FillModel:
    unknown = sorted(set(given) - set(FillModel.__struct_fields__))
    if unknown:
        known = ", ".join(f"{_FILLS}{name}" for name in FillModel.__struct_fields__)
        raise CommandError(f"{_FILLS}{unknown[0]} is not known; give one of {known}.")
    try:
        return msgspec.convert({**msgspec.to_builtins(model), **given}, FillModel)
    except (ValueError, msgspec.ValidationError) as error:
        raise CommandError(f"These fills cannot be modelled: {error}.") from None


def _run(units: list[Unit], parts: Path, workers: int, address: str | None) -> list[tuple[int, dict[str, Any]]]:
    done = f"The days that were done are kept in {parts}: the same command goes on with the rest."
    with kept(done), Progress() as shown:
        try:
            told = sweep(
                units, parts, workers=workers, progress=lambda n, of: shown.at(f"{n} of {of} days done"),
                address=address,
            )  # fmt: skip
            return list(told)
        except SweepError as error:
            raise CommandError(str(error), 3) from None
        except OSError as error:
            file = error.filename or parts  # what is recorded is read here, too
            raise CommandError(
                f"{file} cannot be used ({error.strerror}); mend it or name another folder.", 3
            ) from None


def _write(path: Path, combinations: list[Combination], rows: list[tuple[int, dict[str, Any]]]) -> None:
    """Write a row a combination and session, with a column a setting; values of more than one kind as text."""
    ordered = sorted(rows, key=lambda row: (row[0], row[1]["session"]))
    columns: dict[str, pa.Array] = {"combination": pa.array([n for n, _ in ordered], pa.int32())}
    for name in combinations[0]:
        values = [combinations[n][name] for n, _ in ordered]
        kinds = {type(value) for value in values}
        is_plain = len(kinds) == 1 and kinds <= {int, float, str, bool}
        columns[name] = pa.array(values if is_plain else [orjson.dumps(value).decode() for value in values])
    results = pa.Table.from_pylist([row for _, row in ordered], RESULT)
    table = pa.table({**columns, **{name: results[name] for name in RESULT.names}})
    aside = path.with_suffix(".tmp")
    try:
        pq.write_table(table, aside)
        aside.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); name another folder.", 3) from None
