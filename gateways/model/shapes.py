"""How endpoints write a conversation: the chat completions of OpenAI, which many servers speak; Anthropic's messages.

Sources: the public references of both interfaces (`POST /v1/chat/completions`, `POST /v1/messages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
import orjson

from gateways.model.talk import ModelError, Reply, Result, ToolCall, ToolSpec, Turn

_TOKENS_MAX: Final = 1_500  # of one answer
_ANTHROPIC_VERSION: Final = "2023-06-01"


class Shape(Protocol):
    """One way of writing."""

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers that carry the key; `None`: no key is needed."""

    def body(self, model: str, system: str, turns: Sequence[Turn], tools: Iterable[ToolSpec]) -> dict[str, Any]:
        """Return the conversation as it is sent."""

    def reply(self, raw: bytes) -> Reply:
        """Return what was answered.

        Raises:
            ModelError: it is no answer of this shape.
        """


class _Function(msgspec.Struct):
    name: str
    arguments: str = "{}"


class _Call(msgspec.Struct):
    id: str
    function: _Function


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class OpenAi:
    """Chat completions."""

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the bearer's header."""
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    def body(self, model: str, system: str, turns: Sequence[Turn], tools: Iterable[ToolSpec]) -> dict[str, Any]:
        """Return messages of the roles system, user, assistant and tool."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": system}]
        for turn in turns:
            match turn:
                case str():
                    messages.append({"role": "user", "content": turn})
                case Reply():
                    said: dict[str, Any] = {"role": "assistant", "content": turn.text or None}
                    if turn.calls:
                        said["tool_calls"] = [_openai_call(call) for call in turn.calls]
                    messages.append(said)
                case results:
                    messages += [
                        {"role": "tool", "tool_call_id": result.call_id, "content": result.text} for result in results
                    ]
        functions = [
            {"type": "function", "function": {"name": tool.name, "description": tool.does, "parameters": tool.schema}}
            for tool in tools
        ]
        return {"model": model, "messages": messages, "tools": functions, "max_tokens": _TOKENS_MAX}

    def reply(self, raw: bytes) -> Reply:
        """Return the first choice."""
        try:
            message = msgspec.json.decode(raw, type=_Completion).choices[0].message
            calls = [
                ToolCall(call.id, call.function.name, _arguments(orjson.loads(call.function.arguments or "{}")))
                for call in message.tool_calls or ()
            ]
        except (msgspec.MsgspecError, orjson.JSONDecodeError, IndexError) as error:
            raise ModelError(f"its answer is no chat completion ({error})") from None
        return Reply(message.content or "", tuple(calls))


def _openai_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.call_id, "type": "function", "function": function}


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None


class _Messages(msgspec.Struct):
    content: list[_Block]


class Anthropic:
    """Messages with blocks."""

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the key and the version of the interface."""
        return {"anthropic-version": _ANTHROPIC_VERSION} | ({} if key is None else {"x-api-key": key})

    def body(self, model: str, system: str, turns: Sequence[Turn], tools: Iterable[ToolSpec]) -> dict[str, Any]:
        """Return messages of the roles user and assistant."""
        described = [{"name": tool.name, "description": tool.does, "input_schema": tool.schema} for tool in tools]
        messages = [_anthropic_message(turn) for turn in turns]
        return {
            "model": model, "max_tokens": _TOKENS_MAX, "system": system, "messages": messages, "tools": described
        }  # fmt: skip

    def reply(self, raw: bytes) -> Reply:
        """Return the text blocks joined, and the blocks that ask for tools."""
        try:
            blocks = msgspec.json.decode(raw, type=_Messages).content
            calls = [
                ToolCall(block.id, block.name, _arguments(block.input)) for block in blocks if block.type == "tool_use"
            ]
        except msgspec.MsgspecError as error:
            raise ModelError(f"its answer is no message ({error})") from None
        return Reply("\n".join(block.text for block in blocks if block.type == "text"), tuple(calls))


def _anthropic_message(turn: Turn) -> dict[str, Any]:
    match turn:
        case str():
            return {"role": "user", "content": turn}
        case Reply():
            text = [{"type": "text", "text": turn.text}] if turn.text else []
            calls = [
                {"type": "tool_use", "id": call.call_id, "name": call.name, "input": call.arguments}
                for call in turn.calls
            ]
            return {"role": "assistant", "content": [*text, *calls]}
        case results:
            return {"role": "user", "content": [_anthropic_result(result) for result in results]}


def _anthropic_result(result: Result) -> dict[str, Any]:
    return {
        "type": "tool_result", "tool_use_id": result.call_id, "content": result.text, "is_error": result.is_error
    }  # fmt: skip


def _arguments(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


SHAPES: Final[dict[str, Shape]] = {"openai": OpenAi(), "anthropic": Anthropic()}
