"""Incidents that an attack on the stepped day found: loops that no single actor's tests could show."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from config.settings import load_settings
from domain.instants import SECOND
from domain.session.phases import Phase
from simulation.day import SteppedDay, invariants, stepped_day
from tests.testkit.anchored import anchored
from tests.testkit.position_history import History
from tests.testkit.toys import trace_lines

TICKERS = ["SPX", "QQQ"]  # those that the lanes watch


def day_of(given: dict[str, Any], folder: Path) -> SteppedDay:
    return stepped_day(load_settings(profile="demo", overrides=anchored(given)), folder, shows=False)


def told(day: SteppedDay) -> Counter[tuple[str, str]]:
    """Count what the trace holds by receiver and type."""
    records = (orjson.loads(line) for line in trace_lines(day.runtime))
    return Counter((r["to"], r["message"]["type"]) for r in records if r["kind"] == "envelope")


def test_a_position_woken_after_the_close_only_to_be_told_something_stays_awake() -> None:
    history = History()
    history.restart(None)
    history.phase(Phase.CLOSED)
    history.broker(0)
    assert not history.sent.is_retired


@pytest.mark.slow
def test_a_gateway_that_comes_back_after_the_close_wakes_nobody_for_ever(tmp_path: Path) -> None:
    # Retired positions were woken by the read-back, asked three owners, retired at the first answer, and so on.
    demo = {"start_clock": "14:25:00", "gateway_drop_at": "15:40:00", "gateway_drop_s": 1500}
    day = day_of({"tickers": TICKERS, "demo": demo}, tmp_path)
    day.run()
    day.runtime.close()
    assert invariants(day) == []
    counts = told(day)
    assert sum(n for (to, _), n in counts.items() if to.startswith("port:ibkr")) > 0
    started = [n for (to, tag), n in counts.items() if to.startswith("position:") and tag == "lifecycle.Started"]
    assert started
    assert max(started) <= 2


@pytest.mark.slow
def test_an_order_lost_on_the_way_is_asked_about_in_measure(tmp_path: Path) -> None:
    # Every read-back ended in a message on which the position asked again, and every question was a read-back.
    demo = {"start_clock": "09:38:00"}
    day = day_of({"tickers": TICKERS, "demo": demo}, tmp_path)
    placed: list[Any] = []
    place = day.exchange.place

    def lose_the_first(order: Any, now_utc: int, **how: Any) -> list[Any]:
        placed.append(order)
        return [] if len(placed) == 1 else place(order, now_utc, **how)

    day.exchange.place = lose_the_first  # type: ignore[method-assign]
    day.run(day.exchange.market.open_utc + 3600 * SECOND)
    day.runtime.close()
    counts = told(day)
    assert placed
    assert counts["port:ibkr:paper", "broker.ReadBack"] < 60
    assert counts["risk:paper", "positions.EntryAbandoned"] == 1
    assert [o.order_ref for o in placed].count(placed[0].order_ref) == 1
