"""What is said to a language model and what it answers, in words of our own; `shapes.py` writes it as endpoints do."""

from __future__ import annotations

from typing import Any

import msgspec


class ModelError(Exception):
    """The endpoint gave no answer that can be used; the text says why, without a full stop, and holds no secret."""


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool that the model may ask for; `schema` is the JSON schema of its arguments."""

    name: str
    does: str
    schema: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that the model asks for; `call_id` is its own name of the call."""

    call_id: str
    name: str
    arguments: dict[str, Any]


class Reply(msgspec.Struct, frozen=True):
    """What the model said: a text, calls, or both."""

    text: str
    calls: tuple[ToolCall, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """What a call brought."""

    call_id: str
    text: str
    is_error: bool = False


# A conversation: the question, then replies of the model, each followed by the results of its calls.
Turn = str | Reply | tuple[Result, ...]
