"""IB's objects in our words and back."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import at_exchange
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.combo import COMBO_CLASS, COMBO_CON_ID
from domain.session.modes import AccountClass
from gateways.ib import translate as tr
from gateways.ib.decoding import UnreadableError, WireFill
from gateways.ib.library import UNSET_DOUBLE, Stock

CONTRACTS = st.builds(
    Contract,
    con_id=st.integers(1, 10**9),
    ticker=st.sampled_from(["SPX", "SPY"]),
    trading_class=st.sampled_from(["SPXW", "SPY"]),
    expiry=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    strike_ticks=st.integers(1, 10**7),
    right=st.sampled_from(Right),
)


@given(CONTRACTS)
def test_option_goes_to_the_broker_and_back_unchanged(contract: Contract) -> None:
    assert tr.contract_of(tr.ib_option(contract)) == contract


def test_stock_of_an_assignment_is_no_option_of_ours() -> None:
    contract = tr.contract_of(Stock("SPY", "SMART", "USD", conId=5))
    assert (contract.con_id, contract.trading_class, contract.multiplier) == (5, "STK", 1)
    assert contract.expiry == tr.NO_EXPIRY


@pytest.mark.parametrize(
    ("exec_id", "parts"),
    [
        ("0000e0d5.65a1b2c3.01.01", ("0000e0d5.65a1b2c3.01", 1)),
        ("0000e0d5.65a1b2c3.01.02", ("0000e0d5.65a1b2c3.01", 2)),
        ("odd", ("odd", 0)),
        ("odd.x", ("odd.x", 0)),
    ],
)
def test_execution_ids_split_into_base_and_revision(exec_id: str, parts: tuple[str, int]) -> None:
    assert tr.split_exec_id(exec_id) == parts


@pytest.mark.parametrize(
    ("account", "kind"),
    [
        ("DU123", AccountClass.PAPER),
        ("DF123", AccountClass.PAPER),
        ("U123", AccountClass.LIVE),
        ("", AccountClass.UNKNOWN),
        ("XDU1", AccountClass.UNKNOWN),
    ],
)
def test_account_class_is_told_by_the_form_of_the_number(account: str, kind: AccountClass) -> None:
    assert tr.account_class_of(account) is kind


def test_orders_are_day_orders_with_ref_and_account_in_regular_hours_only() -> None:
    order = tr.ib_order_of("ZH-x", Side.SELL, 3, OrderType.LIMIT, 1_205, None, "DU1")
    assert (order.tif, order.outsideRth, order.orderRef, order.account) == ("DAY", False, "ZH-x", "DU1")
    assert (order.action, order.totalQuantity, order.lmtPrice, order.auxPrice) == ("SELL", 3, 12.05, UNSET_DOUBLE)
    stop = tr.ib_order_of("ZH-x", Side.SELL, 3, OrderType.STOP, None, 200, "DU1")
    assert (stop.lmtPrice, stop.auxPrice) == (UNSET_DOUBLE, 2.0)


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP])
def test_an_order_without_its_price_is_never_built(kind: OrderType) -> None:
    with pytest.raises(ValueError, match="without its price"):
        tr.ib_order_of("ZH-x", Side.BUY, 1, kind, None, None, "DU1")


FILL = WireFill(
    exec_id="a.01", account="DU1234567", exchange="CBOE", side="BOT", shares=2.0, price=5.1, perm_id=9, client_id=11,
    order_id=3, liquidation=0, cum_qty=2.0, average_price=5.1, order_ref="ZH-x",
    time_text="20261120 12:00:00 US/Eastern",
)  # fmt: skip
OPTION = tr.ib_option(Contract(7, "SPX", "SPXW", date(2026, 11, 20), 600_000, Right.CALL))
NOON = at_exchange(date(2026, 11, 20), time(12))


@pytest.mark.parametrize("told", [0, 28_812_380, 99])
def test_a_combination_is_known_as_one_whatever_id_the_gateway_tells(told: int) -> None:
    bag = Stock("SPX", "SMART", "USD", conId=told)
    bag.secType = COMBO_CLASS
    assert tr.contract_of(bag).con_id == COMBO_CON_ID
    assert tr.execution_of(bag, FILL, NOON, is_live=True).con_id == COMBO_CON_ID
    with pytest.raises(UnreadableError):
        tr.contract_of(Stock("SPX", "SMART", "USD"))


def test_raw_text_of_an_execution_leaves_the_account_out() -> None:
    read = tr.execution_of(OPTION, FILL, NOON, is_live=True)
    assert "DU1234567" not in read.raw
    assert (read.price_ticks, read.qty, read.side, read.con_id) == (510, 2, Side.BUY, 7)
    assert (read.at_utc, read.is_time_uncertain, read.is_adopted) == (NOON, False, False)


def test_execution_without_a_price_takes_the_average_where_it_is_the_only_one_and_else_counts_as_adopted() -> None:
    only = tr.execution_of(OPTION, FILL._replace(price=None), NOON, is_live=True)
    assert (only.price_ticks, only.is_adopted) == (510, False)
    second = FILL._replace(price=None, cum_qty=4.0)
    adopted = tr.execution_of(OPTION, second, NOON, is_live=True, limit_ticks=500)
    assert (adopted.price_ticks, adopted.qty, adopted.is_adopted) == (500, 2, True)


def test_side_and_contract_that_cannot_be_read_are_those_of_our_order() -> None:
    nobody = tr.ib_option(Contract(0, "SPX", "SPXW", date(2026, 11, 20), 600_000, Right.CALL))
    read = tr.execution_of(nobody, FILL._replace(side="?"), NOON, is_live=True, side=Side.SELL, con_id=7)
    assert (read.side, read.con_id) == (Side.SELL, 7)


@pytest.mark.parametrize("change", [{"exec_id": ""}, {"shares": None}, {"shares": 0.0}, {"side": "?"}])
def test_execution_without_its_main_facts_is_unreadable_and_never_guessed(change: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        tr.execution_of(OPTION, FILL._replace(**change), NOON, is_live=True)


def test_expiry_right_or_strike_that_cannot_be_read_leaves_a_contract_that_no_rule_matches() -> None:
    odd = tr.ib_option(Contract(7, "SPX", "SPXW", date(2026, 11, 20), 600_000, Right.CALL))
    odd.lastTradeDateOrContractMonth, odd.right, odd.strike = "soon", "?", float("nan")
    assert (tr.contract_of(odd).con_id, tr.contract_of(odd).expiry) == (7, tr.NO_EXPIRY)


def test_good_till_is_a_utc_text_in_whole_seconds_never_earlier_than_meant() -> None:
    assert tr.good_till_text(None) == ""
    assert tr.good_till_text(NOON) == "20261120-17:00:00"
    assert tr.good_till_text(NOON + 1) == "20261120-17:00:01"
    order = tr.ib_order_of("ZH-x", Side.BUY, 3, OrderType.LIMIT, 1_205, None, "DU1", "20261120-17:00:00")
    assert (order.tif, order.goodTillDate) == ("GTD", "20261120-17:00:00")
