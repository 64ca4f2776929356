"""Connections of the reliable subprotocol: sequence ids, what is not acknowledged yet, recovery; access tokens."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import Final

import msgspec
from websockets.asyncio.server import ServerConnection

SUBPROTOCOL: Final = "json.reliable.webpubsub.azure.v1"
UNACKED_MAX: Final = 1_000  # messages; beyond it, or beyond the bytes, the connection ends for good
UNACKED_BYTES_MAX: Final = 16 * 1024 * 1024
PENDING_MAX: Final = 4 * UNACKED_MAX  # answers and messages that wait for a client that does not read
RECENT_KEPT: Final = 64
RECOVERY_S: Final = 30.0


class Token(msgspec.Struct, frozen=True):
    """An access token: whose it is, where it leads, the groups it joins; `until_s` on the loop's clock."""

    key: str
    hub: str
    groups: frozenset[str]
    until_s: float
    is_legacy: bool = False


class HubConnection:
    """One client's connection to one hub; it outlives the socket for the recovery window."""

    def __init__(self, key: str, hub: str, groups: frozenset[str], *, is_legacy: bool = False) -> None:
        self.key = key
        self.is_legacy = is_legacy
        self.hub = hub
        self.groups = groups
        self.connection_id = secrets.token_urlsafe(12)
        self.reconnection_token = secrets.token_urlsafe(24)
        self.socket: ServerConnection | None = None
        self.dropped_s: float | None = None
        self.wake = asyncio.Event()
        self.pending: deque[str] = deque()
        self._recent: deque[str] = deque(maxlen=RECENT_KEPT)
        self._unacked: deque[tuple[int, str]] = deque()
        self._unacked_bytes = 0
        self._sequence = 0

    @property
    def sequence(self) -> int:
        """The last sequence id given out."""
        return self._sequence

    @property
    def unacked_n(self) -> int:
        """Messages that the client has not acknowledged."""
        return len(self._unacked)

    @property
    def is_over_limit(self) -> bool:
        """Whether the client has fallen too far behind to be kept."""
        is_behind = len(self._unacked) > UNACKED_MAX or self._unacked_bytes > UNACKED_BYTES_MAX
        return is_behind or len(self.pending) > PENDING_MAX

    def publish(self, group: str, data_b64: str) -> None:
        """Queue one group message."""
        self._queue(
            f'{{"sequenceId":{self._sequence + 1},"type":"message","from":"group",'
            f'"group":"{group}","dataType":"protobuf","data":"{data_b64}"}}'
        )

    def publish_text(self, text: str) -> None:
        """Queue a text as it is, under the next sequence id whether it carries it or not."""
        self._queue(text)

    def redeliver(self, count: int) -> None:
        """Queue the last messages once more under their old ids."""
        self.pending.extend(list(self._recent)[-count:])
        self.wake.set()

    def acknowledge(self, sequence: int) -> None:
        """Forget what the client has."""
        while self._unacked and self._unacked[0][0] <= sequence:
            self._unacked_bytes -= len(self._unacked.popleft()[1])

    def resume(self, socket: ServerConnection) -> None:
        """Take a new socket; everything not acknowledged goes out again."""
        self.socket = socket
        self.dropped_s = None
        self.pending = deque(text for _, text in self._unacked)
        self.wake.set()

    def drop(self, socket: ServerConnection, now_s: float) -> None:
        """Note that this socket is gone (a newer one may be there already)."""
        if self.socket is socket:
            self.socket = None
            self.dropped_s = now_s

    def _queue(self, text: str) -> None:
        self._sequence += 1
        self._unacked.append((self._sequence, text))
        self._unacked_bytes += len(text)
        self._recent.append(text)
        if self.socket is not None:
            self.pending.append(text)
            self.wake.set()
