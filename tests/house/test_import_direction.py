"""The rooms and who may import whom: the table of ARCHITECTURE.md as data, held by reading the imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testkit.paths import ROOT

ALL = frozenset(
    ("domain", "messages", "config", "supervision", "actors", "gateways", "storage", "simulation", "web", "commands")
)
MAY_IMPORT: dict[str, frozenset[str]] = {
    "domain": frozenset(),
    "messages": frozenset(("domain",)),
    "config": frozenset(("domain",)),
    "supervision": frozenset(("messages", "config", "domain")),
    "actors": frozenset(("domain", "messages", "config", "supervision")),
    "gateways": frozenset(("domain", "messages", "config")),
    "storage": frozenset(("domain", "messages", "config")),
    "simulation": (ALL | {"main"}) - {"web", "commands"},
    "web": frozenset(("domain", "messages", "config", "storage")),
    "commands": ALL | {"main"},
}
# Third parties per room where the table bounds them; a room that is not named here may use what pyproject.toml lists.
THIRD_PARTIES = {
    "domain": {"msgspec", "numpy", "holidays"},
    "messages": {"msgspec"},
    "actors": {"msgspec"},
}
LEAVES = ("tests", "notebooks", "benchmarks", "docs", "deploy")


def modules(room: str) -> Iterator[Path]:
    """Yield a room's modules."""
    yield from sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, first part of the imported name) of a module, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, str(node.module).partition(".")[0]


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_room_imports_only_what_the_table_allows(room: str) -> None:
    ours = ALL | {"main", *LEAVES}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(room)
        for line, name in imports(path)
        if name in ours and name != room and name not in MAY_IMPORT[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("room", sorted(THIRD_PARTIES))
def test_inner_rooms_use_no_other_libraries(room: str) -> None:
    allowed = THIRD_PARTIES[room] | ALL | sys.stdlib_module_names
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(room)
        for line, name in imports(path)
        if name not in allowed
    ]
    assert wrong == []


def test_every_room_is_in_the_table_and_none_has_a_standard_librarys_name() -> None:
    rooms = {
        path.name for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith((".", "_")) and any(path.rglob("*.py"))
    }  # fmt: skip
    assert rooms - set(LEAVES) - {"data", "runs"} <= set(MAY_IMPORT)
    assert rooms & sys.stdlib_module_names == set()
    assert {path.stem for path in ROOT.glob("*.py")} & sys.stdlib_module_names == set()


def test_table_would_notice(tmp_path: Path) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text("import json\ndef f():\n    from gateways.ib import link\n    return link, json\n")
    assert list(imports(odd)) == [(1, "json"), (3, "gateways")]
