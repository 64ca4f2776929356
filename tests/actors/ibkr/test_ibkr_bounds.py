"""The broker session's actor at its bounds: what comes too late or of nobody, and the words that people are given."""

from __future__ import annotations

from datetime import date, time

import pytest

from domain.alarm import Severity
from domain.instants import MINUTE, MS, SECOND, at_exchange
from domain.instruments import Side
from domain.orders.table import CodeMeaning, OrderStage, OrderStatus
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.phases import Phase
from domain.units import Utc
from messages import broker, orders, session
from messages.broker import ReadGroup
from messages.operator import Alarm
from messages.restored import IbkrRestored, OwnOrder
from tests.testkit.ibkr_history import ENTRY, EXIT, NOON, OWNER, History, broker_order

TODAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
NOBODYS = "ZH-paper-nobodyknows-e"


def test_day_whose_mark_is_reached_as_it_is_told_is_not_looked_at_by_then() -> None:
    for late_ns, is_armed in ((0, False), (1, True)):
        h = History().live()
        close_utc = NOON + 4 * 60 * MINUTE
        h.probe.now = Utc(close_utc - 10 * MINUTE - MS - late_ns)
        h.feed(session.PhaseChanged(phase=Phase.ENTRY, session=TODAY, open_utc=NOON, close_utc=close_utc, at_utc=h.now))
        assert (("holdings", "verify") in h.probe.timers) is is_armed


def test_denial_of_an_order_that_nobody_knows_is_told_to_nobody() -> None:
    h = History().live()
    assert not h.feed(broker.OrderDenied(order_ref=NOBODYS, code=RejectCode.NOT_CONNECTED, why="no link")).messages


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.WORKING])
def test_status_without_the_brokers_own_number_acknowledges_nothing(status: OrderStatus) -> None:
    h = History().live()
    h.submit()
    h.sent()
    assert not h.status(ENTRY, status, perm_id=0).messages
    assert h.order(ENTRY).stage is OrderStage.SENT


def test_inactive_status_of_an_order_that_has_ended_is_not_waited_for() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.CANCELLED)
    h.status(ENTRY, OrderStatus.INACTIVE)
    assert ("inactive", ENTRY) not in h.probe.timers
    assert not h.order(ENTRY).is_inactive


def test_late_status_with_other_terms_leaves_an_order_that_has_ended_as_it_was() -> None:
    h = History().live().working()
    h.status(ENTRY, OrderStatus.CANCELLED)
    assert not h.status(ENTRY, OrderStatus.WORKING, limit_ticks=480, qty=1).messages
    assert (h.order(ENTRY).limit_ticks, h.order(ENTRY).qty) == (500, 2)


def test_code_about_the_link_says_nothing_of_the_order_it_came_with() -> None:
    h = History().live().working()
    assert not h.error(ENTRY, 1100, CodeMeaning.LINK).messages
    assert h.order(ENTRY).stage is OrderStage.WORKING


def test_order_that_its_executions_fill_is_told_as_filled() -> None:
    h = History().live().working()
    assert [closed.cause for closed in h.fill(ENTRY, 2).told(orders.OrderClosed, OWNER)] == [OrderStatus.FILLED.value]


@pytest.mark.parametrize("is_last_resort", [False, True])
def test_order_out_of_reach_is_told_with_what_a_person_can_do_or_what_is_done(is_last_resort: bool) -> None:
    own = IbkrRestored(orders=(OwnOrder(order_ref=EXIT, con_id=7, is_exit=True, side=Side.SELL, qty=2),))
    h = History().start(own)
    h.up()
    h.read(broker_order(EXIT, side=Side.SELL, is_of_other_client=True), held={7: 2})
    if is_last_resort:
        h.raise_kill(KillLevel.FLATTEN)
    text = h.cancel(EXIT).published(Alarm)[0].text
    assert ("cancel it in TWS, or raise level 2" in text) is not is_last_resort
    assert ("all orders of the account are cancelled now" in text) is is_last_resort


def test_stability_clock_stands_still_after_a_loss() -> None:
    h = History().start()
    h.up()
    h.read()
    assert ("stable", "") in h.probe.timers
    h.lost()
    assert ("stable", "") not in h.probe.timers


def test_flatten_without_a_link_waits_for_the_only_gateway_at_its_own_pace() -> None:
    h = History().live()
    h.lost()
    assert not h.raise_kill(KillLevel.FLATTEN).told(broker.Dial)


# -- before the open -----------------------------------------------------------------------------


def phase(h: History, phase: Phase, at_utc: int, session_date: date = TODAY) -> None:
    """Let a phase of a date be told so that it arrives at an instant."""
    h.probe.now = Utc(at_utc - MS)
    opened = at_exchange(session_date, time(9, 30))
    h.feed(
        session.PhaseChanged(
            phase=phase, session=session_date, open_utc=opened, close_utc=opened + 390 * MINUTE, at_utc=h.now
        )
    )


def at_quarter_past_nine(h: History, session_date: date = TODAY) -> Alarm:
    """Return what is said of the desk before the open."""
    told = h.probe.advance(at_exchange(session_date, time(9, 15)))
    (alarm,) = [alarm for alarm in told.published(Alarm) if alarm.key == "preopen"]
    return alarm


def missing(alarm: Alarm) -> list[str]:
    return alarm.text.removeprefix("Not ready for the open: ").partition(". (")[0].split("; ")


NO_ACCOUNT = "the broker has not told the account's values"


@pytest.mark.parametrize(
    ("is_read", "is_whole", "is_morning_read", "said"),
    [
        (False, False, False, ["the read-back of the broker is not finished", NO_ACCOUNT]),
        (True, False, False, ["the broker's completed orders cannot be read (stalled)", NO_ACCOUNT]),
        (True, True, False, ["the morning's read-back is not finished", NO_ACCOUNT]),
        (True, True, True, [NO_ACCOUNT]),
    ],
)
def test_each_thing_that_is_missing_before_the_open_is_said_in_its_own_words(
    is_read: bool, is_whole: bool, is_morning_read: bool, said: list[str]
) -> None:
    h = History().start()
    phase(h, Phase.PRE, at_exchange(TODAY, time(8, 59, 55)))
    h.up()
    if is_read and is_whole:
        h.read()
    h.probe.advance(at_exchange(TODAY, time(9)))
    if is_read and not is_whole:
        h.read_but(ReadGroup.COMPLETED)
    if is_morning_read:
        h.read()
    h.probe.timers.pop(("read_back", ""), None)  # an answer that takes its time
    alarm = at_quarter_past_nine(h)
    assert alarm.severity is Severity.HIGH
    assert missing(alarm) == said


@pytest.mark.parametrize(("session_date", "is_weekly"), [(TODAY, False), (MONDAY, True)])
def test_desk_without_a_gateway_says_whether_the_weekly_login_or_the_gateway_itself_is_wanted(
    session_date: date, is_weekly: bool
) -> None:
    h = History().start()
    phase(h, Phase.PRE, at_exchange(session_date, time(8)), session_date)
    text = at_quarter_past_nine(h, session_date).text
    assert ("two factors" in text) is is_weekly
    assert ("Start the gateway and log in." in text) is not is_weekly


def test_desk_that_starts_as_the_report_is_due_makes_none() -> None:
    for late_ns, is_armed in ((0, False), (1, True)):
        h = History().live()
        phase(h, Phase.PRE, at_exchange(TODAY, time(9, 15)) - late_ns)
        assert (("preopen_report", "") in h.probe.timers) is is_armed


def test_next_phase_of_the_same_session_forgets_no_contract() -> None:
    h = History().live({7: 2})
    phase(h, Phase.PRE, at_exchange(TODAY, time(8)))
    h.working(EXIT)
    h.status(EXIT, OrderStatus.CANCELLED)
    h.holds(0)
    phase(h, Phase.ENTRY, at_exchange(TODAY, time(9, 30)))
    assert h.state.con_ids == (7,)


def test_brokers_book_is_asked_for_five_seconds_before_it_is_looked_at_and_that_five_before_the_close() -> None:
    h = History().live()
    phase(h, Phase.PRE, at_exchange(TODAY, time(8)))
    close_utc = at_exchange(TODAY, time(16))
    for mark, before_s in (("verify", 600), ("close", 5)):
        assert h.probe.timers["holdings", mark] == close_utc - before_s * SECOND
        assert h.probe.timers["holdings_read", mark] == close_utc - (before_s + 5) * SECOND


def test_port_is_latched_to_level_0_of_epoch_0_before_anybody_has_told_the_level() -> None:
    h = History().start()
    assert [(latch.level, latch.kill_epoch) for latch in h.up().told(broker.LatchKill)] == [(KillLevel.RUNNING, 0)]
