"""A position's own day: whoever else is dead, it closes in time, and what expired is settled in its own session."""

from __future__ import annotations

from datetime import date, time

import pytest
from msgspec.structs import replace

from domain.alarm import Severity
from domain.instants import MINUTE, SECOND, at_exchange
from domain.instruments import Contract, OrderType, Right, Spot
from domain.orders.order_pair import OrderPair
from domain.position.cycle import EndReason, ExitReason, PositionState
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.units import Utc
from messages import entries, market, operator, orders, positions, risk, session
from tests.testkit.position_history import (
    CLOSE,
    ENTRY,
    EXIT_1,
    REF,
    SESSION,
    History,
    held_position,
    pending_position,
    tape,
)

HALF_DAY = date(2026, 11, 27)
PHYSICAL = Contract(812, "SPY", "SPY", SESSION, 60_000, Right.CALL)


def at(history: History, instant: int) -> None:
    """Stand at an instant; the timers on the way come due."""
    history.advance(instant)


def keep_quoted(history: History, until: int, bid: int = 495) -> None:
    """A market that changes nothing until an instant (progress is made: no other clock runs out)."""
    while history.now + SECOND < until:
        history.wait(1000)
        spot = 600_000 + min((history.now - CLOSE + 20_000 * SECOND) // (2 * SECOND), 900)
        history.quote(bid, bid + 10, spot)


# -- the close -------------------------------------------------------------------------------------


def restored_at(minutes_before_close: float) -> History:
    """Two contracts come back from the ledger in the afternoon, just opened."""
    history = History()
    history.now = CLOSE - round(minutes_before_close * MINUTE)
    history.restart(replace(held_position(), opened_utc=history.now))
    history.broker(2)
    history.quote(495, 505)
    return history


def test_the_flatten_time_comes_by_the_positions_own_timer_though_session_never_says_a_word() -> None:
    history = restored_at(16)
    keep_quoted(history, CLOSE - 15 * MINUTE - 1)
    assert len(history.all(orders.SubmitOrder)) == 0
    at(history, CLOSE - 15 * MINUTE)
    assert history.wanted_reason is ExitReason.EOD
    assert (history.last_order.order_type, history.last_order.qty) == (OrderType.MARKET, 2)


def test_the_panic_window_comes_by_the_positions_own_timer() -> None:
    history = restored_at(25.02)
    tape(history, [(320, 325), (320, 325)])
    history.run_to_exit()
    at(history, CLOSE - 25 * MINUTE)
    assert history.last_change.order_type is OrderType.MARKET


def test_an_early_close_is_known_from_the_calendar() -> None:
    history = History(replace(REF, contract=replace(REF.contract, expiry=HALF_DAY)))
    close = at_exchange(HALF_DAY, time(13))
    at(history, close - 60 * MINUTE)
    history.hold(1)
    assert history.state.day is not None
    assert history.state.day.close_utc == close
    at(history, close - 15 * MINUTE)
    assert history.state.phase is Phase.FLATTEN


def test_a_closed_date_of_the_settings_and_an_unforeseen_early_close_count() -> None:
    history = restored_at(120)
    history.phase(Phase.FLATTEN)  # `session` knows of a close that the calendar does not
    assert history.wanted_reason is ExitReason.EOD


def test_a_word_of_session_about_another_day_or_an_earlier_phase_counts_for_nothing() -> None:
    history = restored_at(10)
    assert history.wanted_reason is ExitReason.EOD
    history.phase(Phase.ENTRY)
    history.feed(
        session.PhaseChanged(
            phase=Phase.CLOSED, session=date(2026, 11, 23), open_utc=CLOSE, close_utc=CLOSE, at_utc=history.now
        )
    )
    assert history.state.phase is Phase.FLATTEN


@pytest.mark.parametrize(("minutes", "words"), [(10, "10 min before the close"), (5, "5 min before"), (0, "at the")])
def test_a_position_that_is_not_flat_in_time_says_so_itself(minutes: int, words: str) -> None:
    history = restored_at(16)
    history.records_exits = False
    at(history, CLOSE - minutes * MINUTE - 1)
    before = len([a for a in history.all(operator.Alarm) if a.key.startswith("not_flat:")])
    at(history, CLOSE - minutes * MINUTE)
    found = [a for a in history.all(operator.Alarm) if a.key.startswith("not_flat:")]
    assert len(found) == before + 1
    assert words in found[-1].text
    assert "+2" in found[-1].text
    assert found[-1].severity is Severity.CRITICAL


def test_a_flat_position_retires_at_its_own_close() -> None:
    history = restored_at(16)
    at(history, CLOSE - 15 * MINUTE)
    history.run_to_exit()
    history.fill(2, 400, EXIT_1)
    history.broker(0)
    history.wait(300)
    was_retired = history.sent.is_retired
    at(history, CLOSE)
    assert (was_retired, history.sent.is_retired) == (False, True)
    assert not [a for a in history.all(operator.Alarm) if a.key.startswith("not_flat:")]


def test_nobody_bids_at_the_flatten_time_alone_means_one_limit_at_the_least_price() -> None:
    early = restored_at(60)
    early.wait(300)
    early.quote(0, 5)
    early.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))
    assert early.last_order.order_type is OrderType.MARKET
    late = restored_at(15.01)
    late.wait(300)
    late.quote(0, 5)
    at(late, CLOSE - 15 * MINUTE)
    assert (late.last_order.order_type, late.last_order.limit_ticks) == (OrderType.LIMIT, 5)


def test_a_bid_that_is_missing_for_a_moment_is_no_reason_to_sell_at_a_tick() -> None:
    history = History()
    history.hold(1)
    history.wait(300)
    history.quote(0, 5, spot=599_000)
    assert history.wanted_reason is ExitReason.UNDERLYING_STOP
    assert history.last_order.limit_ticks == 440  # the last bid known less 10 %


# -- the second line of checks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "code"),
    [
        (45, RejectCode.ENTRY_WINDOW), (25, RejectCode.ENTRY_WINDOW), (15, RejectCode.ENTRY_WINDOW),
        (0, RejectCode.SESSION_CLOSED), (395, RejectCode.SESSION_CLOSED),
    ],
)  # fmt: skip
def test_no_entry_leaves_outside_the_positions_own_window(minutes: int, code: RejectCode) -> None:
    history = History()
    at(history, max(CLOSE - minutes * MINUTE, 0))
    history.now = CLOSE - minutes * MINUTE
    history.open()
    assert history.all(orders.SubmitOrder) == []
    assert history.last(entries.EntryAmended).code is code
    assert history.last(positions.EntryAbandoned).order_ref == ENTRY


def test_the_last_moment_of_the_window_is_in_it() -> None:
    history = History()
    history.now = CLOSE - 45 * MINUTE - 1
    history.open()
    assert history.last_order.order_ref == ENTRY


@pytest.mark.parametrize(
    ("level", "code"),
    [(KillLevel.NO_ENTRIES, RejectCode.KILL_SWITCH_L1), (KillLevel.FLATTEN, RejectCode.KILL_SWITCH_L2)],
)
def test_no_entry_leaves_under_a_kill_level(level: KillLevel, code: RejectCode) -> None:
    history = History()
    history.feed(risk.KillRaised(level=level, kill_epoch=1, reason="test", by="test"))
    history.open()
    assert history.all(orders.SubmitOrder) == []
    assert (history.last(entries.EntryAmended).code, history.last(entries.EntryAmended).key) == (code, REF.key)


def test_no_entry_leaves_in_a_contract_that_has_expired() -> None:
    history = History()
    history.now = at_exchange(date(2026, 11, 23), time(11))
    history.open()
    assert history.all(orders.SubmitOrder) == []
    assert history.last(entries.EntryAmended).code is RejectCode.SESSION_CLOSED


# -- settlement ------------------------------------------------------------------------------------


def held_until_the_close(last_spot: int | None = 600_300, contract: Contract = REF.contract) -> History:
    """Held into the close with a last price of the underlying; nothing is heard of the exit."""
    history = History(replace(REF, contract=contract))
    history.now = CLOSE - 46 * MINUTE
    history.hold(2)
    at(history, CLOSE - 5 * SECOND)
    if last_spot is not None:
        quote = replace(history.state.watch.quote, at_utc=history.now) if history.state.watch.quote else None
        spot = Spot(contract.ticker, last_spot, history.now)
        history.feed(market.QuoteChanged(con_id=812, quote=quote, spot=spot))
    at(history, CLOSE)
    assert history.cycle() is PositionState.SETTLING
    return history


def settling(last_spot: int | None = 600_300, contract: Contract = REF.contract) -> History:
    """The same; the exit never filled."""
    history = held_until_the_close(last_spot, contract)
    history.found(history.last_order.order_ref, working=False, filled=0)
    return history


@pytest.mark.parametrize(
    ("spot", "contract", "end", "worth"),
    [
        (600_300, REF.contract, EndReason.SETTLED, 300),
        (599_900, REF.contract, EndReason.EXPIRED, 0),
        (60_300, PHYSICAL, EndReason.ASSIGNED, 300),
        (59_900, PHYSICAL, EndReason.EXPIRED, 0),
        (None, REF.contract, EndReason.EXPIRED_UNPRICED, 0),
    ],
)
def test_what_expired_is_settled_at_its_own_sessions_price(
    spot: int | None, contract: Contract, end: EndReason, worth: int
) -> None:
    history = settling(spot, contract)
    history.wait(1000)
    history.broker(0)
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.realised_cents) == (end, 2 * (worth - 500) * 100)
    assert closed.closed_utc == CLOSE
    assert history.sent.is_retired


@pytest.mark.parametrize("spot", [600_300, None])
def test_the_settlement_price_is_recorded_as_soon_as_it_is_seen(spot: int | None) -> None:
    history = settling(spot)
    assert history.last(positions.RecordPosition).settlement_ticks == spot
    seen = Spot("SPX", 600_400, history.now)
    history.feed(market.QuoteChanged(con_id=812, quote=None, spot=seen), history.now)
    assert history.last(positions.RecordPosition).settlement_ticks == 600_400


def test_shares_from_an_exercise_are_an_incident_and_no_trade() -> None:
    history = settling(60_300, PHYSICAL)
    sent = len(history.all(orders.SubmitOrder))
    history.wait(1000)
    history.broker(0)
    assert history.last(risk.RaiseKill).level is KillLevel.NO_ENTRIES
    alarm = next(a for a in history.all(operator.Alarm) if a.key.startswith("assigned:"))
    assert "200 shares of SPY" in alarm.text
    assert alarm.severity is Severity.CRITICAL
    assert len(history.all(orders.SubmitOrder)) == sent


def test_an_unknown_settlement_price_is_an_alarm() -> None:
    history = settling(None)
    history.wait(1000)
    history.broker(0)
    assert any(a.key.startswith("unpriced:") for a in history.all(operator.Alarm))


def test_a_price_of_later_is_no_settlement_price() -> None:
    history = settling(599_900)
    at(history, CLOSE + 4 * MINUTE - 1)
    history.state.settlement_ticks = None
    late = Spot("SPX", 610_000, CLOSE + 4 * MINUTE + 1)
    history.feed(market.QuoteChanged(con_id=812, quote=history.state.watch.quote, spot=late), history.now)
    assert history.state.settlement_ticks is None


@pytest.mark.parametrize(
    ("of_utc", "counts"),
    [
        (CLOSE - 15 * SECOND - 1, False),
        (CLOSE - 15 * SECOND, True),
        (CLOSE + 4 * MINUTE, True),
        (CLOSE + 4 * MINUTE + 1, False),
    ],
)
def test_prices_of_around_the_close_are_settlement_prices(of_utc: Utc, counts: bool) -> None:
    history = settling(None)
    seen = Spot("SPX", 600_400, of_utc)
    history.feed(market.QuoteChanged(con_id=812, quote=None, spot=seen), max(history.now, of_utc))
    assert (history.state.settlement_ticks == 600_400) is counts


def test_a_settled_position_does_not_wait_for_the_night_of_the_broker() -> None:
    history = settling()
    history.broker(2)
    at(history, CLOSE + 4 * MINUTE - 1)
    assert history.all(positions.PositionClosed) == []
    at(history, CLOSE + 4 * MINUTE)
    assert history.last(positions.PositionClosed).end is EndReason.SETTLED
    history.broker(2)  # the broker's book is emptied overnight
    assert history.all(positions.PositionDisputed) == []


def test_a_position_that_the_broker_closed_before_the_close_is_not_settled() -> None:
    history = History()
    history.now = CLOSE - 46 * MINUTE
    history.hold(2)
    at(history, CLOSE - 2 * SECOND)
    history.broker(0)
    ref = history.last_order.order_ref
    history.found(ref, working=False, filled=0)
    at(history, CLOSE + SECOND)
    history.found(history.last_order.order_ref, working=False, filled=0)
    assert history.last(positions.PositionClosed).end is EndReason.BROKER_LIQUIDATION


def test_a_fill_of_the_last_second_reported_after_the_settlement_corrects_the_result() -> None:
    history = settling()
    history.wait(1000)
    history.broker(0)
    ref = history.last_order.order_ref
    history.fill(2, 320, ref)
    history.broker(0)
    history.wait(300)
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.is_correction, closed.realised_cents) == (
        EndReason.CLOSED, True, 2 * (320 - 500) * 100,
    )  # fmt: skip


# -- the second day --------------------------------------------------------------------------------

MONDAY = at_exchange(date(2026, 11, 23), time(10))


@pytest.mark.parametrize(("settlement", "end"), [(600_300, EndReason.SETTLED), (None, EndReason.EXPIRED_UNPRICED)])
@pytest.mark.parametrize("reason", [None, ExitReason.EOD])
def test_an_expired_contract_that_comes_back_is_settled_and_never_ordered(
    settlement: int | None, end: EndReason, reason: ExitReason | None
) -> None:
    history = History()
    history.now = MONDAY
    history.restart(replace(held_position(exit_reason=reason), settlement_ticks=settlement))
    closed = history.last(positions.PositionClosed)
    assert (closed.end, closed.closed_utc) == (end, CLOSE)
    assert history.all(orders.SubmitOrder) == []
    history.phase(Phase.ENTRY)
    history.feed(positions.FlattenPosition(reason=ExitReason.EOD))
    assert history.all(orders.SubmitOrder) == []


def test_an_expired_entry_that_comes_back_is_given_up() -> None:
    history = History()
    history.now = MONDAY
    history.restart(pending_position())
    assert history.all(positions.EntryAbandoned)
    assert history.cycle() is PositionState.FLAT


def test_an_order_that_was_not_heard_of_again_is_over_with_the_date_and_not_before() -> None:
    history = held_until_the_close()
    assert history.state.orders.exit is not None
    at(history, at_exchange(date(2026, 11, 20), time(23, 59)))
    assert history.state.orders.exit is not None
    assert history.all(positions.PositionClosed) == []
    at(history, at_exchange(date(2026, 11, 21), time(0)))
    assert history.state.orders == OrderPair()
    assert history.all(positions.PositionClosed)


def test_a_position_that_lives_through_the_night_is_over_with_its_date() -> None:
    history = settling()
    at(history, at_exchange(date(2026, 11, 21), time(1)))
    assert history.last(positions.PositionClosed).closed_utc == CLOSE
    assert history.cycle() is PositionState.FLAT
