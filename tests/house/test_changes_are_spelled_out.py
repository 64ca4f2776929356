"""A changed copy of a struct names its fields: the type checker does not look into `replace`, so this test does.

In the rooms that decide, nothing is splatted into `replace` or `put`, and every field that is named exists: in the
class of the first argument where its annotation says it, in some struct of these rooms where it does not.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module

import msgspec

from tests.house.test_import_direction import modules
from tests.testkit.paths import ROOT

ROOMS = ("actors", "domain", "messages")
Fault = tuple[int, str]


def structs() -> dict[str, frozenset[str]]:
    """Return the fields of every struct and dataclass of the rooms, by name (classes of one name together)."""
    found: dict[str, frozenset[str]] = {}
    for room in ROOMS:
        for path in modules(room):
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
            for name, kind in vars(module).items():
                if inspect.isclass(kind) and kind.__module__ == module.__name__:
                    found[name] = found.get(name, frozenset()) | fields_of(kind)
    return found


def fields_of(kind: type) -> frozenset[str]:
    """Return the fields that a changed copy of this class may name; none where it is no record."""
    if issubclass(kind, msgspec.Struct):
        return frozenset(kind.__struct_fields__)
    return (
        frozenset(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else frozenset()
    )


def faults_in(source: str, fields: dict[str, frozenset[str]]) -> Iterator[Fault]:
    """Yield (line, what) of every splat and every field that does not exist."""
    anything = frozenset().union(*fields.values())
    for call, owners in replacing_calls(ast.parse(source), {}):
        if any(keyword.arg is None for keyword in call.keywords):
            yield call.lineno, "fields are splatted"
            continue
        owner = owners.get(call.args[0].id) if call.args and isinstance(call.args[0], ast.Name) else None
        known = fields.get(owner or "", anything)
        for keyword in call.keywords:
            if keyword.arg not in known:
                yield call.lineno, f"{owner} has no field {keyword.arg}" if owner else f"no struct has {keyword.arg}"


def replacing_calls(node: ast.AST, owners: dict[str, str]) -> Iterator[tuple[ast.Call, dict[str, str]]]:
    """Yield each call of `replace(struct, ...)` or `put(...)`, with the classes of the names annotated there."""
    if isinstance(node, ast.ClassDef):
        owners = owners | {"self": node.name}
    elif isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        assigned = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        owners = {name: owner for name, owner in owners.items() if name == "self"}
        owners |= {a.arg: name for a in arguments if a.annotation is not None and (name := class_in(a.annotation))}
        owners = {name: owner for name, owner in owners.items() if name not in assigned}
    match node:
        case (
            ast.Call(func=ast.Name(id="replace" | "put"))
            | ast.Call(
                func=ast.Attribute(attr="replace", value=ast.Attribute(attr="structs", value=ast.Name(id="msgspec")))
            )
        ):
            yield node, owners
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from replacing_calls(child, owners)


def class_in(annotation: ast.expr) -> str | None:
    """Return the name of the class that an annotation is, where it is one."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def test_copies_are_changed_by_fields_that_exist() -> None:
    fields = structs()
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for room in ("actors", "domain")
        for path in modules(room)
        for line, what in faults_in(path.read_text(encoding="utf-8"), fields)
    ]
    assert wrong == []


def test_each_fault_is_named() -> None:
    source = """
def f(order: Order, row, given):
    a = replace(order, qty=1)
    b = replace(order, qyt=1)
    c = replace(row, price=1)
    d = msgspec.structs.replace(row, nothing_such=1)
    e = replace(order, **given)
    put(**given)
    return given.replace(microsecond=1), "a".replace("a", "b")


class Order:
    def moved(self):
        return replace(self, price=1)
"""
    assert list(faults_in(source, {"Order": frozenset({"qty"}), "Row": frozenset({"price"})})) == [
        (4, "Order has no field qyt"), (6, "no struct has nothing_such"), (7, "fields are splatted"),
        (8, "fields are splatted"), (14, "Order has no field price"),
    ]  # fmt: skip
