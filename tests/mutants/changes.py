"""What is changed in a source file: every comparison and every constant, one at a time.

Left alone are what is no rule: annotations, decorators, keywords of a class (`frozen=True`), docstrings and texts.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Final

import msgspec

from tests.mutants.rooms import ROOT

MODULE: Final = "(module)"


class Mutant(msgspec.Struct, frozen=True):
    """One change of one place.

    `function` is the qualified name of the outermost function around it, `(module)` for what runs at import.
    `nth` counts equal changes of equal lines of one function. `first_line` to `last_line` is the statement around it;
    `code_line` is where the function's code begins (0 at import).
    """

    file: str
    function: str
    text: str
    change: str
    nth: int
    site: int
    line: int
    first_line: int
    last_line: int
    code_line: int

    @property
    def key(self) -> str:
        """Return what names the change without a line number."""
        return f"{self.file} | {self.function} | {self.text} | {self.change} | {self.nth}"

    @property
    def words(self) -> str:
        """Return where it is and what is changed, for people."""
        return f"{self.file}:{self.line} {self.function}: {self.text}  [{self.change}]"

    @property
    def is_at_import(self) -> bool:
        """Return whether the changed place runs when the module is imported."""
        return self.code_line == 0


class Site(msgspec.Struct, frozen=True):
    """A place in the tree: what it is called, where it stands, and how to change it (which returns how to undo it)."""

    change: str
    node: ast.AST
    function: str
    statement: tuple[int, int]
    code_line: int
    apply: Callable[[], Callable[[], None]]


_COMPARISONS: Final[Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
_SIGNS: Final[Mapping[type[ast.AST], str]] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/",
    ast.FloorDiv: "//", ast.Mod: "%", ast.And: "and", ast.Or: "or",
}  # fmt: skip
_NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_TEXT_TESTS: Final = frozenset({"startswith", "endswith", "removeprefix", "removesuffix", "split", "rpartition"})
_LEAVES: Final = (ast.Return, ast.Continue, ast.Break, ast.Raise)
_BARE: Final = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)


def _swap(node: ast.AST, field: str, value: object) -> Callable[[], Callable[[], None]]:
    """Return a change of one field, which returns its undoing."""

    def apply() -> Callable[[], None]:
        before = getattr(node, field)
        setattr(node, field, value)
        return lambda: setattr(node, field, before)

    return apply


def _swap_at(items: list[ast.cmpop], at: int, value: ast.cmpop) -> Callable[[], Callable[[], None]]:
    def apply() -> Callable[[], None]:
        before = items[at]
        items[at] = value
        return lambda: items.__setitem__(at, before)

    return apply


class _Finder:
    """Walks a module and notes each place; `members` gives each enum member in it the one to put in its place."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self.members = members
        self.sites: list[Site] = []
        self._path: list[str] = []  # classes around
        self._function = MODULE
        self._code_line = 0
        self._statement = (0, 0)

    def note(self, node: ast.AST, change: str, apply: Callable[[], Callable[[], None]]) -> None:
        self.sites.append(Site(change, node, self._function, self._statement, self._code_line, apply))

    # -- the shape -------------------------------------------------------------------------------

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._visit_function(node)
            case ast.ClassDef():
                self._path.append(node.name)
                self._visit_all(node.body)
                self._path.pop()
            case ast.stmt() | ast.match_case():
                before = self._statement
                self._statement = _header(node)
                self._changes_of(node)
                self._visit_children(node)
                self._statement = before
            case _:
                self._changes_of(node)
                self._visit_children(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before = self._statement
        self._statement = (node.lineno, node.body[0].lineno)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self._statement = before
        outer = (self._function, self._code_line)
        if self._function == MODULE:
            self._function = ".".join((*self._path, node.name))
            self._code_line = min((decorator.lineno for decorator in node.decorator_list), default=node.lineno)
        self._visit_all(node.body)
        self._function, self._code_line = outer

    def _visit_all(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            self.visit(node)

    def _visit_children(self, node: ast.AST) -> None:
        for field, value in ast.iter_fields(node):
            if field in {"annotation", "returns", "format_spec"}:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)

    # -- the changes -----------------------------------------------------------------------------

    def _changes_of(self, node: ast.AST) -> None:
        match node:
            case ast.Compare():
                self._comparisons(node)
            case ast.Constant(value=value):
                self._constant(node, value)
            case ast.MatchSingleton(value=bool(flag)):
                self.note(node, f"{flag} to {not flag}", _swap(node, "value", not flag))
            case ast.Attribute(attr=attr, ctx=ast.Load()):
                other = self._other_member(node)
                if other is not None:
                    self.note(node, f"{attr} to {other}", _swap(node, "attr", other))
            case ast.BoolOp():
                other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
                self.note(node, f"{_SIGNS[type(node.op)]} to {_SIGNS[type(other_op)]}", _swap(node, "op", other_op))
                for at, operand in enumerate(node.values):
                    if isinstance(operand, _BARE):
                        self._negated(node, node.values, at, operand)
            case ast.UnaryOp(op=ast.Not()):
                self.note(node, "without not", _swap_not(node))
            case ast.UnaryOp(op=ast.USub()):
                self.note(node, "- to +", _swap(node, "op", ast.UAdd()))
            case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _OPERATORS:
                other_operator = _OPERATORS[type(op)]
                self.note(node, f"{_SIGNS[type(op)]} to {_SIGNS[other_operator]}", _swap(node, "op", other_operator()))
            case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
                self.note(node, f"{name} to {_NAMES[name]}", _swap(node.func, "id", _NAMES[name]))
            case ast.Call(func=ast.Attribute(attr=attr), args=[ast.Constant(value=str(text)) as argument, *_]) if (
                attr in _TEXT_TESTS
            ):
                self.note(argument, f"{text!r} to another text", _swap(argument, "value", f"XX{text}"))
            case ast.If() | ast.While() | ast.IfExp() | ast.comprehension():
                self._conditions(node)
            case ast.match_case(guard=guard) if guard is not None:
                self.note(guard, "without the guard of the case", _swap(node, "guard", None))
                if isinstance(guard, _BARE):
                    self.note(guard, "the guard negated", _swap(node, "guard", _not(guard)))
            case _:
                pass

    def _comparisons(self, node: ast.Compare) -> None:
        for at, op in enumerate(node.ops):
            for other in _COMPARISONS[type(op)]:
                self.note(node, f"{_SIGNS[type(op)]} to {_SIGNS[other]}", _swap_at(node.ops, at, other()))
        for operand in (node.left, *node.comparators):
            if isinstance(operand, ast.Constant) and isinstance(operand.value, str):
                self.note(operand, f"{operand.value!r} to another text", _swap(operand, "value", f"XX{operand.value}"))

    def _constant(self, node: ast.Constant, value: object) -> None:
        if isinstance(value, bool):
            self.note(node, f"{value} to {not value}", _swap(node, "value", not value))
        elif isinstance(value, int):
            for other in (value + 1, value - 1):
                self.note(node, f"{value} to {other}", _swap(node, "value", other))
        elif isinstance(value, float):
            for other_float in (value * 1.1, value * 0.9) if value else (0.1, -0.1):
                self.note(node, f"{value} to {other_float:.4g}", _swap(node, "value", other_float))

    def _conditions(self, node: ast.If | ast.While | ast.IfExp | ast.comprehension) -> None:
        if isinstance(node, ast.comprehension):
            for at, test in enumerate(node.ifs):
                if isinstance(test, _BARE):
                    self._negated(node, node.ifs, at, test)
            return
        if isinstance(node, ast.If) and not node.orelse and isinstance(node.body[-1], _LEAVES):
            never = ast.copy_location(ast.Constant(False), node.test)
            self.note(node.test, "the early guard removed", _swap(node, "test", never))
        if isinstance(node.test, _BARE):
            self.note(node.test, "the condition negated", _swap(node, "test", _not(node.test)))

    def _negated(self, node: ast.AST, values: list[ast.expr], at: int, operand: ast.expr) -> None:
        def apply() -> Callable[[], None]:
            values[at] = _not(operand)
            return lambda: values.__setitem__(at, operand)

        self.note(node, f"{ast.unparse(operand)} negated", apply)

    def _other_member(self, node: ast.Attribute) -> str | None:
        """Return the name of the next member of the enumeration; `None` where this is no member."""
        return self.members.get(ast.unparse(node))


def _not(test: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _swap_not(node: ast.UnaryOp) -> Callable[[], Callable[[], None]]:
    """Return the change of `not x` to `not not x`, which is x as a truth value."""

    def apply() -> Callable[[], None]:
        before = node.operand
        node.operand = _not(before)

        def undo() -> None:
            node.operand = before

        return undo

    return apply


def _header(node: ast.stmt | ast.match_case) -> tuple[int, int]:
    """Return the lines of a statement, without the body of a compound one."""
    match node:
        case ast.match_case():
            first = node.pattern.lineno
            return first, (node.guard or node.pattern).end_lineno or first
        case ast.If() | ast.While():
            return node.lineno, node.test.end_lineno or node.lineno
        case ast.For():
            return node.lineno, node.iter.end_lineno or node.lineno
        case ast.Match():
            return node.lineno, node.subject.end_lineno or node.lineno
        case ast.With() | ast.Try() | ast.AsyncWith() | ast.AsyncFor():
            return node.lineno, node.body[0].lineno
        case _:
            return node.lineno, node.end_lineno or node.lineno


class Source(msgspec.Struct):
    """A file with all its changes."""

    file: str
    tree: ast.Module
    sites: list[Site]
    mutants: list[Mutant]

    def mutated(self, mutant: Mutant) -> CodeType:
        """Return the module's code with one place changed."""
        undo = self.sites[mutant.site].apply()
        try:
            return compile(ast.fix_missing_locations(self.tree), str(ROOT / self.file), "exec", dont_inherit=True)
        finally:
            undo()


def members_in(file: str, names: Mapping[str, object]) -> dict[str, str]:
    """Return each enum member that a file writes, with the name of the next one of its enumeration.

    `names` are the globals of the imported module.
    """
    written = (node for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.Attribute))
    others: dict[str, str] = {}
    for node in written:
        path = ast.unparse(node)
        first, *parts = path.split(".")
        owner: object = None
        value = names.get(first)
        for part in parts:
            owner, value = value, getattr(value, part, None)
        if isinstance(value, enum.Enum) and isinstance(owner, enum.EnumType) and len(owner.__members__) > 1:
            members = list(owner.__members__)
            others[path] = members[(members.index(node.attr) + 1) % len(members)]
    return others


def read(file: str, members: Mapping[str, str]) -> Source:
    """Return a source file and its changes; `members` as `members_in` tells them."""
    return read_text(file, (ROOT / file).read_text(), members)


def read_text(file: str, text: str, members: Mapping[str, str]) -> Source:
    """Return the changes of a text."""
    tree = ast.parse(text)
    lines = text.splitlines()
    finder = _Finder(members)
    finder._visit_all(tree.body)
    seen: dict[tuple[str, str, str], int] = {}
    mutants = []
    for at, site in enumerate(finder.sites):
        line = getattr(site.node, "lineno", site.statement[0])
        place = (site.function, lines[line - 1].strip(), site.change)
        seen[place] = seen.get(place, 0) + 1
        mutants.append(
            Mutant(
                file=file,
                function=site.function,
                text=place[1],
                change=site.change,
                nth=seen[place],
                site=at,
                line=line,
                first_line=site.statement[0],
                last_line=site.statement[1],
                code_line=site.code_line,
            )
        )
    return Source(file, tree, finder.sites, mutants)


def functions_in(code: CodeType) -> Iterator[CodeType]:
    """Return the code of every function of a module or class, and of those inside."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from functions_in(constant)
