"""What must hold between the desks of a faulty day: whose order is whose, who trades what, and what a switch may do."""

from __future__ import annotations

from typing import Any, Final

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.references import is_exit_ref, is_of_desk, is_ours, position_of
from domain.session.desk_switch import SwitchRefused, SwitchState
from domain.units import Utc
from messages import operator
from simulation.days.desk import DayDesk

OUTCOME_WAIT: Final = 240 * SECOND  # a switch has its answer by then, unless its process has ended
AROUND_NS: Final = 3 * SECOND  # before a switch is asked for: a signal may still be under way


class DesksChecks:
    """Looks at all desks of a day at once; what is wrong goes to the first one's scene."""

    def __init__(self, desks: tuple[DayDesk, ...]) -> None:
        self._desks = desks
        self._scene = desks[0].scene
        self._asked: dict[str, tuple[operator.Switch, Utc]] = {}
        self._versions: dict[str, int] = {}
        for desk in desks:
            desk.checks.on_entry = self._on_entry

    # -- what is traded where ---------------------------------------------------------------------

    def route_of(self, strategy: str) -> tuple[str, ...]:
        """Return the desks that trade a strategy by the router's word; none where it has none now."""
        state = self._router()
        return () if state is None else tuple(state.routes.get(strategy, ()))

    def _router(self) -> Any:
        cell = self._scene.cell("router")
        return None if cell is None else cell.state

    def _on_entry(self, desk_name: str, order_ref: str, strategy: str) -> None:
        """Look whether an entry leaves at a desk that trades its strategy, and not while a switch has begun to read."""
        state = self._router()
        if state is None:
            return
        if desk_name not in state.routes.get(strategy, ()):
            self._scene.breaks(f"entry {order_ref} was sent at {desk_name}, which does not trade {strategy}")
        switch = state.switch
        if switch is not None and switch.command.strategy == strategy and switch.state is not SwitchState.HOLDING:
            self._scene.breaks(f"entry {order_ref} was sent while {strategy} is being switched")

    # -- switches ---------------------------------------------------------------------------------

    def on_asked(self, command: operator.Switch, now: Utc) -> None:
        """Take note of a switch; signals of just before may go either way."""
        self._asked[command.command_id] = command, now
        for desk in self._desks:
            signals = desk.checks.signals
            for alert_id in [a for a, at_utc in signals.items() if at_utc > now - AROUND_NS]:
                del signals[alert_id]

    def on_answer(self, answer: operator.CommandDone | operator.CommandDenied, now: Utc) -> None:
        """Look whether a switch that is done was one of what is flat, and one that is refused changed nothing."""
        asked = self._asked.pop(answer.command_id, None)
        if asked is None:
            return
        command = asked[0]
        coverage = self._scene.coverage
        held = [text for desk in self._desks for text in self._held(desk, command.strategy)]
        if isinstance(answer, operator.CommandDenied):
            coverage.other(f"switches: refused, {answer.code}")
            at = self.route_of(command.strategy)
            if answer.code == SwitchRefused.NOT_FLAT and at != (command.from_desk,):
                self._scene.breaks(f"a refused switch of {command.strategy} left it at {at}")
            return
        coverage.other("switches: done")
        if held:
            self._scene.breaks(f"{command.strategy} was switched, and not flat: {', '.join(held)}")
        if self.route_of(command.strategy) != (command.to_desk,):
            self._scene.breaks(f"{command.strategy} was switched and trades at {self.route_of(command.strategy)}")

    def _held(self, desk: DayDesk, strategy: str) -> list[str]:
        """Return what the broker's book of a desk has of a strategy: held by its orders, or still to be filled."""
        exchange, touched = desk.scene.exchange, desk.scene.touched_by_hand
        stems = {position_of(ref): con_id for con_id, ref in self._opened(desk, strategy)}
        found = []
        own: dict[str, int] = {}
        for working in exchange._orders.values():
            stem = position_of(working.order.order_ref) if is_ours(working.order.order_ref) else ""
            if stem in stems and working.order.con_id not in touched:
                signed = working.filled_qty if working.order.side is Side.BUY else -working.filled_qty
                own[stem] = own.get(stem, 0) + signed
        for stem, qty in own.items():
            if qty and exchange.position(stems[stem]).qty:
                found.append(f"{qty} of {stems[stem]} at {desk.name}")
        for state in exchange.open_orders():
            ref = state.order.order_ref
            if is_ours(ref) and position_of(ref) in stems and not is_exit_ref(ref):
                found.append(f"{ref} works at {desk.name}")
        return found

    def _opened(self, desk: DayDesk, strategy: str) -> list[Any]:
        return desk.checks.rows("SELECT con_id, order_ref FROM reservations WHERE strategy = ?", strategy)

    # -- after every step -------------------------------------------------------------------------

    def after_step(self, now: Utc) -> None:
        """Look at the orders that are new in any book, and at switches without an answer."""
        for desk in self._desks:
            exchange = desk.scene.exchange
            if self._versions.get(desk.name) == exchange.version:
                continue
            self._versions[desk.name] = exchange.version
            for state in exchange.open_orders():
                ref = state.order.order_ref
                if is_ours(ref) and not is_of_desk(ref, desk.name):
                    self._scene.breaks(f"{ref} stands in the book of desk {desk.name}")
        for command_id, (command, at_utc) in list(self._asked.items()):
            if now - at_utc > OUTCOME_WAIT:
                del self._asked[command_id]
                disturbed_utc = max(desk.scene.disturbed_utc for desk in self._desks)  # by the switch itself, too
                crashed_utc = max(desk.checks.crashed_utc for desk in self._desks)
                if disturbed_utc < at_utc + SECOND and crashed_utc < at_utc:
                    self._scene.breaks(f"the switch of {command.strategy} has no answer")
                else:
                    self._scene.coverage.other("switches: without an answer, something else went wrong meanwhile")

    def at_end(self) -> None:
        """Look whether every execution on record is one of its own desk's broker."""
        for desk in self._desks:
            known = {w.order.order_ref for w in desk.scene.exchange._orders.values()}
            for (ref,) in desk.checks.rows("SELECT DISTINCT order_ref FROM executions WHERE is_current"):
                if is_ours(ref) and not is_of_desk(ref, desk.name):
                    self._scene.breaks(f"the ledger of {desk.name} has executions of {ref}")
            others = {
                w.order.order_ref for other in self._desks if other is not desk
                for w in other.scene.exchange._orders.values() if is_ours(w.order.order_ref)
            }  # fmt: skip
            if known & others:
                self._scene.breaks(f"desks share references: {sorted(known & others - {''})}")
