"""Which exits a held structure has, on the scale of a single position's."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from msgspec.structs import replace as changed

from config.settings import load_settings
from domain.instants import MINUTE, SECOND
from domain.instruments import Contract, Right, Spot
from domain.position.nearest import Distance
from domain.structure.nearest import HeldStructure, distances
from domain.structure.rules import Combination, SpreadRules
from domain.units import Cents, Qty, Ticks, Utc

OPENED = Utc(1_795_186_800 * SECOND)
CLOSE, FLATTEN = Utc(OPENED + 360 * MINUTE), Utc(OPENED + 350 * MINUTE)
PLAIN: SpreadRules = replace(load_settings(profile="demo").spread, max_position_loss=500.0)
OF_INDEX = replace(
    PLAIN, combination=Combination.IRON_CONDOR, spx_contracts_per_spread=Qty(1), vertical_loss=200.0, profit_share=0.5,
    leave_before_close_ms=30 * 60_000, in_money_before_close_ms=60 * 60_000,
)  # fmt: skip


def contract(ticker: str, strike: int, right: Right = Right.CALL) -> Contract:
    return Contract(strike, ticker, ticker, date(2026, 11, 20), Ticks(strike), right)


SPREAD = HeldStructure(
    sold=(contract("SPY", 60_000),), pnl_cents=Cents(0), credit_cents=Cents(40_000), entry_spot_ticks=Ticks(60_000),
    opened_utc=OPENED,
)  # fmt: skip
CONDOR = changed(SPREAD, sold=(contract("SPX", 601_000), contract("SPX", 599_000, Right.PUT)),
                 entry_spot_ticks=Ticks(600_000))  # fmt: skip


def found(
    held: HeldStructure, rules: SpreadRules, spot_ticks: int | None = None, now: Utc = OPENED
) -> dict[str, Distance]:
    spot = None if spot_ticks is None else Spot(held.sold[0].ticker, Ticks(spot_ticks), now)
    told = distances(held, spot, now, CLOSE, FLATTEN, rules)
    assert [d.left for d in told] == sorted(d.left for d in told)
    return {distance.reason.value: distance for distance in told}


def test_at_the_entry_every_exit_of_a_spread_is_as_far_as_it_can_be() -> None:
    told = found(SPREAD, PLAIN, 60_000)
    assert {reason: d.left for reason, d in told.items()} == {"position_loss": 1.0, "assignment_risk": 1.0, "eod": 1.0}


def test_the_loss_of_all_legs_counts_against_the_limit_of_the_position() -> None:
    told = found(changed(SPREAD, pnl_cents=Cents(-12_500)), PLAIN)["position_loss"]
    assert (told.left, told.pnl_cents) == (0.75, -50_000)
    assert found(changed(SPREAD, pnl_cents=Cents(-60_000)), PLAIN)["position_loss"].left == 0.0


def test_the_fund_above_the_sold_strike_brings_assignment_nearer() -> None:
    told = found(SPREAD, PLAIN, 60_250)["assignment_risk"]
    assert (told.left, told.level_ticks) == (0.75, 61_000)
    assert found(SPREAD, PLAIN, 59_000)["assignment_risk"].left == 1.0


def test_a_spread_has_no_profit_to_take_and_no_early_leave() -> None:
    rules = replace(PLAIN, profit_share=0.5, leave_before_close_ms=60_000)
    assert "take_profit" not in found(SPREAD, rules)
    assert "max_hold" not in found(SPREAD, rules)


def test_a_structure_of_the_index_has_its_own_limit_its_profit_and_its_hours() -> None:
    told = found(changed(CONDOR, pnl_cents=Cents(5_000)), OF_INDEX, 600_000, Utc(OPENED + 165 * MINUTE))
    assert (told["take_profit"].left, told["take_profit"].pnl_cents) == (0.75, 20_000)
    assert told["position_loss"].pnl_cents == -20_000
    assert (told["max_hold"].left, told["max_hold"].at_utc) == (0.5, CLOSE - 30 * MINUTE)


def test_a_sold_leg_in_the_money_is_left_once_its_hour_has_come() -> None:
    early, late = Utc(OPENED + 150 * MINUTE), Utc(CLOSE - 20 * MINUTE)
    assert found(CONDOR, OF_INDEX, 602_000, early)["assignment_risk"].left == 0.5, "its hour is what is left of the way"
    half = found(CONDOR, OF_INDEX, 599_500, late)["assignment_risk"]
    assert (half.left, half.level_ticks) == (0.5, 599_000), "the put is the nearer one"
    assert found(CONDOR, OF_INDEX, 598_000, late)["assignment_risk"].left == 0.0


def test_what_needs_a_missing_fact_is_left_out() -> None:
    unknown = changed(SPREAD, pnl_cents=None, credit_cents=None, entry_spot_ticks=None)
    assert list(found(unknown, PLAIN)) == ["eod"]
    assert found(unknown, PLAIN, 60_250)["assignment_risk"].left == 0.75, "from the strike on"
    assert distances(unknown, None, OPENED, None, None, PLAIN) == ()


def test_a_sold_leg_in_the_money_is_no_exit_without_an_hour_for_it() -> None:
    in_money, never = Spot("SPX", Ticks(602_000), OPENED), replace(OF_INDEX, in_money_before_close_ms=0)
    for close_utc, rules in ((None, OF_INDEX), (CLOSE, never)):
        told = distances(CONDOR, in_money, OPENED, close_utc, FLATTEN, rules)
        assert "assignment_risk" not in [distance.reason.value for distance in told]


def test_there_is_a_profit_to_take_where_a_share_of_some_credit_is() -> None:
    for share, credit, is_there in ((0.0, 40_000, False), (0.5, 0, False), (0.5, -1, False), (1.0, 1, True)):
        told = found(changed(CONDOR, credit_cents=Cents(credit)), replace(OF_INDEX, profit_share=share))
        assert ("take_profit" in told) is is_there, (share, credit)
