"""What the supervisor and the process that sends say to each other: JSON lines over one socket."""

from __future__ import annotations

import msgspec

from domain.alarm import Severity


class Job(msgspec.Struct, frozen=True, tag="job"):
    """Send a message to a target; the answer is a `Result`."""

    target: str
    title: str
    body: str
    severity: Severity


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Ask the heartbeat's address; the answer is a `Result` of `HEARTBEAT`."""


class Result(msgspec.Struct, frozen=True, tag="result"):
    """What became of a job: `why` is one clause; `retry_after_s` the target's own word, `None` where it gave none.

    `is_refused`: this message will never be taken.
    """

    target: str
    is_ok: bool
    why: str = ""
    retry_after_s: float | None = None
    is_refused: bool = False


class Wanted(msgspec.Struct, frozen=True, tag="wanted"):
    """What the process is told first: the variable of each target's address, and how long a target may take."""

    url_envs: dict[str, str]
    heartbeat_env: str
    timeout_s: float


class Beginning(msgspec.Struct, frozen=True, tag="beginning"):
    """What the process answers: which targets cannot be used, and why (one clause)."""

    unusable: dict[str, str]


HEARTBEAT = "-heartbeat"  # in the place of a target's name, which it cannot be
Said = Job | Ping | Wanted
Answer = Result | Beginning
_ENCODE = msgspec.json.Encoder().encode
_SAID = msgspec.json.Decoder(Said)
_ANSWER = msgspec.json.Decoder(Answer)


def line_of(message: Said | Answer) -> bytes:
    """Write a message as a line."""
    return _ENCODE(message) + b"\n"


def said_of(line: bytes) -> Said:
    """Read what the supervisor said.

    Raises:
        msgspec.DecodeError: no such message.
    """
    found: Said = _SAID.decode(line)
    return found


def answer_of(line: bytes) -> Answer:
    """Read what the process that sends said.

    Raises:
        msgspec.DecodeError: no such message.
    """
    found: Answer = _ANSWER.decode(line)
    return found
