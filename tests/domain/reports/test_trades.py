"""Closed positions as trades: the legs of a structure are one, and each says why it was closed, part by part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.reports.trades import by_structure, closing_text, exit_reasons, largest_fall, results_cents, trade_of


def position(
    name: str, cents: int, *, structure: str | None = None, qty: int | None = 1, **changes: Any
) -> dict[str, Any]:
    row = {
        "position_id": name, "structure_id": structure, "intent_id": f"i-{name}", "con_id": 1, "opened_qty": qty,
        "realised_cents": cents, "exit_reason": "premium_stop", "end": "closed",
    }  # fmt: skip
    return row | changes


def test_the_legs_of_a_structure_are_one_trade_with_their_result_together() -> None:
    rows = [position("a", 500), position("b", -14_000, structure="s"), position("c", 12_000, structure="s")]
    assert [[row["position_id"] for row in legs] for legs in by_structure(rows)] == [["a"], ["b", "c"]]
    assert results_cents(rows) == [500, -2_000]


@pytest.mark.parametrize("qty", [None, 0])
def test_what_never_filled_is_no_trade(qty: int | None) -> None:
    assert results_cents([position("a", 0, qty=qty)]) == []


def test_the_parts_of_a_trade_say_their_reasons_in_order_and_once() -> None:
    of = {"intent_id": "i-a", "con_id": 1, "is_exit": 1}
    reasons = ("take_profit", "take_profit", "premium_stop")
    fills = [
        of | {"is_exit": 0, "exit_reason": None}, *(of | {"exit_reason": reason} for reason in reasons),
        of | {"intent_id": "another", "exit_reason": "eod"},
    ]  # fmt: skip
    trade = position("a", 500)
    assert exit_reasons(fills, trade) == ["take_profit", "premium_stop"]
    assert closing_text(trade, exit_reasons(fills, trade)) == "take profit, then premium stop"


def test_without_an_exit_of_ours_it_says_how_it_ended() -> None:
    assert closing_text(position("a", 500), []) == "premium stop"
    assert closing_text(position("a", 0, exit_reason=None, end="expired_unpriced"), []) == "expired, price not known"


def test_a_trade_keeps_what_its_legs_share_and_sums_what_they_made() -> None:
    of = {"structure": "s", "ticker": "SPX-SPY", "exit_reasons": []}
    sold = position("a", -14_000, **of, qty=10, side="SELL", opened_utc=5, closed_utc=8, fees_cents=500, strike=597)
    bought = position("b", 12_000, **of, side="BUY", opened_utc=6, closed_utc=9, fees_cents=None, strike=5_975)
    trade = trade_of([sold, bought | {"exit_reasons": ["eod"]}])
    assert [(leg["position_id"], leg["qty"]) for leg in trade["legs"]] == [("b", 1), ("a", -10)]
    assert (trade["ticker"], trade["strike"], trade["qty"]) == ("SPX-SPY", None, None)
    assert (trade["realised_cents"], trade["fees_cents"]) == (-2_000, 500)
    assert (trade["opened_utc"], trade["closed_utc"], trade["exit_reasons"]) == (5, 9, ["eod", "premium_stop"])


@pytest.mark.parametrize(
    ("days", "fall"),
    [
        ([([50, -100], None)], 100),
        ([([50, -100], 360)], 360),  # what was open had fallen further
        ([([50, -100], 100), ([-30, 20], 30)], 130),
        ([([-40], 40), ([-50], 50)], 90),  # from the start of the first day
        ([([-40], 40), ([100, -50], 60)], 60),
        ([([], 20), ([-10], 10)], 20),
        ([], 0),
    ],
)
def test_the_largest_fall_is_that_of_a_day_or_of_the_total_over_days(
    days: list[tuple[list[float], float | None]], fall: float
) -> None:
    assert largest_fall(days) == fall


@given(st.lists(st.integers(-500, 500)))
def test_of_one_day_that_was_not_summed_up_it_is_the_fall_of_the_running_total(results: list[int]) -> None:
    totals = [sum(results[:n]) for n in range(len(results) + 1)]
    assert largest_fall([(results, None)]) == max(max(totals[: n + 1]) - low for n, low in enumerate(totals))
