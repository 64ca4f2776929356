"""A test that fails shows what its supervisors printed; the last line of a run says what was left out for lack of data."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.testkit.paths import ABSENT
from tests.testkit.supervisor_child import Supervisor

os.environ.setdefault("ZEROHOUR_ENV_FILE", "")  # no test, nor a child of one, reads the .env of whoever runs it


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    absent = sum(ABSENT in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    if absent:
        terminalreporter.write_line(
            f"{absent} tests were skipped: ../shared/data, recorded by others, is not beside this checkout."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for running in Supervisor.started[-2:]:
            report.sections.append((f"supervisor {running.process.pid}", "\n".join(running.lines[-60:])))
    return report
