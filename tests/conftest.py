"""One line at the end of a run says what was left out because its data is not beside the checkout."""

from __future__ import annotations

import os

import pytest

from tests.testkit.paths import ABSENT

os.environ.setdefault("ZEROHOUR_ENV_FILE", "")  # no test, nor a child of one, reads the .env of whoever runs it


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    absent = sum(ABSENT in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    if absent:
        terminalreporter.write_line(
            f"{absent} tests were skipped: ../shared/data, recorded by others, is not beside this checkout."
        )
