"""What a setting may hold, said beside its type: `Annotated[int, Range(1, 60)]`.

The loader reads these marks and refuses what does not fit; a leaf without one is a bool, an enumeration, a date or a
clock time, which their own types bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Range:
    """A finite number from `least` (or above it, where `is_open`) to `most`."""

    least: float
    most: float
    is_open: bool = False

    def holds(self, value: object) -> bool:
        """Return whether a value is a number within; NaN, which compares to nothing, never is."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value <= self.most and (value > self.least if self.is_open else value >= self.least)

    def __str__(self) -> str:
        """Say it for people, behind `must be`."""
        return f"{'above' if self.is_open else 'at least'} {_plain(self.least)} and at most {_plain(self.most)}"


@dataclass(frozen=True, slots=True)
class Form:
    """A text that the whole of `pattern` describes; `words` say it for people, behind `must be`."""

    pattern: str
    words: str

    def holds(self, value: object) -> bool:
        """Return whether a value is such a text."""
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        """Say it for people, behind `must be`."""
        return self.words


@dataclass(frozen=True, slots=True)
class Checked:
    """A value that no range bounds; `why` says what refuses a wrong one, or why there is none."""

    why: str


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# Durations in milliseconds of market time: of one exchange of messages, of something a person would wait for, of a
# session. `RealMs` is a duration of what ports and the runtime do for themselves, in real time.
BriefMs = Annotated[int, Range(1, 60_000)]
LongMs = Annotated[int, Range(1, 3_600_000)]
DayMs = Annotated[int, Range(1, 86_400_000)]
PauseMs = Annotated[int, Range(0, 86_400_000)]  # 0: none
RealMs = Annotated[int, Range(1, 600_000)]
# Fractions: 0.35 is 35 %.
Share = Annotated[float, Range(0, 1, is_open=True)]
Bps = Annotated[float, Range(0, 10_000, is_open=True)]
Count = Annotated[int, Range(1, 1_000)]
# Thresholds over features and forces: a force or its size, multiples of an expected move or of a range, a robust z.
Score = Annotated[float, Range(0, 1)]
SignedScore = Annotated[float, Range(-1, 1)]
Moves = Annotated[float, Range(0, 100, is_open=True)]
Deviations = Annotated[float, Range(-100, 100)]

Port = Annotated[int, Range(1, 65_535)]
ClientId = Annotated[int, Range(1, 2**31 - 1)]
# Order references carry the desk's name and have 32 characters; `direct` stands in those of the flatten without a desk.
DeskName = Annotated[
    str,
    Form(
        r"(?!(ledger|shared|direct)$)[A-Za-z][A-Za-z0-9_]{0,11}",
        "a name of at most 12 letters, digits and _, not ledger, shared or direct",
    ),
]
Name = Annotated[str, Form(r"[A-Za-z][A-Za-z0-9_]*", "a name of letters, digits and _ that begins with a letter")]
Ticker = Annotated[str, Form(r"[A-Z][A-Z0-9._]{0,11}", "a ticker in capitals")]
EnvName = Annotated[str, Form(r"[A-Z][A-Z0-9_]*", "the name of an environment variable, in capitals")]
