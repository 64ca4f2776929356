"""Closed positions as trades: the legs of a structure are one, and each says why it was closed, part by part."""

from __future__ import annotations

from typing import Any

import pytest

from domain.reports.trades import by_structure, closing_text, exit_reasons, results_cents


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
