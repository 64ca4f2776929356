"""The paths of closed positions: looks after the entry alone, to an exit that another rule made, else further."""

from __future__ import annotations

from typing import Any

import pytest

from domain.position.exit_paths import ExitPath
from simulation.backtest.exit_paths import paths_of
from simulation.backtest.recorded import RecordedDay
from tests.testkit.recorded_days import CALL, PUT, SESSION, at, column

# Seconds after the open, bid, ask: before the entry, a whole quote, one without a bid, a crossed one, two more.
LOOKS = [(90, 500, 520), (110, 100, 120), (120, -1, 130), (130, 140, 130), (200, 150, 170), (5_000, 300, 320)]
DAY = RecordedDay(SESSION, (CALL,), {CALL.con_id: column(LOOKS)}, {})


def trade(reason: str, closed: float = 205, **more: Any) -> dict[str, Any]:
    """Return a closed position of two contracts, bought for 1.00 and 1.04 at 100 s."""
    return {
        "order_ref": "O", "con_id": CALL.con_id, "ticker": "SPX", "opened_qty": 2, "opened_utc": at(100),
        "closed_utc": at(closed), "exit_reason": reason, "realised_cents": 9_000, "fees_cents": 600, **more,
    }  # fmt: skip


def execution(price: int, **more: Any) -> dict[str, Any]:
    return {"order_ref": "O", "side": "BUY", "is_exit": 0, "qty": 1, "price_ticks": price, **more}


BOUGHT = [execution(100), execution(104), execution(150, order_ref="X", side="SELL", is_exit=1)]


def only(reason: str, **more: Any) -> ExitPath:
    (found,), missing = paths_of(DAY, [trade(reason, **more)], BOUGHT)
    assert missing == 0
    return found


def test_a_path_that_a_level_ended_goes_on_with_what_is_recorded_of_its_hour() -> None:
    path = only("take_profit")
    assert path.cost_cents == 20_400
    assert path.at_ms.tolist() == [10_000, 100_000]  # nothing before the entry, no broken quote, nothing after the hour
    assert path.mid.tolist() == pytest.approx([110 / 102 - 1, 160 / 102 - 1])
    assert path.bid.tolist() == pytest.approx([100 / 102 - 1, 150 / 102 - 1])


def test_a_path_that_another_exit_ended_ends_there_with_what_it_brought() -> None:
    path = only("underlying_stop", closed=150)
    assert path.at_ms.tolist() == [10_000, 50_000]
    assert path.bid[-1] == path.mid[-1] == pytest.approx((9_000 + 600) / 20_400)


def test_what_no_purchase_opened_is_no_path_and_what_has_no_quote_is_counted() -> None:
    short, unseen = trade("take_profit", order_ref="X"), trade("take_profit", con_id=PUT.con_id)
    assert paths_of(DAY, [short, unseen], BOUGHT) == ([], 1)
    late = trade("take_profit", opened_utc=at(6_000), closed_utc=at(6_100))
    assert paths_of(DAY, [late], BOUGHT) == ([], 1)
