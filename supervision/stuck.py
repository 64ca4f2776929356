"""For how long one message may be in hand before it costs its actor the incarnation."""

from __future__ import annotations

from typing import Final

from messages.lifecycle import Started

_TIMES: Final = 5  # of `supervision.stuck_after_ms`
_STARTED_TIMES: Final = 30  # what an actor reads at its start is not read faster by the next incarnation
_STARTED: Final = Started.__struct_config__.tag


def restart_after_ms(tag: str, stuck_after_ms: int) -> int:
    """Return after how many ms of real time with a message in hand its actor is started again, by the message's tag."""
    return (_STARTED_TIMES if tag == _STARTED else _TIMES) * stuck_after_ms
