"""One room at a time: find its changes, find which test runs which line, plant each change, keep the verdicts."""

from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import importlib
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.mutants import session
from tests.mutants.changes import Mutant, Source, members_in, read
from tests.mutants.rooms import ROOT, Room
from tests.mutants.session import KILLED, SURVIVED, Planter, Reach, Tracer, Verdict

KEPT: Final = ROOT / ".mutants"  # verdicts and coverage of earlier runs; may be deleted


class Known(msgspec.Struct):
    """A verdict with what it rests on: the changed file, and the tests that were run."""

    verdict: Verdict
    source: str
    tests: str


class Book:
    """The verdicts of a room, kept on disk so that a run that was broken off goes on."""

    def __init__(self, room: Room) -> None:
        self.path = KEPT / f"{room.name.replace('/', '-')}.jsonl"
        self.known: dict[str, Known] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_bytes().splitlines():
                key, known = msgspec.json.decode(line, type=tuple[str, Known])
                self.known[key] = known

    def write(self, mutant: Mutant, known: Known) -> None:
        """Keep a verdict."""
        self.known[mutant.key] = known
        KEPT.mkdir(exist_ok=True)
        (KEPT / ".gitignore").write_text("*\n")
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode((mutant.key, known)) + b"\n")


class Campaign:
    """Everything about one room, read afresh."""

    def __init__(self, room: Room, say: Callable[[str], None]) -> None:
        self.room = room
        self.say = say
        members, loaded = apart(lambda: _look_at(room))
        self.loaded: list[str] = loaded
        self.sources: dict[str, Source] = {file: read(file, members[file]) for file in room.files()}
        self.mutants = [mutant for source in self.sources.values() for mutant in source.mutants]
        self.book = Book(room)
        self._hash_of: dict[str, str] = {}
        self._tests_in: dict[str, dict[str, str]] = {}
        self._tests = sorted({test for pattern in room.tests for test in _test_files(pattern)})
        self._all_tests = self._digest(self._tests)

    def run(self, chosen: list[Mutant], *, is_fresh: bool = False) -> None:
        """Plant the changes of which no valid verdict is kept."""
        due = [mutant for mutant in chosen if is_fresh or not self.is_known(mutant)]
        if not due:
            return
        reached = self._coverage()
        seconds = {reach.test: reach.seconds for reach in reached}
        inside = [mutant for mutant in due if not mutant.is_at_import]
        self.say(f"{self.room.name}: {len(due)} of {len(chosen)} changes to plant, {len(reached)} tests")
        killers: dict[tuple[str, str], list[str]] = {}
        by_line: dict[tuple[str, int], list[str]] = {}
        for reach in sorted(reached, key=lambda reach: reach.seconds):
            for file, lines in reach.lines.items():
                for line in lines:
                    by_line.setdefault((file, line), []).append(reach.test)

        def tests_of(mutant: Mutant) -> list[str]:
            lines = range(mutant.first_line, mutant.last_line + 1)
            reaching = {test for line in lines for test in by_line.get((mutant.file, line), ())}
            before = self.book.known.get(mutant.key)
            first = killers.get((mutant.file, mutant.function), [])[-6:]
            if before is not None and before.verdict.by is not None:
                first = [*first, before.verdict.by]
            ordered = dict.fromkeys(
                (*(test for test in reversed(first) if test in reaching), *_fast(reaching, seconds))
            )
            return list(ordered)

        def seconds_of(test: str) -> float:
            return seconds.get(test, 1.0)

        def tell(mutant: Mutant, verdict: Verdict) -> None:
            if verdict.by is not None:
                killers.setdefault((mutant.file, mutant.function), []).append(verdict.by)
            self._keep(mutant, verdict)

        if inside:
            # In a process of its own: what the tests import must not be there when a module is to be imported changed.
            apart(lambda: self._plant(inside, tests_of, seconds_of, tell))
            self.book = Book(self.room)
        for file in self.sources:
            at_import = [mutant for mutant in due if mutant.is_at_import and mutant.file == file]
            if at_import:
                apart(lambda file=file, at_import=at_import: self._plant_at_import(file, at_import, seconds))  # type: ignore[misc]
        self.book = Book(self.room)

    def _plant(
        self,
        mutants: list[Mutant],
        tests_of: Callable[[Mutant], list[str]],
        seconds_of: Callable[[str], float],
        tell: Callable[[Mutant, Verdict], None],
    ) -> None:
        session.quiet_hypothesis()
        code = session.pytest_main(self.room.tests, Planter(self.sources, mutants, tests_of, seconds_of, tell))
        if code:
            raise SystemExit(f"{self.room.name}: pytest ended with {code}")

    def _plant_at_import(self, file: str, mutants: list[Mutant], seconds: dict[str, float]) -> None:
        for name in _independent_of(file, self.loaded):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        sys.dont_write_bytecode = False  # each child imports the rest anew: what one has compiled, the others read
        gc.collect()
        gc.freeze()
        killers: list[str] = []
        for mutant in mutants:
            before = self.book.known.get(mutant.key)
            first = [*killers[-12:], *([] if before is None or before.verdict.by is None else [before.verdict.by])]

            def order(test: str, first: list[str] = first) -> float:
                return -1.0 if test in first else seconds.get(test, 1.0)

            # Most are noticed where the ones before were, or by the room's own folder: the rest need not be imported.
            nearest = dict.fromkeys(test.partition("::")[0] for test in reversed(first) if "::" in test)
            for tests in (tuple(nearest)[:2], self.room.tests[:1], self.room.tests[1:]):
                if not tests:
                    continue
                verdict = session.at_import(self.sources[file], mutant, tests, order, seconds)
                if verdict.outcome != SURVIVED:
                    break
            if verdict.by is not None:
                killers.append(verdict.by)
            self._keep(mutant, verdict)

    def _coverage(self) -> list[Reach]:
        """Return which test runs which line; kept, test file by test file, until that file or a source changes."""
        path = KEPT / f"{self.room.name.replace('/', '-')}.reach"
        kept: dict[str, tuple[str, list[Reach]]] = {}
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
            kept = msgspec.msgpack.decode(path.read_bytes(), type=dict[str, tuple[str, list[Reach]]])
        stamps = {file: self._digest([*self.sources, file]) for file in self._tests if "/test_" in file}
        kept = {file: (stamp, kept[file][1]) for file, stamp in stamps.items() if kept.get(file, ("",))[0] == stamp}
        new = tuple(file for file in stamps if file not in kept)

        def trace() -> tuple[list[Reach], list[str]]:
            session.quiet_hypothesis()
            tracer = Tracer(list(self.sources))
            session.pytest_main(new, tracer)
            return tracer.reached, tracer.failed

        if new:
            reached, failed = apart(trace)
            if failed:
                self.say(f"{self.room.name}: left out, they fail without any change: {', '.join(failed)}")
            for file in new:
                of_file = [reach for reach in reached if reach.test.partition("::")[0] == file]
                passing = [reach for reach in of_file if reach.test not in failed]
                kept[file] = (stamps[file] if len(passing) == len(of_file) else "", passing)
            KEPT.mkdir(exist_ok=True)
            path.write_bytes(msgspec.msgpack.encode(kept))
        found = [reach for _, reaches in kept.values() for reach in reaches]
        if not found:
            raise SystemExit(f"{self.room.name}: no test passes")
        return found

    # -- verdicts --------------------------------------------------------------------------------

    def is_known(self, mutant: Mutant) -> bool:
        """Return whether a kept verdict still holds: of this source, and of the test that noticed (or all of them).

        What that test calls may have changed since: `--fresh` runs everything again.
        """
        known = self.book.known.get(mutant.key)
        if known is None or known.source != self._digest([mutant.file]):
            return False
        return known.tests == (self._all_tests if known.verdict.by is None else self._killer_digest(known.verdict.by))

    def survivors(self, chosen: Iterable[Mutant]) -> list[Mutant]:
        """Return the changes that no test noticed."""
        return [m for m in chosen if m.key in self.book.known and self.book.known[m.key].verdict.outcome == SURVIVED]

    def outcome(self, mutant: Mutant) -> str:
        """Return what became of a change."""
        known = self.book.known.get(mutant.key)
        return "not run" if known is None else known.verdict.outcome

    def _keep(self, mutant: Mutant, verdict: Verdict) -> None:
        if verdict.outcome != KILLED:
            self.say(f"  {verdict.outcome}: {mutant.words}")
        tests = self._all_tests if verdict.by is None else self._killer_digest(verdict.by)
        self.book.write(mutant, Known(verdict, self._digest([mutant.file]), tests))

    def _killer_digest(self, test: str) -> str:
        """Return a digest of the test itself (its table of cases included), empty where it is gone."""
        file, _, name = test.partition("::")
        if file not in self._tests_in:
            text = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
            self._tests_in[file] = {
                node.name: hashlib.sha256(ast.dump(node).encode()).hexdigest()[:16] for node in nodes
            }
        return self._tests_in[file].get(name.rpartition("::")[2].partition("[")[0], "")

    def _digest(self, files: Iterable[str]) -> str:
        total = hashlib.sha256()
        for file in files:
            if file not in self._hash_of:
                self._hash_of[file] = hashlib.sha256((ROOT / file).read_bytes()).hexdigest()
            total.update(self._hash_of[file].encode())
        return total.hexdigest()[:16]


def _fast(tests: Iterable[str], seconds: dict[str, float]) -> list[str]:
    return sorted(tests, key=lambda test: seconds.get(test, 1.0))


def _test_files(path: str) -> list[str]:
    where = ROOT / path
    found = where.rglob("*.py") if where.is_dir() else [where]
    return [str(file.relative_to(ROOT)) for file in found]


def _look_at(room: Room) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the enum members of each file and the modules that are loaded with the room."""
    members = {
        file: members_in(file, vars(importlib.import_module(session.module_name(file)))) for file in room.files()
    }
    return members, [name for name, module in sys.modules.items() if getattr(module, "__spec__", None) is not None]


def _independent_of(file: str, loaded: list[str]) -> list[str]:
    """Return the loaded modules of others, and those of ours that do not import the file, however indirectly."""
    ours = {name: path for name in loaded if (path := _path_of(name)) is not None}
    # A module imports the packages that it lies in, and what their `__init__` imports.
    imports = {name: (_imports(path) | _prefixes(name)) & (ours.keys() - {name}) for name, path in ours.items()}
    tainted = {session.module_name(file)}
    while more := {name for name, inner in imports.items() if name not in tainted and inner & tainted}:
        tainted |= more
    return [name for name in loaded if name not in tainted]


def _path_of(name: str) -> Path | None:
    base = ROOT / name.replace(".", "/")
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found |= _prefixes(name)
    return found


def _prefixes(name: str) -> set[str]:
    """Return a module's name and those of the packages that it lies in."""
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts) + 1)}


def apart(work: Callable[[], Any]) -> Any:
    """Return what a forked child returns, so that nothing it imports stays."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            answer: tuple[bool, object] = (True, work())
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise SystemExit("a child process of the run was killed")
    is_well, result = pickle.loads(data)
    if not is_well:
        raise SystemExit(result)
    return result
