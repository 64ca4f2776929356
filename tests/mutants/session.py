"""One pytest session, collected once: which test runs which line, and a child process per change that runs those.

A change inside a function is made by exchanging the code of the live function in a forked child of the collected
session; one of what runs at import is made by a child that imports the module with the change and collects anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib.abc
import importlib.machinery
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import hypothesis
import msgspec
import pytest
from _pytest.runner import runtestprotocol

from tests.mutants.changes import Mutant, Source, functions_in
from tests.mutants.rooms import ROOT

EXAMPLES: Final = 30  # of a property test, the same ones each time
MEMORY_BYTES: Final = 3 << 30  # a change may make a loop that fills the memory
CPU_S: Final = 30  # at least, of one change's tests; four times what they took alone where that is more
TEST_CPU_S: Final = 3  # at least, of one test; twice what it took under the tracer where that is more
ID_BYTES: Final = 1024  # of a test, blanks after it
WALL_TIMES: Final = 10  # a machine may be busy; a test may wait for ever

Begin = Callable[[str], None]
KILLED, SURVIVED, HUNG = "killed", "survived", "hung"


class Reach(msgspec.Struct):
    """What one test runs: lines by file, and how many seconds of the processor it takes."""

    test: str
    seconds: float
    lines: dict[str, list[int]]


class Verdict(msgspec.Struct, frozen=True):
    """What became of a change; `by` is the test that noticed it or did not end, `tests` how many were to be run."""

    outcome: str
    by: str | None
    tests: int


def quiet_hypothesis() -> None:
    """Make property tests repeatable and short: what they find is not shrunk, nothing is kept."""
    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=EXAMPLES,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutants")


def shorten(items: Iterable[pytest.Item]) -> None:
    """Hold the property tests that name a number of examples of their own to ours."""
    for item in items:
        function = getattr(item, "obj", None)
        function = getattr(function, "__func__", function)
        own = getattr(function, "_hypothesis_internal_use_settings", None)
        if own is not None and own.max_examples > EXAMPLES:
            function._hypothesis_internal_use_settings = hypothesis.settings(own, max_examples=EXAMPLES)  # type: ignore[union-attr]
        case = getattr(item, "cls", None)
        machine = getattr(case, "settings", None)
        if isinstance(machine, hypothesis.settings) and machine.max_examples > EXAMPLES:
            case.settings = hypothesis.settings(machine, max_examples=EXAMPLES)  # type: ignore[union-attr]


def pytest_main(tests: tuple[str, ...], plugin: object) -> int:
    """Run a pytest session over these paths, without what a child process cannot share."""
    base = tempfile.mkdtemp(prefix="mutants-")
    try:
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:timeout", "-p", "no:faulthandler", "-o", "addopts="]
        options += ["--import-mode=importlib", "--basetemp", f"{base}/session", "--no-header", "--no-summary"]
        options += ["--tb=no"]  # the text of a first traceback takes a child longer than most tests
        return int(pytest.main([*options, *tests], plugins=[plugin]))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def run_items(items: list[pytest.Item], seconds_of: Callable[[str], float], begin: Begin) -> str | None:
    """Run tests until one fails; return its id, `None` where all pass.

    `seconds_of` is what a test takes without a change: one that runs for ever ends the process soon, however long the
    tests after it would take. `begin` is told the id of each.
    """
    for item, after in zip(items, [*items[1:], None], strict=True):
        begin(item.nodeid)
        _allow(seconds_of(item.nodeid))
        reports = runtestprotocol(item, log=False, nextitem=after)
        if any(report.failed for report in reports):
            return item.nodeid
    return None


def _allow(seconds: float) -> None:
    _, most_s = resource.getrlimit(resource.RLIMIT_CPU)  # what `_limit` has set for all tests together
    until_s = math.ceil(time.process_time() + max(TEST_CPU_S, 2 * seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (min(until_s, most_s), most_s))


# -- which test runs which line ------------------------------------------------------------------


class Tracer:
    """A pytest plugin that runs all tests once and notes the lines of the given files that each runs."""

    def __init__(self, files: list[str]) -> None:
        self.files = {str(ROOT / file): file for file in files}
        self.reached: list[Reach] = []
        self.failed: list[str] = []
        self._lines: set[tuple[str, int]] = set()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run every test under the tracer."""
        shorten(session.items)
        for item, after in zip(session.items, [*session.items[1:], None], strict=True):
            self._lines = set()
            threading.settrace(self._called)
            sys.settrace(self._called)
            began = time.process_time()  # on a busy machine the clock on the wall says little of a test
            try:
                reports = runtestprotocol(item, log=False, nextitem=after)
            finally:
                sys.settrace(None)
                threading.settrace(None)
            if any(report.failed for report in reports):
                self.failed.append(item.nodeid)
            by_file: dict[str, list[int]] = {}
            for name, line in sorted(self._lines):
                by_file.setdefault(self.files[name], []).append(line)
            self.reached.append(Reach(item.nodeid, time.process_time() - began, by_file))
        return True

    def _called(self, frame: FrameType, _event: str, _arg: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if name not in self.files:
            return None
        self._lines.add((name, frame.f_lineno))
        return self._stepped

    def _stepped(self, frame: FrameType, event: str, _arg: object) -> Callable[..., Any]:
        if event == "line":
            self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._stepped


# -- one child a change --------------------------------------------------------------------------


class Planter:
    """A pytest plugin that, instead of running the tests, forks a child for each change of a function.

    `tests_of` names the tests to run for a change, best first, `seconds_of` how long one takes; `tell` takes each
    verdict as it comes.
    """

    def __init__(
        self,
        sources: dict[str, Source],
        mutants: list[Mutant],
        tests_of: Callable[[Mutant], list[str]],
        seconds_of: Callable[[str], float],
        tell: Callable[[Mutant, Verdict], None],
    ) -> None:
        self.sources = sources
        self.mutants = mutants
        self.tests_of = tests_of
        self.seconds_of = seconds_of
        self.tell = tell

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Plant each change in a child."""
        shorten(session.items)
        items = {item.nodeid: item for item in session.items}
        live = _live_functions({str(ROOT / file) for file in self.sources})
        factory = getattr(session.config, "_tmp_path_factory", None)
        cached = _cached_functions()
        gc.collect()
        gc.freeze()
        for mutant in self.mutants:
            chosen = [items[test] for test in self.tests_of(mutant) if test in items]
            code = _code_of(self.sources[mutant.file].mutated(mutant), mutant)
            where = live.get((str(ROOT / mutant.file), mutant.function, mutant.code_line), [])

            def child(
                begin: Begin, chosen: list[pytest.Item] = chosen, code: CodeType = code, where: Any = where
            ) -> str | None:
                for function in where:
                    function.__code__ = code
                for cache in cached:
                    cache.cache_clear()
                with tempfile.TemporaryDirectory(prefix="mutant-") as base:
                    if factory is not None:
                        factory._basetemp = Path(base)
                    return run_items(chosen, self.seconds_of, begin)

            if not chosen or not where:
                self.tell(mutant, Verdict(SURVIVED, None, 0))
            else:
                self.tell(mutant, in_child(child, len(chosen), sum(self.seconds_of(test.nodeid) for test in chosen)))
        return True


class Collected:
    """A pytest plugin that runs the collected tests in a given order until one fails."""

    def __init__(self, order: Callable[[str], float], seconds_of: Callable[[str], float], begin: Begin) -> None:
        self.order = order
        self.seconds_of = seconds_of
        self.begin = begin
        self.by: str | None = "collection"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests, those with the lowest order first."""
        if session.testsfailed:
            return True
        shorten(session.items)
        ordered = sorted(session.items, key=lambda item: self.order(item.nodeid))
        self.by = run_items(ordered, self.seconds_of, self.begin)
        return True


def at_import(
    source: Source, mutant: Mutant, tests: tuple[str, ...], order: Callable[[str], float], seconds: dict[str, float]
) -> Verdict:
    """Return what the tests say to a module that is imported with one change; `seconds` is what each test takes."""

    def child(begin: Begin) -> str | None:
        sys.meta_path.insert(0, ChangedModule(mutant.file, source.mutated(mutant)))
        quiet_hypothesis()
        plugin = Collected(order, lambda test: seconds.get(test, 1.0), begin)
        pytest_main(tests, plugin)
        return plugin.by

    return in_child(child, 0, sum(seconds.values()))


def in_child(work: Callable[[Begin], str | None], tests: int, seconds: float) -> Verdict:
    """Return what a forked child reports: the id of the first failing test; one that ends by itself has failed too.

    `seconds` is what the tests take without a change.
    """
    with tempfile.TemporaryFile() as begun:
        return _in_child(work, tests, max(CPU_S, int(4 * seconds)), begun.fileno())


def _in_child(work: Callable[[Begin], str | None], tests: int, cpu_s: int, begun: int) -> Verdict:
    """Return the verdict of a child that may use so much of the processor; `begun` is a file for the running test."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _limit(cpu_s)
        by: str | None = "the process"
        with contextlib.suppress(BaseException):
            by = work(lambda test: _begin(begun, test))
        os.write(writer, (by or "").encode())
        os._exit(1 if by else 0)
    os.close(writer)
    deadline = time.monotonic() + WALL_TIMES * cpu_s
    outcome = ""
    while not outcome:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            outcome = KILLED if status else SURVIVED
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGKILL}:
                outcome = HUNG
        elif time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            outcome = HUNG
        else:
            time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it started and left
    by = os.read(reader, 4096).decode() or None
    os.close(reader)
    if outcome == HUNG:
        by = os.pread(begun, ID_BYTES, 0).decode(errors="replace").strip() or None
    return Verdict(outcome, by, tests)


def _begin(file: int, test: str) -> None:
    os.pwrite(file, test.encode().ljust(ID_BYTES)[:ID_BYTES], 0)


def _limit(cpu_s: int) -> None:
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the one who started it
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _live_functions(files: set[str]) -> dict[tuple[str, str, int], list[FunctionType]]:
    """Return the functions of files that are loaded; those that somebody froze are hidden, and thawed."""
    gc.unfreeze()
    live: dict[tuple[str, str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        # `isinstance` asks a dead weak reference what it is
        if type(thing) is FunctionType and thing.__code__.co_filename in files:
            code = thing.__code__
            live.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    return live


def _code_of(module: CodeType, mutant: Mutant) -> CodeType:
    """Return the code of the changed function."""
    for code in functions_in(module):
        if code.co_qualname == mutant.function and code.co_firstlineno == mutant.code_line:
            return code
    raise LookupError(f"{mutant.key}: no code of this function")


def _cached_functions() -> list[functools._lru_cache_wrapper[Any]]:
    """Return our functions that remember their answers, the tests' own left out (they stay, as their constants do).

    It is asked before the objects are frozen, which hides them; what somebody froze before is thawed.
    """
    gc.unfreeze()
    return [
        thing
        for thing in gc.get_objects()
        if type(thing) is functools._lru_cache_wrapper  # `isinstance` asks a dead weak reference what it is
        and isinstance(wrapped := getattr(thing, "__wrapped__", None), FunctionType)
        and wrapped.__code__.co_filename.startswith(str(ROOT))
        and not wrapped.__code__.co_filename.startswith(str(ROOT / "tests"))
    ]


class ChangedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from code of ours; all others come as ever."""

    def __init__(self, file: str, code: CodeType) -> None:
        self.name = module_name(file)
        self.path = str(ROOT / file)
        self.code = code

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        """Return our spec of the one module."""
        if fullname != self.name:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=self.path)
        spec.has_location = True
        return spec

    def create_module(self, _spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Return nothing: a plain module does."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code as the module's."""
        exec(self.code, module.__dict__)


def module_name(file: str) -> str:
    """Return the name under which a source file is imported."""
    return file.removesuffix(".py").replace("/", ".")
