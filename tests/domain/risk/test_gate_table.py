"""Every gate and every code of it: the case that is refused, and beside it the nearest one that is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

import pytest
from msgspec.structs import replace

from domain.instants import BUCKET_NS, MINUTE, MS, SECOND, at_exchange
from domain.instruments import DataType, Right, Side
from domain.orders.intent import PlannedLeg
from domain.risk.day import DayStops, LockReason
from domain.risk.desk_view import AccountFacts, Funds, Halt, Hours
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import DeskRules, Epochs, Finding, Gate, GatePhase, Outcome, Sizing
from domain.risk.kill import KillLevel
from domain.risk.overlay import Overlay
from domain.risk.reject import EXPLAINED, REFUSED_IN_MODE, RejectCode
from domain.session.modes import AccountClass, Mode
from domain.session.phases import Phase
from tests.testkit.desk_world import (
    BUCKET,
    CALL,
    CLOSE,
    DAY,
    LONG_CALL,
    NAV,
    NOW,
    OPEN,
    PAPER_PORT,
    QQQ_CALL,
    SETTINGS,
    SHORT_CALL,
    SPOT,
    alert,
    decided,
    holding,
    intent,
    lost,
    pending,
    quote,
    rules,
    snapshot,
)
from tests.testkit.narrow import known

R = RejectCode
Changes = dict[str, Any]
Case = tuple[RejectCode, Changes, Changes]

GEXWATCH, SPX = SETTINGS.strategies["gexwatch"], SETTINGS.ticker_rules["SPX"]
FREE = dataclasses.replace(GEXWATCH, one_position_only=False, long_only=False)
LIVE = rules(trading_mode="live", is_live_armed=True)
LIVE_PORT = SETTINGS.broker.live_port
WIDE = rules(limits=dataclasses.replace(SETTINGS.entry, positions_per_ticker_max=9, positions_max=9))
AGED = NOW - SETTINGS.entry.account_age_max_ms * MS
BLIND = NOW - SETTINGS.kill.unknown_input_ms * MS
FLOOR = known(SETTINGS.entry.day_trade_nav_min_cents)
EARLIER, NEXT = alert(BUCKET - 20 * BUCKET_NS), BUCKET + BUCKET_NS


def limits(**changes: Any) -> DeskRules:
    return rules(limits=dataclasses.replace(SETTINGS.entry, **changes))


def at(hour: int, minute: int, second: int = 0) -> int:
    return at_exchange(DAY, time(hour, minute, second))


def moment(now: int) -> Changes:
    return {"now": now}


def account(port: int, kind: AccountClass = AccountClass.PAPER, *, matches: bool = True) -> Changes:
    return {"account": AccountFacts(port, kind, matches)}


def funds(nav: int = NAV, available: int = 20_000_000, day_trades: int | None = 3, at: int = NOW) -> Changes:
    return {"funds": Funds(nav, available, day_trades, at)}


def hours(*intervals: tuple[int, int], session: date = DAY) -> Changes:
    return {"hours": {"SPX": Hours(session, intervals)}}


def halt(is_halted: bool, at: int) -> Changes:
    return {"halts": {"SPX": Halt(is_halted, at)}}


def spot(**changes: Any) -> Changes:
    return {"spot": replace(SPOT, **changes)}


def overlay(factor: float) -> Changes:
    return {"sizing": Sizing(1, 2.5, 5.5, 2, 1.0, Overlay(factor, "VIX 50"))}


def liquidity(qty: int | None = 1, **changes: Any) -> Changes:
    return {"qty": qty, "quote": replace(quote(), **changes)}


def order_of(*legs: PlannedLeg, **changes: Any) -> Changes:
    return {"intent": intent(alert(), *legs, **changes)}


def held(*holdings: object, **changes: Any) -> Changes:
    return {"holdings": holdings, **changes}


THIS = frozenset({("gexwatch", "GAMMA_FLIP", 1)})
SOLD = order_of(SHORT_CALL, direction=-1)
COVERED = order_of(SHORT_CALL, LONG_CALL, direction=-1)

AT_OPEN = {"ticker": dataclasses.replace(SPX, premium_min_ticks=200)}
TWIN = (pending(strategy="gexwatch"),)
SPX_BESIDE = pending(ticker="SPX")

# By gate, in the order of the gates: a code, the case that is refused with it, and the nearest one that passes.
CASES: dict[str, list[Case]] = {
    "kill_level": [
        (R.KILL_SWITCH_L1, {"kill_level": KillLevel.NO_ENTRIES}, {"kill_level": KillLevel.RUNNING}),
        (R.KILL_SWITCH_L2, {"kill_level": KillLevel.FLATTEN}, {"kill_level": KillLevel.RUNNING}),
        (R.MISSING_INPUT, {"kill_level": None}, {"kill_level": KillLevel.RUNNING}),
    ],
    "live_flag": [
        (R.LIVE_NOT_ENABLED, {"rules": rules(trading_mode="live")}, {"rules": LIVE}),
    ],
    "port_and_account": [
        (R.NOT_PAPER_PORT, account(LIVE_PORT), account(PAPER_PORT)),
        (R.NOT_PAPER_ACCOUNT, account(PAPER_PORT, AccountClass.UNKNOWN), account(PAPER_PORT)),
        (
            R.NOT_LIVE_PORT,
            {"rules": LIVE, **account(PAPER_PORT, AccountClass.LIVE)},
            {"rules": LIVE, **account(LIVE_PORT, AccountClass.LIVE)},
        ),
        (
            R.ACCOUNT_MISMATCH,
            {"rules": LIVE, **account(LIVE_PORT, AccountClass.LIVE, matches=False)},
            {"rules": LIVE, **account(LIVE_PORT, AccountClass.LIVE)},
        ),
        (
            R.ACCOUNT_MISMATCH,
            {"rules": LIVE, **account(LIVE_PORT)},
            {"rules": LIVE, **account(LIVE_PORT, AccountClass.LIVE)},
        ),
        (R.MISSING_INPUT, {"account": None}, account(PAPER_PORT)),
    ],
    "shadow_check": [
        (R.SHADOW_SIGNAL, order_of(is_shadow=True), order_of(is_shadow=False)),
        (R.SHADOW_SIGNAL, {"promoted": frozenset({("gexwatch", "GAMMA_FLIP", 2)})}, {"promoted": THIS}),
        (R.SHADOW_SIGNAL, {"promoted": frozenset({("advisor", "GAMMA_FLIP", 1)})}, {"promoted": THIS}),
        (
            R.MISSING_INPUT,
            {"promoted": frozenset(), "is_promoted_known": False},
            {"promoted": THIS, "is_promoted_known": False},
        ),
    ],
    "broker_mode": [
        (R.MODE_DATA_ONLY, {"mode": Mode.DATA_ONLY}, {"mode": Mode.FULLY_LIVE}),
        (R.MODE_DEGRADED, {"mode": Mode.DEGRADED}, {"mode": Mode.FULLY_LIVE}),
        (R.MODE_WARMUP, {"mode": Mode.WARMUP}, {"mode": Mode.FULLY_LIVE}),
        (R.MISSING_INPUT, {"mode": None}, {"mode": Mode.FULLY_LIVE}),
    ],
    "session": [
        (R.MISSING_INPUT, {"phase": None}, {"phase": Phase.ENTRY}),
        (R.SESSION_CLOSED, {"phase": Phase.PRE}, {"phase": Phase.ENTRY}),
        (R.SESSION_CLOSED, moment(CLOSE), moment(CLOSE - 45 * MINUTE - 1)),
        (R.SESSION_CLOSED, {"session": date(2026, 11, 19)}, {"session": DAY}),
        (
            R.SESSION_CLOSED,
            {"rules": rules(day=dataclasses.replace(SETTINGS.day, closed_dates=(date(2026, 11, 20),)))},
            {"rules": rules(day=dataclasses.replace(SETTINGS.day, closed_dates=(date(2026, 11, 23),)))},
        ),
        (R.SESSION_CLOSED, hours((OPEN, CLOSE - 1)), hours((OPEN, CLOSE))),
        (R.SESSION_CLOSED, hours((OPEN + 1, CLOSE)), hours((OPEN - 1, CLOSE + 15 * MINUTE))),
        (R.SESSION_CLOSED, hours((OPEN, NOW), (NOW + 1, CLOSE)), hours((OPEN - 9, OPEN - 8), (OPEN, CLOSE))),
        (R.SESSION_CLOSED, hours(), hours((OPEN, CLOSE))),
        (R.MISSING_INPUT, {"hours": {}}, {}),
        (R.MISSING_INPUT, {"hours": {"SPX": Hours(DAY, None)}}, {}),
        (R.MISSING_INPUT, hours((OPEN, CLOSE), session=date(2026, 11, 19)), hours((OPEN, CLOSE))),
        (R.ENTRY_WINDOW, moment(at(9, 35) - 1), moment(at(9, 35))),
        (R.ENTRY_WINDOW, moment(at(15, 15)), moment(at(15, 15) - 1)),
        (R.ENTRY_WINDOW, {"phase": Phase.LATE}, {"phase": Phase.ENTRY}),
        (R.HALTED, halt(True, NOW - 9_000 * SECOND), {"halts": {"QQQ": Halt(True, NOW)}}),
        (R.HALTED, halt(False, NOW - 120 * SECOND + 1), halt(False, NOW - 120 * SECOND)),
        (R.MISSING_INPUT, {"halts_from_utc": NOW + 1}, {"halts_from_utc": NOW}),
        (R.DAY_LOCKED, {"day_locked": LockReason.DAILY_LOSS}, {"day_locked": None}),
    ],
    "signal_age": [
        (R.STALE_SIGNAL, moment(BUCKET + BUCKET_NS + 45 * SECOND + 1), moment(BUCKET + BUCKET_NS + 45 * SECOND)),
        (R.STALE_SIGNAL, order_of(expires_utc=NOW - 1), order_of(expires_utc=NOW)),
        (R.MISSING_INPUT, moment(BUCKET + BUCKET_NS - 1), moment(BUCKET + BUCKET_NS)),
    ],
    "cooldown": [
        (
            R.COOLDOWN,
            {"decisions": (decided(EARLIER, None, NOW - 300 * SECOND + 1),)},
            {"decisions": (decided(EARLIER, None, NOW - 300 * SECOND),)},
        ),
        (
            R.COOLDOWN,
            {"decisions": (decided(EARLIER, None),)},
            {"decisions": (decided(EARLIER, R.SPREAD_TOO_WIDE), decided(alert(source="advisor"), None))},
        ),
        (
            R.COOLDOWN,
            {"decisions": (decided(EARLIER, R.BROKER_REJECTED),)},
            {"decisions": (decided(EARLIER, R.PERMIT_EXPIRED),)},
        ),
        (
            R.COOLDOWN,
            {"beside": (pending(source="gexwatch", ticker="SPX", is_sending=True),)},
            {"beside": (pending(source="gexwatch", ticker="SPX"), pending(is_sending=True))},
        ),
    ],
    "watermark": [
        (R.DUPLICATE_ALERT, {"decisions": (decided(),)}, {"decisions": (decided(EARLIER),)}),
        (R.DUPLICATE_ALERT, {"decisions": (decided(alert(NEXT)),)}, {"decisions": (decided(alert(NEXT, version=2)),)}),
    ],
    "daily_loss": [
        (R.DAILY_LOSS, {"closed": (lost(1, -NAV // 50),)}, {"closed": (lost(1, -NAV // 50 + 1),)}),
        (R.DAILY_LOSS, {"rules": limits(daily_loss_max_cents=500), "closed": (lost(1, -500),)}, {"closed": (lost(1),)}),
        (R.DAILY_LOSS, {"stops": DayStops(is_hard=True)}, {"stops": DayStops(is_soft=True)}),
        (R.MISSING_INPUT, {"start_nav_cents": None}, {"start_nav_cents": NAV}),
        (
            R.DAILY_LOSS,
            held(holding(contract=QQQ_CALL, marked_utc=BLIND - 1, cost_cents=NAV // 50)),
            held(holding(contract=QQQ_CALL, marked_utc=BLIND, cost_cents=NAV // 50)),
        ),
        (
            R.MISSING_INPUT,
            held(holding(contract=QQQ_CALL, marked_utc=BLIND - 1)),
            held(holding(contract=QQQ_CALL, marked_utc=BLIND)),
        ),
        (
            R.MISSING_INPUT,
            held(holding(contract=QQQ_CALL, unrealised_cents=None)),
            held(holding(contract=QQQ_CALL, unrealised_cents=5)),
        ),
    ],
    "loss_streak": [
        (R.LOSS_STREAK, {"closed": (lost(1), lost(2), lost(3))}, {"closed": (lost(1), lost(2, 0), lost(3), lost(4))}),
    ],
    "trades_per_day": [
        (
            R.MAX_TRADES,
            {"closed": tuple(replace(lost(n, 5), strategy="gexwatch") for n in range(5))},
            {"closed": tuple(replace(lost(n, 5), strategy="gexwatch") for n in range(4))},
        ),
        (
            R.MAX_TRADES,
            {"closed": tuple(replace(lost(n, 5), strategy="gexwatch") for n in range(4)), "beside": TWIN},
            {"closed": tuple(replace(lost(n, 5), strategy="gexwatch") for n in range(4)), "beside": (pending(),)},
        ),
        (R.DAY_TRADES, funds(day_trades=0), funds(day_trades=1)),
        (R.MISSING_INPUT, funds(FLOOR - 1, day_trades=None), funds(FLOOR, day_trades=None)),
        (R.MISSING_INPUT, funds(FLOOR - 1, day_trades=None), funds(FLOOR - 1, day_trades=-1)),
        (
            R.MISSING_INPUT,
            funds(FLOOR - 1, day_trades=None),
            {"rules": limits(day_trade_nav_min_cents=None), **funds(FLOOR - 1, day_trades=None)},
        ),
        (R.MISSING_INPUT, {"funds": None}, funds()),
        (R.MISSING_INPUT, funds(at=AGED - 1), funds(at=AGED)),
    ],
    "no_adding_to_a_loser": [
        (R.ADD_TO_LOSER, held(holding(unrealised_cents=-1), rules=WIDE), held(holding(), rules=WIDE)),
        (
            R.ADD_TO_LOSER,
            held(holding(unrealised_cents=-1), rules=WIDE),
            held(holding(unrealised_cents=-1, contract=QQQ_CALL), rules=WIDE),
        ),
        (
            R.MISSING_INPUT,
            held(holding(unrealised_cents=None), rules=WIDE),
            held(holding(unrealised_cents=None, direction=-1), rules=WIDE),
        ),
        (
            R.MISSING_INPUT,
            held(holding(unrealised_cents=5, marked_utc=BLIND - 1), rules=WIDE),
            held(holding(unrealised_cents=5, marked_utc=BLIND), rules=WIDE),
        ),
    ],
    "no_reverse": [
        (
            R.REVERSE_WITHOUT_FLAT,
            held(holding(direction=-1, is_pending=True), rules=WIDE),
            held(holding(direction=-1, contract=QQQ_CALL), rules=WIDE),
        ),
        (
            R.REVERSE_WITHOUT_FLAT,
            {"beside": (pending(ticker="SPX", direction=-1),)},
            {"beside": (pending(direction=-1), SPX_BESIDE)},
        ),
    ],
    "one_position": [
        (
            R.ONE_POSITION_ONLY,
            held(holding(contract=QQQ_CALL, strategy="gexwatch")),
            held(holding(contract=QQQ_CALL, strategy="gexwatch"), strategy=FREE),
        ),
        (R.ONE_POSITION_ONLY, {"beside": TWIN}, {"beside": (pending(),)}),
    ],
    "long_only": [
        (R.LONG_ONLY, SOLD, {"strategy": FREE, **COVERED}),
        (R.NAKED_SHORT, {"strategy": FREE, **SOLD}, {"strategy": FREE, **COVERED}),
    ],
    "positions_global": [
        (
            R.MAX_POSITIONS,
            held(*(holding(str(n), contract=QQQ_CALL, is_pending=n == 0) for n in range(3))),
            held(*(holding(str(n), contract=QQQ_CALL, is_pending=n == 0) for n in range(2))),
        ),
        (
            R.MAX_POSITIONS,
            held(holding(contract=QQQ_CALL), beside=(pending(), pending())),
            held(holding(contract=QQQ_CALL), beside=(pending(),)),
        ),
    ],
    "positions_of_ticker": [
        (R.TICKER_LIMIT, held(holding(is_pending=True)), held(holding(contract=QQQ_CALL))),
        (R.TICKER_LIMIT, {"beside": (SPX_BESIDE,)}, {"beside": (pending(),)}),
    ],
    "contract": [
        (R.NOT_0DTE, {"contract": replace(CALL, expiry=date(2026, 11, 23))}, {"contract": CALL}),
        (R.WRONG_TRADING_CLASS, {"contract": replace(CALL, trading_class="SPX")}, {"contract": CALL}),
        (R.WRONG_RIGHT, {"contract": replace(CALL, right=Right.PUT)}, {"contract": CALL}),
        (R.WRONG_RIGHT, order_of(direction=-1), order_of(direction=1)),
        (R.WRONG_MULTIPLIER, {"contract": replace(CALL, multiplier=10)}, {"contract": CALL}),
        (R.UNKNOWN_CONTRACT, {"contract": replace(CALL, con_id=0)}, {"contract": replace(CALL, con_id=1)}),
        (R.UNKNOWN_CONTRACT, {"contract": replace(CALL, ticker="XSP")}, {"contract": CALL}),
        (R.WRONG_RIGHT, {"leg": PlannedLeg(Right.PUT, Side.BUY)}, {"leg": LONG_CALL}),
        (R.MISSING_INPUT, {"contract": None}, {"contract": CALL}),
    ],
    "quote_fresh": [
        (R.MISSING_INPUT, {"quote": None}, {"quote": quote()}),
        (R.MISSING_INPUT, {"quote": quote(ask=None)}, {"quote": quote()}),
        (R.MISSING_INPUT, {"spot": None}, {}),
        (R.MISSING_INPUT, spot(at_utc=NOW - 15 * SECOND - 1), spot(at_utc=NOW - 15 * SECOND)),
        *(
            (R.DELAYED_DATA, {"quote": quote(kind=kind)}, {"quote": quote(kind=DataType.LIVE)})
            for kind in DataType
            if kind is not DataType.LIVE
        ),
        (R.DELAYED_DATA, spot(data_type=DataType.FROZEN), spot(data_type=DataType.LIVE)),
        (R.STALE_QUOTE, {"quote": quote(at=NOW - 3 * SECOND - 1)}, {"quote": quote(at=NOW - 3 * SECOND)}),
    ],
    "bid_present": [
        (R.EMPTY_MARKET, {"quote": quote(bid=None)}, {"quote": quote(bid=1_000)}),
        (R.EMPTY_MARKET, {"quote": quote(bid=0)}, {"quote": quote(bid=1_000)}),
        (R.EMPTY_MARKET, {"quote": quote(bid=-1)}, {"quote": quote(bid=1_000)}),
    ],
    "spread": [
        (R.CROSSED_MARKET, {"quote": quote(bid=1_040)}, {"quote": quote(bid=1_030)}),
        (R.SPREAD_TOO_WIDE, {"quote": quote(ask=1_051)}, {"quote": quote(ask=1_050)}),
        (
            R.SPREAD_TOO_WIDE,
            {"quote": quote(bid=85, ask=116), "ticker": dataclasses.replace(SPX, premium_min_ticks=200)},
            {"quote": quote(bid=85, ask=115), "ticker": dataclasses.replace(SPX, premium_min_ticks=200)},
        ),
        (
            R.SPREAD_TOO_WIDE,
            {"quote": quote(bid=20, ask=31), "ticker": dataclasses.replace(SPX, premium_min_ticks=20)},
            {"quote": quote(bid=20, ask=30), "ticker": dataclasses.replace(SPX, premium_min_ticks=20)},
        ),
        (
            R.SPREAD_TOO_WIDE,
            {"quote": quote(bid=20, ask=30), "ticker": dataclasses.replace(SPX, premium_min_ticks=26)},
            {"quote": quote(bid=20, ask=30), "ticker": dataclasses.replace(SPX, premium_min_ticks=25)},
        ),
        # in the first quarter of an hour 40 % of the mid, then 30 %
        (
            R.SPREAD_TOO_WIDE,
            {**AT_OPEN, **moment(OPEN + 900 * SECOND), "quote": quote(bid=80, ask=120)},
            {**AT_OPEN, **moment(OPEN + 900 * SECOND - 1), "quote": quote(bid=80, ask=120)},
        ),
        (
            R.SPREAD_TOO_WIDE,
            {**AT_OPEN, **moment(OPEN + 60 * SECOND), "quote": quote(bid=79, ask=120)},
            {**AT_OPEN, **moment(OPEN + 60 * SECOND), "quote": quote(bid=80, ask=120)},
        ),
        (R.ILLIQUID, liquidity(2, ask_size=1), liquidity(2, ask_size=2)),
        (R.ILLIQUID, liquidity(2, ask_size=1), liquidity(2, ask_size=0)),  # not known
        (R.ILLIQUID, liquidity(2, ask_size=1), liquidity(2, bid_size=1)),
        (R.ILLIQUID, liquidity(2, ask_size=1), liquidity(None, ask_size=1)),
        (R.ILLIQUID, liquidity(volume=9, open_interest=99), liquidity(volume=10, open_interest=99)),
        (R.ILLIQUID, liquidity(volume=9, open_interest=99), liquidity(volume=9, open_interest=100)),
        (R.ILLIQUID, liquidity(volume=9, open_interest=99), liquidity(volume=9)),
        (R.MISSING_INPUT, {"quote": quote(bid=None)}, {"quote": quote()}),
    ],
    "size_and_money": [
        (R.RISK_OVERLAY, overlay(0.0), overlay(0.01)),
        (R.MISSING_INPUT, {"sizing": None}, overlay(1.0)),
        (R.BAD_SIZE, {"qty": 0}, {"qty": 1}),
        (R.BAD_SIZE, {"qty": 3}, {"qty": 2}),
        (R.PREMIUM_BOUNDS, {"quote": quote(bid=195, ask=204)}, {"quote": quote(bid=195, ask=205)}),
        (R.PREMIUM_BOUNDS, {"quote": quote(bid=2_490, ask=2_511)}, {"quote": quote(bid=2_490, ask=2_510)}),
        (R.CONCENTRATION, held(holding(cost_cents=900_000 - 103_000 + 1)), held(holding(cost_cents=900_000 - 103_000))),
        (
            R.CONCENTRATION,
            held(holding(contract=QQQ_CALL, cost_cents=1_800_000 - 103_000 + 1)),
            held(holding(contract=QQQ_CALL, cost_cents=1_800_000 - 103_000)),
        ),
        (
            R.CONCENTRATION,
            {"beside": (pending(ticker="SPX", cost_cents=900_000 - 103_000 + 1),)},
            {"beside": (pending(ticker="QQQ", cost_cents=900_000 - 103_000 + 1),)},
        ),
        (
            R.BUYING_POWER,
            {"fees_cents": 500, "beside": (pending(cost_cents=1),), **funds(available=115_000)},
            {"fees_cents": 500, "beside": (pending(),), **funds(available=115_000)},
        ),
        (
            R.BUYING_POWER,
            held(holding(contract=QQQ_CALL, is_pending=True, cost_cents=1), fees_cents=500, **funds(available=115_000)),
            held(holding(contract=QQQ_CALL, cost_cents=1), fees_cents=500, **funds(available=115_000)),
        ),
        (
            R.BUYING_POWER,
            {"fees_cents": 500, **funds(available=114_999)},
            {"fees_cents": 500, **funds(available=115_000)},
        ),
        (R.MISSING_INPUT, {"leg": SHORT_CALL}, {"leg": LONG_CALL}),
        (R.MISSING_INPUT, {"qty": None}, {"qty": 1}),
        (R.MISSING_INPUT, {"funds": None}, funds()),
        (R.MISSING_INPUT, funds(at=AGED - 1), funds(at=AGED)),
    ],
    "fresh_quote": [
        (R.STALE_QUOTE, {"fresh_from_utc": NOW + 1}, {"fresh_from_utc": NOW}),
        (R.QUOTE_DRIFT, {"quote": quote(bid=1_081, ask=1_112)}, {"quote": quote(bid=1_081, ask=1_111)}),
        (
            R.QUOTE_DRIFT,
            {"decision": quote(bid=100, ask=110), "quote": quote(bid=110, ask=121)},
            {"decision": quote(bid=100, ask=110), "quote": quote(bid=110, ask=120)},
        ),
        (R.QUOTE_DRIFT, {"quote": quote(bid=1_200, ask=1_230)}, {"quote": quote(bid=800, ask=830)}),
        (R.EMPTY_MARKET, {"quote": quote(bid=0)}, {"quote": quote()}),
        (R.CROSSED_MARKET, {"quote": quote(bid=1_031)}, {"quote": quote()}),
        (R.SPREAD_TOO_WIDE, {"quote": quote(ask=1_060)}, {"quote": quote()}),
        (R.DELAYED_DATA, {"quote": quote(kind=DataType.DELAYED_FROZEN)}, {"quote": quote()}),
        (R.ILLIQUID, liquidity(2, ask_size=1), liquidity(2, ask_size=2)),
        (R.MISSING_INPUT, spot(at_utc=NOW - 15 * SECOND - 1), spot(at_utc=NOW - 15 * SECOND)),
        (R.MISSING_INPUT, {"decision": None}, {"decision": quote()}),
    ],
    "reservation": [
        (R.PERMIT_KILLED, {"kill_epoch": 4, "approved": Epochs(3, 7)}, {"kill_epoch": 3, "approved": Epochs(3, 7)}),
        (
            R.PERMIT_SESSION,
            {"session_epoch": 8, "approved": Epochs(0, 7)},
            {"session_epoch": 7, "approved": Epochs(0, 7)},
        ),
        (R.MISSING_INPUT, {"approved": None}, {"approved": Epochs(0, 7)}),
    ],
}


def finding_of(gate: str, changes: Changes) -> Finding:
    changes = dict(changes)
    wanted = changes.pop("intent", intent())
    (row,) = [row for row in gates.GATES if row.name == gate]
    return row.check(wanted, snapshot(**changes))


@pytest.mark.parametrize(
    ("gate", "code", "triggers", "passes"),
    [(gate, *case) for gate, cases in CASES.items() for case in cases],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_the_case_is_refused_and_its_neighbour_is_not(
    gate: str, code: R, triggers: dict[str, Any], passes: dict[str, Any]
) -> None:
    refused, passed = finding_of(gate, triggers), finding_of(gate, passes)
    assert (refused.outcome, refused.code) == (Outcome.REJECT, code)
    assert (passed.outcome, passed.code) == (Outcome.PASS, None), passed


# -- nothing without its cases ------------------------------------------------------------------


def without_cases(rows: Sequence[Gate], cases: Mapping[str, Sequence[Case]]) -> list[str]:
    """Return one sentence for each gate, and each code of a gate, that has no case; and for what no gate gives."""
    table = "CASES in tests/domain/risk/test_gate_table.py"
    faults = []
    for row in rows:
        shown = {code for code, _, _ in cases.get(row.name, ())}
        if not shown:
            faults.append(f"Gate {row.name} has no test cases: add it to {table}.")
            continue
        faults += [
            f"Gate {row.name} has no test case for {code}: add it to {table}."
            for code in row.codes
            if code not in shown
        ]
        faults += [
            f"Gate {row.name} refuses with {code}, which its row does not name."
            for code in sorted(shown)
            if code not in row.codes
        ]
    names = {row.name for row in rows}
    return [*faults, *(f"{table} names {name}, which is no gate." for name in cases if name not in names)]


def test_every_gate_has_its_cases_for_each_of_its_codes() -> None:
    faults = without_cases(gates.GATES, CASES)
    assert not faults, "\n".join(faults)


def test_a_gate_without_cases_is_named() -> None:
    row = Gate("new_gate", lambda *_: Finding(Outcome.PASS), GatePhase.STANDING, (R.HALTED, R.COOLDOWN))
    assert without_cases((row,), {}) == [
        "Gate new_gate has no test cases: add it to CASES in tests/domain/risk/test_gate_table.py."
    ]
    assert without_cases((row,), {"new_gate": [(R.HALTED, {}, {}), (R.DAILY_LOSS, {}, {})], "old_gate": []}) == [
        "Gate new_gate has no test case for cooldown: add it to CASES in tests/domain/risk/test_gate_table.py.",
        "Gate new_gate refuses with daily_loss, which its row does not name.",
        "CASES in tests/domain/risk/test_gate_table.py names old_gate, which is no gate.",
    ]


# -- the tables ---------------------------------------------------------------------------------


def test_the_table_of_reasons_names_every_code_once_in_gate_order() -> None:
    assert list(EXPLAINED) == list(RejectCode)
    assert all(told.meaning.endswith(".") and told.action.endswith(".") for told in EXPLAINED.values())
    assert set(REFUSED_IN_MODE) == set(Mode) - {Mode.FULLY_LIVE}


def test_gates_stand_in_their_one_order() -> None:
    assert [row.name for row in gates.GATES] == list(CASES)
    assert [gates.number_of(name) for name in CASES] == list(range(1, len(CASES) + 1))
    assert tuple(row for phase in GatePhase for row in gates.in_phase(phase)) == gates.GATES


def test_the_last_look_asks_again_what_stood_before_and_the_contract_and_the_hand_over_what_may_have_changed() -> None:
    assert (*gates.in_phase(GatePhase.STANDING), *gates.in_phase(GatePhase.CANDIDATE)[:1]) == gates.LAST_LOOK
    assert [row.name for row in gates.HAND_OVER] == ["kill_level", "broker_mode", "session"]


def test_a_code_knows_its_gates() -> None:
    assert gates.gates_of(R.NO_CONTRACT) == ("contract",)
    assert gates.gates_of(R.DUPLICATE_ALERT) == ("watermark", "reservation")
    assert gates.gates_of(R.EXIT_HALTED) == ()


# -- running them -------------------------------------------------------------------------------


def test_a_clean_desk_passes_all_gates() -> None:
    verdicts = gates.run(gates.GATES, intent(), snapshot())
    assert [v.finding.outcome for v in verdicts] == [Outcome.PASS] * len(gates.GATES)


def test_the_first_reject_decides_and_nothing_is_looked_at_after_it() -> None:
    verdicts = gates.run(gates.GATES, intent(is_shadow=True), snapshot(mode=Mode.DEGRADED, day_locked="eod"))
    assert [v.gate for v in verdicts] == ["kill_level", "live_flag", "port_and_account", "shadow_check"]
    assert known(gates.first_reject(verdicts)).finding.code is R.SHADOW_SIGNAL


def test_what_came_instead_of_account_values_is_said() -> None:
    why = "NetLiquidation came in EUR; wanted USD"
    for gate in ("trades_per_day", "size_and_money"):
        found = finding_of(gate, {"funds": None, "unreadable": why})
        assert (found.code, found.looked_at) == (R.MISSING_INPUT, f"account values: {why}")


def test_the_brokers_hours_are_said_beside_the_calendars_where_they_disagree() -> None:
    found = finding_of("session", hours((OPEN, at(13, 0))))
    assert found.looked_at == "the broker's hours of SPX are 09:30:00-13:00:00, the calendar's 09:30:00-16:00:00"


def test_a_pending_position_is_no_loser_but_counts_against_the_reverse() -> None:
    pending = {"is_pending": True, "unrealised_cents": -1}
    assert finding_of("no_adding_to_a_loser", held(holding(**pending), rules=WIDE)).outcome is Outcome.PASS
    reverse = held(holding(direction=-1, **pending), rules=WIDE)
    assert finding_of("no_reverse", reverse).code is R.REVERSE_WITHOUT_FLAT


@pytest.mark.parametrize(
    ("gate", "key", "holdings", "code"),
    [
        ("no_adding_to_a_loser", "forbid_add_to_loser", held(holding(unrealised_cents=-1)), R.ADD_TO_LOSER),
        ("no_reverse", "forbid_reverse_without_flat", held(holding(direction=-1)), R.REVERSE_WITHOUT_FLAT),
        ("one_position", "one_position_only", held(holding(strategy="gexwatch")), R.ONE_POSITION_ONLY),
    ],
)
def test_each_invariant_holds_for_a_strategy_whose_profile_says_so_and_for_no_other(
    gate: str, key: str, holdings: dict[str, Any], code: R
) -> None:
    profile = SETTINGS.strategies["gexwatch"]
    for is_on in (True, False):
        found = finding_of(gate, holdings | {"strategy": dataclasses.replace(profile, **{key: is_on})})
        assert found.code is (code if is_on else None)


@pytest.mark.parametrize(
    ("holdings", "code"),
    [(held(holding(unrealised_cents=-1)), R.ADD_TO_LOSER), (held(holding(direction=-1)), R.REVERSE_WITHOUT_FLAT)],
)
def test_adding_to_a_loser_and_reversing_come_before_the_counts_that_would_hide_them(
    holdings: dict[str, Any], code: R
) -> None:
    verdicts = gates.run(gates.GATES, intent(), snapshot(**holdings))
    assert known(gates.first_reject(verdicts)).finding.code is code
    later = finding_of("positions_of_ticker", holdings)
    assert later.code is R.TICKER_LIMIT


def test_a_plan_of_several_legs_cannot_be_ordered_yet() -> None:
    refusal = known(gates.no_combo_orders(COVERED["intent"].plan))
    assert (refusal.gate, refusal.finding.code, refusal.finding.measured) == ("contract", R.MISSING_INPUT, 2)
    assert refusal.finding.looked_at == "a plan of several legs needs a combo order"
    assert gates.no_combo_orders(intent().plan) is None
