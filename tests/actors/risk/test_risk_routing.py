"""What a desk of several answers while one of its strategies is switched."""

from __future__ import annotations

from msgspec.structs import replace

from domain.instants import MS
from messages import desks, session
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import NOW


def test_a_reconciliation_of_before_the_stand_down_answers_no_switch() -> None:
    desk = DeskTalk().morning()
    desk.hear(desks.HoldStrategy(switch_n=1, strategy="gexwatch", reconciles=True))
    assert [asked.stands_down for asked in desk.told(session.RequestReconcile, "ibkr")] == [True]
    before = session.ReconcileFinished(session_epoch=7, positions=(), read_utc=NOW - MS)
    desk.hear(before)
    assert not desk.told(desks.StrategyHeld)
    desk.wait(20).hear(replace(before, read_utc=NOW + 20 * MS, is_complete=False))
    assert not desk.told(desks.StrategyHeld)
    desk.hear(replace(before, read_utc=NOW + 20 * MS))
    assert [(held.switch_n, held.is_reconciled) for held in desk.told(desks.StrategyHeld, "router")] == [(1, True)]
