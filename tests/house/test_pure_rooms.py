"""`domain/` and `actors/` decide and do nothing else: no clock, chance, threads, files, logs or environment in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.test_import_direction import modules
from tests.testkit.paths import ROOT

BANNED_MODULES = {
    "asyncio", "concurrent", "glob", "io", "logging", "multiprocessing", "os", "queue", "random", "secrets", "select",
    "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib", "urllib3",
    "uuid",
}  # fmt: skip
BANNED_NAMES = {"open", "print", "input", "exec", "eval", "id", "hash", "set_event_loop"}
BANNED_METHODS = {"now", "today", "utcnow", "time_ns", "uuid4", "uuid1", "perf_counter", "getenv", "environ", "seed"}
# What a rule above catches and is right all the same, with the reason.
ALLOWED: dict[tuple[str, str], str] = {
    ("profile.py", "hash()"): "a value type's own __hash__; nothing is ordered by it",
    ("keyed.py", "hash()"): "which part of an index holds a key; nothing is ordered by it",
}


def offences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, what) of everything in a module that is not pure."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.partition(".")[0] in BANNED_MODULES:
                    yield node.lineno, f"import {name.name}"
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in BANNED_MODULES:
            yield node.lineno, f"from {node.module} import"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_NAMES:
            yield node.lineno, f"{node.func.id}()"
        elif isinstance(node, ast.Attribute) and node.attr in BANNED_METHODS and _is_of_the_world(node):
            yield node.lineno, f".{node.attr}"
        elif isinstance(node, ast.For | ast.comprehension) and _is_a_set(node.iter):
            yield getattr(node, "lineno", node.iter.lineno), "iteration over a set"


def _is_of_the_world(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in {
        "datetime",
        "date",
        "time",
        "np",
        "random",
        "os",
        "uuid",
    }


def _is_a_set(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
    return is_call or isinstance(node, ast.Set | ast.SetComp)


@pytest.mark.parametrize("room", ["domain", "actors"])
def test_room_is_pure(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in modules(room)
        for line, what in offences(path)
        if (path.name, what) not in ALLOWED
    ]
    assert wrong == []


def test_each_kind_of_offence_is_seen(tmp_path: Path) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text(
        "import time, json\nfrom datetime import datetime\nfrom os import path\nx = datetime.now()\nprint(x)\n"
        "for y in {1, 2}:\n    pass\nz = [q for q in set(x)]\nw = open(path)\n"
    )
    assert {what for _, what in offences(odd)} == {
        "import time", "from os import", ".now", "print()", "iteration over a set", "open()",
    }  # fmt: skip
