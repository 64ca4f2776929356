"""What a child process tells of the tests that it runs for one change."""

from __future__ import annotations

import gc

import pytest

from domain.position.day import _day, day_of
from tests.mutants import session
from tests.mutants.campaign import _independent_of
from tests.mutants.session import HUNG, KILLED, SURVIVED, Begin, Verdict, in_child
from tests.testkit.position_history import settings

TEST = "tests/test_a.py::test_b"


@pytest.mark.parametrize(("by", "outcome"), [(TEST, KILLED), (None, SURVIVED)])
def test_child_tells_which_test_has_failed_if_any(by: str | None, outcome: str) -> None:
    assert in_child(lambda _: by, 3, 0.0) == Verdict(outcome, by, 3)


def test_child_that_crashes_has_noticed_the_change() -> None:
    def work(_: Begin) -> str | None:
        raise SystemExit(3)

    assert in_child(work, 3, 0.0) == Verdict(KILLED, "the process", 3)


@pytest.mark.slow
def test_child_whose_test_does_not_end_is_ended_and_the_test_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "TEST_CPU_S", 0)

    def work(begin: Begin) -> str | None:
        begin("tests/test_a.py::test_of_before_with_a_longer_name")
        begin(TEST)
        session._allow(0.0)
        while True:
            pass

    assert in_child(work, 3, 0.0) == Verdict(HUNG, TEST, 3)


def test_functions_are_found_though_they_were_set_aside_when_all_tests_were_collected() -> None:
    gc.freeze()
    code = day_of.__code__
    found = session._live_functions({code.co_filename})
    assert found[code.co_filename, code.co_qualname, code.co_firstlineno] == [day_of]


def test_answers_that_our_functions_remember_are_forgotten_and_those_of_the_tests_are_not() -> None:
    found = session._cached_functions()
    assert _day in found
    assert settings not in found


def test_module_of_a_package_that_imports_the_changed_one_is_imported_by_the_child_alone() -> None:
    package = ["actors.ibkr", "actors.ibkr.actor", "actors.ibkr.orders", "actors.ibkr.state"]
    loaded = ["actors", *package, "domain", "domain.units"]
    assert _independent_of("actors/ibkr/orders.py", loaded) == ["actors", "domain", "domain.units"]
