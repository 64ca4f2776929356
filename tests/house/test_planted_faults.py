"""Faults that must not get past `make check` and `make test`, each planted in a scratch copy and caught there.

The catch must come at once and name the place: what the checker or the test printed is looked at.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.test_import_direction import LEAVES, MAY_IMPORT
from tests.testkit.paths import ROOT

pytestmark = pytest.mark.slow
COPIED = (*MAY_IMPORT, "tests", "docs", "stubs", "main.py", "pyproject.toml")
MYPY = (sys.executable, "-m", "mypy")
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")


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
        (*MYPY, "actors/position"), ("actors/position/exit_triggers.py:", 'has no attribute "kill_levle"'),
    ),
    Plant(
        "a deleted case in the risk actor", "actors/risk/actor.py",
        "            case risk.DayLocked():\n                day.on_locked(turn, message)\n", "",
        (*MYPY, "actors/risk"), ("actors/risk/actor.py:", "assert_never", "DayLocked"),
    ),
    Plant(
        "a case for a message that the risk actor is never sent", "actors/risk/actor.py",
        "            case risk.DayLocked():\n",
        "            case risk.RecordDay():\n                pass\n            case risk.DayLocked():\n",
        (*PYTEST, "tests/house/test_who_hears_what.py", "-k", "cases"),
        ("RiskActor has a case for RecordDay", "Inbox in actors/risk/actor.py"),
    ),
    Plant(
        "an event without a subscriber", "messages/session.py",
        "class RequestReconcile(Command",
        'class SessionExtended(Event, frozen=True, kw_only=True, tag=_tag):\n    """The close has moved."""\n\n'
        "    close_utc: Utc\n\n\nclass RequestReconcile(Command",
        (*PYTEST, "tests/house/test_who_hears_what.py", "-k", "every_event_has_a_listener"),
        ("session.SessionExtended has no subscriber", "SUBSCRIBERS"),
    ),
    Plant(
        "a gate row without cases", "domain/risk/gates/sequence.py",
        "GATES: Final[tuple[Gate, ...]] = (\n",
        'GATES: Final[tuple[Gate, ...]] = (\n    Gate("moon_phase", standing.kill_level, _STANDING, (R.HALTED,)),\n',
        (*PYTEST, "tests/domain/risk/test_gate_table.py"),
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
        (*MYPY, "actors/position"), ("actors/position/order_news.py:", 'argument "replay_to" for "CancelOrder"'),
    ),
    Plant(
        "two arguments of different units swapped", "actors/position/recovery.py",
        "total.side, total.fees_cents, total.charged_qty)", "total.side, total.charged_qty, total.fees_cents)",
        (*MYPY, "actors/position"), ("actors/position/recovery.py:", '"Qty"; expected "Cents"'),
    ),
    Plant(
        "a misspelt field of a changed copy", "domain/risk/desk_view.py",
        "replace(view, day_locked=reason)", "replace(view, day_lokced=reason)",
        (*PYTEST, "tests/house/test_changes_are_spelled_out.py"),
        ("domain/risk/desk_view.py:", "DeskView has no field day_lokced"),
    ),
    Plant(
        "a list in an actor's state", "actors/risk/state.py",
        "    attempts: tuple[Attempt, ...] = ()\n", "    attempts: list[Attempt] = []\n",
        (*PYTEST, "tests/house/test_states_are_values.py"), ("RiskState.attempts: list",),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout, with what mypy knows already where there is any."""
    copy = tmp_path_factory.mktemp("scratch")
    unwanted = shutil.ignore_patterns("__pycache__", "data_dir", "*.pyc")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, copy / name)
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", copy / ".mypy_cache")
    return copy


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_fault_is_caught_and_named(plant: Plant, scratch: Path) -> None:
    file = scratch / plant.file
    sound = file.read_text(encoding="utf-8")
    assert sound.count(plant.old) == 1, f"{plant.file} no longer holds the text that the plant replaces"
    file.write_text(sound.replace(plant.old, plant.new), encoding="utf-8")
    try:
        caught = subprocess.run(plant.command, cwd=scratch, capture_output=True, text=True, check=False)
    finally:
        file.write_text(sound, encoding="utf-8")
    printed = caught.stdout + caught.stderr
    assert caught.returncode != 0, f"{plant.name} was not caught"
    assert [text for text in plant.says if text not in printed] == [], printed[-3000:]


def test_the_scratch_copy_holds_every_room() -> None:
    assert set(MAY_IMPORT) <= set(COPIED)
    assert "tests" in LEAVES
