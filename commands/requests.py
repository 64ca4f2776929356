"""Requests of the control line: what the screen asks for, and what people command."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from threading import Event
from typing import Any, Literal, assert_never

import msgspec

from actors.ibkr.state import IBKRState
from actors.kill import KillState
from commands.control import SWITCH_WAIT_S
from commands.desk_facts import desk_facts
from commands.offers import offer
from config.desks import desk_names, of_desk
from config.settings import Settings
from domain.risk.kill import KillLevel
from domain.units import Utc
from domain.wording import printable
from gateways.bucket_port import BucketPort
from gateways.feeds import AnyPort
from messages import operator
from supervision.status import process_status, status
from supervision.threaded import LiveRuntime

COMMAND_LIFE_S = 5  # real seconds
ANSWER_WAIT_S = 4.0  # real seconds


def answer(
    runtime: LiveRuntime, stop_wanted: Event, request: dict[str, Any], ports: Iterable[AnyPort] = (),
    settings: Settings | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Answer one request of the control line."""
    match request.get("do"):
        case "status":
            seen: dict[str, Any] = msgspec.to_builtins(status(runtime))
            now = runtime.clock.now_utc()
            hubs = [msgspec.to_builtins(port.status(now)) for port in ports if isinstance(port, BucketPort)]
            kills = {name: kill_in_force(runtime, name) for name in kills_of(runtime)}
            return seen | {
                "kill": next(iter(kills.values()), None),
                "kills": kills,
                "latched_desks": dict(runtime.latched_groups),
                "hubs": hubs,
                "gateways": gateways_seen(runtime),
            }
        case "desk" if settings is not None:
            wanted = request.get("desk") or settings.desk
            if wanted not in desk_names(settings):
                return {"error": f"there is no desk {wanted!r}; there are: {', '.join(desk_names(settings))}"}
            found = desk_facts(runtime, of_desk(settings, wanted))
            process = msgspec.to_builtins(process_status(runtime))
            return {"process": process, "desk": None if found is None else msgspec.to_builtins(found)}
        case "stop":
            stop_wanted.set()
            return {"done": "the supervisor is stopping"}
        case "kill" | "resume" | "flatten" | "promote" | "demote" | "switch" | "memberships":
            return _operate(runtime, request)
        case "signal":
            return offer(runtime, request, expires_utc_of(runtime))
        case other:
            return {"error": f"{other!r} is no request"}


def kills_of(runtime: LiveRuntime) -> tuple[str, ...]:
    """Return the actors that keep a kill level: `kill`, or one for each of several desks."""
    return tuple(name for name in runtime.cells if name.partition(":")[0] == "kill")


def kill_in_force(runtime: LiveRuntime, name: str = "kill") -> dict[str, Any] | None:
    """Return the kill level in force as its actor knows it (before it is durable); `None` where that one is down."""
    cell = runtime.cells.get(name)
    known = None if cell is None or not cell.is_up else cell.state
    if not isinstance(known, KillState):
        return None
    return {
        "level": int(known.level), "kill_epoch": known.in_force_epoch, "reason": known.reason, "by": known.by
    }  # fmt: skip


def gateways_seen(runtime: LiveRuntime) -> list[dict[str, Any]]:
    """Return a row for each gateway that an order session of this run has dialled; `text` is the row for people."""
    now = runtime.clock.now_utc()
    sessions = ((cell.name, cell.state) for cell in runtime.cells.values())
    rows = ((name, row) for name, state in sessions if isinstance(state, IBKRState) for row in state.health)
    return [
        msgspec.to_builtins(row) | {"session": name, "up_s": row.up_s(now), "text": row.words(now)}
        for name, row in sorted(rows, key=lambda named: (named[0], named[1].gateway_n))
    ]


def raise_kill(runtime: LiveRuntime, level: KillLevel, reason: str, edge: str, command_id: str) -> None:
    """Raise the kill level from an edge that waits for no answer (a signal, the KILL file)."""
    address = f"edge:{edge}"
    runtime.sinks[address] = lambda _: None
    command = operator.Kill(
        command_id=command_id,
        reply_to=address,
        by=edge,
        reason=reason,
        level=level,
        expires_utc=expires_utc_of(runtime),
    )
    runtime.post("operator", command, address)


class OperatorRequest(msgspec.Struct, frozen=True):
    """A person's command as it comes over the control line; `expected_epoch` is the kill epoch that he saw."""

    do: Literal["kill", "resume", "flatten", "promote", "demote", "switch", "memberships"]
    by: str
    reason: str
    level: KillLevel = KillLevel.FLATTEN
    expected_epoch: int | None = None
    command_id: str | None = None
    source: str = ""
    kind: str = ""
    version: int = 0
    is_unproven: bool = False
    desk: str = ""
    strategy: str = ""
    from_desk: str = ""
    to_desk: str = ""
    hubs: dict[str, tuple[str, ...]] = {}


def _operate(runtime: LiveRuntime, request: dict[str, Any]) -> dict[str, Any]:
    try:
        asked = msgspec.convert(request, OperatorRequest)
    except msgspec.ValidationError as error:
        return {"error": f"the request cannot be carried out: {error}"}
    latched = runtime.latched or runtime.latched_groups.get(asked.desk)
    if asked.do == "resume" and latched is not None:  # the ports would refuse what the gates let pass
        detail = f"Entries are latched off ({latched}); stop the supervisor and start it again, then resume."
        return {"denied": "latched", "detail": detail}
    if asked.do == "resume" and asked.expected_epoch is None:  # what was raised since he looked would be lowered unseen
        detail = "Name the kill epoch that you saw (expected_epoch); the status shows it as kill_epoch."
        return {"denied": "epoch_missing", "detail": detail}
    edge = f"cli:{secrets.token_hex(6)}"
    command_id, reply_to = asked.command_id or edge, f"edge:{edge}"
    by, reason = printable(asked.by), printable(asked.reason)  # shown on screens for as long as the level stands
    expires_utc = expires_utc_of(runtime)
    command: operator.OperatorCommand
    match asked.do:
        case "kill":
            command = operator.Kill(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                level=asked.level, desk=asked.desk,
            )  # fmt: skip
        case "resume":
            command = operator.Resume(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                level=asked.level, expected_epoch=asked.expected_epoch, desk=asked.desk,
            )  # fmt: skip
        case "flatten":
            command = operator.Flatten(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc, desk=asked.desk
            )
        case "switch":
            command = operator.Switch(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                strategy=asked.strategy, from_desk=asked.from_desk, to_desk=asked.to_desk,
            )  # fmt: skip
        case "memberships":
            command = operator.Memberships(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc, hubs=asked.hubs
            )
        case "promote":
            command = operator.Promote(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                source=asked.source, kind=asked.kind, version=asked.version, is_unproven=asked.is_unproven,
            )  # fmt: skip
        case "demote":
            command = operator.Demote(
                command_id=command_id, reply_to=reply_to, by=by, reason=reason, expires_utc=expires_utc,
                source=asked.source, kind=asked.kind, version=asked.version,
            )  # fmt: skip
        case _:
            assert_never(asked.do)
    wait_s = SWITCH_WAIT_S if asked.do in ("switch", "memberships") else ANSWER_WAIT_S
    answered = runtime.ask(edge, "operator", command, wait_s)
    match answered:
        case operator.CommandDone():
            return {"done": answered.detail}
        case operator.CommandDenied():
            return {"denied": answered.code, "detail": answered.detail}
        case None:
            return {"error": "no answer in time: the outcome is unknown, look at `main.py status`"}
        case _:
            return {"error": f"the operator failed: {answered}"}


def expires_utc_of(runtime: LiveRuntime) -> Utc:
    """Return when a person's command is too old; he counts in real seconds, at whatever pace a demo runs."""
    return runtime.market_clock.in_real_s(COMMAND_LIFE_S)
