"""The lines of `why`: a trader's units, each status once, and what the last look found."""

from __future__ import annotations

from typing import Any

import pytest

from commands.why_lines import lines_of, verdict_lines
from domain.instants import MINUTE, MS
from tests.testkit import ledger_asks as ask


def verdict(gate: str, *, is_refused: bool = False, note: str = "", **finding: Any) -> dict[str, Any]:
    found = {"outcome": "reject" if is_refused else "pass", "code": "stale_quote" if is_refused else None}
    return {"gate": gate, "note": note, "finding": found | {"measured": None, "limit": None, "unit": ""} | finding}


def step(after_ms: float, **message: Any) -> dict[str, Any]:
    return {"at_utc": ask.T0 + int(after_ms * MS), "message": message}


STATUS = {"type": "broker.OrderStatusReported", "status": "working", "filled_qty": 0, "qty": 1}


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_last_look_says_whether_it_refused(is_refused: bool) -> None:
    again = [verdict("kill_level", note="last look"), verdict("contract", note="last look", is_refused=is_refused)]
    lines = verdict_lines([verdict("kill_level"), verdict("contract"), *again])
    told = [line.strip() for line in lines if "last look" in line]
    assert told == [
        "last look: 1 gates passed again, then one refused" if is_refused else "last look: all 2 gates passed again"
    ]
    assert ("REFUSED" in lines[-1]) is is_refused


def test_an_attempt_without_a_last_look_says_nothing_of_one() -> None:
    lines = verdict_lines([verdict("contract"), verdict("contract", is_refused=True)])
    assert "last look" not in "\n".join(lines)


def test_measures_are_in_a_traders_units() -> None:
    (line,) = verdict_lines([verdict("signal_age", measured=45_000.0, limit=2_700_000.0, unit="ms")])
    assert line.split() == ["7", "signal_age", "pass", "45", "s", "against", "45", "min"]


def test_a_status_that_is_told_twice_is_one_line() -> None:
    lines = lines_of([step(0, **STATUS), step(1, **STATUS), step(2, **STATUS | {"status": "filled"})])
    assert [line[22:] for line in lines] == ["status      working, 0 of 1 filled", "status      filled, 0 of 1 filled"]


def test_a_long_wait_is_in_minutes_and_the_clock_is_new_yorks() -> None:
    lines = lines_of([step(0, **STATUS), step(8 * MINUTE / MS, **STATUS | {"status": "filled"})])
    assert lines[0].startswith("10:00:00       +0 ms ")
    assert lines[1].startswith("10:08:00      +8 min ")


def test_an_exit_says_how_severe_it_is_and_an_alarm_too() -> None:
    exit_ = {
        "type": "orders.RecordExitIntent", "reason": "premium_stop", "kind": "full", "qty": 2, "tier": 2
    }  # fmt: skip
    alarm = {"type": "operator.Alarm", "key": "record", "severity": "critical", "text": "the exit is not on record"}
    lines = lines_of([step(0, **exit_), step(0, **alarm)])
    assert lines[0].endswith("premium stop (severity 4 of 6): 2 at the bid")
    assert "CRITICAL [record] the exit is not on record" in " ".join(" ".join(lines[1:]).split())


def test_an_offer_shows_prices_and_deltas_and_the_end_its_money() -> None:
    contract = {"trading_class": "SPXW", "strike_ticks": 589_000, "right": "P"}
    quote = {"bid_ticks": 1_820, "ask_ticks": 1_840, "greeks": {"delta": -0.5044}}
    offered = {"type": "market.ContractsOffered", "quotes": [[contract, quote]], "why": None}
    closed = {
        "type": "positions.PositionClosed", "reason": "no_progress", "end": "closed", "took_part": True,
        "realised_cents": 51_700, "fees_cents": 580,
    }  # fmt: skip
    lines = lines_of([step(0, **offered), step(0, **closed)])
    assert lines[0].endswith("SPXW 5890P 18.20/18.40 delta -0.50")
    assert " ".join("".join(lines[1:]).split()).endswith(
        "take profit, then no progress: +517.00 USD net of 5.80 USD fees"
    )


def test_a_damaged_record_is_said_and_the_rest_is_shown() -> None:
    lines = lines_of([step(0, type="broker.OrderStatusReported"), step(0, **STATUS)])
    assert "damaged" in lines[0]
    assert lines[-1].endswith("working, 0 of 1 filled")


@pytest.mark.parametrize(("side", "said"), [("BUY", "bought 10"), ("SELL", "sold 10"), (None, "bought 10")])
def test_what_was_opened_says_whether_it_was_bought_or_sold(side: str | None, said: str) -> None:
    contract = {"trading_class": "SPY", "strike_ticks": 59_700, "right": "C"}
    ref = {"contract": contract} | ({} if side is None else {"side": side})
    opened = {"type": "positions.PositionOpened", "ref": ref, "qty": 10, "cost_cents": 146_000}
    assert lines_of([step(0, **opened)])[0].endswith(f"{said} SPY 597C for 1,460 USD")


def test_the_alert_of_a_spread_says_its_terms_and_no_way_and_levels() -> None:
    key = {"source": "spread", "ticker": "SPX-SPY", "kind": "CREDIT_SPREAD", "version": 1, "bucket_utc": 0}
    alert = {"key": key, "direction": 1, "entry_ticks": 597_347, "target_ticks": 597_500, "stop_ticks": 587_300}
    thresholds = [["credit", 83.0], ["edge", -210.05], ["spx_strike", 5975.0], ["spy_strike", 597.0]]
    recorded = {"type": "signals.RecordAlert", "alert": alert, "thresholds": thresholds}
    said = " ".join(" ".join(lines_of([step(0, **recorded)])).split())
    assert said.endswith(
        "SPX at 5973.47, credit 83.00 USD net of fees, edge -210.05 USD, call 5975 bought, call 597 sold"
    )
    flip = recorded | {"alert": alert | {"key": key | {"source": "gexwatch", "ticker": "SPX"}}}
    assert " ".join(" ".join(lines_of([step(0, **flip)])).split()).endswith(
        "up at 5973.47, target 5975.00, stop 5873.00"
    )
