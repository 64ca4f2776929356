"""What must hold after every step of a faulty day, by the broker's own book."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from config.settings import Settings
from domain.instants import MINUTE, MS, SECOND, exchange_clock
from domain.instruments import Side
from domain.orders.combo import COMBO_CON_ID
from domain.orders.references import is_exit_ref, is_ours, is_slice_ref, position_of
from domain.orders.request import OrderRequest
from domain.risk.kill import KillLevel
from domain.session.modes import ALLOWS_EXITS, Mode
from domain.session.phases import Phase
from domain.signals import spread
from domain.units import Qty, Utc
from messages import broker, entries, lifecycle, operator, orders, positions, risk, session, signals, structures
from messages.base import Message
from simulation.broker.orders import Order
from simulation.days.faults import Fault
from simulation.days.pieces import contracts_of, pieces_of
from simulation.days.scene import Scene
from simulation.days.structure_checks import StructureChecks

CALM: Final = 45 * SECOND  # without a fault or an order: then everything agrees
FLATTEN_WAIT: Final = 75 * SECOND  # after a flatten, with the broker reachable
ALARM_WAIT: Final = 50 * SECOND  # an alarm at least this often while a flatten cannot be carried out
BUY_BACK_WAIT: Final = 120 * SECOND
COMES_BACK_WAIT: Final = 90 * SECOND  # an exit that had been given up is cancelled again by then


class Checks:
    """Looks at the exchange's book, the actors' states and the ledger; what is wrong goes to the scene."""

    def __init__(self, scene: Scene, settings: Settings, folder: Path) -> None:
        self._scene = scene
        self._desk = settings.desk
        self._rules = settings.day
        self._has_spread = settings.spread.is_on
        self._permit_ns = settings.entry.permit_ms * MS
        self._folder = folder
        self._latch = broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=0)
        self._stalled_until_utc = Utc(0)
        self._sent: set[str] = set()
        self._held_since: dict[int, tuple[Qty, Utc]] = {}
        self._is_close_judged: bool | None = None
        self._version = -1
        self._agreed = -1
        self._short_since: dict[int, Utc] = {}
        self._kill: tuple[KillLevel, Utc] = (KillLevel.NO_ENTRIES, Utc(0))
        self._mode: tuple[Mode, Utc] = (Mode.DATA_ONLY, Utc(0))
        self._phase: tuple[Phase | None, Utc] = (None, Utc(0))
        self._alarm_utc = Utc(0)
        self._disputed: set[int] = set()
        self._flat_checked = False
        self._beat_utc = Utc(0)
        self.signals: dict[str, Utc] = {}
        self._denials_given_up = 0  # by a ledger that was struck at each try: said by an alarm, and without a row
        self.structures = StructureChecks(scene)
        self.is_reachable: Callable[[], bool] = lambda: False
        self.on_entry: Callable[[str, str, str], None] = _nothing  # its desk, the order, the strategy
        self.crashed_utc = Utc(0)  # an actor of the desk, or one that is no desk's own
        self._reachable_since: Utc | None = None
        self.watched: dict[type[Message], Callable[[str, Any, Utc], None]] = {
            risk.KillRaised: self._on_kill,
            risk.KillLowered: self._on_kill,
            session.ModeChanged: self._on_mode,
            session.PhaseChanged: self._on_phase,
            operator.Alarm: self._on_alarm,
            positions.PositionDisputed: self._on_dispute,
            entries.EntryDenied: self._on_denied,
            lifecycle.ActorCrashed: self._on_crash,
            lifecycle.MessageDeadLettered: self._on_dead_letter,
            entries.RecordDenial: self._on_verdicts,
            entries.ReserveEntry: self._on_verdicts,
            entries.EntryAmended: self._on_amended,
            broker.OrderDenied: self._on_held_back,
            orders.SubmitOrder: self._on_submit,
            signals.SignalRaised: self._on_signal,
            entries.RequestPermit: self.structures.on_permit_asked,
            structures.OpenStructure: self.structures.on_open,
            structures.StructureChanged: self.structures.on_changed,
        }

    # -- what is heard ----------------------------------------------------------------------------

    def new_life(self, now: Utc) -> None:
        """Begin again with what a process knows that has just been started."""
        self._mode = Mode.DATA_ONLY, now
        self._kill = KillLevel.NO_ENTRIES, now
        self._latch = broker.LatchKill(level=KillLevel.RUNNING, kill_epoch=0)
        self._stalled_until_utc = Utc(0)
        self._reachable_since = None

    def new_session(self) -> None:
        """Begin another session."""
        self._flat_checked = False
        self._version = self._agreed = -1
        self._short_since, self._held_since, self._disputed = {}, {}, set()
        self._is_close_judged = None
        self.structures.new_session()

    def _on_kill(self, _to: str, told: risk.KillRaised | risk.KillLowered, now: Utc) -> None:
        if told.level != self._kill[0]:
            self._kill = told.level, now

    def _on_mode(self, _to: str, told: session.ModeChanged, now: Utc) -> None:
        if told.mode is not self._mode[0]:
            self._mode = told.mode, now

    def _on_phase(self, _to: str, told: session.PhaseChanged, now: Utc) -> None:
        if told.phase is not self._phase[0]:
            self._phase = told.phase, now

    def _on_alarm(self, _to: str, _told: operator.Alarm, now: Utc) -> None:
        self._alarm_utc = now

    def _on_dispute(self, _to: str, told: positions.PositionDisputed, now: Utc) -> None:
        self._scene.coverage.other("disputes")
        self._disputed.add(told.con_id)

    def _on_denied(self, to: str, told: entries.EntryDenied, now: Utc) -> None:
        if to.partition(":")[0] == "notifier":
            self._scene.coverage.code(told.code.value)

    def _on_verdicts(self, _to: str, told: entries.RecordDenial | entries.ReserveEntry, now: Utc) -> None:
        for verdict in told.verdicts:
            if verdict.finding.code is not None:
                self._scene.coverage.code(verdict.finding.code.value)

    def _on_amended(self, to: str, told: entries.EntryAmended, now: Utc) -> None:
        if to.partition(":")[0] == "notifier":
            self._scene.coverage.code(told.code.value)

    def _on_held_back(self, _to: str, told: broker.OrderDenied, now: Utc) -> None:
        self._scene.coverage.code(told.code.value)

    def _on_submit(self, _to: str, told: orders.SubmitOrder, now: Utc) -> None:
        order = told.order
        if not order.is_exit:
            return
        for part in told.parts:
            self._look_at_closing(part.order_ref, part.owner, part.side_in(order.side), order.qty * part.leg.ratio)
        if order.side is Side.SELL and not told.parts:
            self._look_at_exit(order, now)
            self._look_at_closing(order.order_ref, told.reply_to, order.side, order.qty)

    def _look_at_closing(self, order_ref: str, owner: str, side: Side, qty: int) -> None:
        """Look whether an exit closes at most what its position was told last that the broker holds."""
        cell = self._scene.cell(owner)
        state = None if cell is None else cell.state
        if state is not None and state.is_broker_newer and qty > max(-side.sign * (state.broker_qty or 0), 0):
            self._scene.breaks(f"exit {order_ref} is for {qty}, the broker has told {state.broker_qty}")

    def _on_signal(self, _to: str, told: signals.SignalRaised, now: Utc) -> None:
        if told.intent.source == spread.SOURCE and self._has_spread:  # its lane raises it; the others' are ours
            self.signals.setdefault(told.intent.alert_id, now)

    def _on_crash(self, _to: str, told: lifecycle.ActorCrashed, now: Utc) -> None:
        if INJECTED not in told.error:
            self._scene.breaks(f"{told.name} crashed by itself: {told.error.strip().splitlines()[-1][:200]}")
        self.crashed_utc = now
        self._scene.disturb(now)

    def _on_dead_letter(self, _to: str, told: lifecycle.MessageDeadLettered, now: Utc) -> None:
        if INJECTED not in told.why:
            self._scene.breaks(f"{told.name} could not handle {told.tag}: {told.why[:200]}")
        elif told.tag == _DENIAL:
            self._denials_given_up += 1

    # -- at the port ------------------------------------------------------------------------------

    def on_latch(self, command: broker.LatchKill) -> None:
        """Keep the kill level that the port has been told."""
        if command.kill_epoch >= self._latch.kill_epoch:
            self._latch = command

    def order_session_stalled(self, until_utc: Utc) -> None:
        """Take note that the order session takes no mail: it learns of a kill level, and of a loss, only afterwards."""
        self._stalled_until_utc = until_utc

    def on_handed_over(self, command: broker.PlaceOrder, session_epoch: int | None, now: Utc, *, is_late: bool) -> None:
        """Look at an order that passes the port's last check.

        `session_epoch` is that of the port, `None` without a session; `is_late`: the port had no turn for a while.
        """
        scene, order = self._scene, command.order
        ref = order.order_ref
        if command.session_epoch != session_epoch:
            scene.breaks(f"{ref} was sent in another session than it was approved for")
        if now > order.deadline_utc:
            scene.breaks(f"{ref} was sent {(now - order.deadline_utc) // MS} ms after its deadline")
        if ref in self._sent:
            scene.breaks(f"{ref} was sent twice")
        self._sent.add(ref)
        self.on_taken(command, now, is_late=is_late)

    def on_taken(self, command: broker.PlaceOrder, now: Utc, *, is_late: bool) -> None:
        """Look at an order that a port takes up, whose bytes leave now or in a moment."""
        if command.order.is_exit:
            self._look_at_exit(command.order, now)
        else:
            self._look_at_entry(command, now, is_late=is_late)

    def _look_at_exit(self, order: OrderRequest, now: Utc) -> None:
        """Look whether an exit sells, or buys back, at most what the broker has held for a while, or holds by now.

        A stop that rests at the broker leaves in the very instant of the fill that it is for: the book is looked at
        only after that instant.
        """
        con_id = order.contract.con_id  # a combination's holds nothing, and sells what its legs' positions hold
        held, since_utc = self._held_since.get(con_id, (Qty(0), now))
        is_told = now - since_utc > MINUTE and self._reachable_for(now) > MINUTE and not self._is_silent(con_id)
        closable = max(-order.side.sign * qty for qty in (held, self._scene.exchange.position(con_id).qty, 0))
        if con_id != COMBO_CON_ID and is_told and order.qty > closable:
            does = "is for" if order.side is Side.SELL else "buys"
            self._scene.breaks(f"exit {order.order_ref} {does} {order.qty}, the broker has long held {held}")

    def _is_silent(self, con_id: int) -> bool:
        """Return whether the broker says nothing of a contract by itself."""
        plan = self._scene.plan
        refs = [w.order.order_ref for w in self._scene.exchange._orders.values() if w.order.con_id == con_id]
        return any(plan.fault_of("new", ref) is Fault.POSITION_SILENT for ref in refs if is_ours(ref))

    def _look_at_entry(self, command: broker.PlaceOrder, now: Utc, *, is_late: bool) -> None:
        """Look whether an entry had leave to go."""
        scene, order, latch = self._scene, command.order, self._latch
        if order.good_till_utc is None or order.good_till_utc <= now:
            scene.breaks(f"entry {order.order_ref} was sent without a good-till to come")
        if latch.level > KillLevel.RUNNING or command.kill_epoch < latch.kill_epoch:
            scene.breaks(f"entry {order.order_ref} was sent past the port's kill latch")
        if scene.runtime is not None and (scene.runtime.latched or self._desk in scene.runtime.latched_groups):
            scene.breaks(f"entry {order.order_ref} was sent past the process latch")
        if is_late:
            return  # it was handed over before: what the port has been told since waits behind it
        # An order session that got no turn learns late of what happened; its permits run out.
        late_ns = self._permit_ns if now <= self._stalled_until_utc + SECOND else 0
        mode, mode_utc = self._mode
        if mode is not Mode.FULLY_LIVE and mode_utc + late_ns < now:
            scene.breaks(f"entry {order.order_ref} was sent in {mode.value}")
        level, level_utc = self._kill
        if level > KillLevel.RUNNING and level_utc + late_ns < now:
            scene.breaks(f"entry {order.order_ref} was sent at kill level {level}")
        reserved = (
            "SELECT r.qty, r.strategy FROM orders o JOIN reservations r USING (intent_id, leg) WHERE o.order_ref = ?"
        )
        found = self.rows(f"{reserved} AND NOT o.is_exit", order.order_ref)
        if not found:
            scene.breaks(f"entry {order.order_ref} was sent without a reservation")
        elif self._bought_qty(order.order_ref) + order.qty > found[0][0]:
            scene.breaks(f"entry {order.order_ref} is for more than the {found[0][0]} that are reserved")
        else:
            self.on_entry(self._desk, order.order_ref, found[0][1])
        if is_slice_ref(order.order_ref):
            scene.coverage.other("slices sent after an entry's first")

    def _bought_qty(self, order_ref: str) -> int:
        """Return how many contracts the other entry orders of a position have brought, or may still bring."""
        exchange, stem = self._scene.exchange, position_of(order_ref)
        live = {state.order.order_ref for state in exchange.open_orders()}
        return sum(
            w.order.qty if ref in live else w.filled_qty
            for w in exchange._orders.values()
            if (ref := w.order.order_ref) != order_ref and position_of(ref) == stem and not is_exit_ref(ref)
        )

    def on_order(self, order_ref: str, now: Utc) -> None:
        """Look at the book after an order was placed or changed."""
        self._look_at_book(now)

    # -- after every step -------------------------------------------------------------------------

    def after_step(self, now: Utc) -> None:
        """Look at what changed."""
        exchange = self._scene.exchange
        if exchange.version != self._version:
            self._version = exchange.version
            self._look_at_book(now)
        if now >= self._beat_utc:
            self._beat_utc = now + 5 * SECOND
            self._beat(now)

    def _look_at_book(self, now: Utc) -> None:
        scene, exchange = self._scene, self._scene.exchange
        selling: dict[int, int] = {}
        exits: dict[int, list[str]] = {}
        seen: set[str] = set()
        for state in exchange.open_orders():
            order = state.order
            if not is_ours(order.order_ref):
                continue
            if order.order_ref in seen:
                scene.breaks(f"two live orders of {order.order_ref}")
            seen.add(order.order_ref)
            if now - scene.came_back.get(order.order_ref, Utc(-COMES_BACK_WAIT)) < COMES_BACK_WAIT:
                continue
            if order.legs:  # an entry sells nothing that it does not cover itself
                for con_id, _ in contracts_of(order) if is_exit_ref(order.order_ref) else ():
                    exits.setdefault(con_id, []).append(order.order_ref)
            elif self.structures.is_short_leg(order.con_id) and is_exit_ref(order.order_ref):
                exits.setdefault(order.con_id, []).append(order.order_ref)
            elif order.side is Side.SELL and not self.structures.is_opening_sale(order.order_ref):
                selling[order.con_id] = selling.get(order.con_id, 0) + state.remaining_qty
                exits.setdefault(order.con_id, []).append(order.order_ref)
        for con_id, refs in exits.items():
            if len(refs) > 1:
                scene.breaks(f"two live exit orders of {con_id}: {', '.join(refs)}")
        self.structures.look_at_book()
        for con_id in exchange.touched:
            qty = exchange.position(con_id).qty
            if self._held_since.get(con_id, (None, now))[0] != qty:
                self._held_since[con_id] = qty, now
            by_hand = now - scene.touched_by_hand.get(con_id, Utc(0)) < MINUTE
            if selling.get(con_id, 0) > max(qty, 0) and not by_hand:
                scene.breaks(f"{selling[con_id]} of {con_id} are for sale and {qty} held")
            if -qty > self.structures.covered_qty(con_id):
                self._short_since.setdefault(con_id, now)
                if not by_hand and not self._is_touched(con_id):
                    scene.breaks(f"{con_id} is short by {-qty}")
            else:
                self._short_since.pop(con_id, None)

    def _beat(self, now: Utc) -> None:
        scene = self._scene
        if self.is_reachable() and self._mode[0] in ALLOWS_EXITS:
            if self._reachable_since is None:
                self._reachable_since = now
        else:
            self._reachable_since = None
        market = scene.market
        if now >= market.close_utc and self._is_close_judged is None:
            self._is_close_judged = self._is_undisturbed(now)
        if not market.open_utc <= now < market.close_utc:
            return
        for con_id, since in self._short_since.items():
            if (
                self._reachable_for(now) > BUY_BACK_WAIT
                and now - since > BUY_BACK_WAIT
                and not self._is_halted(con_id, now)
            ):
                scene.breaks(f"{con_id} stays short for {(now - since) // SECOND} s")
        self._look_at_flatten(now)
        last_utc = max(scene.disturbed_utc, scene.exchange.changed_utc)
        is_calm = now - last_utc > CALM and self._reachable_for(now) > CALM
        if is_calm and self._agreed != (exchange_version := scene.exchange.version):
            self._agreed = exchange_version
            self._look_at_agreement(now)
            self.structures.look_at_agreement()
        self.structures.look_at_waits(now, min(self._reachable_for(now), now - scene.disturbed_utc))
        if now >= market.close_utc - self._rules.verify_flat_ms * 1_000_000 and not self._flat_checked:
            self._flat_checked = True
            self._look_flat(now)

    def _reachable_for(self, now: Utc) -> int:
        return 0 if self._reachable_since is None else now - self._reachable_since

    def _is_halted(self, con_id: int, now: Utc) -> bool:
        contract = self._scene.market.contract(con_id)
        ticker = "" if contract is None else contract.ticker
        return now < self._scene.exchange.halts.get(ticker, Utc(0)) + MINUTE

    def _held(self, now: Utc) -> list[tuple[int, Qty]]:
        """Return what is held of ours and could be sold: a contract that nobody bids for cannot."""
        scene, found = self._scene, []
        for position in scene.exchange.positions():
            if position.con_id not in self.ours() or self._is_halted(position.con_id, now):
                continue
            quote, own_qty = scene.market.quote(position.con_id), self._own_qty(position.con_id)
            qty = min(position.qty, own_qty)
            if qty > 0 and quote.bid_ticks:
                found.append((position.con_id, Qty(qty)))
            sold_qty = min(-position.qty, -own_qty)
            if sold_qty > 0 and quote.ask_ticks and self.structures.is_short_leg(position.con_id):
                found.append((position.con_id, Qty(-sold_qty)))
        return found

    def _is_touched(self, con_id: int) -> bool:
        """Return whether somebody traded a contract by hand, or what covers it."""
        return not self._scene.touched_by_hand.keys().isdisjoint((con_id, *self.structures.covers_of(con_id)))

    def _own_qty(self, con_id: int) -> int:
        """Return what the desk's own orders have bought and not sold."""
        return sum(piece.signed_qty for piece in pieces_of(self._scene.exchange) if piece.con_id == con_id)

    def ours(self) -> set[int]:
        """Return the contracts that the desk has ordered."""
        return {piece.con_id for piece in pieces_of(self._scene.exchange)}

    def _look_at_flatten(self, now: Utc) -> None:
        wanted = []
        if self._kill[0] >= KillLevel.FLATTEN:
            wanted.append(self._kill[1])
        if self._phase[0] is Phase.FLATTEN:
            wanted.append(self._phase[1])
        if not wanted or now - min(wanted) < FLATTEN_WAIT:
            return
        held = self._held(now)
        if not held:
            return
        scene = self._scene
        if self._reachable_for(now) > FLATTEN_WAIT and now - scene.disturbed_utc > FLATTEN_WAIT:
            text = ", ".join(f"{qty} of {con_id}" for con_id, qty in held)
            scene.breaks(f"{text} held {(now - min(wanted)) // SECOND} s after a flatten, with the broker reachable")
        elif (
            self._reachable_since is None and now - self._alarm_utc > ALARM_WAIT and now - min(wanted) > 2 * ALARM_WAIT
        ):
            scene.breaks(f"no alarm for {(now - self._alarm_utc) // SECOND} s while a flatten cannot be carried out")

    def _look_flat(self, now: Utc) -> None:
        scene = self._scene
        if not self._is_undisturbed(now):
            scene.coverage.other("days not judged at C-10: the broker was not reachable")
            return
        scene.coverage.other("days judged at C-10")
        for con_id, qty in self._held(now):
            scene.breaks(f"not flat at {exchange_clock(now)}: {qty} of {con_id}")

    def _is_undisturbed(self, now: Utc) -> bool:
        """Return whether whoever wanted to close something could have done it by now."""
        return self._reachable_for(now) >= 2 * MINUTE and now - self._scene.disturbed_utc >= 2 * MINUTE

    def _look_at_close(self) -> None:
        """Judge by what the broker held as the settlement found it, before it emptied the book."""
        scene = self._scene
        exchange, market = scene.exchange, scene.market
        last_s = market.path.close_s - 1
        for position in exchange.held_at_close or ():
            con_id, own_qty = position.con_id, self._own_qty(position.con_id)
            contract = market.contract(con_id)
            is_halted = contract is not None and exchange.halts.get(contract.ticker, Utc(0)) > market.close_utc - MINUTE
            could_be_sold = market.column(con_id).bid[last_s] > 0 and not is_halted
            if self._is_close_judged and own_qty > 0 and position.qty > 0 and could_be_sold:
                scene.breaks(f"not flat at the close: {min(position.qty, own_qty)} of {con_id}")
        for con_id in self.ours():
            sold_qty = -self._own_qty(con_id)
            if self.structures.is_short_leg(con_id):
                self._look_at_short_leg(con_id, sold_qty)
            elif sold_qty > 0 and con_id not in scene.touched_by_hand:
                scene.breaks(f"{sold_qty} more of {con_id} were sold than bought")

    def _look_at_short_leg(self, con_id: int, sold_qty: int) -> None:
        """Judge a short leg at the close: it is never carried to its expiry where it could have been bought back."""
        scene, market = self._scene, self._scene.market
        if sold_qty <= 0 or self._is_touched(con_id):
            return
        contract = market.contract(con_id)
        halt_utc = Utc(0) if contract is None else scene.exchange.halts.get(contract.ticker, Utc(0))
        could_be_bought = (
            market.column(con_id).ask[market.path.close_s - 1] > 0 and halt_utc <= market.close_utc - MINUTE
        )
        if self._is_close_judged and could_be_bought:
            scene.breaks(f"not flat at the close: {sold_qty} of {con_id} are short")
        else:
            scene.coverage.other("short legs left to settle: nobody could buy them back")

    def _look_at_agreement(self, now: Utc) -> None:
        """Compare broker, position and ledger while nothing is under way."""
        scene, exchange = self._scene, self._scene.exchange
        if any(is_ours(state.order.order_ref) for state in exchange.open_orders()):
            return
        scene.coverage.other("agreements looked at")
        for con_id in self.ours():
            if con_id in scene.touched_by_hand or con_id in self._disputed:
                continue
            qty = exchange.position(con_id).qty
            cell = scene.cell(f"position:{self._desk}:{con_id}")
            held = 0 if cell is None or cell.state is None else cell.state.fills.signed_held
            if held != qty:
                scene.breaks(f"the broker holds {qty} of {con_id}, the position {held}")

    # -- at the end -------------------------------------------------------------------------------

    def at_end(self, now: Utc) -> None:
        """Compare executions and attempts with the ledger when a session is over."""
        scene = self._scene
        recorded: dict[str, int] = dict(
            self.rows("SELECT order_ref, sum(qty) FROM executions WHERE is_current GROUP BY order_ref")
        )
        is_settled = self._reachable_for(now) > CALM
        filled: dict[str, int] = {}
        for working in scene.exchange._orders.values():  # one that was replaced by another has filled in both
            ref = working.order.order_ref
            filled[ref] = filled.get(ref, 0) + working.filled_qty
        for ref, qty in filled.items():
            if is_ours(ref) and is_settled and recorded.get(ref, 0) != qty:
                scene.breaks(f"{ref}: {qty} filled and {recorded.get(ref, 0)} recorded")
        self._look_at_close()
        self._look_at_attempts()
        if scene.plan.has_lost_permits and is_settled:
            self._look_at_reservations()

    def _look_at_reservations(self) -> None:
        """Look whether what was reserved and never opened was let go, though risk's answer was lost."""
        for (ref,) in self.rows("SELECT order_ref FROM reservations WHERE state = 'PENDING_ENTRY'"):
            self._scene.breaks(f"{ref} is still reserved after the close")

    def _look_at_attempts(self) -> None:
        scene = self._scene
        rows: dict[str, list[str | None]] = {}
        for alert_id, code in self.rows("SELECT alert_id, code FROM gate_log ORDER BY n"):
            rows.setdefault(alert_id, []).append(code)
        missing = [alert_id for alert_id in self.signals if alert_id not in rows]
        if len(missing) > self._denials_given_up:
            for alert_id in missing:
                scene.breaks(f"attempt {alert_id} has no row")
        for alert_id in self.signals:
            if sum(code is None for code in rows.get(alert_id, ())) > 1:
                scene.breaks(f"attempt {alert_id} was accepted twice")
        sent = {w.order.order_ref for w in scene.exchange._orders.values() if not is_exit_ref(w.order.order_ref)}
        for alert_id, ref in self.rows("SELECT alert_id, order_ref FROM reservations"):
            if ref in sent and all(code is not None for code in rows.get(alert_id, [])):
                scene.coverage.other("rows amended after an order was sent")

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return what the desk's ledger answers now."""
        with sqlite3.connect(self._folder / f"{self._desk}.db") as db:
            found = db.execute(query, values).fetchall()
        db.close()
        return found


def _nothing(*_of_one_desk: str) -> None:
    pass


INJECTED: Final = "injected"
_DENIAL: Final = entries.RecordDenial.__struct_config__.tag


def by_hand(con_id: int, side: Side, qty: Qty, order_id: int) -> Order:
    """Return an order that somebody places by hand, at market."""
    from domain.instruments import OrderType  # noqa: PLC0415

    return Order(con_id=con_id, side=side, qty=qty, type=OrderType.MARKET, client_id=0, order_id=order_id)
