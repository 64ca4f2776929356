"""Faults of the hub server as typed records: what goes wrong, and at which instant of the market (`at_utc`, ns).

A fault whose instant has passed when it is handed in happens at once. Hubs go by the vendor's name or by ours
(`v2_classic`, `classic`).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Spoil(StrEnum):
    """What is wrong with a spoilt frame."""

    BASE64 = "base64"
    TRUNCATED = "truncated"
    BOMB = "bomb"
    TYPE_URL = "type_url"
    GROUP = "group"
    TIME_BACKWARDS = "time_backwards"
    NOT_JSON = "not_json"


class _Fault(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the records."""

    at_utc: int = 0


class DropHub(_Fault, frozen=True, kw_only=True):
    """Cut the hub's sockets without a close frame and refuse dials for `outage_s` real seconds; connections stay."""

    hub: str
    outage_s: float


class ForgetConnections(_Fault, frozen=True, kw_only=True):
    """Cut the hub's sockets and forget their connections: recovery meets 1008."""

    hub: str


class DisconnectHub(_Fault, frozen=True, kw_only=True):
    """End the hub's connections in good order: a `disconnected` event, then a close."""

    hub: str


class KillTokens(_Fault, frozen=True, kw_only=True):
    """Let every access token expire now; open sockets live on (a token is looked at when dialling)."""


class SilenceGroup(_Fault, frozen=True, kw_only=True):
    """Publish nothing of a group (`SPX_classic_gex_zero`) for `silence_s` seconds of the market."""

    group: str
    silence_s: int


class SpoilFrames(_Fault, frozen=True, kw_only=True):
    """Spoil the group's next `count` frames."""

    group: str
    spoil: Spoil
    count: int = 1


class Redeliver(_Fault, frozen=True, kw_only=True):
    """Send each connection of the hub its last `count` messages (up to 64) once more, under their old sequence ids."""

    hub: str
    count: int


class RefuseRest(_Fault, frozen=True, kw_only=True):
    """Answer the next `count` REST requests below a path (`/SPX`, `/SPX/classic/zero`; empty: all) with a status."""

    status: int
    count: int = 1
    path: str = ""
    retry_after_s: int = 0


class RefusePatch(_Fault, frozen=True, kw_only=True):
    """Answer the next `count` changes of memberships with a status; the memberships stay as they are."""

    status: int
    count: int = 1


class EndAtOnce(_Fault, frozen=True, kw_only=True):
    """Let the hub end each new connection as soon as it has said `connected` (a second client on the key, a quota)."""

    hub: str
    count: int = 1_000_000


HubFault = (
    RefuseRest
    | RefusePatch
    | EndAtOnce
    | DropHub
    | ForgetConnections
    | DisconnectHub
    | KillTokens
    | SilenceGroup
    | SpoilFrames
    | Redeliver
)
