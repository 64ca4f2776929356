"""Every code of every gate: the case that triggers it, and beside it the nearest case that does not."""

from __future__ import annotations

import dataclasses
from datetime import date, time

import pytest
from msgspec.structs import replace

from domain.instants import BUCKET_NS, MINUTE, MS, SECOND, at_exchange
from domain.instruments import Right, Side
from domain.risk.day import DayStops
from domain.risk.desk_view import AccountFacts, Funds
from domain.risk.gates import sequence as gates
from domain.risk.gates.types import Halts, Outcome
from domain.risk.reject import EXPLAINED, RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from tests.testkit.desk_world import (
    BUCKET,
    CALL,
    CLOSE,
    DAY,
    NAV,
    NOW,
    OPEN,
    OTHER_CALL,
    QQQ_CALL,
    SETTINGS,
    decided,
    holding,
    intent,
    lost,
    name_of,
    quote,
    rules,
    snapshot,
)

GEXWATCH, SPX = SETTINGS.strategies["gexwatch"], SETTINGS.ticker_rules["SPX"]
FREE = dataclasses.replace(GEXWATCH, one_position_only=False, long_only=False)
LIVE = rules(trading_mode="live", is_live_armed=True)
LIVE_PORT = SETTINGS.broker.live_port
WIDE = rules(limits=dataclasses.replace(SETTINGS.entry, positions_per_ticker_max=9, positions_max=9))
AGED = NOW - SETTINGS.entry.account_age_max_ms * MS


def limits(**changes: object):
    return rules(limits=dataclasses.replace(SETTINGS.entry, **changes))


def at(hour: int, minute: int, second: int = 0) -> int:
    return at_exchange(DAY, time(hour, minute, second))


def entering(now: int) -> dict[str, object]:
    return {"now": now}


def account(port: int, kind: str = "paper", matches: bool = True) -> dict[str, object]:
    return {"account": AccountFacts(port, kind, matches)}


def funds(nav: int = NAV, available: int = 20_000_000, day_trades: int | None = 3, at: int = NOW) -> dict[str, object]:
    return {"funds": Funds(nav, available, day_trades, at)}


def order_of(**changes: object) -> dict[str, object]:
    return {"intent": intent(**changes)}


def held(*holdings: object, **changes: object) -> dict[str, object]:
    return {"holdings": holdings, **changes}


R = RejectCode
REAL = rules(profile="real")
LATER = decided(bucket_utc=BUCKET + BUCKET_NS, alert_id=name_of(BUCKET + BUCKET_NS))
SENT = decided(code=None, alert_id="sent", bucket_utc=BUCKET - 20 * BUCKET_NS)
SHORT = {"side": Side.SELL, "right": Right.CALL, "direction": -1}
COVERED = order_of(**SHORT, is_covered=True)
AT_LOSS = holding(unrealised_cents=-1, strategy="gexwatch")

# gate, code, what triggers it, and the nearest thing that does not.
LEDGER = [
    (1, R.KILL_SWITCH_L1, {"kill_level": 1}, {"kill_level": 0}),
    (1, R.KILL_SWITCH_L2, {"kill_level": 2}, {"kill_level": 0}),
    (1, R.MISSING_INPUT, {"kill_level": None}, {"kill_level": 0}),
    (2, R.LIVE_NOT_ENABLED, {"rules": rules(trading_mode="live")}, {"rules": LIVE}),
    (3, R.NOT_PAPER_PORT, account(LIVE_PORT), account(SETTINGS.broker.paper_port)),
    (3, R.NOT_PAPER_ACCOUNT, account(SETTINGS.broker.paper_port, "unknown"), account(SETTINGS.broker.paper_port)),
    (
        3,
        R.NOT_LIVE_PORT,
        {"rules": LIVE, **account(SETTINGS.broker.paper_port, "live")},
        {"rules": LIVE, **account(LIVE_PORT, "live")},
    ),
    (
        3,
        R.ACCOUNT_MISMATCH,
        {"rules": LIVE, **account(LIVE_PORT, "live", False)},
        {"rules": LIVE, **account(LIVE_PORT, "live")},
    ),
    (3, R.ACCOUNT_MISMATCH, {"rules": LIVE, **account(LIVE_PORT)}, {"rules": LIVE, **account(LIVE_PORT, "live")}),
    (3, R.MISSING_INPUT, {"account": None}, account(SETTINGS.broker.paper_port)),
    (4, R.SHADOW_SIGNAL, order_of(is_shadow=True), order_of(is_shadow=False)),
    (5, R.MODE_DATA_ONLY, {"mode": Mode.DATA_ONLY}, {"mode": Mode.FULLY_LIVE}),
    (5, R.MODE_DEGRADED, {"mode": Mode.DEGRADED}, {"mode": Mode.FULLY_LIVE}),
    (5, R.MODE_WARMUP, {"mode": Mode.WARMUP}, {"mode": Mode.FULLY_LIVE}),
    (5, R.MISSING_INPUT, {"mode": None}, {"mode": Mode.FULLY_LIVE}),
    (6, R.MISSING_INPUT, {"phase": None}, {"phase": Phase.ENTRY}),
    (6, R.SESSION_CLOSED, {"phase": Phase.PRE}, {"phase": Phase.ENTRY}),
    (6, R.SESSION_CLOSED, entering(CLOSE), entering(CLOSE - 45 * MINUTE - 1)),
    (6, R.SESSION_CLOSED, {"session": date(2026, 11, 19)}, {"session": DAY}),
    (
        6,
        R.SESSION_CLOSED,
        {"rules": rules(day=dataclasses.replace(SETTINGS.day, closed_dates=("2026-11-20",)))},
        {"rules": rules(day=dataclasses.replace(SETTINGS.day, closed_dates=("2026-11-23",)))},
    ),
    (6, R.SESSION_CLOSED, {"liquid_hours_utc": (OPEN, NOW)}, {"liquid_hours_utc": (OPEN, NOW + 1)}),
    (6, R.ENTRY_WINDOW, entering(at(9, 35) - 1), entering(at(9, 35))),
    (6, R.ENTRY_WINDOW, entering(at(15, 15)), entering(at(15, 15) - 1)),
    (6, R.ENTRY_WINDOW, {"phase": Phase.LATE}, {"phase": Phase.ENTRY}),
    (6, R.HALTED, {"halts": Halts(True, None)}, {"halts": Halts(False, None)}),
    (6, R.HALTED, {"halts": Halts(False, NOW - 120 * SECOND + 1)}, {"halts": Halts(False, NOW - 120 * SECOND)}),
    (6, R.DAY_LOCKED, {"day_locked": "daily_loss"}, {"day_locked": None}),
    (6, R.MISSING_INPUT, {"rules": REAL, "halts": None}, {"rules": REAL}),
    (7, R.STALE_SIGNAL, entering(BUCKET + BUCKET_NS + 45 * SECOND + 1), entering(BUCKET + BUCKET_NS + 45 * SECOND)),
    (7, R.STALE_SIGNAL, order_of(expires_utc=NOW - 1), order_of(expires_utc=NOW)),
    (7, R.MISSING_INPUT, entering(BUCKET + BUCKET_NS - 1), entering(BUCKET + BUCKET_NS)),
    (
        8,
        R.COOLDOWN,
        {"decisions": (replace(SENT, decided_utc=NOW - 300 * SECOND + 1),)},
        {"decisions": (replace(SENT, decided_utc=NOW - 300 * SECOND),)},
    ),
    (
        8,
        R.COOLDOWN,
        {"decisions": (SENT,)},
        {"decisions": (replace(SENT, code="spread_too_wide"), replace(SENT, source="advisor"))},
    ),
    (9, R.DUPLICATE_ALERT, {"decisions": (decided(),)}, {"decisions": (decided(alert_id="an earlier one"),)}),
    (9, R.DUPLICATE_ALERT, {"decisions": (LATER,)}, {"decisions": (replace(LATER, version=2),)}),
    (
        10,
        R.DAILY_LOSS,
        {"closed": (lost(1, -NAV // 50),)},
        {"closed": (lost(1, -NAV // 50 + 1),)},
    ),
    (10, R.DAILY_LOSS, {"rules": limits(daily_loss_max_cents=500), "closed": (lost(1, -500),)}, {"closed": (lost(1),)}),
    (10, R.DAILY_LOSS, {"stops": DayStops(is_hard=True)}, {"stops": DayStops(is_soft=True)}),
    (10, R.MISSING_INPUT, {"start_nav_cents": None}, {"start_nav_cents": NAV}),
    (
        10,
        R.MISSING_INPUT,
        held(holding(contract=QQQ_CALL, at_utc=AGED - 1)),
        held(holding(contract=QQQ_CALL, at_utc=AGED)),
    ),
    (
        10,
        R.MISSING_INPUT,
        held(holding(contract=QQQ_CALL, unrealised_cents=None)),
        held(holding(contract=QQQ_CALL, unrealised_cents=5)),
    ),
    (11, R.LOSS_STREAK, {"closed": (lost(1), lost(2), lost(3))}, {"closed": (lost(1), lost(2, 0), lost(3), lost(4))}),
    (
        12,
        R.MAX_TRADES,
        {"closed": tuple(replace(lost(n, 5), strategy="gexwatch") for n in range(5))},
        {"closed": tuple(replace(lost(n, 5), strategy="gexwatch") for n in range(4))},
    ),
    (12, R.DAY_TRADES, funds(day_trades=0), funds(day_trades=1)),
    (12, R.MISSING_INPUT, {"rules": REAL, **funds(day_trades=None)}, {"rules": REAL, **funds(day_trades=-1)}),
    (12, R.MISSING_INPUT, {"funds": None}, funds()),
    (
        13,
        R.MAX_POSITIONS,
        held(*(holding(intent_id=str(n), contract=QQQ_CALL, is_pending=n == 0) for n in range(3))),
        held(*(holding(intent_id=str(n), contract=QQQ_CALL, is_pending=n == 0) for n in range(2))),
    ),
    (14, R.TICKER_LIMIT, held(holding(is_pending=True)), held(holding(contract=QQQ_CALL))),
    (
        15,
        R.ONE_POSITION_ONLY,
        held(holding(contract=QQQ_CALL, strategy="gexwatch")),
        held(holding(contract=QQQ_CALL, strategy="gexwatch"), strategy=FREE),
    ),
    (16, R.LONG_ONLY, order_of(**SHORT), {"strategy": FREE, **COVERED}),
    (16, R.NAKED_SHORT, {"strategy": FREE, **order_of(**SHORT)}, {"strategy": FREE, **COVERED}),
    (17, R.ADD_TO_LOSER, held(holding(unrealised_cents=-1), rules=WIDE), held(holding(), rules=WIDE)),
    (
        17,
        R.ADD_TO_LOSER,
        held(holding(unrealised_cents=-1), rules=WIDE),
        held(holding(unrealised_cents=-1, contract=QQQ_CALL), rules=WIDE),
    ),
    (
        17,
        R.MISSING_INPUT,
        held(holding(unrealised_cents=None), rules=WIDE),
        held(holding(unrealised_cents=None, direction=-1), rules=WIDE),
    ),
    (
        18,
        R.REVERSE_WITHOUT_FLAT,
        held(holding(direction=-1, is_pending=True), rules=WIDE),
        held(holding(direction=-1, contract=QQQ_CALL), rules=WIDE),
    ),
    (19, R.NOT_0DTE, {"contract": replace(CALL, expiry=date(2026, 11, 23))}, {"contract": CALL}),
    (19, R.WRONG_TRADING_CLASS, {"contract": replace(CALL, trading_class="SPX")}, {"contract": CALL}),
    (19, R.WRONG_RIGHT, {"contract": replace(CALL, right=Right.PUT)}, {"contract": CALL}),
    (19, R.WRONG_RIGHT, order_of(direction=-1), order_of(direction=1)),
    (19, R.WRONG_MULTIPLIER, {"contract": replace(CALL, multiplier=10)}, {"contract": CALL}),
    (19, R.UNKNOWN_CONTRACT, {"contract": replace(CALL, con_id=0)}, {"contract": replace(CALL, con_id=1)}),
    (19, R.UNKNOWN_CONTRACT, {"contract": replace(CALL, ticker="XSP")}, {"contract": CALL}),
    (19, R.MISSING_INPUT, {"contract": None}, {"contract": CALL}),
    (20, R.MISSING_INPUT, {"quote": None}, {"quote": quote()}),
    (20, R.MISSING_INPUT, {"quote": quote(ask=None)}, {"quote": quote()}),
    (20, R.MISSING_INPUT, {"spot": None}, {}),
    (20, R.DELAYED_DATA, {"quote": quote(kind=3)}, {"quote": quote(kind=1)}),
    (20, R.STALE_QUOTE, {"quote": quote(at=NOW - 3 * SECOND - 1)}, {"quote": quote(at=NOW - 3 * SECOND)}),
    (21, R.EMPTY_MARKET, {"quote": quote(bid=None)}, {"quote": quote(bid=1_000)}),
    (21, R.EMPTY_MARKET, {"quote": quote(bid=0)}, {"quote": quote(bid=1_000)}),
    (21, R.EMPTY_MARKET, {"quote": quote(bid=-1)}, {"quote": quote(bid=1_000)}),
    (22, R.CROSSED_MARKET, {"quote": quote(bid=1_040)}, {"quote": quote(bid=1_030)}),
    (22, R.SPREAD_TOO_WIDE, {"quote": quote(ask=1_051)}, {"quote": quote(ask=1_050)}),
    (
        22,
        R.SPREAD_TOO_WIDE,
        {"quote": quote(bid=85, ask=116), "ticker": dataclasses.replace(SPX, premium_min_ticks=200)},
        {"quote": quote(bid=85, ask=115), "ticker": dataclasses.replace(SPX, premium_min_ticks=200)},
    ),
    (
        22,
        R.SPREAD_TOO_WIDE,
        {"quote": quote(bid=20, ask=31), "ticker": dataclasses.replace(SPX, premium_min_ticks=20)},
        {"quote": quote(bid=20, ask=30), "ticker": dataclasses.replace(SPX, premium_min_ticks=20)},
    ),
    (
        22,
        R.SPREAD_TOO_WIDE,
        {"quote": quote(bid=20, ask=30), "ticker": dataclasses.replace(SPX, premium_min_ticks=26)},
        {"quote": quote(bid=20, ask=30), "ticker": dataclasses.replace(SPX, premium_min_ticks=25)},
    ),
    (22, R.MISSING_INPUT, {"quote": quote(bid=None)}, {"quote": quote()}),
    (23, R.BAD_SIZE, {"qty": 0}, {"qty": 1}),
    (23, R.BAD_SIZE, {"qty": 3}, {"qty": 2}),
    (23, R.PREMIUM_BOUNDS, {"quote": quote(bid=195, ask=204)}, {"quote": quote(bid=195, ask=205)}),
    (23, R.PREMIUM_BOUNDS, {"quote": quote(bid=2_490, ask=2_511)}, {"quote": quote(bid=2_490, ask=2_510)}),
    (
        23,
        R.CONCENTRATION,
        held(holding(cost_cents=900_000 - 103_000 + 1)),
        held(holding(cost_cents=900_000 - 103_000)),
    ),
    (
        23,
        R.CONCENTRATION,
        held(holding(contract=QQQ_CALL, cost_cents=1_800_000 - 103_000 + 1)),
        held(holding(contract=QQQ_CALL, cost_cents=1_800_000 - 103_000)),
    ),
    (
        23,
        R.BUYING_POWER,
        {"fees_cents": 500, **funds(available=114_999)},
        {"fees_cents": 500, **funds(available=115_000)},
    ),
    (
        23,
        R.BUYING_POWER,
        {"margin_cents": 10_000_000, **order_of(**SHORT), **funds(available=11_111_000)},
        {"margin_cents": 10_000_000, **order_of(**SHORT), **funds(available=11_112_000)},
    ),
    (23, R.MISSING_INPUT, order_of(**SHORT), {"margin_cents": 0, **order_of(**SHORT)}),
    (23, R.MISSING_INPUT, funds(at=AGED - 1), funds(at=AGED)),
    (24, R.STALE_QUOTE, {"fresh_from_utc": NOW + 1}, {"fresh_from_utc": NOW}),
    (24, R.QUOTE_DRIFT, {"quote": quote(bid=1_081, ask=1_112)}, {"quote": quote(bid=1_081, ask=1_111)}),
    (
        24,
        R.QUOTE_DRIFT,
        {"decision": quote(bid=100, ask=110), "quote": quote(bid=110, ask=121)},
        {"decision": quote(bid=100, ask=110), "quote": quote(bid=110, ask=120)},
    ),
    (24, R.QUOTE_DRIFT, {"quote": quote(bid=1_200, ask=1_230)}, {"quote": quote(bid=800, ask=830)}),
    (24, R.EMPTY_MARKET, {"quote": quote(bid=0)}, {"quote": quote()}),
    (24, R.CROSSED_MARKET, {"quote": quote(bid=1_031)}, {"quote": quote()}),
    (24, R.SPREAD_TOO_WIDE, {"quote": quote(ask=1_060)}, {"quote": quote()}),
    (24, R.DELAYED_DATA, {"quote": quote(kind=4)}, {"quote": quote()}),
    (24, R.MISSING_INPUT, {"decision": None}, {"decision": quote()}),
]  # fmt: skip


def found(gate: int, changes: dict[str, object]):
    changes = dict(changes)
    wanted = changes.pop("intent", intent())
    return gates.GATES[gate - 1].check(wanted, snapshot(**changes))


@pytest.mark.parametrize(("gate", "code", "triggers", "passes"), LEDGER, ids=lambda v: v if isinstance(v, str) else "")
def test_the_case_is_refused_and_its_neighbour_is_not(gate, code, triggers, passes):
    refused, passed = found(gate, triggers), found(gate, passes)
    assert (refused.outcome, refused.code) == (Outcome.REJECT, code)
    assert (passed.outcome, passed.code) == (Outcome.PASS, None), passed


def test_every_code_of_the_table_of_reasons_has_its_cases_here():
    """25 is the ledger's gate, `no_contract` the pipeline's: both are shown with the actor."""
    shown = {(gate, code) for gate, code, _, _ in LEDGER}
    documented = {(gate, code) for code, told in EXPLAINED.items() for gate in told.gates if gate != 25}
    assert documented - shown == {(19, R.NO_CONTRACT)}
    assert not shown - documented


def test_the_table_of_reasons_names_every_code_once_in_gate_order():
    assert list(EXPLAINED) == list(RejectCode)
    assert all(told.meaning.endswith(".") and told.action.endswith(".") for told in EXPLAINED.values())


def test_gates_stand_in_their_one_order():
    assert [g.number for g in gates.GATES] == list(range(1, 25))
    assert gates.STANDING + gates.CANDIDATE + gates.SIZE + gates.SUBMIT == gates.GATES
    assert gates.GATES[:19] == gates.LAST_LOOK


def test_a_clean_desk_passes_all_gates():
    verdicts = gates.run(gates.GATES, intent(), snapshot())
    assert [v.found.outcome for v in verdicts] == [Outcome.PASS] * 24


def test_the_first_reject_decides_and_nothing_is_looked_at_after_it():
    verdicts = gates.run(gates.GATES, intent(is_shadow=True), snapshot(mode=Mode.DEGRADED, day_locked="eod"))
    assert [v.gate for v in verdicts] == [1, 2, 3, 4]
    assert gates.first_reject(verdicts).found.code is R.SHADOW_SIGNAL


@pytest.mark.parametrize(
    ("gate", "unfed"), [(6, {"halts": None}), (6, {"liquid_hours_utc": None}), (12, funds(day_trades=None))]
)
def test_what_nobody_feeds_passes_in_profile_demo_only(gate, unfed):
    assert found(gate, unfed).outcome is Outcome.NOT_FED
    assert found(gate, {"rules": REAL, **unfed}).code is R.MISSING_INPUT


def test_a_pending_position_is_no_loser_but_counts_against_the_reverse():
    pending = replace(AT_LOSS, is_pending=True, strategy="other", contract=OTHER_CALL)
    assert found(17, held(pending, rules=WIDE)).outcome is Outcome.PASS
    assert found(18, held(replace(pending, direction=-1), rules=WIDE)).code is R.REVERSE_WITHOUT_FLAT
