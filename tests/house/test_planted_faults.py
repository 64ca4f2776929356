"""Faults that must not get past `make check` and `make test`, each planted in a scratch copy and caught there.

The catch must come at once and name the place: what the checker or the test printed is looked at.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.house.test_import_direction import LEAVES, MAY_IMPORT
from tests.testkit.paths import ROOT

pytestmark = pytest.mark.slow
COPIED = (*MAY_IMPORT, "tests", "docs", "stubs", "main.py", "pyproject.toml")
MYPY = (sys.executable, "-m", "mypy", "actors/position", "actors/risk")
PYTEST = (sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider")  # no bytecode of a planted file is kept
RULES = (
    *PYTEST, "tests/house/test_who_hears_what.py", "tests/house/test_changes_are_spelled_out.py",
    "tests/house/test_states_are_values.py", "tests/domain/risk/test_gate_table.py",
)  # fmt: skip


@dataclass(frozen=True)
class Plant:
    """A fault: `old` becomes `new` in `file`; `command` must fail and print every one of `says`."""

    name: str
    file: str
    old: str
    new: str
    command: tuple[str, ...]
    says: tuple[str, ...]


PLANTS = (
    Plant(
        "a misspelt field of the position's state", "actors/position/exit_triggers.py",
        "    turn.state.kill_level = event.level\n", "    turn.state.kill_levle = event.level\n",
        MYPY, ("actors/position/exit_triggers.py:", 'has no attribute "kill_levle"'),
    ),
    Plant(
        "a deleted case in the risk actor", "actors/risk/actor.py",
        "            case risk.DayLocked():\n                day.on_locked(turn, message)\n", "",
        MYPY, ("actors/risk/actor.py:", "assert_never", "DayLocked"),
    ),
    Plant(
        "a case for a message that the risk actor is never sent", "actors/risk/actor.py",
        "            case risk.DayLocked():\n",
        "            case risk.RecordDay():\n                pass\n            case risk.DayLocked():\n",
        RULES,
        ("RiskActor has a case for RecordDay", "Inbox in actors/risk/actor.py"),
    ),
    Plant(
        "an event without a subscriber", "messages/session.py",
        "class RequestReconcile(Command",
        'class SessionExtended(Event, frozen=True, kw_only=True, tag=_tag):\n    """The close has moved."""\n\n'
        "    close_utc: Utc\n\n\nclass RequestReconcile(Command",
        RULES,
        ("session.SessionExtended has no subscriber", "SUBSCRIBERS"),
    ),
    Plant(
        "a gate row without cases", "domain/risk/gates/sequence.py",
        "GATES: Final[tuple[Gate, ...]] = (\n",
        'GATES: Final[tuple[Gate, ...]] = (\n    Gate("moon_phase", standing.kill_level, _STANDING, (R.HALTED,)),\n',
        RULES,
        ("Gate moon_phase has no test cases: add it to CASES in tests/domain/risk/test_gate_table.py.",),
    ),
    Plant(
        "an import against the table", "domain/instants.py",
        "from domain.units import Utc\n", "from domain.units import Utc\nfrom storage import queries\n",
        (*PYTEST, "tests/house/test_import_direction.py", "-k", "domain"),
        ("domain/instants.py:", "imports storage"),
    ),
    Plant(
        "a misspelt field of a message", "actors/position/order_news.py",
        "orders.CancelOrder(order_ref=order.ref, reply_to=turn.name)",
        "orders.CancelOrder(order_ref=order.ref, replay_to=turn.name)",
        MYPY, ("actors/position/order_news.py:", 'argument "replay_to" for "CancelOrder"'),
    ),
    Plant(
        "two arguments of different units swapped", "actors/position/recovery.py",
        "total.side, total.fees_cents, total.charged_qty)", "total.side, total.charged_qty, total.fees_cents)",
        MYPY, ("actors/position/recovery.py:", '"Qty"; expected "Cents"'),
    ),
    Plant(
        "a misspelt field of a changed copy", "domain/risk/desk_view.py",
        "replace(view, day_locked=reason)", "replace(view, day_lokced=reason)",
        RULES,
        ("domain/risk/desk_view.py:", "DeskView has no field day_lokced"),
    ),
    Plant(
        "a list in an actor's state", "actors/risk/state.py",
        "    attempts: tuple[Attempt, ...] = ()\n", "    attempts: list[Attempt] = []\n",
        RULES, ("RiskState.attempts: list",),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout, with what Python and mypy have made of it already where there is any.

    Bytecode holds as long as its file is as old as it was; a planted one is not.
    """
    copy = tmp_path_factory.mktemp("scratch")
    unwanted = shutil.ignore_patterns("data_dir")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, copy / name)
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    return copy


Printed = Callable[[Plant], str]


@pytest.fixture(scope="module")
def printed(scratch: Path) -> Printed:
    """Return what a plant's command prints of all its plants at once, each in a file of its own.

    Most of its time is the reading of everything else.
    """

    @cache
    def of_all(command: tuple[str, ...]) -> str:
        plants = [plant for plant in PLANTS if plant.command == command]
        sound = {plant.file: (scratch / plant.file).read_text(encoding="utf-8") for plant in plants}
        try:
            for plant in plants:
                text = sound[plant.file]
                assert text.count(plant.old) == 1, f"{plant.file} no longer holds the text that the plant replaces"
                (scratch / plant.file).write_text(text.replace(plant.old, plant.new), encoding="utf-8")
            caught = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        finally:
            for name, text in sound.items():
                (scratch / name).write_text(text, encoding="utf-8")
        assert caught.returncode != 0, f"{plants[0].name} was not caught"
        return caught.stdout + caught.stderr

    return lambda plant: of_all(plant.command)


def named(plants: Sequence[Plant]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("plant", plants, ids=lambda plant: plant.name)


@named([plant for plant in PLANTS if plant.command is MYPY])
def test_a_planted_fault_of_types_is_caught_and_named_in_one_line(plant: Plant, printed: Printed) -> None:
    file, *words = plant.says
    lines = printed(plant).splitlines()
    found = [line for line in lines if line.startswith(file) and all(word in line for word in words)]
    assert found, "\n".join(lines[-40:])


@named([plant for plant in PLANTS if plant.command is not MYPY])
def test_a_planted_fault_is_caught_and_named(plant: Plant, printed: Printed) -> None:
    said = printed(plant)
    assert [text for text in plant.says if text not in said] == [], said[-3000:]


def test_the_scratch_copy_holds_every_room() -> None:
    assert set(MAY_IMPORT) <= set(COPIED)
    assert "tests" in LEAVES
