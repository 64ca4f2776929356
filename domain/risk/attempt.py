"""One attempt at an entry, as a value: what has been found and chosen so far. `actors/risk/entry.py` moves it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from domain.instants import MS
from domain.instruments import Contract, Quote, Spot
from domain.limits import EntryLimits
from domain.options.fees import round_trip_cents
from domain.orders.intent import DecisionPrices, EntryPlan, Intent, OrderLeg, PlannedLeg, PositionRef
from domain.orders.references import entry_ref, position_id
from domain.orders.twap import TwapPlan
from domain.risk.desk_view import DeskView, Pending, spot_of
from domain.risk.entry_stages import ENTRY, EntryEvent, EntryStage
from domain.risk.gates.types import DeskRules, Epochs, Finding, Sizing, Snapshot, Verdict, refused
from domain.risk.reject import RejectCode
from domain.units import Cents, Qty, Ticks, Utc


class Choice(msgspec.Struct, frozen=True):
    """The contract chosen and its size; `quote` is the one on which the entry was decided."""

    contract: Contract
    quote: Quote
    qty: Qty
    fresh_from_utc: Utc


class Approval(msgspec.Struct, frozen=True):
    """What the last look approved; `deadline_utc` is when the entry order must have ended.

    `twap` is how the entry goes out in slices; `None`: as one order.
    """

    prices: DecisionPrices
    limit_ticks: Ticks
    epochs: Epochs
    deadline_utc: Utc
    twap: TwapPlan | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt at an entry of one leg; at `deadline_utc` it is stale, whatever it waits for.

    `stage_n` counts the stages of the desk (timers and requests carry it; 0 before the first). `untried` are the
    offered candidates, the one being tried first.
    """

    intent: Intent
    deadline_utc: Utc
    stage: EntryStage = EntryStage.RAISED
    stage_n: int = 0
    request_id: str = ""
    verdicts: tuple[Verdict, ...] = ()
    untried: tuple[tuple[Contract, Quote], ...] = ()
    tried: int = 0
    spot: Spot | None = None
    choice: Choice | None = None
    approval: Approval | None = None

    @property
    def leg(self) -> PlannedLeg:
        """The leg that is ordered (plans of several are refused before anything is asked)."""
        return self.intent.plan.legs[0]

    @property
    def pending(self) -> Pending:
        """The attempt as the others count it; sized, it costs its size at the ask."""
        choice = self.choice
        cost = 0 if choice is None else choice.qty * (choice.quote.ask_ticks or 0) * choice.contract.multiplier
        intent = self.intent
        is_sending = self.stage is EntryStage.AWAITS_RESERVATION
        return Pending(intent.source, intent.ticker, intent.strategy, intent.direction, Cents(cost), is_sending)

    def moved(self, event: EntryEvent) -> Attempt:
        """Return the attempt in the stage that an event leads to.

        Raises:
            IllegalTransition: the event cannot happen in this stage.
        """
        return replace(self, stage=ENTRY.next(self.stage, event))

    def waiting(self, event: EntryEvent, stage_n: int, request_id: str) -> Attempt:
        """Return the attempt in the stage that an event leads to, waiting for the reply to a request."""
        return replace(self.moved(event), stage_n=stage_n, request_id=request_id)

    def judged(self, *verdicts: Verdict) -> Attempt:
        """Return the attempt with further verdicts."""
        return replace(self, verdicts=(*self.verdicts, *verdicts))

    def offered(self, candidates: tuple[tuple[Contract, Quote], ...], spot: Spot | None) -> Attempt:
        """Return the attempt with its candidates, best first."""
        return replace(self, untried=candidates, spot=spot)

    def quoted(self, contract: Contract, quote: Quote) -> Attempt:
        """Return the attempt with a newer quote of the candidate being tried."""
        return replace(self, untried=((contract, quote), *self.untried[1:]))

    def seeing(self, spot: Spot | None) -> Attempt:
        """Return the attempt with a newer price of the underlying, where there is one."""
        return (
            self
            if spot is None or (self.spot is not None and spot.at_utc < self.spot.at_utc)
            else replace(self, spot=spot)
        )

    def passing_over(self, *verdicts: Verdict) -> Attempt:
        """Return the attempt at its next candidate; `verdicts` are those on the one passed over."""
        return replace(self.judged(*verdicts), untried=self.untried[1:], tried=self.tried + 1)

    def having_chosen(self, choice: Choice) -> Attempt:
        """Return the attempt with its contract and size."""
        return replace(self, choice=choice)

    def approved(self, approval: Approval) -> Attempt:
        """Return the attempt after its last look."""
        return replace(self, approval=approval)

    def wait_until(self, wait_ms: int, now: Utc) -> Utc:
        """Return until when a reply is waited for: `wait_ms` from now, but never past the attempt's deadline."""
        return min(now + wait_ms * MS, self.deadline_utc)


def snapshot_of(
    rules: DeskRules, view: DeskView, intent: Intent, now: Utc, beside: tuple[Pending, ...] = ()
) -> Snapshot:
    """Return what the standing gates look at; `beside` are the other attempts under way."""
    return Snapshot(
        now=now,
        rules=rules,
        strategy=rules.strategies[intent.strategy],
        ticker=rules.tickers[intent.ticker],
        view=view,
        beside=beside,
        spot=spot_of(view, intent.ticker),
    )


def candidate_snapshot(
    base: Snapshot, attempt: Attempt, contract: Contract, quote: Quote, sizing: Sizing | None
) -> Snapshot:
    """Return what the gates of a contract look at, for the attempt's leg: base, contract, quote, size and its fees."""
    spot = attempt.seeing(base.spot).spot
    if sizing is None:
        return replace(base, leg=attempt.leg, contract=contract, quote=quote, spot=spot)
    fees = Cents(0)
    if base.view.session is not None and sizing.qty and quote.ask_ticks is not None:
        fees = round_trip_cents(base.view.session, contract.trading_class, sizing.qty, quote.ask_ticks)
    return replace(
        base, leg=attempt.leg, contract=contract, quote=quote, spot=spot, qty=sizing.qty, sizing=sizing,
        fees_cents=fees,
    )  # fmt: skip


def submit_snapshot(base: Snapshot, choice: Choice) -> Snapshot:
    """Return a candidate's snapshot on the fresh quote, beside what was decided."""
    return replace(base, decision=choice.quote, fresh_from_utc=choice.fresh_from_utc, qty=choice.qty)


def approved_snapshot(base: Snapshot, epochs: Epochs) -> Snapshot:
    """Return a snapshot with the epochs of the last look."""
    return replace(base, approved=epochs)


def decision_prices(quote: Quote, spot: Spot | None) -> DecisionPrices:
    """Return what an entry was decided on: the quote, and the underlying at the last look."""
    return DecisionPrices(
        bid_ticks=quote.bid_ticks or Ticks(0),
        ask_ticks=quote.ask_ticks or Ticks(0),
        spot_ticks=None if spot is None else spot.price_ticks,
    )


def reference_of(desk: str, intent: Intent, leg: PlannedLeg, contract: Contract) -> PositionRef:
    """Return the name of the position that an intent opens in a contract."""
    return PositionRef(
        position_id=position_id(desk, intent.intent_id),
        intent_id=intent.intent_id,
        key=intent.key,
        strategy=intent.strategy,
        direction=intent.direction,
        contract=contract,
        side=leg.side,
    )


def intent_behind(ref: PositionRef, now: Utc) -> Intent:
    """Return the intent behind a position as far as the position knows it, for gates that look at the desk alone.

    When it was raised and how long it was good is long past: both instants are `now`.
    """
    return Intent(
        intent_id=ref.intent_id,
        key=replace(ref.key, ticker=ref.contract.ticker) if ref.is_leg else ref.key,
        strategy=ref.strategy,
        direction=ref.direction,
        plan=EntryPlan((PlannedLeg(ref.contract.right, ref.side),)),
        is_shadow=False,
        raised_utc=now,
        expires_utc=now,
    )


def order_leg(ref: PositionRef, choice: Choice, approval: Approval) -> OrderLeg:
    """Return the leg that is reserved and then ordered."""
    return OrderLeg(
        contract=choice.contract,
        side=ref.side,
        qty=choice.qty,
        limit_ticks=approval.limit_ticks,
        order_ref=entry_ref(ref.position_id),
        decision=approval.prices,
    )


def too_late(limits: EntryLimits, deadline_utc: Utc, now: Utc, stage: EntryStage) -> Finding:
    """Return the refusal of an attempt whose deadline has passed; measured from the signal's arrival."""
    late_ms = limits.intent_deadline_ms + (now - deadline_utc) / MS
    return refused(RejectCode.STALE_SIGNAL, late_ms, limits.intent_deadline_ms, "ms", f"in {stage.value}")


def no_reply(limits: EntryLimits, attempt: Attempt, code: RejectCode, now: Utc) -> Finding:
    """Return the refusal of an attempt that was not answered."""
    if now >= attempt.deadline_utc:
        return too_late(limits, attempt.deadline_utc, now, attempt.stage)
    if attempt.stage is EntryStage.AWAITS_RESERVATION:
        return ledger_slow(limits, code)
    return refused(code, looked_at=f"no reply in {attempt.stage.value}")


def ledger_slow(limits: EntryLimits, code: RejectCode) -> Finding:
    """Return the refusal of an attempt whose reservation the ledger has not confirmed in time."""
    wait_ms = limits.reservation_wait_ms
    text = (
        f"ledger_slow: the desk's ledger has not written the reservation within {wait_ms} ms; look at its disk, and at"
        " what else this machine does"
    )
    return refused(code, wait_ms, wait_ms, "ms", text)
