"""Traces as plain lines, for the commands that look for things in them rather than replay them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from commands.cli import CommandError
from messages.base import SCHEMA


def records(path: Path) -> Iterator[bytes]:
    """Return the lines of a trace, plain or sealed.

    Raises:
        CommandError: no such file.
    """
    try:
        with path.open("rb") as raw:
            if path.suffix != ".zst":
                yield from raw
                return
            with zstandard.ZstdDecompressor().stream_reader(raw) as stream:
                rest = b""
                while chunk := stream.read(1 << 20):
                    *lines, rest = (rest + chunk).split(b"\n")
                    yield from lines
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}; `main.py report` names the traces.") from None


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
    """Read one record; `None` for a torn one."""
    try:
        record: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record
