"""Dialling: the link of one broker session to a gateway, from dial to loss and back; both broker sessions hold one.

A link waits for something in `DOWN` (the pause before the next dial), `DIALLING` (an answer) and `CUT` (the gateway's
own link to come back); `due_utc` is when that wait ends. Every dial has a new session epoch, so that what is told of an
older one is void. A function returns the link as it is afterwards, or `None` where the table ignores the event.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from domain.fsm import Machine
from domain.instants import MS
from domain.limits import ConnectionRules
from domain.units import Utc


class LinkState(StrEnum):
    """Where the link to the gateway is; modes say what the desk may do, this says what is under way."""

    DOWN = "down"  # a pause before the next dial
    DIALLING = "dialling"
    UP = "up"
    CUT = "cut"  # socket up, the gateway's own link to the broker lost
    REFUSED = "refused"  # up, but not the account or port that we trade on


class LinkEvent(StrEnum):
    """What can happen to a link."""

    DIALLED = "dialled"
    CONNECTED = "connected"
    REFUSED = "refused"  # connected, to an account or port that is not ours
    FAILED = "failed"  # the dial ended without a link, or was not answered in time
    LOST = "lost"  # the socket closed, or was given up
    CUT = "cut"  # the gateway says that its own link to the broker is lost
    RESTORED = "restored"  # the gateway says that it is back


_NOT_DIALLING = "the answer to a dial that was given up"

# Dialling is our own act, so it stands in neither table while a dial is under way or a link stands: that is a bug.
LINKS: Final = Machine(
    "Link to a gateway",
    transitions={
        (LinkState.DOWN, LinkEvent.DIALLED): LinkState.DIALLING,
        (LinkState.DIALLING, LinkEvent.CONNECTED): LinkState.UP,
        (LinkState.DIALLING, LinkEvent.REFUSED): LinkState.REFUSED,
        (LinkState.DIALLING, LinkEvent.FAILED): LinkState.DOWN,
        (LinkState.DIALLING, LinkEvent.LOST): LinkState.DOWN,
        (LinkState.DIALLING, LinkEvent.CUT): LinkState.DOWN,  # a gateway without the broker is no link
        (LinkState.UP, LinkEvent.LOST): LinkState.DOWN,
        (LinkState.UP, LinkEvent.CUT): LinkState.CUT,
        (LinkState.UP, LinkEvent.RESTORED): LinkState.UP,  # a loss that nobody reported
        (LinkState.CUT, LinkEvent.DIALLED): LinkState.DIALLING,
        (LinkState.CUT, LinkEvent.LOST): LinkState.DOWN,
        (LinkState.CUT, LinkEvent.RESTORED): LinkState.UP,
        (LinkState.REFUSED, LinkEvent.LOST): LinkState.DOWN,
        (LinkState.REFUSED, LinkEvent.CUT): LinkState.DOWN,
    },
    ignored={
        (LinkState.DOWN, LinkEvent.CONNECTED): _NOT_DIALLING,
        (LinkState.DOWN, LinkEvent.REFUSED): _NOT_DIALLING,
        (LinkState.DOWN, LinkEvent.FAILED): _NOT_DIALLING,
        (LinkState.DOWN, LinkEvent.LOST): "down already",
        (LinkState.DOWN, LinkEvent.CUT): "down already",
        (LinkState.DOWN, LinkEvent.RESTORED): "the next dial finds out",
        (LinkState.DIALLING, LinkEvent.RESTORED): "the dial's own answer counts",
        (LinkState.UP, LinkEvent.CONNECTED): "connected already",
        (LinkState.UP, LinkEvent.REFUSED): "connected already",
        (LinkState.UP, LinkEvent.FAILED): "connected already",
        (LinkState.CUT, LinkEvent.CONNECTED): "connected already",
        (LinkState.CUT, LinkEvent.REFUSED): "connected already",
        (LinkState.CUT, LinkEvent.FAILED): "connected already",
        (LinkState.CUT, LinkEvent.CUT): "cut already; the wait runs on",
        (LinkState.REFUSED, LinkEvent.CONNECTED): "refused already",
        (LinkState.REFUSED, LinkEvent.REFUSED): "refused already",
        (LinkState.REFUSED, LinkEvent.FAILED): "refused already",
        (LinkState.REFUSED, LinkEvent.RESTORED): "nothing is traded on this link",
    },
)

# The session epochs of a run: `run_n << 36`, with room for four million dials of each incarnation of the dialling
# actor: one each 5 s for eight months, since a session is never given up.
_RUN_BITS, _INCARNATION_BITS = 36, 22


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The link of one session.

    `dial_n` is the gateway that is or was dialled, `up_n` the one that was up last; `lost_utc` is the start of the
    present outage; `due_utc` is when the present wait ends: `None` in `UP`, `REFUSED`, before the first dial, and in
    `CUT` where there is no other gateway to try.
    """

    state: LinkState = LinkState.DOWN
    session_epoch: int = 0
    dial_n: int = 0
    up_n: int = 0
    lost_utc: Utc = Utc(0)
    due_utc: Utc | None = None

    @property
    def is_up(self) -> bool:
        """Whether the link stands, to the right account."""
        return self.state is LinkState.UP


def begin(run_n: int, incarnation: int, now: Utc) -> Link:
    """Return the link before the first dial of an incarnation, so that no epoch comes twice."""
    return Link(session_epoch=first_epoch(run_n, incarnation), lost_utc=now)


def dial(link: Link, rules: ConnectionRules, gateways: int, now: Utc) -> Link:
    """Return the link with the next dial under way: a new epoch, and the gateway whose turn it is.

    Raises:
        IllegalTransition: a dial is under way, or a link stands.
    """
    return replace(
        link,
        state=LINKS.next(link.state, LinkEvent.DIALLED),
        session_epoch=link.session_epoch + 1,
        dial_n=gateway_of(rules, link.lost_utc, now, link.up_n, gateways),
        due_utc=now + 2 * rules.connect_timeout_ms * MS,
    )


def dial_next_gateway(link: Link, rules: ConnectionRules, gateways: int, now: Utc) -> Link:
    """Return the link with a dial of the next gateway under way, without waiting for the failover time.

    Raises:
        IllegalTransition: a dial is under way, or a link stands.
    """
    return dial(replace(link, up_n=(link.up_n + 1) % gateways), rules, gateways, now)


def connect(link: Link, gateway_n: int, *, is_right: bool = True) -> Link | None:
    """Return the link after the gateway answered; `is_right`: port and account are those that we trade on."""
    state = _after(link, LinkEvent.CONNECTED if is_right else LinkEvent.REFUSED)
    return None if state is None else replace(link, state=state, up_n=gateway_n, due_utc=None)


def fail(link: Link, rules: ConnectionRules, now: Utc, *, is_id_in_use: bool = False) -> Link | None:
    """Return the link after a dial that came to nothing, in the pause before the next one."""
    state = _after(link, LinkEvent.FAILED)
    if state is None:
        return None
    return replace(link, state=state, due_utc=redial_utc(rules, link.lost_utc, now, is_id_in_use))


def lose(
    link: Link, rules: ConnectionRules, gateways: int, now: Utc, *, is_socket_up: bool = False, was_of_use: bool
) -> Link | None:
    """Return the link after a loss; on a socket that stayed up it waits for the gateway to come back by itself.

    It waits for ever where there is no other gateway: a socket torn down would have to be dialled, and what the
    gateway tells when it is back comes on this one. `was_of_use`: the outage begins now; else the one before goes on,
    so that in time another gateway is tried.
    """
    state = _after(link, LinkEvent.CUT if is_socket_up else LinkEvent.LOST)
    if state is None:
        return None
    lost_utc = now if was_of_use else link.lost_utc
    due_utc: Utc | None
    if state is LinkState.CUT:
        due_utc = now + rules.gateway_failover_ms * MS if gateways > 1 else None
    else:
        due_utc = redial_utc(rules, lost_utc, now, is_id_in_use=False)
    return replace(link, state=state, lost_utc=lost_utc, due_utc=due_utc)


def restore(link: Link) -> Link | None:
    """Return the link after the gateway said that its own link to the broker is back."""
    state = _after(link, LinkEvent.RESTORED)
    return None if state is None else replace(link, state=state, due_utc=None)


def end_wait(link: Link, rules: ConnectionRules, gateways: int, now: Utc) -> Link | None:
    """Return the link after its wait (`due_utc`): an unanswered dial has failed, anything else is dialled anew."""
    match link.state:
        case LinkState.DIALLING:
            return fail(link, rules, now)
        case LinkState.DOWN | LinkState.CUT:
            return dial(link, rules, gateways, now)
        case LinkState.UP | LinkState.REFUSED:
            return None  # nothing is waited for
        case _:
            assert_never(link.state)


def first_epoch(run_n: int, incarnation: int) -> int:
    """Return the session epoch below the first dial of an incarnation."""
    return (run_n << _RUN_BITS) + ((incarnation - 1) << _INCARNATION_BITS)


def redial_utc(rules: ConnectionRules, lost_utc: Utc, now: Utc, is_id_in_use: bool) -> Utc:
    """Return the instant of the next dial: fast at first, then slow, for ever; a client id in use has its own pause."""
    if is_id_in_use:
        return now + rules.client_id_retry_ms * MS
    is_fresh = now - lost_utc < rules.retry_fast_for_ms * MS
    return now + (rules.retry_fast_ms if is_fresh else rules.retry_slow_ms) * MS


def gateway_of(rules: ConnectionRules, lost_utc: Utc, now: Utc, first_n: int, gateways: int) -> int:
    """Return the gateway to dial: the one that was up last, one further for each failover time without a session."""
    failed_over = (now - lost_utc) // (rules.gateway_failover_ms * MS)
    return (first_n + failed_over) % gateways


def _after(link: Link, event: LinkEvent) -> LinkState | None:
    """Return the state after an event; `None` where the table ignores it.

    Raises:
        IllegalTransition: the pair stands in neither table.
    """
    state = LINKS.next(link.state, event)
    return state if LINKS.changes(link.state, event) else None
