"""A desk whose trades stand in its ledger as a supervisor writes them, for reports and tax."""

from __future__ import annotations

from pathlib import Path

from domain.desks import DeskKind
from domain.instants import SECOND, session_of
from domain.instruments import Contract, Right, Side
from domain.position.cycle import EndReason, ExitReason
from domain.risk.day import DaySummary
from domain.risk.reject import RejectCode
from domain.units import Cents, Utc
from messages import risk
from storage.desk_kinds import note_kind
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask


def qqq(con_id: int, strike: int = 517) -> Contract:
    return Contract(con_id, "QQQ", "QQQ", ask.DAY, strike * 100, Right.PUT)


class Desk:
    """A desk whose trades are written as the supervisor writes them."""

    def __init__(self, root: Path, name: str, kind: DeskKind | None) -> None:
        start_run(root / "ledgers", (name,), ask.T0)
        if kind is not None:
            note_kind(root / "ledgers", name, kind)
        self.ledger = DeskLedger(root / "ledgers", name, run_n=1)
        self.ledger.open()
        self.name = name

    def trade(
        self, n: int, bought: int, sold: int | None, contract: Contract | None = None, fee: int | None = 100, *,
        day: int = 0, minute: int | None = None, strategy: str = "gexwatch",
        reason: ExitReason = ExitReason.PREMIUM_STOP,
    ) -> None:  # fmt: skip
        """Buy two at `bought` cents a unit in the n-th minute after 10:00 (or another), and sell them 20 s later."""
        contract = contract or ask.contract(n)
        at = self._at(day, n if minute is None else minute)
        leg = ask.leg(n, contract=contract, order_ref=self._ref(n))
        asked = ask.reserve(
            n, legs=(leg,), expires_utc=at + SECOND, decided_utc=at, session=session_of(at), strategy=strategy
        )
        self.ledger.apply(asked, at)
        self._fill(n, f"{n}.b", Side.BUY, "e", contract, bought, at, fee)
        if sold is not None:
            self.ledger.apply(ask.exit_intent(n, con_id=contract.con_id, order_ref=self._ref(n, "x1")), at)
            self._fill(n, f"{n}.s", Side.SELL, "x1", contract, sold, at + 20 * SECOND, fee)
            self._close(n, contract, EndReason.CLOSED, 2 * 100 * (sold - bought), at + 21 * SECOND, strategy, reason)

    def deny(self, n: int, code: RejectCode, *, day: int = 0, minute: int = 0) -> None:
        """Refuse the n-th alert."""
        at = self._at(day, minute)
        self.ledger.apply(ask.denial(n, code, decided_utc=at, session=session_of(at)), at)

    @staticmethod
    def _at(day: int, minute: int) -> Utc:
        return Utc(ask.T0 + day * 86_400 * SECOND + minute * 60 * SECOND)

    def expire(self, n: int, contract: Contract, end: EndReason, worth: int, bought: int, *, days: int = 0) -> None:
        """Let two that were bought expire, worth so many cents a unit; booked `days` later."""
        at = Utc(ask.T0 + (6 * 3600 + days * 86_400) * SECOND)
        self._close(n, contract, end, 2 * 100 * (worth - bought), at)

    def sum_up(self, day: int = 0) -> None:
        """Write the day's summary, as at its end."""
        at = self._at(day, 6 * 60)
        summary = DaySummary(
            trades=1, wins=1, losses=0, realised_cents=Cents(0), fees_cents=Cents(0), drawdown_cents=Cents(0)
        )
        self.ledger.apply(risk.RecordDay(session=session_of(at), summary=summary, at_utc=at), at)

    def _ref(self, n: int, suffix: str = "e") -> str:
        return ask.ref(n, suffix).replace("ZH-paper", f"ZH-{self.name}")

    def _fill(
        self, n: int, exec_id: str, side: Side, suffix: str, contract: Contract, cents: int, at: Utc, fee: int | None
    ) -> None:
        done = ask.execution(
            n, exec_id, order_ref=self._ref(n, suffix), con_id=contract.con_id, side=side, price_ticks=cents, at_utc=at
        )
        self.ledger.apply(done, at)
        if fee is not None:
            self.ledger.apply(ask.commission(exec_id, fee), at)

    def _close(
        self, n: int, contract: Contract, end: EndReason, realised: int, at: Utc, strategy: str = "gexwatch",
        reason: ExitReason | None = None,
    ) -> None:  # fmt: skip
        """Close a position with its result before fees; the ledger takes off those that it knows."""
        ref = ask.position_ref(n, contract=contract, strategy=strategy)
        told = ask.closed(n, realised, ref=ref, end=end, reason=reason, closed_utc=at, opened_utc=at, fees_cents=0)
        self.ledger.apply(told, at)
