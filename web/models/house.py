"""The program itself: its actors, alarms, and what became of a question or an action."""

from __future__ import annotations

from web.models.base import Model


class ActorRow(Model):
    """One actor; times in milliseconds."""

    name: str
    is_up: bool
    mail: int
    p99_ms: float | None
    restarts: int


class Actors(Model):
    """The tree of actors; `why_unknown` where the supervisor does not answer.

    `conflated` counts the prices in this run that a newer one took the place of before anybody had read them.
    """

    rows: list[ActorRow]
    conflated: int
    rss_mb: int | None
    uptime_s: int | None
    latched: str | None
    ended: str | None
    why_unknown: str | None


class AlarmLine(Model):
    """An alarm, newest first; `is_over`: what it says has passed meanwhile. `key` is its entry in the runbook.

    `desk` is whose it is, of several; `None`: of none, or of the only one.
    """

    at: str
    key: str
    severity: str
    text: str
    is_over: bool
    desk: str | None = None


class Reply(Model):
    """The answer to a question: what it stands on is a line a table; `by` is `grammar`, or the model that put it so."""

    text: str
    rests_on: list[str]
    is_known: bool
    by: str


class Answer(Model):
    """What became of an action, in one sentence."""

    done: str | None = None
    denied: str | None = None
    detail: str | None = None
    error: str | None = None
