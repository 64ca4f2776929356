"""A short, and what is held and cannot be closed: who is told what, and since when."""

from __future__ import annotations

import pytest

from domain.instants import SECOND
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Utc
from messages import broker, lifecycle, operator, orders, positions, risk, signals
from tests.testkit.position_history import (
    CLOSE,
    ENTRY,
    EXIT_1,
    STEM,
    T0,
    History,
    closed,
    held_live,
    quoted_for,
    settings,
    tape,
)

RULES = settings().exits


def killed(history: History) -> None:
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=2, reason="test", by="test"))


def shorts(history: History) -> list[int]:
    return [found.qty for found in history.all(positions.ShortFound)]


def test_short_is_told_when_it_is_found_and_when_it_is_gone_and_not_in_between() -> None:
    history = held_live()
    for broker_qty, told in ((-2, [-2]), (-2, [-2]), (0, [-2, 0]), (0, [-2, 0])):
        history.broker(broker_qty)
        assert shorts(history) == told


def test_short_that_is_bought_back_goes_on_record_as_a_kill() -> None:
    history = closed()
    killed(history)
    history.broker(-1)
    assert history.last(orders.RecordExitIntent).reason is ExitReason.KILL
    assert history.state.reason is ExitReason.KILL
    assert history.last(positions.RecordPosition).exit_reason is ExitReason.KILL


def test_short_changes_nothing_of_an_exit_that_is_wanted_already() -> None:
    history = closed()
    killed(history)
    history.fill(2, 500, ENTRY)  # it comes late; the level has found nothing to close
    tape(history, [(320, 325), (320, 325)])
    assert history.wanted_reason is ExitReason.PREMIUM_STOP
    history.broker(-1)
    assert history.wanted_reason is ExitReason.PREMIUM_STOP


def test_people_are_told_for_how_long_it_could_not_be_closed_and_nothing_once_it_can() -> None:
    history = held_live()
    history.mode(Mode.DEGRADED)
    quoted_for(history, 30)
    (page,) = [alarm for alarm in history.all(operator.Alarm) if alarm.key == "stuck:812"]
    assert "cannot be closed since 30 s: no reconciled broker session" in page.text
    history.reconciled(2)
    history.feed(lifecycle.TimerFired(kind="stuck", subject="", due_utc=history.now))
    assert len([alarm for alarm in history.all(operator.Alarm) if alarm.key == "stuck:812"]) == 1


def test_an_entry_of_which_nobody_knows_is_paged_while_nobody_can_ask_and_not_once_it_is_known() -> None:
    history = History()
    history.open()
    history.quote(495, 505)
    history.mode(Mode.DEGRADED)
    quoted_for(history, 61)
    pages = [alarm.text for alarm in history.all(operator.Alarm) if alarm.key == "stuck:812"]
    assert len(pages) == 2
    assert f"order {ENTRY} may have bought 2, and nobody can ask since 30 s: no reconciled broker" in pages[0]
    assert history.last(risk.RaiseKill).level is KillLevel.NO_ENTRIES
    history.mode(Mode.FULLY_LIVE)
    assert history.state.stuck_since_utc is None


def test_clock_of_what_cannot_be_closed_runs_for_a_short_of_one_contract() -> None:
    history = closed()
    history.broker(-1)
    assert ("stuck", "") in history.timers


@pytest.mark.parametrize("when", ["before the first fill", "after the close"])
def test_clock_of_what_cannot_be_closed_stands_still(when: str) -> None:
    history = History()
    if when == "before the first fill":
        history.open()
        history.broker(2)
    else:
        history.hold(2)
        history.phase(Phase.CLOSED)
        history.mode(Mode.DEGRADED)
    assert ("stuck", "") not in history.timers


@pytest.mark.parametrize(("sold", "broker_qty", "is_open"), [(1, None, True), (3, None, True), (2, 0, False)])
def test_something_is_open_where_the_ledger_or_the_broker_says_so(
    sold: int, broker_qty: int | None, is_open: bool
) -> None:
    history = History()
    history.open()
    history.quote(495, 505)
    history.fill(2, 500)
    history.fill(sold, 490, EXIT_1)
    if broker_qty is not None:
        history.broker(broker_qty)
    assert (history.state.stuck_since_utc is not None) is is_open


@pytest.mark.parametrize(
    ("after_s", "broker_qty", "words"),
    [
        (29, 0, "the ledger holds 2, the broker 0"),  # not disputed yet
        (1, 1, "the ledger holds 2, the broker 1"),  # disputed for long
        (1, 3, "the ledger holds 2, the broker 3"),
        (1, -1, "the broker holds -1 short; it is bought back at kill level 2"),
    ],
)
def test_people_are_told_where_ledger_and_broker_differ(after_s: int, broker_qty: int, words: str) -> None:
    history = History()
    history.hold(2)
    quoted_for(history, after_s)
    history.broker(broker_qty)
    quoted_for(history, 31 - after_s)
    page = next(alarm for alarm in history.all(operator.Alarm) if alarm.key == "stuck:812")
    assert words in page.text


def page_of(history: History) -> str:
    """Return the first page about what cannot be closed."""
    return next(alarm.text for alarm in history.all(operator.Alarm) if alarm.key == "stuck:812")


def test_people_are_told_why_the_broker_session_did_not_send_it() -> None:
    history = held_live(1)
    history.feed(positions.FlattenPosition(reason=ExitReason.OPERATOR))
    for n in range(1, 17):
        denied = broker.OrderDenied(order_ref=f"{STEM}-x{n}", code=RejectCode.EXIT_OVERSELL, why="one works")
        history.feed(denied)
        quoted_for(history, 2)
    remedy = "exit_oversell: one works; close it by hand, or with `main.py flatten --direct --force`"
    assert page_of(history).endswith(remedy)


def test_people_are_told_that_no_quote_can_be_traded_on() -> None:
    history = held_live()
    history.mode(Mode.DEGRADED)
    history.feed(signals.ReversalRaised(source="gexwatch", ticker="SPX", direction=-1, bucket_utc=T0))
    quoted_for(history, 20)
    history.quote(None, 505)
    history.reconciled(2)
    history.wait(10_000)
    assert "no quote that could be traded on" in page_of(history)


@pytest.mark.parametrize(("is_quoted", "words"), [(True, "the exit is under way"), (False, "no quote;")])
def test_people_are_told_that_the_next_exit_is_about_to_go(is_quoted: bool, words: str) -> None:
    history = held_live()
    history.feed(positions.FlattenPosition(reason=ExitReason.OPERATOR))
    history.run_to_exit()
    if is_quoted:
        quoted_for(history, 29)
    else:
        history.wait(29_000)
    history.found(EXIT_1, working=False, filled=0)
    history.wait(RULES.ack_wait_ms - 1)
    assert words in page_of(history)


def test_nobody_is_paged_after_the_close_for_what_could_not_be_closed_before_it() -> None:
    history = held_live()
    history.now = Utc(CLOSE - 20 * SECOND)
    history.mode(Mode.DEGRADED)
    assert ("stuck", "") in history.timers
    history.feed(lifecycle.TimerFired(kind="stuck", subject="", due_utc=history.now), Utc(CLOSE + 10 * SECOND))
    assert not [alarm for alarm in history.all(operator.Alarm) if alarm.key == "stuck:812"]


def test_first_page_about_what_cannot_be_closed_halts_entries() -> None:
    history = History()
    history.hold(2)
    quoted_for(history, 30)
    assert page_of(history)
    assert [kill.level for kill in history.all(risk.RaiseKill)] == [KillLevel.NO_ENTRIES]
