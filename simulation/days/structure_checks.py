"""What must hold of structures after every step of a faulty day, by the broker's own book: of each pair by itself.

Never more is short, or on sale, than the held cover covers: so no short comes first, and no cover is let go before the
shorts are gone; not even leave to sell is asked for before something of the cover was bought. What is being opened or
unwound comes to its end, and whatever is held of a structure has an actor that knows it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders.references import is_exit_ref, position_of
from domain.structure.saga import SagaState
from domain.units import Utc
from messages import entries, structures
from simulation.days.pieces import pieces_of
from simulation.days.scene import Scene

UNWIND_WAIT: Final = 240 * SECOND  # undisturbed and with the broker reachable: it is open by then, or all legs are gone
OPENING: Final = frozenset({SagaState.BUYING_COVER, SagaState.SELLING, SagaState.ENTERING})
LEAVING: Final = frozenset({SagaState.BUYING_BACK, SagaState.RELEASING})


class Watched(msgspec.Struct, frozen=True):
    """A pair of a structure that was handed to its actor: both positions (the stems of their references), contracts.

    `stems` are those of all its legs: an order for all stands under the first one's.
    """

    address: str
    ratio: int
    cover: str
    cover_con_id: int
    short: str
    short_con_id: int
    stems: tuple[str, ...]


class StructureChecks:
    """Looks at every structure of the day; what is wrong goes to the scene.

    An order for all legs stands under the first cover's reference. It fills whole or not at all, so that it neither
    puts a short on sale nor a cover.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._known: dict[str, Watched] = {}
        self._waits: dict[str, tuple[frozenset[SagaState] | None, Utc]] = {}
        self._told: dict[str, str] = {}

    def new_session(self) -> None:
        """Begin another session."""
        self._known, self._waits = {}, {}

    def on_open(self, to: str, told: structures.OpenStructure, _now: Utc) -> None:
        """Know a structure from now on."""
        self._scene.coverage.other("spreads: handed over")
        legs = (told.cover, told.short, *told.further)
        stems = tuple(leg.ref.position_id for leg in legs)
        for n, (cover, short) in enumerate(zip(legs[::2], legs[1::2], strict=True)):
            self._known[f"{told.structure_id}{f'/{n}' if n else ''}"] = Watched(
                to, told.ratio, cover.ref.position_id, cover.order.contract.con_id, short.ref.position_id,
                short.order.contract.con_id, stems,
            )  # fmt: skip
        if told.further:
            self._scene.coverage.other("spreads: handed over with two pairs")

    def on_changed(self, _to: str, told: structures.StructureChanged, _now: Utc) -> None:
        """Count the states that are reached, and why it is left."""
        said = f"spreads: {told.state.value}" + ("" if told.reason is None else f" for {told.reason.value}")
        if self._told.get(told.structure_id) != said:
            self._told[told.structure_id] = said
            self._scene.coverage.other(said)

    def on_permit_asked(self, _to: str, told: entries.RequestPermit, _now: Utc) -> None:
        """Look whether a structure that asks for leave to sell has bought something of its cover."""
        for structure_id, one in self._known.items():
            if told.reply_to == one.address and not self._was_bought(one):
                self._scene.breaks(f"{structure_id} asks for leave to sell before anything of its cover was bought")

    # -- what others ask --------------------------------------------------------------------------

    def is_short_leg(self, con_id: int) -> bool:
        """Return whether a contract was to be sold by a structure of today."""
        return any(one.short_con_id == con_id for one in self._known.values())

    def is_opening_sale(self, order_ref: str) -> bool:
        """Return whether an order opens the short leg of a structure."""
        return not is_exit_ref(order_ref) and any(one.short == position_of(order_ref) for one in self._known.values())

    def covers_of(self, con_id: int) -> set[int]:
        """Return the contracts that cover another."""
        return {one.cover_con_id for one in self._known.values() if one.short_con_id == con_id}

    def covered_qty(self, con_id: int) -> int:
        """Return how many of a contract may be short: what the covers cover that the broker holds."""
        exchange = self._scene.exchange
        of_contract = (one for one in self._known.values() if one.short_con_id == con_id)
        return sum(one.ratio * max(exchange.position(one.cover_con_id).qty, 0) for one in of_contract)

    # -- after every step -------------------------------------------------------------------------

    def look_at_book(self) -> None:
        """Look whether the cover of each structure covers what is short and on sale.

        A cover that was sold by hand is the desk's as far as it knows: the book's own rule looks at that.
        """
        for structure_id, one in self._known.items():
            cover, for_sale = self._own_qty(one, one.cover_con_id), self._remaining(one.cover, is_exit=True)
            short, selling = self._short_qty(one), self._remaining(one.short, is_exit=False)
            if short + selling > one.ratio * max(cover - for_sale, 0):
                self._scene.breaks(
                    f"{structure_id}: {short} short and {selling} on sale, the cover is {cover} and {for_sale} of it"
                    " for sale"
                )

    def look_at_waits(self, now: Utc, quiet_ns: int) -> None:
        """Look whether what is being opened is open or given up, and what leaves has left.

        `quiet_ns` is how long nothing has disturbed, with the broker reachable. A leg that nobody quotes, or whose
        underlying is halted, cannot leave.
        """
        for structure_id, one in self._known.items():
            state = self._state_of(one)
            can_leave = state in LEAVING and self._is_held(one) and self._is_tradable(one, now)
            waits = OPENING if state in OPENING else LEAVING if can_leave else None
            if waits is not self._waits.get(structure_id, (None, now))[0]:
                self._waits[structure_id] = waits, now
            elif state is not None and waits is not None:
                since = self._waits[structure_id][1]
                if min(now - since, quiet_ns) > UNWIND_WAIT:
                    self._scene.breaks(f"{structure_id} is {state.value} for {(now - since) // SECOND} s")

    def look_at_agreement(self) -> None:
        """Look whether what is held of a structure has an actor that knows it, while nothing is under way."""
        for structure_id, one in self._known.items():
            by_hand = {one.cover_con_id, one.short_con_id} & self._scene.touched_by_hand.keys()
            is_held = self._own_qty(one, one.cover_con_id) != 0 or self._own_qty(one, one.short_con_id) != 0
            if is_held and not by_hand and self._state_of(one) in (None, SagaState.CLOSED, SagaState.ABANDONED):
                self._scene.breaks(f"{structure_id} is held at the broker, and its actor is {self._state_of(one)}")

    # -- the book ---------------------------------------------------------------------------------

    def _state_of(self, one: Watched) -> SagaState | None:
        """Return where a structure's actor says it is; `None` where it knows nothing of it."""
        cell = self._scene.cell(one.address)
        state: Any = None if cell is None else cell.state
        return None if state is None or state.saga is None else state.saga.state

    def _is_held(self, one: Watched) -> bool:
        """Return whether the broker holds anything of either leg that the desk has opened."""
        position = self._scene.exchange.position
        cover_qty = min(self._own_qty(one, one.cover_con_id), position(one.cover_con_id).qty)
        return self._short_qty(one) > 0 or cover_qty > 0

    def _was_bought(self, one: Watched) -> bool:
        """Return whether the broker ever bought anything of the cover for its own position."""
        return any(
            piece.con_id == one.cover_con_id and position_of(piece.order_ref) == one.cover and piece.signed_qty > 0
            for piece in pieces_of(self._scene.exchange)
        )

    def _short_qty(self, one: Watched) -> int:
        """Return how many of a structure's contracts the broker holds short: what was bought by hand is gone.

        It is gone from whichever structure was handed over first: a later one has sold the same contract anew.
        """
        con_id, exchange = one.short_con_id, self._scene.exchange
        own_qty = sum(piece.signed_qty for piece in pieces_of(exchange) if piece.con_id == con_id)
        gone = max(0, exchange.position(con_id).qty - own_qty)
        for other in self._known.values():
            if other.short_con_id == con_id:
                sold = max(0, -self._own_qty(other, con_id))
                if other is one:
                    return max(0, sold - gone)
                gone = max(0, gone - sold)
        return 0

    def _is_tradable(self, one: Watched, now: Utc) -> bool:
        exchange, market = self._scene.exchange, self._scene.market
        for con_id in (one.cover_con_id, one.short_con_id):
            contract, quote = market.contract(con_id), market.quote(con_id)
            if not (quote.bid_ticks and quote.ask_ticks):
                return False
            if contract is None or now < exchange.halts.get(contract.ticker, Utc(0)) + UNWIND_WAIT:
                return False
        return True

    def _own_qty(self, one: Watched, con_id: int) -> int:
        """Return what a structure's own orders have bought of a contract and not sold."""
        return sum(
            piece.signed_qty for piece in pieces_of(self._scene.exchange)
            if piece.con_id == con_id and position_of(piece.order_ref) in one.stems
        )  # fmt: skip

    def _remaining(self, stem: str, *, is_exit: bool) -> int:
        """Return how many contracts a position's working orders sell still; one that came back has its own rule."""
        return sum(
            state.remaining_qty for state in self._scene.exchange.open_orders()
            if state.order.side is Side.SELL and position_of(state.order.order_ref) == stem
            and is_exit_ref(state.order.order_ref) is is_exit and state.order.order_ref not in self._scene.came_back
            and not state.order.legs
        )  # fmt: skip
