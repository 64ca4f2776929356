"""Temporary files lie in memory; long files are run first; a failure shows what its supervisors printed; the last line
says what was left out."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from supervision.collecting import SELDOM
from tests.testkit.paths import ABSENT
from tests.testkit.supervisor_child import Supervisor

os.environ.setdefault("ZEROHOUR_ENV_FILE", "")  # no test, nor a child of one, reads the .env of whoever runs it


def folder_of_temporary_files(environment: Mapping[str, str], in_memory: Path, needed_bytes: int) -> Path | None:
    """Return where tests write; `None`: where Python does by itself.

    That is memory, where it has the room: stores sync thousands of times, which takes a disk milliseconds each. No test
    takes a disk's power away, and a process that is killed leaves its files the same either way.
    """
    if "TMPDIR" in environment or not in_memory.is_dir():  # somebody has named a place
        return None
    return in_memory if shutil.disk_usage(in_memory).free >= needed_bytes else None


if (found := folder_of_temporary_files(os.environ, Path("/dev/shm"), 4 << 30)) is not None:
    os.environ["TMPDIR"] = str(found)  # inherited by what a test starts
    tempfile.tempdir = None  # so that it is asked anew
# A shell lets what it starts in the background ignore Ctrl-C, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes is no finding: a busy machine may take its time.
settings.register_profile("tests", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

_STARTED_BEFORE = pytest.StashKey[int]()  # supervisors, before the test that started its own

# Files are handed out to the processes of `make test` in this order: what is long must not be left for the end, when
# nothing is there for the other processes to do. After these come all others that hold a slow test, then the rest.
LONGEST_FIRST = (
    "tests/scenarios/test_real_profile.py",
    "tests/scenarios/test_stepped_day.py",
    "tests/scenarios/test_live_day.py",
    "tests/scenarios/test_full_day.py",
    "tests/views/test_notebooks.py",
    "tests/scenarios/test_backtest_of_a_recorded_day.py",
    "tests/scenarios/test_parity_of_a_live_day.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let Python's garbage collector rest while tests are gathered; from then on it passes over what they consist of.

    Those are half a million objects that stay, and it would look at them again and again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*SELDOM)
        gc.enable()


def pytest_unconfigure() -> None:
    """Let what was passed over be taken down in order: extension modules report as leaked what is not."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def file_of(item: pytest.Item) -> str:
        return item.nodeid.partition("::")[0]

    rank = {file: n for n, file in enumerate(LONGEST_FIRST)}
    slow = {file_of(item) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (rank.get(file_of(item), len(rank)), file_of(item) not in slow))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    absent = sum(ABSENT in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    if absent:
        terminalreporter.write_line(
            f"{absent} tests were skipped: ../shared/data, recorded by others, is not beside this checkout."
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_STARTED_BEFORE] = len(Supervisor.started)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for running in Supervisor.started[item.stash[_STARTED_BEFORE] :]:
            report.sections.append((f"supervisor {running.process.pid}", "\n".join(running.lines[-60:])))
    return report
