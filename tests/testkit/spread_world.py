"""A credit spread and its structure's actor: the tests play risk, both positions, the ledger and the clock."""

from __future__ import annotations

from datetime import date, time
from functools import cache

from msgspec import UNSET

from actors.structure import StructureActor, StructureData
from config.settings import Settings, load_settings
from domain.instants import SECOND, at_exchange
from domain.instruments import Contract, Right, Side, Spot
from domain.orders.intent import DecisionPrices, OrderLeg, Permit, PositionRef
from domain.orders.references import entry_ref, intent_id, position_id, structure_key
from domain.position.cycle import ExitReason
from domain.session.phases import Phase
from domain.signals.spread import key_of
from domain.structure.credit import Terms
from domain.structure.rules import COVER_RATIO
from domain.units import Cents, Qty, Ticks, Utc
from messages import entries, market, positions, restored, session, structures
from messages.structures import ReservedLeg
from tests.testkit.probe import Outbox, Probe

DAY = date(2026, 11, 20)
OPEN = at_exchange(DAY, time(9, 30))
CLOSE = at_exchange(DAY, time(16))
T0 = at_exchange(DAY, time(9, 40))
KEY = key_of(Utc(T0 - 30 * SECOND))
STRUCTURE = intent_id(KEY.alert_id, "spread")
SPX_CALL = Contract(11, "SPX", "SPXW", DAY, Ticks(600_000), Right.CALL)
SPY_CALL = Contract(22, "SPY", "SPY", DAY, Ticks(60_000), Right.CALL)
TERMS = Terms(
    ratio=10.0, cover_strike_ticks=Ticks(600_000), short_strike_ticks=Ticks(60_000), cover_bid_ticks=Ticks(1_970),
    cover_ask_ticks=Ticks(2_000), short_bid_ticks=Ticks(250), short_ask_ticks=Ticks(251), fees_cents=Cents(1_700),
    credit_cents=Cents(48_300), gap_cents=Cents(0),
)  # fmt: skip
COVER_ADDRESS, SHORT_ADDRESS = "position:paper:11", "position:paper:22"


@cache
def settings() -> Settings:
    """Return the demo's settings with the spread on."""
    return load_settings(profile="demo", overrides={"spread": {"is_on": True}})


def leg(n: int, contract: Contract, side: Side, qty: int, limit: int) -> ReservedLeg:
    """Return the n-th leg as it was reserved."""
    stem = position_id("paper", intent_id(KEY.alert_id, "spread", n))
    ref = PositionRef(
        position_id=stem, intent_id=STRUCTURE, key=KEY, strategy="spread", direction=1 if n == 0 else -1,
        contract=contract, side=side, structure_id=STRUCTURE,
    )  # fmt: skip
    order = OrderLeg(
        contract=contract, side=side, qty=Qty(qty), limit_ticks=Ticks(limit), order_ref=entry_ref(stem),
        decision=DecisionPrices(Ticks(limit - 1), Ticks(limit)),
    )  # fmt: skip
    return ReservedLeg(ref, order)


COVER = leg(0, SPX_CALL, Side.BUY, 1, 2_000)
SHORT = leg(1, SPY_CALL, Side.SELL, 10, 250)
NAME = f"structure:paper:{structure_key(COVER.order.order_ref)}"


class SpreadTalk(Probe[StructureData]):
    """One incarnation after another of a structure."""

    def __init__(self, overrides: dict[str, object] | None = None) -> None:
        rules = settings() if overrides is None else load_settings(profile="demo", overrides=overrides)
        super().__init__(StructureActor(NAME, rules), T0)
        self.start()
        self.phase(Phase.ENTRY)

    def restart(self, known: restored.StructureRestored | None, *, is_new_run: bool = False) -> Outbox:
        """Crash, the actor alone or the process: only what the ledger knows comes back."""
        self.state, self.timers = self.actor.initial(), {}
        return self.start(known, incarnation=1 if is_new_run else 2, run_n=2 if is_new_run else 1)

    def wait(self, seconds: float) -> Outbox:
        """Let time pass; timers fire in order."""
        return self.advance(Utc(self.now + round(seconds * SECOND)))

    def open(self) -> Outbox:
        """Hand the reserved legs over."""
        return self.feed(
            structures.OpenStructure(
                structure_id=STRUCTURE, cover=COVER, short=SHORT, ratio=COVER_RATIO, terms=TERMS,
                permit=self.permit(), deadline_utc=Utc(self.now + 30 * SECOND),
            )
        )  # fmt: skip

    def permit(self) -> Permit:
        """Return a permit that is good now."""
        return Permit(kill_epoch=0, session_epoch=1, expires_utc=Utc(self.now + 2 * SECOND))

    def permit_shorts(self) -> Outbox:
        """Let risk say yes to the shorts."""
        return self.feed(entries.PermitRenewed(order_ref=SHORT.order.order_ref, permit=self.permit()))

    def leg(
        self, which: ReservedLeg, qty: int, *, is_entry_over: bool = True, is_flat: bool = False,
        is_leaving: bool = False, reason: ExitReason = ExitReason.EOD, is_free: bool = False,
        average: float | None = None, realised: int = 0, unrealised: int | None = 0, fees: int = 0, age_ns: int = 0,
        is_clear: bool = False, missing: int = 0,
    ) -> Outbox:  # fmt: skip
        """Let a leg say where it stands."""
        return self.feed(
            positions.LegChanged(
                ref=which.ref, qty=Qty(qty), average_ticks=average, is_entry_over=is_entry_over, is_flat=is_flat,
                exit_reason=reason if is_leaving else None, is_free=is_free, realised_cents=Cents(realised),
                fees_cents=Cents(fees),
                unrealised_cents=None if unrealised is None else Cents(unrealised), at_utc=self.now,
                mark_utc=None if unrealised is None else Utc(self.now - age_ns), is_clear=is_clear,
                missing_qty=Qty(missing) or UNSET,
            )
        )  # fmt: skip

    def spy(self, price: int) -> Outbox:
        """Let the fund trade at a price in ticks."""
        return self.feed(market.SpotsChanged(spots=(Spot("SPY", Ticks(price), self.now),)))

    def phase(self, phase: Phase) -> Outbox:
        """Let the day go on."""
        return self.feed(
            session.PhaseChanged(phase=phase, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=self.now)
        )

    def hold(self) -> None:
        """Open both legs, filled at once."""
        self.open()
        self.leg(COVER, 1, average=2_000)
        self.permit_shorts()
        self.leg(SHORT, 10, average=250)

    def reservation(
        self, which: ReservedLeg, *, is_live: bool = True, opened: int = 0, held: int = 0
    ) -> restored.StructureLeg:
        """Return what the ledger gives back of a leg."""
        kept = restored.Reservation(
            ref=which.ref, order_ref=which.order.order_ref, qty=which.order.qty, limit_ticks=which.order.limit_ticks,
            deadline_utc=Utc(T0 + 30 * SECOND), is_open=opened > 0,
        )  # fmt: skip
        return restored.StructureLeg(reservation=kept, is_live=is_live, opened_qty=Qty(opened), held_qty=Qty(held))

    def known(self, cover: restored.StructureLeg, short: restored.StructureLeg) -> restored.StructureRestored:
        """Return what the ledger gives back of the structure."""
        return restored.StructureRestored(
            structure_id=STRUCTURE, cover=cover, short=short, ratio=COVER_RATIO, terms=TERMS
        )
