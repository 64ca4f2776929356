"""The tax cases of the reference data: published examples of sections 1091 and 1256, each worked to its own figures."""

from __future__ import annotations

from datetime import date

import orjson
import pytest

from config.settings import load_settings
from domain.instants import SECOND
from domain.instruments import Right, Side
from domain.tax.forms import tax_year
from domain.tax.lots import Security, Trade, matched
from domain.tax.rules import TaxRules
from domain.tax.wash import Adjusted, Identical, washed
from tests.testkit.paths import DATA

CASES = orjson.loads((DATA / "rules_and_tax_cases.json").read_bytes())["tax"]
RULES = TaxRules(("SPX", "SPXW"), ("SPY",), Identical.CONTRACT)
SHARES = Security("XYZ", "XYZ")
INDEX = Security("SPX", "SPXW", date(2027, 1, 15), 600_000, Right.CALL)


def trade(
    n: int, side: Side, qty: int, cents: int, on: date, *, lot: str = "", security: Security = SHARES
) -> Trade:  # fmt: skip
    cash = cents if side is Side.SELL else -cents
    at_utc = (on.toordinal() * 86_400 + n) * SECOND
    return Trade(f"t{n}", "live", security, side, qty, cash, at_utc, on, lot_id=lot)


def sold_and_kept(trades: list[Trade]) -> tuple[Adjusted, Adjusted]:
    found = washed(matched(trades), Identical.CONTRACT)
    assert [one.piece.closed_by is None for one in found] == [False, True]
    return found[0], found[1]


def test_a_loss_is_added_to_the_basis_of_shares_bought_again() -> None:
    case = CASES["wash_sale"][0]
    sold, kept = sold_and_kept([
        trade(1, Side.BUY, 100, case["buy"] * 100, date(2026, 3, 2)),
        trade(2, Side.SELL, 100, case["sell"] * 100, date(2026, 3, 9)),
        trade(3, Side.BUY, 100, case["rebuy_within_30d"] * 100, date(2026, 3, 20)),
    ])  # fmt: skip
    assert (sold.disallowed_cents, sold.gain_cents) == (case["disallowed"] * 100, 0)
    assert kept.added_cents - kept.piece.open_cents == case["new_basis"] * 100


def test_a_loss_is_added_to_shares_that_were_bought_before_and_are_still_held() -> None:
    case = CASES["wash_sale"][1]
    (_, qty, first), (_, _, second) = case["lots"]
    sold, kept = sold_and_kept([
        trade(1, Side.BUY, qty, qty * first * 100, date(2026, 5, 1)),
        trade(2, Side.BUY, qty, qty * second * 100, date(2026, 5, 10)),
        trade(3, Side.SELL, case["sell"][1], case["sell"][1] * case["sell"][2] * 100, date(2026, 5, 25), lot="t2"),
    ])  # fmt: skip
    assert sold.disallowed_cents == case["disallowed"] * 100
    assert kept.piece.opened_by.session == date(2026, 5, 1)
    assert kept.added_cents - kept.piece.open_cents == 1_400 * 100
    assert kept.acquired == date(2026, 4, 16)  # fifteen days earlier: as long as the sold shares were held


def test_a_loss_per_share_is_added_per_share() -> None:
    case = CASES["wash_sale"][2]
    (qty, bought), (_, sold_at), (_, again) = case["buy"], case["sell"], case["rebuy"]
    sold, kept = sold_and_kept([
        trade(1, Side.BUY, qty, round(qty * bought * 100), date(2026, 3, 2)),
        trade(2, Side.SELL, qty, round(qty * sold_at * 100), date(2026, 3, 9)),
        trade(3, Side.BUY, qty, round(qty * again * 100), date(2026, 3, 10)),
    ])  # fmt: skip
    assert sold.disallowed_cents == case["disallowed"] * 100
    assert kept.added_cents - kept.piece.open_cents == case["new_basis"] * 100


def test_a_section_1256_contract_is_marked_at_the_years_end_and_divided_60_to_40() -> None:
    case = CASES["section_1256"][0]
    trades = [
        trade(1, Side.BUY, 1, case["buy"] * 100, date(2026, 6, 22), security=INDEX),
        trade(2, Side.SELL, 1, case["sell_next_year"] * 100, date(2027, 1, 13), security=INDEX),
    ]
    marks = {(2026, INDEX): case["fmv_year_end"] * 100}
    first, second = (tax_year(trades, year, RULES, marks).form_6781 for year in (2026, 2027))
    assert (first.net_cents, first.long_term_cents, first.short_term_cents) == tuple(
        case[name] * 100 for name in ("y1_gain", "y1_lt", "y1_st")
    )
    assert (second.net_cents, second.long_term_cents, second.short_term_cents) == tuple(
        case[name] * 100 for name in ("y2_gain", "y2_lt", "y2_st")
    )


@pytest.mark.parametrize(
    ("trading_class", "is_index"),
    [("SPX", True), ("SPXW", True), ("XSP", True), ("VIX", True), ("NDX", True), ("SPY", False), ("QQQ", False)],
)
def test_index_options_are_section_1256_contracts_and_etf_options_are_not(trading_class: str, is_index: bool) -> None:
    said = CASES["scope"]
    index_part, _, etf_part = said.partition("SPY/QQQ")
    assert trading_class in (index_part if is_index else f"SPY/QQQ{etf_part}")
    security = Security(trading_class, trading_class, date(2026, 11, 20), 50_000, Right.CALL)
    assert load_settings().tax.is_section_1256(security) is is_index
