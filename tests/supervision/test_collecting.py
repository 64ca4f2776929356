"""Garbage is collected while nobody is busy, and never left for good."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from supervision import collecting
from supervision.collecting import SELDOM, IdleCollector, collected_seldom, due
from supervision.threaded import LiveRuntime
from tests.testkit.live import Start, eventually, starter
from tests.testkit.toys import Log, Toy, say, spec, toy_tree

THRESHOLDS = (700, 10, 10)


class Knot:
    """An object that only a collection frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def start() -> Iterator[Start]:
    with starter() as begin:
        yield begin


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.collect()
    yield
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*thresholds)


def knot(youngest: int) -> weakref.ref[Knot]:
    """Make garbage, and the youngest generation due at so many objects."""
    gc.set_threshold(youngest, 10, 10)
    return weakref.ref(Knot())


def made() -> list[list[object]]:
    """Make what counts towards the next collection."""
    return [[] for _ in range(100)]


@pytest.mark.parametrize(
    ("counts", "generation"),
    [((700, 11, 11), None), ((701, 10, 11), 2), ((701, 11, 10), 1), ((701, 10, 10), 0), ((701, 11, 11), 2)],
)
def test_the_generation_that_is_due_is_the_one_that_python_would_collect(
    counts: tuple[int, ...], generation: int | None
) -> None:
    assert due(counts, THRESHOLDS) == generation


def test_python_collects_nothing_by_itself_and_what_stood_before_is_set_aside() -> None:
    collector = IdleCollector(lambda: False).started()
    try:
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        collector.close()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_in_an_idle_moment() -> None:
    idle = threading.Event()
    collector = IdleCollector(idle.is_set).started()
    try:
        gone = knot(youngest=10)
        kept = made()
        collector.look()
        assert gone() is not None, kept
        idle.set()
        assert eventually(lambda: gone() is None)
    finally:
        collector.close()


def test_garbage_that_is_overdue_is_collected_whoever_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = IdleCollector(lambda: False)
    gone = knot(youngest=10)
    gc.disable()
    kept = made()
    collector.look()
    assert gone() is not None, kept
    monkeypatch.setattr(collecting, "OVERDUE", 1)
    kept = made()
    collector.look()
    assert gone() is None, kept


def test_all_objects_are_collected_at_most_every_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[int] = []
    clock = iter((0.0, 599.0, 600.0, 601.0, 1199.0, 1200.0))
    collector = IdleCollector(lambda: True, lambda: next(clock))
    monkeypatch.setattr(gc, "get_count", lambda: (701, 11, 11))
    monkeypatch.setattr(gc, "get_threshold", lambda: THRESHOLDS)
    monkeypatch.setattr(gc, "collect", collected.append)
    for _ in range(5):
        collector.look()
    assert collected == [1, 2, 1, 1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_python_collects_again_when_the_collectors_thread_has_died() -> None:
    def fail() -> bool:
        raise RuntimeError("no runtime")

    kept: list[list[object]] = []

    def is_on_again() -> bool:
        kept.extend(made())
        return gc.isenabled()

    collector = IdleCollector(fail).started()
    try:
        gc.set_threshold(500, 10, 10)  # due at each look, overdue at none
        assert eventually(is_on_again)
    finally:
        collector.close()


def test_a_tree_is_idle_while_nobody_has_anything_to_do(start: Start) -> None:
    log: Log = []
    holds = {"k": threading.Event()}
    runtime: LiveRuntime = start(toy_tree(spec("a:1", lambda n: Toy(n, log, holds)), log=log))
    assert eventually(runtime.is_at_rest)
    runtime.post("a:1", say("hold k"), "edge:t")
    try:
        assert eventually(lambda: not runtime.is_at_rest())
    finally:
        holds["k"].set()
    assert eventually(runtime.is_at_rest)


def test_a_run_on_virtual_time_is_collected_seldom_and_afterwards_as_before() -> None:
    before = (700, 10, 10)  # as Python begins; tests are collected less often
    gc.set_threshold(*before)
    with pytest.raises(KeyError), collected_seldom():
        gone, kept = weakref.ref(Knot()), [made() for _ in range(before[0] // 50)]
        assert gc.get_threshold() == SELDOM
        assert gone() is not None, kept
        raise KeyError
    assert gc.get_threshold() == before
    assert gc.isenabled()
