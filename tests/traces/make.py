"""Sealed traces that every change is replayed against: the begin of an ordinary day, and of one with an incident.

    python -m tests.traces.make     plays both days anew and writes their traces beside this file

They are made anew only where a change means to change what an actor says, or how it is written down; the changelog
then says which. A day is cut where it has shown what it is for, as `kill -9` would cut it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from domain.instants import MINUTE
from messages.envelope import Envelope
from simulation.days.one_day import Days, day_settings
from supervision.trace import TraceReader, lines_of

HERE: Final = Path(__file__).parent
LEVEL: Final = 19


class Morning(NamedTuple):
    """A simulated day by its seed; it is kept until a minute after it has `seen` as many messages of these types."""

    name: str
    seed: int
    seen: dict[str, int]


ORDINARY: Final = {"broker.ExecutionReported": 2}  # an entry and an exit
MORNINGS: Final = (
    Morning("ordinary", 102, ORDINARY),
    Morning("incident", 235, {**ORDINARY, "broker.LinkLost": 1}),
)


def path_of(morning: Morning) -> Path:
    """Return where the trace of a morning lies."""
    return HERE / f"{morning.name}.jsonl.zst"


def type_of(envelope: Envelope) -> str:
    """Return the type of a message, as `broker.LinkLost`."""
    return str(json.loads(bytes(envelope.message))["type"])


def make(morning: Morning, folder: Path) -> Path:
    """Play a day, cut its first run's trace and seal it."""
    broken = Days(day_settings(), folder / "days", parity_every=0).trace(morning.seed, folder)
    assert broken == (), broken
    source = min(folder.glob("trace-*.jsonl"))
    kept, end_utc, left = bytearray(), None, Counter(morning.seen)
    for line, record in zip(lines_of(source), TraceReader(source), strict=False):
        if isinstance(record, Envelope):
            left[type_of(record)] -= 1
            if end_utc is None and not +left:
                end_utc = record.at_utc + MINUTE
            if end_utc is not None and record.at_utc >= end_utc:
                break
        kept += line
    path_of(morning).write_bytes(zstandard.ZstdCompressor(level=LEVEL).compress(bytes(kept)))
    return path_of(morning)


def main() -> int:
    """Make all of them."""
    for morning in MORNINGS:
        with tempfile.TemporaryDirectory() as name:
            path = make(morning, Path(name))
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
