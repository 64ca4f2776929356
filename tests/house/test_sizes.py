"""Modules of at most 400 lines, functions of at most 70: what is longer has two subjects."""

from __future__ import annotations

import ast

import pytest
from test_import_direction import MAY_IMPORT, ROOT, modules

LINES_MAX, FUNCTION_LINES_MAX = 400, 70
# Longer, with the reason.
ALLOWED_MODULES: dict[str, str] = {
    "messages/orders.py": "one conversation, one file: 40 declarations and no code",
}
ALLOWED_FUNCTIONS: dict[str, str] = {}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_modules_are_short(room: str):
    found = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules(room)}
    long = {name: n for name, n in found.items() if n > LINES_MAX and not name.endswith("_pb2.py")}
    assert set(long) - set(ALLOWED_MODULES) == set(), long


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_functions_are_short(room: str):
    long: dict[str, int] = {}
    for path in modules(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                n = (node.end_lineno or node.lineno) - node.lineno + 1
                if n > FUNCTION_LINES_MAX:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = n
    assert set(long) - set(ALLOWED_FUNCTIONS) == set(), long


def test_exceptions_still_exist():
    for name in ALLOWED_MODULES:
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) > LINES_MAX
