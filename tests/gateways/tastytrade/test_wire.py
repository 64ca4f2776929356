"""What a REST broker's rows say, and what is made of rows that nobody can read."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import MINUTE, MS, SECOND
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.request import OrderChange, OrderRequest
from domain.units import Qty, Ticks, Utc
from gateways.contract_book import ID_FLOOR, ContractBook, occ_of, stranger_of
from gateways.tastytrade import wire
from gateways.tastytrade.bodies import change_body, instant_text, order_body
from messages.broker import QTY_UNKNOWN

NOW = Utc(1_795_000_000 * SECOND)
CONTRACT = Contract(1_001, "SPX", "SPXW", date(2026, 11, 20), Ticks(600_050), Right.PUT)
LEG = {
    "instrument-type": "Equity Option", "symbol": "SPXW  261120P06000500", "quantity": 2, "remaining-quantity": 2,
    "action": "Buy to Open", "fills": [],
}  # fmt: skip
ORDER = {
    "id": 54_758_826, "account-number": "5WT00001", "time-in-force": "Day", "order-type": "Limit", "size": 2,
    "underlying-symbol": "SPX", "price": "5.10", "price-effect": "Debit", "status": "Live",
    "external-identifier": "ZH-paper-a-e", "updated-at": 1_688_584_052_750, "legs": [LEG],
}  # fmt: skip
FILL = {"fill-id": "3_1", "quantity": 1, "fill-price": "5.05", "filled-at": "2026-11-19T08:00:00.500+00:00"}


def test_an_order_is_read_with_its_fills() -> None:
    order = wire.order_of(ORDER | {"legs": [LEG | {"fills": [FILL]}]}, NOW + 1_000_000 * SECOND)
    assert (order.order_id, order.ref, order.symbol, order.size) == (54_758_826, "ZH-paper-a-e", LEG["symbol"], 2)
    assert (order.order_type, order.limit_ticks, order.side) == (OrderType.LIMIT, 510, Side.BUY)
    assert order.updated_ms == 1_688_584_052_750
    (fill,) = order.fills
    assert (fill.qty, fill.price_ticks) == (1, 505)
    assert fill.at_utc is not None
    assert fill.at_utc % SECOND == 500 * MS
    assert "5WT" not in fill.raw


@pytest.mark.parametrize(
    "spoiled",
    [
        {"id": None}, {"id": "x"}, {"id": -1}, {"status": 3}, {"legs": None}, {"legs": []}, {"legs": [None]},
        {"legs": [LEG | {"action": "Allocate"}]}, {"size": 0},
        {"size": None, "legs": [LEG | {"quantity": "NaN"}]}, {"legs": [LEG | {"fills": [FILL | {"fill-id": ""}]}]},
        {"legs": [LEG | {"fills": [FILL | {"fill-price": "?"}]}]},
        {"legs": [LEG | {"fills": [FILL | {"quantity": 0}]}]}, {"legs": [LEG | {"fills": [None]}]},
    ],
)  # fmt: skip
def test_an_order_without_its_main_facts_is_told_and_never_dropped(spoiled: dict[str, Any]) -> None:
    with pytest.raises(wire.UnreadableError):
        wire.order_of(ORDER | spoiled, NOW)


@pytest.mark.parametrize("amount", [{"quantity": None}, {"quantity": "0.0"}, {"quantity": "?"}])
def test_a_foreign_order_without_a_quantity_is_a_stranger_and_one_of_ours_unreadable(amount: dict[str, Any]) -> None:
    row = ORDER | {"size": None, "legs": [LEG | amount | {"fills": [FILL | {"quantity": "0.004"}]}]}
    order = wire.order_of(row | {"external-identifier": "by hand"}, NOW)
    assert (order.symbol, order.size) == ("", QTY_UNKNOWN)
    assert [(fill.symbol, fill.qty) for fill in order.fills] == [(LEG["symbol"], 1)]
    with pytest.raises(wire.UnreadableError):
        wire.order_of(row, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ORDER, *LEG, *FILL]), inner),
    max_leaves=12,
)


@given(JSON)
def test_whatever_comes_is_read_or_told_as_unreadable(value: Any) -> None:
    readers = (lambda v: wire.order_of(v, NOW), wire.position_of, wire.balances_of, wire.fee_of, wire.margin_change_of)
    for reader in readers:
        try:
            reader(value)
        except wire.UnreadableError:
            continue


@pytest.mark.parametrize(
    ("value", "ticks"),
    [("5.10", 510), (5.1, 510), ("0.005", 0), ("-1.25", -125), ("NaN", None), ("Infinity", None), ("", None),
     (None, None), (True, None), ("1e99", None), ([], None)],
)  # fmt: skip
def test_prices_are_ticks_or_not_known(value: Any, ticks: int | None) -> None:
    assert wire.ticks_of(value) == ticks


def test_an_instant_in_the_future_or_without_a_zone_is_not_known() -> None:
    assert wire.plausible_instant_of("2026-11-18T08:53:20+00:00", NOW) is not None
    assert wire.plausible_instant_of("2026-11-18T08:53:20", NOW) is None
    assert wire.plausible_instant_of((NOW + 2 * MINUTE) // MS, NOW) is None
    assert wire.plausible_instant_of("yesterday", NOW) is None


def test_fees_add_up_with_their_effects_and_other_currencies_are_not_converted() -> None:
    trade = {
        "transaction-type": "Trade", "exec-id": "3_1", "commission": "1.00", "commission-effect": "Debit",
        "clearing-fees": "0.20", "clearing-fees-effect": "Debit", "regulatory-fees": "0.05",
        "regulatory-fees-effect": "Credit", "proprietary-index-option-fees": "0.65",
        "proprietary-index-option-fees-effect": "Debit",
    }  # fmt: skip
    assert wire.fee_of(trade) == (frozenset({"3_1"}), 180)
    assert wire.fee_of(trade | {"ext-exec-id": "venue's"}) == (frozenset({"3_1", "venue's"}), 180)
    assert wire.fee_of(trade | {"currency": "EUR"}) == (frozenset({"3_1"}), None)
    assert wire.fee_of(trade | {"transaction-type": "Money Movement"}) is None
    assert wire.fee_of({"transaction-type": "Trade", "exec-id": "3_1"}) == (frozenset({"3_1"}), None)


def test_a_short_position_is_negative_and_an_unknown_direction_unreadable() -> None:
    held = {"symbol": LEG["symbol"], "quantity": 2, "quantity-direction": "Short", "average-open-price": "5.055"}
    assert wire.position_of(held) == wire.PositionRow(str(LEG["symbol"]), "", Qty(-2), 505.5)
    with pytest.raises(wire.UnreadableError):
        wire.position_of(held | {"quantity-direction": "Sideways"})


def test_an_account_without_worth_is_unreadable() -> None:
    with pytest.raises(wire.UnreadableError, match="net-liquidating-value"):
        wire.balances_of({"net-liquidating-value": "0.0", "derivative-buying-power": "1.0"})


# -- orders out ---------------------------------------------------------------------------------


def request(**more: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "order_ref": "ZH-paper-a-e", "contract": CONTRACT, "side": Side.BUY, "qty": 2, "order_type": OrderType.LIMIT,
        "limit_ticks": 505, "is_exit": False, "deadline_utc": NOW,
    }  # fmt: skip
    return OrderRequest(**(fields | more))


def test_an_entry_opens_and_an_exit_only_closes() -> None:
    entry, exit_ = order_body(request()), order_body(request(side=Side.SELL, is_exit=True))
    assert (entry["legs"][0]["action"], entry["price"], entry["price-effect"]) == ("Buy to Open", "5.05", "Debit")
    assert entry["external-identifier"] == "ZH-paper-a-e"
    assert "advanced-instructions" not in entry
    assert (exit_["legs"][0]["action"], exit_["price-effect"]) == ("Sell to Close", "Credit")
    assert exit_["advanced-instructions"] == {"strict-position-effect-validation": True}


def test_a_good_till_is_told_with_its_started_millisecond_in_full() -> None:
    assert instant_text(Utc(NOW + 1)) == "2026-11-18T11:06:40.001Z"
    assert order_body(request(good_till_utc=NOW))["rules"] == {"cancel-at": instant_text(NOW)}


def test_orders_without_their_prices_are_refused() -> None:
    with pytest.raises(ValueError, match="without a limit"):
        order_body(request(limit_ticks=None))
    with pytest.raises(ValueError, match="without its trigger"):
        order_body(request(order_type=OrderType.STOP))
    change = OrderChange(
        order_ref="r", qty=Qty(1), order_type=OrderType.STOP, limit_ticks=None, is_exit=True, deadline_utc=NOW
    )
    with pytest.raises(ValueError, match="trigger"):
        change_body(change, Side.SELL)


# -- whose contract -----------------------------------------------------------------------------

CONTRACTS = st.builds(
    Contract, st.integers(1, 2**31 - 1), st.just("SPY"), st.sampled_from(["SPY", "SPXW", "A"]),
    st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.integers(1, 9_999_999).map(Ticks), st.sampled_from(Right),
)  # fmt: skip


@given(CONTRACTS)
def test_a_symbol_names_its_contract_known_or_not(contract: Contract) -> None:
    symbol = occ_of(contract)
    assert len(symbol) == 21
    assert ContractBook([contract]).of(symbol) == contract
    stranger = stranger_of(symbol, "SPY")
    assert stranger.con_id >= ID_FLOOR
    assert stranger.label == contract.label
    assert stranger == stranger_of(symbol, "SPY")


def test_what_is_no_option_never_expires() -> None:
    held = stranger_of("SPY", "SPY")
    assert (held.trading_class, held.expiry, held.multiplier) == ("STK", date.max, 1)
