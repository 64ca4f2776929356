"""What is at stake in a demo, by what its actors say: the reasons for which market time must not run fast.

Pure: fed with messages and the market's instant. Nothing lasts for ever for want of a message that was lost: each
wait ends by itself after `WAIT_NS` of market time, except what is held, what works, and what is down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

from domain.instants import SECOND
from domain.position.cycle import PositionState
from domain.session.modes import ALLOWS_EXITS, Mode
from domain.units import Utc
from messages import broker, desks, entries, market, operator, orders, positions, session, signals
from messages.base import Message

WAIT_NS: Final = 60 * SECOND
ORDERS: Final = "ibkr:"  # the sessions of each desk
QUOTES: Final = "quotes:"
Line = tuple[str, int]  # a contract as a desk's own session quotes it: desk and contract id
ONLY_DESK: Final = ("",)  # who decides where there are no routes


class Stake(StrEnum):
    """Why the clock runs as it does, most urgent first."""

    DECISION = "a signal is decided"
    ORDER = "an order works"
    UNQUOTED = "what is held has no quote yet"
    OUTAGE = "a link is down or being dialled"
    HELD = "a position is held"
    NOTHING = "nothing is at stake"


class Stakes:
    """The present stakes.

    Args:
        hubs: those that must be up.
    """

    def __init__(self, hubs: Iterable[str]) -> None:
        self._quoted: dict[str, Utc] = {}  # the newest quote or price that each desk's session has passed on
        self._routes: dict[str, tuple[str, ...]] = {}  # the desks that decide on a strategy, where there are several
        self._decisions: dict[str, Utc] = {}  # alerts and signals without an answer, until when at the latest
        self._entries: dict[str, Utc] = {}  # refs of entry orders that may work
        self._positions: dict[str, PositionState] = {}
        self._held: dict[str, tuple[Line, Utc]] = {}  # what each position is in, and since when it is known
        self._quoted_lines: set[Line] = set()  # those that were quoted at all
        self._modes: dict[str, Mode] = {}  # by order session
        self._hubs = dict.fromkeys(hubs, False)
        self._quiet: set[tuple[str, int]] = set()  # sessions with hubs (by key) that are up and deliver nothing
        self._links: dict[str, bool] = {}  # sessions with the broker, by the actor that dials
        self._asked: dict[str, Utc] = {}  # questions to ports that have not been answered

    def hear(self, message: Message, to: str, now: Utc) -> None:
        """Take note of what was told (`to` a name) or published (`to` is who did)."""
        known = HEARD.get(type(message))
        if known is not None:
            known(self, message, to, now)

    def at(self, now: Utc) -> Stake:
        """Return the most urgent reason."""
        for waits in (self._decisions, self._entries, self._asked):
            for key in [key for key, until_utc in waits.items() if until_utc <= now]:
                del waits[key]
        states = self._positions.values()
        if self._decisions:
            return Stake.DECISION
        if self._entries or PositionState.PENDING_ENTRY in states or PositionState.PENDING_EXIT in states:
            return Stake.ORDER
        if self._asked or not self._are_modes_fit or not all((*self._hubs.values(), *self._links.values())):
            return Stake.OUTAGE
        return Stake.HELD if PositionState.OPEN in states else Stake.NOTHING

    def awaits_first_quote(self, now: Utc) -> bool:
        """Return whether an open position has had no quote yet, as after a restart; a minute after it was found: no."""
        for position_id, state in self._positions.items():
            key, since_utc = self._held[position_id]
            if state is PositionState.OPEN and key not in self._quoted_lines and now < since_utc + WAIT_NS:
                return True
        return False

    @property
    def quoted_utc(self) -> Utc:
        """Return the newest quote or price of the desk that lags most: none may be left behind."""
        return min(self._quoted.values(), default=Utc(0))

    @property
    def _are_modes_fit(self) -> bool:
        return bool(self._modes) and all(mode in ALLOWS_EXITS for mode in self._modes.values())

    @property
    def hubs(self) -> frozenset[str]:
        """Return the hubs that must be up."""
        return frozenset(self._hubs)

    @property
    def hubs_up(self) -> frozenset[str]:
        """Return the hubs that deliver, as far as they say."""
        return frozenset(hub for hub, is_up in self._hubs.items() if is_up)

    @property
    def is_a_hub_quiet(self) -> bool:
        """Return whether a session with a hub stands and nothing comes, as before an open."""
        return bool(self._quiet)

    # -- decisions and orders -------------------------------------------------------------------

    def _on_record_alert(self, message: signals.RecordAlert, _to: str, now: Utc) -> None:
        self._decisions[message.alert.key.alert_id] = now + WAIT_NS

    def _on_route(self, message: desks.RouteChanged, _to: str, _now: Utc) -> None:
        self._routes[message.strategy] = message.desks

    def _on_signal(self, message: signals.SignalRaised, _to: str, now: Utc) -> None:
        intent = message.intent
        for desk in self._routes.get(intent.strategy, ONLY_DESK):
            self._decisions[f"signal {intent.key.alert_id} {desk}"] = Utc(max(intent.expires_utc, now) + WAIT_NS)

    def _end_decision(self, alert_id: str, to: str) -> None:
        for desk in (*ONLY_DESK, _desk_of(to)):
            self._decisions.pop(f"signal {alert_id} {desk}", None)

    def _on_alert(self, message: signals.AlertRaised, _to: str, _now: Utc) -> None:
        self._decisions.pop(message.alert.key.alert_id, None)

    def _on_denied(self, message: entries.EntryDenied, to: str, _now: Utc) -> None:
        self._end_decision(message.key.alert_id, to)

    def _on_handed_over(self, message: entries.EntryHandedOver, to: str, now: Utc) -> None:
        self._end_decision(message.key.alert_id, to)
        self._entries[message.leg.order_ref] = now + WAIT_NS

    def _on_order_over(self, message: orders.OrderClosed | orders.OrderRejected, _to: str, _now: Utc) -> None:
        self._entries.pop(message.order_ref, None)

    def _on_abandoned(self, message: positions.EntryAbandoned, _to: str, _now: Utc) -> None:
        self._entries.pop(message.order_ref, None)
        self._positions.pop(message.ref.position_id, None)

    def _on_position(self, message: positions.PositionChanged, to: str, now: Utc) -> None:
        self._positions[message.ref.position_id] = message.state
        self._held.setdefault(message.ref.position_id, ((_desk_of(to), message.ref.contract.con_id), now))

    def _on_opened(self, message: positions.PositionOpened, to: str, now: Utc) -> None:
        self._positions.setdefault(message.ref.position_id, PositionState.OPEN)
        self._held.setdefault(message.ref.position_id, ((_desk_of(to), message.ref.contract.con_id), now))

    def _on_closed(self, message: positions.PositionClosed, _to: str, _now: Utc) -> None:
        self._positions.pop(message.ref.position_id, None)

    # -- people ---------------------------------------------------------------------------------

    def _on_command(self, message: operator.OperatorCommand, _to: str, now: Utc) -> None:
        self._decisions[f"command {message.command_id}"] = now + WAIT_NS

    def _on_command_over(self, message: operator.CommandDone | operator.CommandDenied, _to: str, _now: Utc) -> None:
        self._decisions.pop(f"command {message.command_id}", None)

    # -- links ----------------------------------------------------------------------------------

    def _on_mode(self, message: session.ModeChanged, to: str, _now: Utc) -> None:
        if to.startswith(ORDERS):  # else somebody asked, and is told what was published before
            self._modes[to] = message.mode

    def _on_dial(self, _message: broker.Dial, to: str, _now: Utc) -> None:
        self._links[to.removeprefix("port:")] = False

    def _on_hang_up(self, _message: broker.CloseLink, to: str, _now: Utc) -> None:
        self._links.pop(to.removeprefix("port:"), None)

    def _on_link_up(self, _message: broker.LinkUp | broker.LinkRestored, to: str, _now: Utc) -> None:
        self._links[to] = True
        if to.startswith(QUOTES):
            self._quoted.setdefault(to, Utc(0))  # it is waited for from now on

    def _on_link_down(self, _message: broker.LinkLost | broker.LinkFailed, to: str, _now: Utc) -> None:
        self._links[to] = False

    def _on_hub_up(self, message: market.HubUp, _to: str, _now: Utc) -> None:
        self._hubs[message.hub] = True

    def _on_hub_down(self, message: market.HubDown, _to: str, _now: Utc) -> None:
        self._hubs[message.hub] = False

    def _on_hub_quiet(self, message: market.HubQuiet, _to: str, _now: Utc) -> None:
        self._quiet.add((message.hub, message.key_n))

    def _on_hub_flows(self, message: market.HubFlows, _to: str, _now: Utc) -> None:
        self._quiet.discard((message.hub, message.key_n))

    def _on_cover(self, message: market.CoverHub, to: str, _now: Utc) -> None:
        if not message.is_wanted:  # its port tells silence that lasts anew
            self._quiet.discard((to.removeprefix("port:hub:"), message.key_n))

    # -- questions to ports ---------------------------------------------------------------------

    def _on_list(self, message: market.ListChain, to: str, now: Utc) -> None:
        self._asked[f"chain {to.removeprefix('port:')} {message.ticker}"] = now + WAIT_NS

    def _on_listed(self, message: market.ChainListed | market.ChainFailed, to: str, _now: Utc) -> None:
        self._asked.pop(f"chain {to} {message.ticker}", None)

    def _on_read(self, message: broker.ReadBack, to: str, now: Utc) -> None:
        self._asked[f"read {to.removeprefix('port:')} {message.read_n}"] = now + WAIT_NS

    def _on_read_answer(self, message: broker.BrokerRead | broker.BrokerReadFailed, to: str, _now: Utc) -> None:
        self._asked.pop(f"read {to} {message.read_n}", None)

    def _on_negotiate(self, message: market.Negotiate, _to: str, now: Utc) -> None:
        self._asked[f"feed {message.feed_epoch}"] = now + WAIT_NS

    def _on_negotiated(self, message: market.Negotiated | market.NegotiateFailed, _to: str, _now: Utc) -> None:
        self._asked.pop(f"feed {message.feed_epoch}", None)

    # -- quotes ---------------------------------------------------------------------------------

    def _on_quote(self, message: market.QuoteChanged, to: str, _now: Utc) -> None:
        self._quoted[to] = max(self._quoted.get(to, Utc(0)), message.quote.at_utc)
        self._quoted_lines.add((_desk_of(to), message.quote.con_id))

    def _on_spots(self, message: market.SpotsChanged, to: str, _now: Utc) -> None:
        self._quoted[to] = max((self._quoted.get(to, Utc(0)), *(spot.at_utc for spot in message.spots)))


def _desk_of(name: str) -> str:
    """Return whose an actor is: the second part of its name; empty where nobody said who spoke."""
    return name.partition(":")[2].partition(":")[0]


Take = Callable[[Stakes, Any, str, Utc], None]
HEARD: Final[dict[type[Message], Take]] = {
    signals.RecordAlert: Stakes._on_record_alert,
    signals.AlertRaised: Stakes._on_alert,
    signals.SignalRaised: Stakes._on_signal,
    desks.RouteChanged: Stakes._on_route,
    entries.EntryDenied: Stakes._on_denied,
    entries.EntryHandedOver: Stakes._on_handed_over,
    orders.OrderClosed: Stakes._on_order_over,
    orders.OrderRejected: Stakes._on_order_over,
    positions.EntryAbandoned: Stakes._on_abandoned,
    positions.PositionChanged: Stakes._on_position,
    positions.PositionOpened: Stakes._on_opened,
    positions.PositionClosed: Stakes._on_closed,
    operator.Kill: Stakes._on_command,
    operator.Resume: Stakes._on_command,
    operator.Flatten: Stakes._on_command,
    operator.Promote: Stakes._on_command,
    operator.Demote: Stakes._on_command,
    operator.CommandDone: Stakes._on_command_over,
    operator.CommandDenied: Stakes._on_command_over,
    session.ModeChanged: Stakes._on_mode,
    broker.Dial: Stakes._on_dial,
    broker.CloseLink: Stakes._on_hang_up,
    broker.LinkUp: Stakes._on_link_up,
    broker.LinkRestored: Stakes._on_link_up,
    broker.LinkLost: Stakes._on_link_down,
    broker.LinkFailed: Stakes._on_link_down,
    broker.ReadBack: Stakes._on_read,
    broker.BrokerRead: Stakes._on_read_answer,
    broker.BrokerReadFailed: Stakes._on_read_answer,
    market.HubUp: Stakes._on_hub_up,
    market.HubDown: Stakes._on_hub_down,
    market.HubQuiet: Stakes._on_hub_quiet,
    market.HubFlows: Stakes._on_hub_flows,
    market.CoverHub: Stakes._on_cover,
    market.ListChain: Stakes._on_list,
    market.ChainListed: Stakes._on_listed,
    market.ChainFailed: Stakes._on_listed,
    market.Negotiate: Stakes._on_negotiate,
    market.Negotiated: Stakes._on_negotiated,
    market.NegotiateFailed: Stakes._on_negotiated,
    market.QuoteChanged: Stakes._on_quote,
    market.SpotsChanged: Stakes._on_spots,
}
