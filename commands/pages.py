"""Reports as a command tells them: as text, as JSON for machines, or as a page whose path was tried beforehand."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from commands.cli import CommandError
from commands.report_html import page_of
from commands.report_period import text_of
from domain.reports.model import Report

WIDTH: Final = 80


def try_page(path: Path | None) -> None:
    """Try whether a page can be written, before the work for it begins; nothing is changed or left there.

    Raises:
        CommandError: it cannot.
    """
    if path is None:
        return
    try:
        is_new = not path.exists()
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise _unwritten(path, error) from None


def write_page(path: Path, page: str) -> None:
    """Write a report's page, and say where.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise _unwritten(path, error) from None
    print(f"Written: {path.resolve()}", file=sys.stderr)


def tell(arguments: Namespace, report: Report, found: Mapping[str, Any], *more: str) -> None:
    """Tell a report as `--html` and `--json` ask for it, with lines `more` below its text.

    Raises:
        CommandError: the page cannot be written; the report is told as text then.
    """
    failure: CommandError | None = None
    if arguments.html is not None:
        try:
            write_page(arguments.html, page_of(report))
        except CommandError as error:
            failure = error
    if arguments.json:
        told = {**found, "report": report}
        print(orjson.dumps(msgspec.to_builtins(told), option=orjson.OPT_INDENT_2).decode())
    elif arguments.html is None or failure is not None:
        width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
        print("\n".join((*text_of(report, max(width, WIDTH)), *more)))
    if failure is not None:
        raise failure


def _unwritten(path: Path, error: OSError) -> CommandError:
    return CommandError(f"{path} cannot be written ({error.strerror}); name another file.", 3)
