"""No room holds an import circle: imports for type checkers and imports inside functions count like all others."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

from tests.testkit.paths import ROOT

NO_ROOMS = ("tests", "notebooks", "docs", "deploy", "data", "runs")
ROOMS = sorted(
    path.name for path in ROOT.iterdir()
    if path.is_dir() and not path.name.startswith((".", "_")) and path.name not in NO_ROOMS and any(path.rglob("*.py"))
)  # fmt: skip

Graph = Mapping[str, frozenset[str]]


def module_name(path: Path, root: Path) -> str:
    """Return the dotted name of a module; a package's is its folder's."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module, modules: Collection[str]) -> Iterator[str]:
    """Return every module of `modules` that a module imports, wherever in it; a submodule counts, not its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in modules:
                    yield submodule
                elif node.module in modules:
                    yield node.module


def graph_of(room: Path) -> Graph:
    """Return for each module of a room the modules of the same room that it imports."""
    paths = {module_name(path, room.parent): path for path in sorted(room.rglob("*.py"))}
    return {
        name: frozenset(imported(ast.parse(path.read_text(encoding="utf-8")), paths)) - {name}
        for name, path in paths.items()
    }


def circle_in(graph: Graph) -> list[str] | None:
    """Return the modules of one import circle, the first one again at the end; `None` where there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        for other in sorted(graph[name]):
            found = walk(other, [*way, name])
            if found is not None:
                return found
        done.add(name)
        return None

    return next((found for name in sorted(graph) if (found := walk(name, [])) is not None), None)


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_no_import_circle(room: str) -> None:
    circle = circle_in(graph_of(ROOT / room))
    assert circle is None, f"import circle in {room}: {' -> '.join(circle or [])}; move what they share down"


@pytest.mark.parametrize(
    ("back", "expected"),
    [
        ("from room.folder.b import thing", "room.a -> room.folder.b -> room.a"),
        ("import room.folder.b", "room.a -> room.folder.b -> room.a"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room.folder import b",
         "room.a -> room.folder.b -> room.a"),
        ("def late():\n    from room.folder import b\n    return b", "room.a -> room.folder.b -> room.a"),
        ("from room.folder import c", None),
    ],
)  # fmt: skip
def test_a_planted_circle_is_named(tmp_path: Path, back: str, expected: str | None) -> None:
    room = tmp_path / "room"
    (room / "folder").mkdir(parents=True)
    (room / "folder" / "b.py").write_text("from room.folder import c\nfrom room import a\nprint(a, c)\n")
    (room / "folder" / "c.py").write_text("import json\nprint(json)\n")
    (room / "a.py").write_text(back + "\n")
    circle = circle_in(graph_of(room))
    assert (None if circle is None else " -> ".join(circle)) == expected
