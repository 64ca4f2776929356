"""What both broker sessions do with their link: dial when it is due, and keep the timer of what is waited for."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

from domain.limits import ConnectionRules
from domain.session import dialling
from domain.session.dialling import Link
from messages import broker
from supervision.turn import Turn

LINK_TIMER: Final = "link"


class HasLink(Protocol):
    """The state of an actor that holds a link."""

    link: Link


S = TypeVar("S", bound=HasLink)


def follow(turn: Turn[S], port: str, link: Link) -> None:
    """Take over what became of the link; a new epoch is a dial, and a wait is a timer."""
    is_new = link.session_epoch != turn.state.link.session_epoch
    turn.state.link = link
    if is_new:
        turn.tell(port, broker.Dial(session_epoch=link.session_epoch, gateway_n=link.dial_n))
    if link.due_utc is None:
        turn.disarm(LINK_TIMER)
    else:
        turn.arm(LINK_TIMER, link.due_utc)


def start(turn: Turn[S], port: str, rules: ConnectionRules, gateways: int, run_n: int, incarnation: int) -> None:
    """Dial for the first time in this incarnation."""
    turn.state.link = dialling.begin(run_n, incarnation, turn.now)
    follow(turn, port, dialling.dial(turn.state.link, rules, gateways, turn.now))


def on_wait_over(turn: Turn[S], port: str, rules: ConnectionRules, gateways: int) -> None:
    """Abandon an unanswered dial, or dial again."""
    link = dialling.end_wait(turn.state.link, rules, gateways, turn.now)
    if link is not None:
        follow(turn, port, link)
