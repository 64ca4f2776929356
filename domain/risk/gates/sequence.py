"""The entry gates in their one order. The first reject decides the code; all verdicts up to it are kept.

The pipeline calls them in groups, because some wait for a round trip: `STANDING` (1 to 18), `CANDIDATE` (19 to 22) for
each contract tried, `SIZE` (23), `SUBMIT` (24), then `LAST_LOOK` (1 to 19) again. Gate 25 is the reservation's
transaction in the ledger.
"""

from __future__ import annotations

from msgspec.structs import replace

from domain.instruments import Contract, Quote
from domain.limits import TickerRules
from domain.options.fees import round_trip_cents
from domain.risk.day import loss_streak
from domain.risk.desk_view import DeskView
from domain.risk.gates import quote as gates_quote
from domain.risk.gates import standing as gates_standing
from domain.risk.gates.types import DeskRules, Finding, Gate, Intent, Snapshot, Verdict, refused
from domain.risk.reject import RejectCode
from domain.risk.sizing import Sizing, cuts_of, size_entry

GATES = (
    Gate(1, "kill_level", gates_standing.kill_level),
    Gate(2, "live_flag", gates_standing.live_flag),
    Gate(3, "port_and_account", gates_standing.port_and_account),
    Gate(4, "shadow_check", gates_standing.shadow_check),
    Gate(5, "broker_mode", gates_standing.broker_mode),
    Gate(6, "session", gates_standing.session),
    Gate(7, "signal_age", gates_standing.signal_age),
    Gate(8, "cooldown", gates_standing.cooldown),
    Gate(9, "watermark", gates_standing.watermark),
    Gate(10, "daily_loss", gates_standing.daily_loss),
    Gate(11, "loss_streak", gates_standing.losses_in_a_row),
    Gate(12, "trades_per_day", gates_standing.trades_per_day),
    Gate(13, "positions_global", gates_standing.positions_global),
    Gate(14, "positions_of_ticker", gates_standing.positions_of_ticker),
    Gate(15, "one_position", gates_standing.one_position),
    Gate(16, "long_only", gates_standing.long_only),
    Gate(17, "no_adding_to_a_loser", gates_standing.no_adding_to_a_loser),
    Gate(18, "no_reverse", gates_standing.no_reverse),
    Gate(19, "contract", gates_quote.contract),
    Gate(20, "quote_fresh", gates_quote.quote_fresh),
    Gate(21, "bid_present", gates_quote.bid_present),
    Gate(22, "spread", gates_quote.spread),
    Gate(23, "size_and_money", gates_quote.size_and_money),
    Gate(24, "fresh_quote", gates_quote.fresh_quote),
)
RESERVATION_GATE, RESERVATION_NAME = 25, "reservation"

STANDING = GATES[:18]
CANDIDATE = GATES[18:22]
SIZE = GATES[22:23]
SUBMIT = GATES[23:24]
LAST_LOOK = GATES[:19]
# What a kill, a lost session or a locked day could have changed while the reservation was on its way.
HAND_OVER = (GATES[0], GATES[4], GATES[5])


def no_longer_stands(snapshot: Snapshot) -> RejectCode | None:
    """Check the gates of the hand-over for an entry that already works and wants to pay more."""
    for check in (gates_standing.kill_level, gates_standing.broker_mode, gates_standing.session):
        code = check(None, snapshot).code
        if code is not None:
            return code
    return None


def run(gates: tuple[Gate, ...], intent: Intent, snapshot: Snapshot, note: str = "") -> tuple[Verdict, ...]:
    """Give the verdicts up to and including the first reject; `note` goes before what each gate looked at."""
    verdicts: list[Verdict] = []
    for gate in gates:
        found = gate.check(intent, snapshot)
        if note:
            found = replace(found, looked_at=f"{note}: {found.looked_at}")
        verdicts.append(Verdict(gate.number, gate.name, found))
        if verdicts[-1].is_reject:
            break
    return tuple(verdicts)


def first_reject(verdicts: tuple[Verdict, ...]) -> Verdict | None:
    """Give the verdict that decides; it is the last one, or there is none."""
    return verdicts[-1] if verdicts and verdicts[-1].is_reject else None


def verdict_of(gate: int, found: Finding) -> Verdict:
    """Put a finding under the name of its gate (25 is the reservation)."""
    name = RESERVATION_NAME if gate == RESERVATION_GATE else GATES[gate - 1].name
    return Verdict(gate, name, found)


def no_contract(tried: int, why: str, is_none_today: bool = False) -> Verdict:
    """Give the verdict on an offer of which no contract passed gates 19 to 22, or of a ticker without one today."""
    code = RejectCode.NOT_0DTE if is_none_today else RejectCode.NO_CONTRACT
    return verdict_of(19, refused(code, tried, 1, "contracts tried", why))


def size_of(rules: DeskRules, ticker: TickerRules, view: DeskView, contract: Contract, quote: Quote) -> Sizing | None:
    """Size an entry on the quote in hand; `None` where account values, the session or the ask are not known."""
    if view.funds is None or view.session is None or not quote.ask_ticks:
        return None
    return size_entry(
        nav_cents=view.funds.nav_cents,
        ask_ticks=quote.ask_ticks,
        multiplier=contract.multiplier,
        stop_share=rules.stop_share,
        fees_cents=round_trip_cents(view.session, contract.trading_class, 1, quote.ask_ticks),
        cap=ticker.size_cap,
        cuts=cuts_of(view.stops.is_soft, loss_streak(view.closed)),
        limits=rules.limits,
    )
