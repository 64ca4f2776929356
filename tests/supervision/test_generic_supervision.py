"""Supervision knows actors and messages, and nothing of trading: what is special stands on classes and in specs."""

from __future__ import annotations

import ast
from pathlib import Path

ROOM = Path(__file__).parents[2] / "supervision"
MODULES = {"base", "envelope", "lifecycle", "restored"}  # of messages/, and of operator the alarm alone


def imported() -> set[str]:
    """Return what the room imports from messages/: modules, and `module.Name` of others."""
    found: set[str] = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "messages":
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("messages."):
                module = str(node.module).removeprefix("messages.")
                found |= {module} if module in MODULES else {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_of_messages_it_knows_the_lifecycle_the_envelope_and_the_alarm() -> None:
    assert imported() <= MODULES | {"operator.Alarm"}


def test_of_names_it_knows_the_supervisors_alone() -> None:
    literals = {
        node.value
        for path in ROOM.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not literals & {"kill", "ibkr", "notifier", "risk", "ledger", "positions", "quotes", "session"}
    assert "supervisor" in literals
