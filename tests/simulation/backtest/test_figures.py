"""What the days of a backtest add up to: rates with what they were counted from, falls, the risk of ruin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.units import Cents, Utc
from simulation.backtest.figures import RESAMPLED, falls, figures_of, ruin_of
from simulation.backtest.run import Day, Trade, hash_of
from tests.testkit.recorded_days import SESSION

NAV = Cents(1_000_000)


def day(n: int, *results: int, nav: int) -> Day:
    session = SESSION + timedelta(days=n)
    trades = tuple(
        Trade(
            session=session, ticker="SPX", contract="SPXW 6000C", strategy="gexwatch", qty=1, pnl_cents=cents,
            fees_cents=130, reason="take_profit", opened_utc=Utc(1), closed_utc=Utc(2),
        ) for cents in results
    )  # fmt: skip
    return Day(
        session=session, trades=trades, rows=1, quotes=1, contracts=1, alerts=1, shadows=0, refused={}, unfilled=0,
        held=0, nav_cents=Cents(nav), digest=f"{n}", crashed=(), damaged=(),
    )  # fmt: skip


def test_rates_means_and_falls_are_counted_from_the_trades() -> None:
    days = [day(0, 500, -200, nav=1_000_300), day(1, -400, 0, nav=999_900), day(2, nav=999_900)]
    figures = figures_of(days, NAV)
    assert (figures.won.hits, figures.won.n) == (1, 4)
    assert (figures.pnl_cents, figures.fees_cents) == (-100, 520)
    assert (figures.mean_win_cents, figures.mean_loss_cents, figures.largest_loss_cents) == (500.0, -300.0, -400)
    assert falls(days, NAV) == [0, 400, 400]
    assert figures.fall_cents == 400


def test_without_a_trade_there_is_no_mean_and_no_largest_loss() -> None:
    figures = figures_of([day(0, nav=1_000_000)], NAV)
    assert (figures.mean_win_cents, figures.mean_loss_cents, figures.largest_loss_cents) == (None, None, None)
    assert figures.won.share is None


def test_the_risk_of_ruin_is_none_all_or_between_and_the_same_each_time() -> None:
    assert ruin_of([10_000] * 30, NAV) is not None
    sure, never = ruin_of([-10_000] * 30, NAV), ruin_of([10_000] * 30, NAV)
    assert sure is not None
    assert never is not None
    assert (sure.hits, never.hits, sure.n) == (RESAMPLED, 0, RESAMPLED)
    changes = [-60_000, 60_000] * 20
    between = ruin_of(changes, NAV)
    assert between is not None
    assert 0 < between.hits < RESAMPLED
    assert between == ruin_of(changes, NAV)


def test_ruin_is_the_loss_of_half_of_nav_within_a_year_of_252_days() -> None:
    enough, short = ruin_of([-1_985] * 30, NAV), ruin_of([-1_984] * 30, NAV)
    assert enough is not None
    assert short is not None
    assert (enough.hits, short.hits) == (RESAMPLED, 0)


def test_a_handful_of_days_says_nothing_about_ruin() -> None:
    assert ruin_of([-900_000] * 19, NAV) is None


def test_why_nothing_was_entered_names_the_first_thing_that_was_missing() -> None:
    def why(**changed: object) -> str | None:
        base: dict[str, Any] = {
            **dict.fromkeys(("rows", "quotes", "contracts"), 1), **dict.fromkeys(("shadows", "unfilled", "held"), 0),
            **dict.fromkeys(("trades", "crashed", "damaged"), ()), "session": SESSION, "alerts": 3, "refused": {},
            "nav_cents": NAV, "digest": "",
        }  # fmt: skip
        return Day(**(base | changed)).why_no_entry

    assert "no profile" in str(why(rows=0, alerts=0))
    assert why(alerts=0) == "no alert was found"
    assert "shadows" in str(why(shadows=3))
    assert "no quote of a contract" in str(why(contracts=0))
    assert why(refused={"stale_quote": 2}, unfilled=1) == "refused: stale_quote 2; 1 not filled"
    assert why(held=1) is None


def test_the_hash_of_a_run_changes_with_any_day() -> None:
    days = [day(0, nav=1), day(1, nav=2)]
    assert hash_of(days) == hash_of(list(days))
    assert hash_of(days) != hash_of(days[:1])
    assert hash_of(days) != hash_of([days[0], day(1, nav=3)])
