"""Traces as plain lines, for the commands that look for things in them rather than replay them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from commands.cli import CommandError
from messages.base import SCHEMA
from supervision.trace import TraceError, lines_of

# What reading a record raises whose bytes were changed on the disk: its fields are others, or say what cannot be.
UNREADABLE: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError)


def records(path: Path) -> Iterator[bytes]:
    """Return the lines of a trace, plain or sealed.

    Raises:
        CommandError: no such file, or one that is damaged.
    """
    try:
        yield from lines_of(path)
    except TraceError as error:
        raise CommandError(str(error)) from None


def check_schema(path: Path) -> None:
    """Look at a trace's header.

    Raises:
        CommandError: the trace was written with another schema, so its messages have other names and fields.
    """
    header = parsed(next(iter(records(path)), b"")) or {}
    schema = header.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise CommandError(
            f"{path} is a trace of schema {schema}, this program reads {SCHEMA};"
            f" ask the version that wrote it: {header.get('code_version', 'unknown')}."
        )


def parsed(line: bytes) -> dict[str, Any] | None:
    """Read one record; `None` for one that is torn or damaged."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def enveloped(line: bytes) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Read one envelope and its message; `None` for another record, and for one that is torn or damaged."""
    record = parsed(line)
    if record is None or record.get("kind") != "envelope":
        return None
    message = record.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    if not isinstance(record.get("to"), str) or not isinstance(record.get("at_utc"), int):
        return None
    return record, message
