"""The changes that are planted: every comparison and every constant, and nothing that is no rule."""

from __future__ import annotations

import ast
import textwrap

import pytest

from domain.orders.live_order import LegStage
from tests.mutants.changes import MODULE, Source, functions_in, members_in, read_text
from tests.mutants.explained import Explanation, explanation_of, load
from tests.mutants.rooms import ROOMS


def source(text: str, **members: str) -> Source:
    return read_text("room.py", textwrap.dedent(text).lstrip(), {k.replace("__", "."): v for k, v in members.items()})


def changes(text: str, **members: str) -> list[str]:
    return [mutant.change for mutant in source(text, **members).mutants]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a < b", ["< to <=", "< to >="]),
        ("a is None", ["is to is not"]),
        ("a in b", ["in to not in"]),
        ("a == 'x'", ["== to !=", "'x' to another text"]),
        ("min(a, b)", ["min to max"]),
        ("a - b", ["- to +"]),
        ("-a", ["- to +"]),
        ("not a", ["without not"]),
        ("True", ["True to False"]),
        ("7", ["7 to 8", "7 to 6"]),
        ("0.5", ["0.5 to 0.55", "0.5 to 0.45"]),
        ("a and b", ["and to or", "a negated", "b negated"]),
        ("[x for x in y if x]", ["x negated"]),
        ("Stage.SENT", ["SENT to WORKING"]),
        ("other.SENT", []),
        ("'a text'", []),
        ("x: tuple[int, 3]", []),
        ("class A(B, frozen=True): pass", []),
        ("@cache(maxsize=3)\ndef f(): pass", []),
    ],
)
def test_what_is_changed(text: str, wanted: list[str]) -> None:
    assert changes(text, Stage__SENT="WORKING") == wanted


def test_an_early_guard_is_removed_and_the_guard_of_a_case_too() -> None:
    text = """
        def f(a):
            if a.is_off:
                return
            match a:
                case A(is_exit=True) if a.is_on:
                    pass
        """
    assert changes(text) == [
        "the early guard removed", "the condition negated", "without the guard of the case", "the guard negated",
        "True to False",
    ]  # fmt: skip


def test_a_change_knows_its_function_its_statement_and_whether_it_runs_at_import() -> None:
    made = source(
        """
        LIMIT = 3


        class A:
            size: int = 4

            @property
            def big(self):
                return (
                    self.size
                    > LIMIT
                )


        def f(a=5):
            return lambda: a + 6
        """
    )
    at_import = [(m.function, m.text) for m in made.mutants if m.is_at_import]
    assert at_import == [(MODULE, "LIMIT = 3")] * 2 + [(MODULE, "size: int = 4")] * 2 + [(MODULE, "def f(a=5):")] * 2
    big = next(m for m in made.mutants if m.function == "A.big")
    assert (big.first_line, big.last_line, big.code_line) == (9, 12, 7)
    codes = {(code.co_qualname, code.co_firstlineno) for code in functions_in(made.mutated(big))}
    assert all((m.function, m.code_line) in codes for m in made.mutants if not m.is_at_import)


def test_a_change_is_made_once_and_undone() -> None:
    made = source("a = 1 < 2")
    before = ast.dump(made.tree)
    results = []
    for mutant in made.mutants:
        names: dict[str, object] = {}
        exec(made.mutated(mutant), names)
        results.append((mutant.change, names["a"]))
    assert results == [
        ("< to <=", True), ("< to >=", False), ("1 to 2", False), ("1 to 0", True), ("2 to 3", True), ("2 to 1", False),
    ]  # fmt: skip
    assert ast.dump(made.tree) == before


def test_enum_members_are_known_by_the_module_that_names_them() -> None:
    others = members_in("domain/orders/order_pair.py", {"LegStage": LegStage})
    assert others == {"LegStage.ENDED": "RECORDING", "LegStage.RECORDING": "SENT"}


def test_an_explanation_is_found_by_function_and_text() -> None:
    (first, *_) = source("def f(a):\n    return a < 1\n").mutants
    why = Explanation(file="room.py", function="f", reason="because", text="return a < 1")
    assert explanation_of(first, [why]) is why
    assert explanation_of(first, [Explanation(file="room.py", function="g", reason="because")]) is None


def test_every_explanation_is_of_a_room_and_says_why() -> None:
    files = {file for room in ROOMS for file in room.files()}
    for explanation in load():
        assert explanation.file in files
        assert len(explanation.reason) > 20
