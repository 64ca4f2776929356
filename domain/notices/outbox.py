"""The lines that wait for one target: gathered into messages, tried again after a pause, given up in the end.

Pure: the caller says what time it is (seconds of a clock that never goes back). Nothing here is market time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from domain.alarm import Severity

_URGENCY: Final = {severity: n for n, severity in enumerate(Severity)}
BODY_MAX: Final = 1_800  # characters of a message; Discord takes 2,000, Telegram 4,096
LINE_MAX: Final = 400


class Notice(msgspec.Struct, frozen=True):
    """One line for people as it goes out."""

    topic: str
    severity: Severity
    text: str


class Failure(StrEnum):
    """What became of a message that was not delivered."""

    AGAIN = "again"  # it may go later
    REFUSED = "refused"  # this message will never go: another may


@dataclass(frozen=True, slots=True)
class Pauses:
    """The rules of an outbox, in seconds and counts."""

    batch_s: float
    lines_max: int
    queue_max: int
    retry_min_s: float
    retry_max_s: float
    give_up_s: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    notice: Notice
    since_s: float


class Outbox:
    """What waits for one target. One message is under way at a time: `next`, then `delivered` or `failed`.

    `lost` counts the lines that were given up since `take_lost`, `why` is the last failure in words.
    """

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._waiting: list[_Waiting] = []
        self._under_way: list[_Waiting] = []
        self._pause_s = 0.0
        self._not_before_s = float("-inf")
        self._unsaid = 0  # lost, and the target has not been told yet
        self._saying = 0
        self.lost = 0
        self.why = ""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    @property
    def is_failing(self) -> bool:
        """Whether the last message was not delivered."""
        return self._pause_s > 0

    def put(self, notice: Notice, now_s: float) -> None:
        """Take a line; where there are too many, the least urgent goes, of those the oldest."""
        self._waiting.append(_Waiting(notice, now_s))
        if len(self) > self._pauses.queue_max and self._waiting:
            n = min(range(len(self._waiting)), key=lambda n: (_URGENCY[self._waiting[n].notice.severity], n))
            del self._waiting[n]
            self._lose(1)

    def due_s(self) -> float | None:
        """Return when the next message should go; `None` where nothing waits or one is under way.

        A line of severity `high` or more does not wait for others.
        """
        if self._under_way or not self._waiting:
            return None
        first_s = self._waiting[0].since_s
        is_urgent = any(_URGENCY[one.notice.severity] >= _URGENCY[Severity.HIGH] for one in self._waiting)
        return max(first_s if is_urgent else first_s + self._pauses.batch_s, self._not_before_s)

    def next(self, now_s: float) -> tuple[Notice, ...]:
        """Return the lines of the next message, now under way; none where nothing is due.

        Lines older than `give_up_s` are lost first.
        """
        if self._under_way:
            return ()
        fresh = [one for one in self._waiting if now_s - one.since_s < self._pauses.give_up_s]
        self._lose(len(self._waiting) - len(fresh))
        self._waiting = fresh
        due_s = self.due_s()
        if due_s is None or due_s > now_s:
            return ()
        count, size = 0, 0
        for one in fresh[: self._pauses.lines_max]:
            size += min(len(one.notice.text), LINE_MAX) + 30
            if count and size > BODY_MAX:
                break
            count += 1
        self._under_way, self._waiting = fresh[:count], fresh[count:]
        self._saying = self._unsaid
        return tuple(one.notice for one in self._under_way)

    @property
    def unsaid(self) -> int:
        """How many lines were lost that the message under way should tell of."""
        return self._saying

    def delivered(self) -> None:
        """Note that the message under way has arrived."""
        self._under_way = []
        self._unsaid -= self._saying
        self._pause_s, self._not_before_s, self.why = 0.0, float("-inf"), ""

    def failed(self, now_s: float, failure: Failure, why: str, retry_after_s: float | None = None) -> None:
        """Note that it has not; its lines wait again, or are lost where it was refused.

        `retry_after_s` is the target's own word, bounded by `retry_max_s` like every pause.
        """
        self.why = why
        pauses = self._pauses
        self._pause_s = min(max(self._pause_s * 2, pauses.retry_min_s), pauses.retry_max_s)
        if failure is Failure.REFUSED:
            self._lose(len(self._under_way))
        else:
            self._waiting = [*self._under_way, *self._waiting]
        self._under_way = []
        wanted_s = self._pause_s if retry_after_s is None else max(retry_after_s, pauses.retry_min_s)
        self._not_before_s = now_s + min(wanted_s, pauses.retry_max_s)

    def take_lost(self) -> int:
        """Return how many lines were lost since the last call."""
        lost, self.lost = self.lost, 0
        return lost

    def _lose(self, count: int) -> None:
        self.lost += count
        self._unsaid += count


def body_of(notices: Iterable[Notice], lost: int) -> str:
    """Return the text of a message, a line each; `lost` lines before it could not be delivered."""
    lines = [f"({lost} lines before this could not be delivered)"] if lost else []
    for notice in notices:
        mark = "" if notice.severity is Severity.INFO else f"{notice.severity.value.upper()} "
        text = " ".join(notice.text.split())
        lines.append(f"{mark}{notice.topic}: {text if len(text) <= LINE_MAX else text[: LINE_MAX - 1] + '…'}")
    return "\n".join(lines)


def most_urgent(notices: Iterable[Notice]) -> Severity:
    """Return the highest severity of lines."""
    return max((notice.severity for notice in notices), key=_URGENCY.__getitem__)
