"""Traces as plain lines, for the commands that look for things in them rather than replay them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from commands.cli import CommandError


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


def parsed(line: bytes) -> dict[str, Any] | None:
    """Read one record; `None` for a torn one."""
    try:
        record: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record
