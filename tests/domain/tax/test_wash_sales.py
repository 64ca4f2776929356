"""Wash sales: windows, replacement lots, partial quantities, and what no order of the trades may change."""

from __future__ import annotations

import random
from datetime import date, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.instruments import Right, Side
from domain.tax.choices import open_windows, readings, wash_note
from domain.tax.forms import tax_year
from domain.tax.lots import Security, Trade, matched
from domain.tax.rules import TaxRules
from domain.tax.wash import Identical, washed
from domain.units import Cents

DAY = date(2026, 6, 1)
RULES = TaxRules(("SPX", "SPXW"), ("SPY", "QQQ"), Identical.CONTRACT)


def option(strike: int = 500, right: Right = Right.CALL, underlying: str = "QQQ", expiry: date = DAY) -> Security:
    return Security(underlying, underlying, expiry, strike * 100, right)


CALL, OTHER_CALL, PUT = option(), option(505), option(right=Right.PUT)


def trade(
    n: int, side: Side, qty: int, cents: int, day: int = 0, *, security: Security = CALL, order: str = "",
    account: str = "live", how: str = "",
) -> Trade:  # fmt: skip
    on = DAY + timedelta(days=day)
    at_utc = (on.toordinal() * 86_400 + n) * SECOND
    cash = cents if side is Side.SELL else -cents
    return Trade(f"t{n:03}", account, security, side, qty, cash, at_utc, on, order_ref=order, how=how)


def bought(n: int, qty: int, cents: int, day: int = 0, **more: object) -> Trade:
    return trade(n, Side.BUY, qty, cents, day, **more)


def sold(n: int, qty: int, cents: int, day: int = 0, **more: object) -> Trade:
    return trade(n, Side.SELL, qty, cents, day, **more)


def disallowed(*trades: Trade, identical: Identical = Identical.CONTRACT) -> list[int]:
    """The losses put off, by closing."""
    found = washed(matched(trades), identical)
    return [one.disallowed_cents for one in found if one.piece.closed_by is not None]


@pytest.mark.parametrize(("day", "expected"), [(-30, 100), (-31, 0), (30, 100), (31, 0)])
def test_the_window_is_thirty_days_on_either_side(day: int, expected: int) -> None:
    replacement = bought(1 if day < 0 else 9, 1, 500, day, account="second")
    assert disallowed(bought(2, 1, 500), sold(3, 1, 400), replacement) == [expected]


def test_a_gain_is_never_put_off() -> None:
    assert disallowed(bought(1, 1, 400), sold(2, 1, 500), bought(3, 1, 450)) == [0]


def test_only_as_many_contracts_as_were_bought_again_are_put_off() -> None:
    first, second = disallowed(bought(1, 3, 900), sold(2, 3, 600), bought(3, 1, 250), sold(4, 1, 400))
    assert (first, second) == (100, 0)


def test_a_larger_purchase_carries_the_loss_on_its_first_contracts_alone() -> None:
    trades = [bought(1, 1, 300), sold(2, 1, 200), bought(3, 3, 600), sold(4, 1, 200), sold(5, 2, 400)]
    found = washed(matched(trades), Identical.CONTRACT)
    assert [(one.piece.qty, one.added_cents, one.gain_cents) for one in found] == [(1, 0, 0), (1, 100, -100), (2, 0, 0)]


def test_a_loss_may_travel_through_several_purchases_until_nothing_is_bought_again() -> None:
    trades = [
        bought(1, 1, 500),
        sold(2, 1, 400),
        bought(3, 1, 400),
        sold(4, 1, 380),
        bought(5, 1, 380),
        sold(6, 1, 390),
    ]
    found = washed(matched(trades), Identical.CONTRACT)
    assert [one.gain_cents for one in found] == [0, 0, -110]


def test_the_holding_period_grows_with_every_purchase_that_carries_the_loss() -> None:
    leaps = option(expiry=DAY + timedelta(days=600))
    trades = [
        bought(1, 1, 500, security=leaps), sold(2, 1, 400, 10, security=leaps), bought(3, 1, 400, 10, security=leaps),
        sold(4, 1, 380, 30, security=leaps), bought(5, 1, 380, 40, security=leaps),
    ]  # fmt: skip
    kept = washed(matched(trades), Identical.CONTRACT)[-1]
    assert kept.acquired == DAY + timedelta(days=40 - 20 - 10)


def test_the_rest_of_a_purchase_carries_a_later_loss() -> None:
    trades = [bought(1, 1, 500), sold(2, 1, 400), bought(3, 2, 800), bought(4, 1, 500, account="second")]
    trades += [sold(5, 1, 470, account="second")]
    found = washed(matched(trades), Identical.CONTRACT)
    assert [(one.piece.opened_by.trade_id, one.added_cents) for one in found if one.piece.closed_by is None] == [
        ("t003", 100), ("t003", 30),
    ]  # fmt: skip


def test_what_carries_a_loss_already_is_sold_before_the_rest_of_its_purchase() -> None:
    trades = [bought(1, 1, 500), sold(2, 1, 400), bought(3, 2, 800), sold(4, 2, 600), bought(5, 1, 300)]
    found = washed(matched(trades), Identical.CONTRACT)
    assert [one.disallowed_cents for one in found if one.piece.closed_by is not None] == [100, 200, 0]


def test_what_was_written_does_not_replace_what_was_bought() -> None:
    assert disallowed(bought(1, 1, 500), sold(2, 1, 400), sold(3, 1, 500)) == [0]


def test_each_contract_replaces_one_sold_contract_once() -> None:
    trades = [bought(1, 1, 500), sold(2, 1, 400), bought(3, 1, 500), sold(4, 1, 450), bought(5, 1, 400)]
    # the purchase of t003 carries the first loss, so that of t005 alone can carry the second
    assert disallowed(*trades) == [100, 150]
    assert disallowed(*trades[:4]) == [100, 0]


def test_the_fills_of_one_order_do_not_replace_each_other() -> None:
    entry = (bought(1, 3, 1500, order="e"), bought(2, 2, 1000, order="e"))
    assert disallowed(*entry, sold(3, 3, 1200, order="x1"), sold(4, 2, 800, order="x2")) == [0, 0]


def test_what_one_order_sold_together_is_not_kept() -> None:
    trades = (bought(1, 1, 500), bought(2, 1, 500), sold(3, 1, 400, order="x"), sold(4, 1, 400, order="x"))
    assert disallowed(*trades) == [0, 0]


def test_what_had_been_sold_before_the_loss_is_no_replacement() -> None:
    assert disallowed(bought(1, 1, 100), sold(2, 1, 150), bought(3, 1, 500), sold(4, 1, 400)) == [0, 0]


@pytest.mark.parametrize(
    ("security", "struck"),
    [
        (CALL, (Identical.CONTRACT, Identical.RIGHT, Identical.UNDERLYING)),
        (OTHER_CALL, (Identical.RIGHT, Identical.UNDERLYING)),
        (PUT, (Identical.UNDERLYING,)),
        (option(underlying="SPY"), ()),
    ],
)
def test_what_is_substantially_identical_is_a_setting(security: Security, struck: tuple[Identical, ...]) -> None:
    trades = (bought(1, 1, 500), sold(2, 1, 400), bought(3, 1, 500, 1, security=security))
    for identical in Identical:
        assert disallowed(*trades, identical=identical) == [100 if identical in struck else 0]


def test_an_account_of_the_same_person_counts() -> None:
    assert disallowed(bought(1, 1, 500), sold(2, 1, 400), bought(3, 1, 500, account="live2")) == [100]


def test_index_options_know_no_wash_sale() -> None:
    index = Security("SPX", "SPXW", DAY, 600_000, Right.CALL)
    trades = [bought(1, 1, 500, security=index), sold(2, 1, 400, security=index), bought(3, 1, 500, security=index)]
    found = tax_year(trades, 2026, RULES, today=DAY)
    assert (found.form_8949, found.form_6781.net_cents, found.disallowed_cents) == ((), -100, 0)


def test_a_purchase_in_january_puts_off_a_loss_of_december() -> None:
    trades = [bought(1, 1, 500, 200), sold(2, 1, 400, 205), bought(3, 1, 400, 220), sold(4, 1, 450, 221)]
    old, new = (tax_year(trades, year, RULES) for year in (2026, 2027))
    assert (old.form_8949[0].code, old.net_cents, new.net_cents) == ("W", 0, -50)
    (waiting,) = old.deferred if old.deferred else (None,)
    assert waiting is None  # what carries it was bought after the year's end


def test_what_is_still_held_says_which_loss_waits_in_it() -> None:
    (waiting,) = tax_year([bought(1, 1, 500), sold(2, 1, 400), bought(3, 1, 400)], 2026, RULES).deferred
    assert (waiting.security, waiting.qty, waiting.cents) == (CALL, 1, 100)


def test_an_open_index_option_at_the_years_end_asks_for_its_mark() -> None:
    index = Security("SPX", "SPXW", date(2027, 1, 15), 600_000, Right.CALL)
    trades = [bought(1, 2, 500, security=index)]
    assert tax_year(trades, 2026, RULES).unmarked == ((2026, index),)
    assert tax_year(trades, 2026, RULES, today=date(2026, 12, 30)).unmarked == ()
    assert tax_year(trades, 2026, RULES, {(2026, index): Cents(300)}).form_6781.net_cents == 100


def test_a_written_option_is_acquired_when_it_is_closed() -> None:
    (row,) = tax_year([sold(1, 1, 500), bought(2, 1, 200, 3)], 2026, RULES).form_8949
    assert (row.acquired - row.sold, row.proceeds_cents, row.basis_cents) == (timedelta(days=3), 500, 200)


def test_an_expired_option_has_no_proceeds() -> None:
    (row,) = tax_year([bought(1, 1, 500), sold(2, 1, 0, how="expired")], 2026, RULES).form_8949
    assert (row.how, row.proceeds_cents, row.gain_cents) == ("Expired", 0, -500)


def test_an_exercised_option_is_no_sale() -> None:
    found = tax_year([bought(1, 1, 500), sold(2, 1, 0, how="assigned")], 2026, RULES)
    assert (found.form_8949, [piece.qty for piece in found.exercised]) == ((), [1])


@pytest.mark.parametrize(("held", "is_long"), [(365, False), (366, True)])
def test_more_than_a_year_is_long_term(held: int, is_long: bool) -> None:
    leaps = option(expiry=DAY + timedelta(days=600))
    trades = [bought(1, 1, 500, security=leaps), sold(2, 1, 700, held, security=leaps)]
    (row,) = tax_year(trades, 2027, RULES).form_8949
    assert row.is_long_term is is_long


def test_what_was_written_is_short_term_however_long_it_stood() -> None:
    leaps = option(expiry=DAY + timedelta(days=600))
    (row,) = tax_year([sold(1, 1, 700, security=leaps), bought(2, 1, 500, 400, security=leaps)], 2027, RULES).form_8949
    assert row.is_long_term is False


def test_a_loss_that_came_out_again_within_the_year_waits_nowhere() -> None:
    trades = [bought(1, 1, 500), sold(2, 1, 400), bought(3, 1, 400), sold(4, 1, 410)]
    assert tax_year(trades, 2026, RULES).deferred == ()


def test_readings_show_the_year_under_every_choice() -> None:
    spy = option(underlying="SPY")
    trades = [bought(1, 1, 500, security=spy), sold(2, 1, 400, security=spy), bought(3, 1, 500, security=spy)]
    found = readings(trades, 2026, RULES, today=DAY)
    assert [reading.net_cents for reading in found] == [0, 0, 0, -100]
    assert [reading.is_in_force for reading in found] == [True, False, False, False]


def test_the_note_before_an_entry_names_the_losses_that_it_would_put_off() -> None:
    windows = open_windows([bought(1, 2, 500), sold(2, 2, 380)], RULES, DAY)
    note = wash_note(windows, CALL, DAY, RULES)
    assert note == "Wash sale: this purchase puts off a loss of up to 1.20 USD on QQQ (30 days, until 2026-07-01)."
    assert wash_note(windows, OTHER_CALL, DAY, RULES) is None
    assert wash_note(windows, CALL, DAY + timedelta(days=31), RULES) is None
    assert wash_note(windows, Security("SPX", "SPXW", DAY, 1, Right.CALL), DAY, RULES) is None


def test_a_loss_that_is_put_off_already_is_in_no_note() -> None:
    assert open_windows([bought(1, 1, 500), sold(2, 1, 380), bought(3, 1, 400)], RULES, DAY) == ()


def test_a_loss_of_more_than_thirty_days_ago_and_an_exercise_are_in_no_note() -> None:
    assert open_windows([bought(1, 1, 500), sold(2, 1, 380)], RULES, DAY + timedelta(days=31)) == ()
    assert open_windows([bought(1, 1, 500), sold(2, 1, 0, how="assigned")], RULES, DAY) == ()


def test_a_sale_that_names_a_lot_which_is_not_open_is_refused() -> None:
    named = msgspec.structs.replace(sold(2, 1, 400), lot_id="t9")
    with pytest.raises(ValueError, match="t9, which is not open"):
        matched([bought(1, 1, 500), named])


# -- what always holds --------------------------------------------------------------------------

SECURITIES = (CALL, OTHER_CALL, PUT)


@st.composite
def histories(draw: st.DrawFn) -> list[Trade]:
    """Trades of two accounts in three contracts; what is sold beyond what is held is written."""
    count = draw(st.integers(1, 24))
    days = sorted(draw(st.lists(st.integers(0, 70), min_size=count, max_size=count)))
    return [
        trade(
            n, draw(st.sampled_from(Side)), draw(st.integers(1, 5)), draw(st.integers(0, 997)), day,
            security=draw(st.sampled_from(SECURITIES)), account=draw(st.sampled_from(("live", "live2"))),
            order=draw(st.sampled_from(("", f"o{n // 2}"))),
        )
        for n, day in enumerate(days)
    ]  # fmt: skip


@given(histories(), st.sampled_from(Identical))
def test_what_is_put_off_is_in_a_basis_and_nothing_is_lost(trades: list[Trade], identical: Identical) -> None:
    pieces = matched(trades)
    assert sum(one.open_cents + one.close_cents for one in pieces) == sum(one.cash_cents for one in trades)
    found = washed(pieces, identical)
    put_off = sum(one.disallowed_cents for one in found)
    assert put_off == sum(one.added_cents for one in found)
    closed = [one for one in found if one.piece.closed_by is not None]
    still_waiting = sum(one.added_cents for one in found if one.piece.closed_by is None)
    raw = sum(piece.gain_cents for piece in pieces if piece.closed_by is not None)
    assert sum(one.gain_cents for one in closed) - still_waiting == raw
    assert all(0 <= one.disallowed_cents <= max(0, -one.raw_cents) for one in closed)
    assert sum(one.piece.qty for one in found) == sum(piece.qty for piece in pieces)


@given(histories(), st.sampled_from(Identical), st.randoms(use_true_random=False))
def test_the_order_in_which_trades_are_given_changes_nothing(
    trades: list[Trade], identical: Identical, order: random.Random
) -> None:
    def said(given_trades: list[Trade]) -> list[tuple[object, ...]]:
        return [
            (one.piece, one.added_cents, one.disallowed_cents, one.acquired, one.replaced_by)
            for one in washed(matched(given_trades), identical)
        ]

    mixed = list(trades)
    order.shuffle(mixed)
    assert said(mixed) == said(trades)


@given(histories())
def test_years_add_up_to_all_gains_once_nothing_is_open(trades: list[Trade]) -> None:
    last = trades[-1].at_utc
    open_pieces = [piece for piece in matched(trades) if piece.closed_by is None]
    closing = [
        Trade(
            f"z{n:03}", piece.opened_by.account, piece.opened_by.security, piece.opened_by.side.opposite, piece.qty,
            100, last + (n + 1) * SECOND, trades[-1].session + timedelta(days=200),
        )
        for n, piece in enumerate(open_pieces)
    ]  # fmt: skip
    everything = [*trades, *closing]
    years = [tax_year(everything, year, RULES) for year in (2026, 2027)]
    assert sum(year.net_cents for year in years) == sum(one.cash_cents for one in everything)
    for row in (row for year in years for row in year.form_8949):
        assert row.gain_cents == row.proceeds_cents - row.basis_cents + row.adjustment_cents
