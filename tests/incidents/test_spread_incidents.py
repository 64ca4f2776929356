"""Incidents of the credit spread, each named for what must hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from domain.instants import MINUTE, SECOND
from domain.instruments import Side
from domain.orders.references import structure_key
from domain.position.cycle import EndReason, PositionState
from domain.risk.kill import KillLevel
from domain.structure.saga import SagaState
from domain.units import Qty, Utc
from messages import lifecycle, operator, orders, positions, risk
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.actors.position.test_position_legs import COVER as COVER_REF
from tests.actors.position.test_position_legs import SHORT as SHORT_REF
from tests.testkit import ledger_asks as ask
from tests.testkit.narrow import known
from tests.testkit.position_history import History, held_position
from tests.testkit.spread_ledger import SPY, filled, spread
from tests.testkit.spread_world import CLOSE, COVER, COVER_ADDRESS, SHORT, TERMS, SpreadTalk


def test_a_cover_goes_when_the_broker_holds_no_short_though_somebody_else_bought_one_more() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.leg(SHORT, 6)  # four of ten were bought by hand
    talk.leg(SHORT, 6, is_leaving=True)
    bought = talk.leg(SHORT, 0, is_leaving=True)  # the rest by us
    assert not bought.told(positions.FlattenPosition, COVER_ADDRESS), "the broker has not said so yet"
    clear = talk.leg(SHORT, 0, is_leaving=True, is_clear=True)  # it holds one more, which is somebody else's
    assert [told.is_free for told in clear.told(positions.SetCover, COVER_ADDRESS)] == [True]
    assert clear.told(positions.FlattenPosition, COVER_ADDRESS)
    talk.leg(COVER, 0, is_flat=True)
    assert known(talk.state.saga).state is SagaState.RELEASING, "the leg is not flat: a person is asked for"
    talk.leg(SHORT, 0, is_flat=True)
    assert known(talk.state.saga).state is SagaState.CLOSED


@pytest.mark.parametrize(("ref", "qty"), [(COVER_REF, 1), (SHORT_REF, 10)])
def test_a_leg_that_ended_without_an_execution_holds_nothing_and_came_to_what_its_end_said(ref: Any, qty: int) -> None:
    history = History(ref)
    history.hold(qty)
    history.broker(ref.side.sign * qty)
    history.broker(0)  # closed by hand: nobody tells an execution
    for _ in range(16):
        history.wait(5_000)
        history.broker(0)
    told, closed = history.last(positions.LegChanged), history.last(positions.PositionClosed)
    assert closed.end is EndReason.BROKER_LIQUIDATION
    assert (told.qty, told.is_flat, told.is_entry_over) == (0, True, True), "else its spread waits for ever"
    assert (told.realised_cents, told.unrealised_cents) == (closed.realised_cents, 0)


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    """A ledger with a whole spread: one call bought, ten sold."""
    start_run(tmp_path, ("paper",), ask.T0)
    opened = DeskLedger(tmp_path, "paper", run_n=1)
    opened.open()
    opened.apply(spread(terms=TERMS), ask.T0)
    filled(opened, ask.ref(1), 1, Side.BUY, 1, "a", 5_000)
    filled(opened, ask.ref(101), 22, Side.SELL, 10, "b")
    return opened


def given_back(ledger: DeskLedger, name: str) -> Any:
    """Return what the ledger gives back for a name."""
    asked = lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY, read_n=1)
    (read,) = ledger.apply(asked, ask.T0)
    assert isinstance(read, lifecycle.StateRead)
    return read.restored


def end_short(ledger: DeskLedger) -> None:
    """Let the shorts end without an execution."""
    ref = ask.position_ref(
        101, contract=SPY, side=Side.SELL, intent_id="i1", position_id=ask.stem(101), structure_id="i1"
    )  # fmt: skip
    gone = ask.closed(101, ref=ref, end=EndReason.BROKER_LIQUIDATION, opened_qty=Qty(10))
    ledger.apply(gone, ask.T0 + SECOND)


STRUCTURE_NAME = f"structure:paper:{structure_key(ask.ref(1))}"


def test_a_lone_cover_is_not_given_back_as_a_whole_spread(ledger: DeskLedger) -> None:
    assert given_back(ledger, STRUCTURE_NAME).short.held_qty == 10
    end_short(ledger)
    short = given_back(ledger, STRUCTURE_NAME).short
    assert (short.is_live, short.opened_qty, short.held_qty) == (False, 10, 0)
    talk = SpreadTalk()
    over = talk.reservation(SHORT, is_live=False, opened=short.opened_qty, held=short.held_qty)
    out = talk.restart(talk.known(talk.reservation(COVER, opened=1, held=1), over))
    assert [told.is_free for told in out.told(positions.SetCover, COVER_ADDRESS)] == [True]
    assert out.told(positions.FlattenPosition, COVER_ADDRESS)


def test_a_cover_whose_shorts_are_over_by_the_ledger_is_free_though_nobody_watches_the_spread(
    ledger: DeskLedger,
) -> None:
    assert given_back(ledger, "position:paper:1").is_free is False
    end_short(ledger)
    assert given_back(ledger, "position:paper:1").is_free is True


@pytest.mark.parametrize("is_free", [False, True])
def test_a_cover_that_is_given_back_free_is_sold_at_a_kill(is_free: bool) -> None:
    history = History(COVER_REF)
    plain = held_position()
    reservation = replace(known(plain.reservation), ref=COVER_REF)
    history.restart(replace(plain, reservation=reservation, is_free=is_free))
    history.reconciled(2)
    history.quote(495, 505)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=4, reason="", by=""))
    assert history.cycle() is PositionState.PENDING_EXIT
    assert bool(history.all(orders.RecordExitIntent)) is is_free


@pytest.mark.parametrize("damaged", [b'{"ratio":10.0', b'{"ratio":10.0}', b"\xff{}", b"7", b""])
def test_damaged_terms_do_not_take_the_watcher_of_a_spread_away(
    ledger: DeskLedger, tmp_path: Path, damaged: bytes
) -> None:
    with closing(sqlite3.connect(tmp_path / "paper.db")) as db, db:
        db.execute("UPDATE structures SET terms = CAST(? AS TEXT)", (damaged,))
    found = given_back(ledger, STRUCTURE_NAME)
    assert (found.terms, found.cover.held_qty, found.short.held_qty) == (None, 1, 10)
    assert found.are_terms_damaged is True


@pytest.mark.parametrize("are_damaged", [True, False])
def test_damaged_terms_halt_entries_in_a_sentence_and_both_legs_are_closed_in_time(are_damaged: bool) -> None:
    """Nobody was told that the ledger is damaged, and the desk went on trading."""
    talk = SpreadTalk()
    both = talk.known(talk.reservation(COVER, opened=1, held=1), talk.reservation(SHORT, opened=10, held=10))
    talk.restart(replace(both, terms=None, are_terms_damaged=are_damaged))
    raised = talk.sent.told(risk.RaiseKill, "kill")
    told = [alarm for alarm in talk.sent.published(operator.Alarm) if alarm.key.startswith("terms:")]
    assert [level.level for level in raised] == [KillLevel.NO_ENTRIES] * are_damaged
    assert len(told) == are_damaged
    assert all("\n" not in alarm.text and "backup" in alarm.text for alarm in told)
    assert known(talk.state.saga).state is SagaState.HELD
    leaving = talk.leg(SHORT, 10, is_leaving=True)  # by its own end of the day
    assert not leaving.told(positions.FlattenPosition, COVER_ADDRESS), "the cover is the last to go"
    clear = talk.leg(SHORT, 0, is_flat=True, is_clear=True)
    assert clear.told(positions.FlattenPosition, COVER_ADDRESS)


def test_a_page_five_minutes_before_the_close_never_counts_none_as_still_short() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.leg(SHORT, 0, is_leaving=True)  # bought back; the broker has not agreed yet
    (page,) = talk.advance(Utc(CLOSE - 5 * MINUTE)).published(operator.Alarm)
    assert "nobody has confirmed that none is short" in page.text
    assert "`main.py flatten --direct --force`" in page.text, "without --force it refuses beside a supervisor"


def test_the_page_of_a_cover_that_is_held_back_says_when_it_may_be_sold() -> None:
    history = History(COVER_REF)
    history.hold(1)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=4, reason="", by=""))
    history.wait(31_000)
    page = next(alarm.text for alarm in history.all(operator.Alarm) if alarm.key.startswith("stuck:"))
    assert "where none is short, sell it by hand" in page


@pytest.mark.parametrize("is_free", [False, True])
def test_a_cover_that_cannot_be_sold_asks_the_ledger_what_is_left_to_cover(is_free: bool) -> None:
    history = History(COVER_REF)
    history.hold(1)
    history.feed(risk.KillRaised(level=KillLevel.FLATTEN, kill_epoch=4, reason="", by=""))
    history.wait(31_000)
    asked = history.last(lifecycle.RequestState)
    assert asked.name == asked.reply_to
    plain = held_position()
    answer = replace(plain, reservation=replace(known(plain.reservation), ref=COVER_REF), is_free=is_free)
    history.feed(lifecycle.StateRead(name=asked.name, restored=answer, read_n=asked.read_n))
    assert bool(history.all(orders.RecordExitIntent)) is is_free
